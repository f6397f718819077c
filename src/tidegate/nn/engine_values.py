"""What a layer did at every step, to look at, from what the engine keeps for the pass back.

Letters: T time, B batch, H hidden, N tokens, the true steps of all rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

from tidegate.cells import Cell, get_cell
from tidegate.engine import compiled
from tidegate.equations.phases import cut
from tidegate.equations.plan import Place
from tidegate.nn import engine_calls
from tidegate.nn.engine_layout import layout_of
from tidegate.nn.engine_reach import is_recorded
from tidegate.nn.step_values import StepValues


@cache
def _places(cell: str) -> dict[str, Place] | None:
    """Where each gate's values are kept; None unless all are."""
    declared = get_cell(cell)
    stores = (store for phase in cut(declared).forward.phases for store in phase.stores)
    kept = {node: place for place, node in stores if place.kind in ("gate", "extra")}
    found = {gate: kept.get(node) for gate, node in declared.trace.gates.items()}
    return {gate: p for gate, p in found.items() if p} if all(found.values()) else None


@torch.compiler.assume_constant_result
def keeps_gates(cell: str) -> bool:
    """Whether the engine keeps all gates of the cell of this key for the pass back."""
    return _places(cell) is not None


def reason_against(cell: Cell, x: Tensor, path: str) -> str | None:
    """Why gates and states of every step cannot be had on this path; None if they can."""
    if path == "torch":
        return "torch's kernels keep none"
    if path != "engine":
        return None
    if is_recorded():
        return "what is recorded holds none of the engine's"
    if x.numel() == 0:
        return "of nothing the engine keeps nothing"
    return None if keeps_gates(cell.key) else f"the engine keeps not all of {cell.name}"


@torch.no_grad()
def fill(
    into: StepValues,
    cell: str,
    x: Tensor,
    weights: Sequence[Tensor | None],
    lengths: Tensor | None,
    reverse: bool,
    y: Tensor,
    saved: Sequence[Tensor],
) -> None:
    """Copy them from the outputs and what ``engine_calls.forward`` saved.

    The pass back may write onto that.
    """
    layout, places = layout_of(cell), _places(cell)
    assert places is not None
    T, B, _ = x.shape  # noqa: N806
    gates, extra, *others, threads = saved
    schedule = engine_calls.schedule_of(
        x, lengths, reverse, int(threads), layout.size_of_step(weights)
    )

    def placed(tokens: Tensor) -> Tensor:
        """[T, B, W], zero where there is no token, of [.., W], whose first N rows they are."""
        if not schedule.ragged:
            return tokens.reshape(T, B, -1).clone()
        rows = tokens.new_zeros(T, B, tokens.shape[1])
        own = engine_calls.first_of(tokens, schedule.tokens)
        compiled.scatter(schedule, engine_calls.view(own), engine_calls.view(rows))
        return rows

    states = [y.detach().clone(), *map(placed, others)]
    into.states.update(zip(get_cell(cell).states, states, strict=True))
    units = gates.shape[1] // layout.gates
    for gate, place in places.items():
        columns = gates if place.kind == "gate" else extra
        into.gates[gate] = placed(engine_calls.columns_of(columns, place.index * units, units))
