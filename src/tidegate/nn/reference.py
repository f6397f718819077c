"""The reference: a cell's own equations on torch tensors, step by step.

Any device, any float type, twice differentiable.  Every faster path is held to this one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from tidegate.cells import CELLS, Cell

State = tuple[Tensor, ...]

# found before torch.compile traces anything: it cannot enter the lock of a cached property
_TOGETHER = {name: cell.gates_of_state for name, cell in CELLS.items()}


def unroll(
    cell: Cell,
    gates_x: Tensor,
    state: State,
    weight_hh: Tensor,
    bias_hh: Tensor | None,
    lengths: Tensor | None = None,
    reverse: bool = False,
    recurrent_mask: Tensor | None = None,
    weight_hr: Tensor | None = None,
) -> tuple[Tensor, State]:
    """Run ``cell`` over the input products ``gates_x`` [T, B, G*H] from ``state`` ([B, H] each).

    ``lengths`` [B] in steps: outputs from a row's length on are zero and its final state is the
    one at its last true step, where the reverse direction starts.  ``recurrent_mask`` [B, H]
    scales what W_hh sees of the state, the same at every step (Gal & Ghahramani 2016,
    arXiv:1512.05287).  ``weight_hr`` [P, H] projects the output state of every step, which then is
    [B, P].  Returns y [T, B, H] and the final state.
    """
    steps = range(gates_x.shape[0])
    outputs: list[Tensor] = []
    for t in reversed(steps) if reverse else steps:
        new = step(cell, gates_x[t], state, weight_hh, bias_hh, recurrent_mask, weight_hr)
        if lengths is None:
            state, y_t = new, new[0]
        else:
            alive = (t < lengths).unsqueeze(1)  # [B, 1]
            state = tuple(torch.where(alive, n, s) for n, s in zip(new, state, strict=True))
            y_t = torch.where(alive, new[0], 0.0)
        outputs.append(y_t)
    if not outputs:
        return gates_x.new_zeros(0, *state[0].shape), state
    return torch.stack(outputs[::-1] if reverse else outputs), state


class _Gates:
    """What the equations read of each gate, by its name; torch.compile knows no SimpleNamespace."""

    def __init__(self, values: Iterable[tuple[str, Any]]) -> None:
        for gate, value in values:
            setattr(self, gate, value)


def step(
    cell: Cell,
    gates_x_t: Tensor,
    state: State,
    weight_hh: Tensor,
    bias_hh: Tensor | None,
    recurrent_mask: Tensor | None = None,
    weight_hr: Tensor | None = None,
) -> State:
    """One step: gates_x_t [B, G*H], state and result [B, H] each, a projected output [B, P]."""
    blocks = gates_x_t.chunk(len(cell.gates), dim=-1)
    w = _Gates(zip(cell.gates, blocks, strict=True))
    u = _recurrent_products(cell, state[0], weight_hh, bias_hh, recurrent_mask)
    h, *others = cell.step(torch, w, u, *state)[0]
    return h if weight_hr is None else F.linear(h, weight_hr), *others


def _recurrent_products(
    cell: Cell, h: Tensor, weight_hh: Tensor, bias_hh: Tensor | None, mask: Tensor | None
) -> _Gates:
    """``u`` of the equations; the blocks that take the state as it is share one product."""
    size = weight_hh.shape[0] // len(cell.gates)
    rows = {g: slice(k * size, (k + 1) * size) for k, g in enumerate(cell.gates)}

    def product(v: Tensor, block: slice) -> Tensor:
        v = v if mask is None else v * mask
        return F.linear(v, weight_hh[block], None if bias_hh is None else bias_hh[block])

    together = _TOGETHER[cell.name]
    span = slice(rows[together[0]].start, rows[together[-1]].stop)  # they stand side by side
    of_state = dict(zip(together, product(h, span).chunk(len(together), dim=-1), strict=True))

    def block_of(gate: str):
        return lambda v: of_state[gate] if v is h and gate in of_state else product(v, rows[gate])

    return _Gates((g, block_of(g)) for g in cell.gates)
