"""What the engine's calls read of a cell's plan: where weights, gradients and operands stand."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

from torch import Tensor

from tidegate.cells import get_cell
from tidegate.compiling.kernels import reason_against_kernels
from tidegate.equations.phases import cut
from tidegate.equations.plan import Operand


class Run(NamedTuple):
    """Blocks of a weight that lie side by side, as their gradients and what they multiply do."""

    parameter: int
    row: int  # the first block
    blocks: int
    kind: str  # of array that holds the gradients
    column: int
    rank: int  # among the products of their operand


class Layout(NamedTuple):
    """A cell's plan as the calls read it."""

    gates: int  # columns of H: the input products', then the noises'
    noises: int
    extra: int
    separate: int
    bias_ih: int  # which parameter it is
    products: tuple[int, ...]  # and those that a step multiplies by
    projections: tuple[int, ...]  # some of them
    # of each parameter, whether a pass reads it, and whether the pass back adds its gradient up
    read_forward: tuple[bool, ...]
    read_backward: tuple[bool, ...]
    summed: tuple[bool, ...]
    operands: tuple[Operand, ...]
    runs: tuple[tuple[Run, ...], ...]  # of each operand, block by block
    joined: tuple[tuple[Run, ...], ...]  # and as few as can be

    @property
    def replaces_extra(self) -> bool:
        """Whether gradients of products may replace the further values that were kept."""
        return 0 < self.separate == self.extra and not self.projections

    @property
    def inputs(self) -> int:
        """How many gates have an input product."""
        return self.gates - self.noises

    def projected_rows(self, weights: Sequence[Tensor | None]) -> int:
        """P of all projections."""
        return sum(_rows(weights[k]) for k in self.projections)

    def size_of_step(self, weights: Sequence[Tensor | None]) -> int:
        """A row's multiplications in one step; of a cell without products as many as its units."""
        size = 0
        for k in self.products:
            weight = weights[k]
            assert weight is not None
            size += weight.numel()
        return size or _rows(weights[0])


def _rows(weight: Tensor | None) -> int:
    assert weight is not None
    return weight.shape[0]


@cache
def layout_of(cell: str) -> Layout:
    """The layout of the cell of this key.  Raises RuntimeError where the engine cannot run it."""
    declared = get_cell(cell)
    if declared.key != declared.name and (against := reason_against_kernels(declared)) is not None:
        raise RuntimeError(against)  # recorded where the engine could
    plan, names = cut(declared), list(declared.parameters)
    parameters = declared.parameters.values()
    gradients = plan.backward.gradients
    runs: list[tuple[Run, ...]] = []
    for operand in plan.operands:
        single = []
        for rank, (name, gate) in enumerate(operand.blocks):
            place = gradients[name, gate]
            row = declared.parameters[name].blocks.index(gate)
            single.append(Run(names.index(name), row, 1, place.kind, place.index, rank))
        runs.append(tuple(single))
    roles = tuple(p.role for p in parameters)
    return Layout(
        gates=len(plan.gates),
        noises=declared.noises,
        extra=plan.extra,
        separate=plan.backward.separate,
        bias_ih=roles.index("input bias"),
        products=tuple(k for k, r in enumerate(roles) if r in ("recurrent", "projection")),
        projections=tuple(k for k, r in enumerate(roles) if r == "projection"),
        read_forward=tuple(not r.startswith("input") for r in roles),
        read_backward=tuple(r in ("recurrent", "projection", "vector") for r in roles),
        summed=tuple(r == "vector" or r.endswith("bias") for r in roles),
        operands=plan.operands,
        runs=tuple(runs),
        joined=tuple(map(_joined, runs)),
    )


def _joined(runs: tuple[Run, ...]) -> tuple[Run, ...]:
    joined: list[Run] = []
    for run in runs:
        last = joined[-1] if joined else None
        if (
            last is not None
            and last.kind == run.kind
            and ((last.row + last.blocks, last.column + last.blocks) == (run.row, run.column))
        ):
            joined[-1] = last._replace(blocks=last.blocks + 1)
        else:
            joined.append(run)
    return tuple(joined)
