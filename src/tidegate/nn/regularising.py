"""What layers draw in training beside masks: candidates that are dropped, states that stay."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from tidegate.cells import Cell, Probabilities, may_stay, regularised, zoneout_of
from tidegate.cells.regularised import scales_of
from tidegate.nn.dropout import dropout

Weights = list[Tensor | None]


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
    return (torch.rand(shape, dtype=torch.float32, device=like.device) < probability).to(like.dtype)


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
