"""What layers hide or keep in training: masks, candidates that are dropped, states that stay."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from tidegate.cells import Cell, Probabilities, may_stay, regularised, zoneout_of
from tidegate.cells.regularised import candidates_of, scales_of
from tidegate.nn.arguments import check_flag, check_probability
from tidegate.nn.dropout import drawn, dropout

Weights = list[Tensor | None]


class Regularised:
    """The part of a recurrent layer that knows its regularisers: arguments, and what it draws."""

    cell: Cell
    hidden_size: int
    num_heads: int
    training: bool
    _weight: Callable[[str], Tensor]

    def _regularise(
        self,
        recurrent_dropout: float,
        input_dropout: float,
        dropout_per_gate: bool,
        candidate_dropout: float,
        zoneout: float | Mapping[str, float],
        weight_dropout: float,
    ) -> None:
        """Check and keep these arguments.  Raises ValueError or TypeError naming one."""
        self.recurrent_dropout = check_probability("recurrent_dropout", recurrent_dropout)
        if recurrent_dropout > 0 and self.cell.seen_width is None:
            raise ValueError(
                f"recurrent_dropout: expected 0 for {self.cell.name}, whose state no weights read, "
                f"got {recurrent_dropout}; leave it out"
            )
        if recurrent_dropout == 1:
            raise ValueError(
                "recurrent_dropout: expected below 1, got 1, which cuts the state; give less"
            )
        self.input_dropout = check_probability("input_dropout", input_dropout)
        if input_dropout == 1:
            raise ValueError(
                "input_dropout: expected below 1, got 1, which reads nothing; give less"
            )
        self.dropout_per_gate = check_flag("dropout_per_gate", dropout_per_gate)
        self.candidate_dropout = check_below_one("candidate_dropout", candidate_dropout)
        self.weight_dropout = check_below_one("weight_dropout", weight_dropout)
        if self.weight_dropout > 0 and self.cell.seen_width is None:
            raise ValueError(
                f"weight_dropout: expected 0 for {self.cell.name}, which has no recurrent weights, "
                f"got {weight_dropout}; leave it out"
            )
        self.zoneout, self._zoned = zoneout, check_zoneout(self.cell, zoneout)
        self._candidates = len(candidates_of(self.cell))
        _ = cell_that_runs(self.cell, self._zoned, self.candidate_dropout > 0)

    def _mask(self, probability: float, weight: str, layer: int, like: Tensor) -> Tensor | None:
        """What hides some of the values that a weight sees, for each sequence or also each gate.

        ``like``: a state, [B, ..].
        """
        if not self.training or probability == 0:
            return None
        heads = self.num_heads if weight == "weight_hh" else 1
        shape = like.shape[0], heads * self._weight(f"{weight}_l{layer}").shape[1]
        if self.dropout_per_gate:
            shape = len(self.cell.parameters[weight].blocks), *shape
        keep = 1 - probability
        return torch.bernoulli(like.new_full(shape, keep)) / keep

    def _noise(self, x: Tensor, like: Tensor) -> Tensor | None:
        """What the equations ask for in training, of the type of a state."""
        if not self.training:
            return None
        shape = (*x.shape[:2], self.hidden_size)
        if self.candidate_dropout or self._zoned:
            dropped = self._candidates, self.candidate_dropout
            return torch.cat(noise_of(*dropped, self._zoned, shape, like), -1)
        if self.cell.noises == 0:
            return None
        return torch.randn_like(like.new_empty(*shape[:2], self.cell.noises * shape[2]))

    def _cell_that_runs(self, training: bool) -> Cell:
        """What a call runs: another cell under zoneout, and in training without candidates."""
        drops = training and self.candidate_dropout > 0
        if not drops and not self._zoned:
            return self.cell
        return cell_that_runs(self.cell, self._zoned, drops)


def check_below_one(name: str, value: Any) -> float:
    """A probability from 0 to less than 1."""
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        raise TypeError(f"{name}: expected a number, got {type(value).__name__}; give a float")
    given: Any = value
    if not 0 <= given < 1:
        raise ValueError(f"{name}: expected a probability in [0, 1), got {value}; give one")
    return float(given)


def check_zoneout(cell: Cell, value: Any) -> Probabilities:
    """Each state's probability above 0, of one number for all that may stay, or of a dict."""
    free = may_stay(cell)
    if not isinstance(value, Mapping):
        return zoneout_of(cell, check_below_one("zoneout", value))
    for name in value:
        scale = scales_of(cell).get(name, name)
        if scale in scales_of(cell).values():
            raise ValueError(
                f"zoneout: expected {' or '.join(free) or 'no state'} of {cell.name}, got "
                f"{name!r}, which means something at the scale {scale} of the same step alone; "
                "leave it out"
            )
        if name not in free:
            raise ValueError(
                f"zoneout: expected states of H units, {' or '.join(free) or 'none'}, got "
                f"{name!r}; take these"
            )
    found = {name: check_below_one(f"zoneout[{name!r}]", value[name]) for name in value}
    return tuple((name, found[name]) for name in free if found.get(name))


@torch.compiler.assume_constant_result  # it cannot trace how a cell is made of another
def cell_that_runs(cell: Cell, zoneout: Probabilities, candidate_dropout: bool) -> Cell:
    """What a layer of ``cell`` runs under these regularisers."""
    return regularised(cell, zoneout, candidate_dropout)


def noise_of(
    candidates: int,
    candidate_dropout: float,
    zoneout: Probabilities,
    shape: tuple[int, ...],
    like: Tensor,
) -> list[Tensor]:
    """What `regularised` cells ask for in training, [T, B, H] each, in their order.

    ``shape`` is that of one, ``like`` a state.  A candidate is dropped for one unit and step, and
    the others are scaled so that the mean stays.
    """
    found = []
    if candidate_dropout:
        keep = 1 - candidate_dropout
        for _ in range(candidates):
            found.append(_drawn(keep, shape, like) / keep - 1)
    for _, probability in zoneout:
        found.append(_drawn(probability, shape, like) - probability)
    return found


def _drawn(probability: float, shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Ones with this probability, else zeros: the same ones whatever the type of ``like``."""
    return drawn(probability, shape, like.device).to(like.dtype)


def drop_weights(cell: Cell, weights: Weights, probability: float, training: bool) -> Weights:
    """The recurrent weights with some of them hidden, the same for all rows and steps of a call.

    Source: Merity et al. 2018, arXiv:1708.02182, the weight-dropped LSTM: DropConnect (Wan et al.
    2013) on the hidden-to-hidden matrices.
    """
    if not training or not probability:
        return weights
    roles = (parameter.role for parameter in cell.parameters.values())
    return [
        dropout(w, probability, True) if role == "recurrent" and w is not None else w
        for w, role in zip(weights, roles, strict=True)
    ]
