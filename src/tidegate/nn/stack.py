"""Recurrent layers of different cells and widths in one declaration, and what is between them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tidegate.cells import Cell
from tidegate.nn.arguments import check_flag, check_lengths, check_probability, check_size
from tidegate.nn.described import described
from tidegate.nn.dropout import dropout as dropped
from tidegate.nn.recurrent_layer import Recurrent

State = Any  # of a layer, as its cell has it


@described
class Stack(nn.Module):
    """Recurrent layers one after the other, each with its own cell, width and options.

    What is said of a layer is one value for all of them, or a list with one for each.  ``residual``
    and ``norm`` stand around a layer as in pre-norm networks: y = x + layer(norm(x)).  ``stack[k]``
    is a layer, of ``len(stack)``, and ``run`` runs it with what stands around it; for networks that
    change what passes between layers, ``input_size`` may be a list, too.

    >>> import tidegate as tg, torch
    >>> stack = tg.Stack(5, (16, 8), cell=("lstm", "gru"), residual=True, dropout=0.1)
    >>> y, states = stack(torch.zeros(11, 3, 5), lengths=[11, 4, 0])  # [T, B, I]
    >>> y.shape, states[1].shape
    (torch.Size([11, 3, 8]), torch.Size([1, 3, 8]))

    Raises ValueError or TypeError naming the argument, what was expected and what came.
    """

    def __init__(
        self,
        input_size: int | Sequence[int],
        hidden_sizes: Sequence[int],
        cell: str | Cell | Sequence[str | Cell] = "gru",
        *,
        dropout: float | Sequence[float] = 0.0,
        residual: bool | Sequence[bool] = False,
        norm: bool | Sequence[bool] = False,
        batch_first: bool = False,
        bidirectional: bool | Sequence[bool] = False,
        recurrent_dropout: float | Sequence[float] = 0.0,
        input_dropout: float | Sequence[float] = 0.0,
        dropout_per_gate: bool | Sequence[bool] = False,
        candidate_dropout: float | Sequence[float] = 0.0,
        zoneout: float | Mapping[str, float] | Sequence[float | Mapping[str, float]] = 0.0,
        weight_dropout: float | Sequence[float] = 0.0,
        num_heads: int | Sequence[int] = 1,
        proj_size: int | Sequence[int] = 0,
        bias: bool | Sequence[bool] = True,
        strict: bool = False,
    ) -> None:
        super().__init__()
        if isinstance(hidden_sizes, int | str) or not isinstance(hidden_sizes, Iterable):
            got = type(hidden_sizes).__name__
            raise TypeError(
                f"hidden_sizes: expected one for each layer, got {got}; write (128, 64)"
            )
        sizes = [check_size("hidden_sizes", size) for size in hidden_sizes]
        if not sizes:
            raise ValueError("hidden_sizes: expected one size at least, got none; write (128,)")
        self.batch_first = check_flag("batch_first", batch_first)
        count = len(sizes)
        given = _each("input_size", input_size, count, check_size)
        self.dropout = _each("dropout", dropout, count, check_probability)
        residuals = _each("residual", residual, count, check_flag)
        norms = _each("norm", norm, count, check_flag)
        cells = _each("cell", cell, count)
        of_layers = {
            "bidirectional": bidirectional, "recurrent_dropout": recurrent_dropout,
            "input_dropout": input_dropout, "dropout_per_gate": dropout_per_gate,
            "candidate_dropout": candidate_dropout, "zoneout": zoneout,
            "weight_dropout": weight_dropout, "num_heads": num_heads, "proj_size": proj_size,
            "bias": bias, "strict": strict,
        }  # fmt: skip
        options = {name: _each(name, value, count) for name, value in of_layers.items()}
        self.norms, self.shortcuts = nn.ModuleList(), nn.ModuleList()
        one, wide = not isinstance(input_size, Sequence), given[0]
        for k, size in enumerate(sizes):
            width = wide if one else given[k]
            own = {name: values[k] for name, values in options.items()}
            layer = Recurrent(cells[k], width, size, **own)
            wide = layer.state_sizes[0] * layer.directions
            self.add_module(str(k), layer)
            self.norms.append(nn.LayerNorm(width) if norms[k] else nn.Identity())
            maps = residuals[k] and width != wide
            self.shortcuts.append(nn.Linear(width, wide, bias=False) if maps else nn.Identity())
        self.residual, self.output_size = residuals, wide

    def __len__(self) -> int:
        return len(self.residual)

    def __getitem__(self, k: int) -> Recurrent:
        layer = self._modules[str(range(len(self))[k])]
        assert isinstance(layer, Recurrent)
        return layer

    def __iter__(self) -> Iterator[Recurrent]:
        return map(self.__getitem__, range(len(self)))

    def forward(
        self,
        input: Tensor,
        hx: Sequence[State] | None = None,
        lengths: Tensor | Sequence[int] | None = None,
    ) -> tuple[Tensor, list[State]]:
        """Run all layers over whole sequences.

        input: [T, B, I], or [B, T, I] if ``batch_first``.  hx: a state for each layer, as a former
        call returned them; None for zeros.  lengths: [B] integers from 0 to T, or None.  Returns y,
        [T, B, the last layer's output] in the order of the input, zero from each sequence's length
        on, and the layers' final states, each in the form of its cell.
        """
        x = input.transpose(0, 1) if self.batch_first else input
        steps, batch = x.shape[:2]
        given = check_lengths(lengths, steps, batch)
        finals = []
        for k in range(len(self)):
            x, final = self.run(k, x, None if hx is None else hx[k], given)
            finals.append(final)
        return (x.transpose(0, 1) if self.batch_first else x), finals

    def run(
        self, k: int, x: Tensor, state: State | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Run layer ``k`` with what stands around it: x [T, B, its input] -> y [T, B, width].

        ``state``, ``lengths`` and the final state are those of the layer.  y is zero from each
        sequence's length on.
        """
        entering = self.norms[k](x)
        if k > 0:
            entering = dropped(entering, self.dropout[k], self.training)
        y, final = self[k](entering, state, lengths)
        if self.residual[k]:
            y = y + self.shortcuts[k](x)
            if lengths is not None:
                inside = torch.arange(len(x), device=y.device)[:, None] < lengths.to(y.device)
                y = torch.where(inside[..., None], y, 0.0)
        return y, final

    def step(self, input: Tensor, hx: Sequence[State] | None = None) -> tuple[Tensor, list[State]]:
        """Run one step of a stream, without dropout: input [B, I] -> y [B, width], new states.

        Raises ValueError for a bidirectional layer, which needs future steps.
        """
        x, finals = input, []
        for k, layer in enumerate(self):
            y, final = layer.step(self.norms[k](x), None if hx is None else hx[k])
            x = y + self.shortcuts[k](x) if self.residual[k] else y
            finals.append(final)
        return x, finals

    def explain(self) -> str:
        """Say of each layer which path would run it now, and why."""
        return "\n".join(f"{k}: {layer.explain()}" for k, layer in enumerate(self))


def _each(name: str, value: Any, count: int, check: Any = None) -> list[Any]:
    """One for each layer, of one for all or of a list of them."""
    several = isinstance(value, Sequence) and not isinstance(value, str)
    values = list(value) if several else [value] * count
    if len(values) != count:
        raise ValueError(
            f"{name}: expected one, or {count}, as many as hidden_sizes, got {len(values)}; give "
            "one for each layer"
        )
    return [v if check is None or isinstance(v, Mapping) else check(name, v) for v in values]
