"""A cell's step cut into phases, there and back, for the compiled engine.

A product of weights and computed values, and the mean over a row's units, need all units of what
they take.  So they cut the step: a phase begins with products, goes on unit by unit, and ends where
the next one needs all of its units.  The step back is cut by its transposed products and means.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from tidegate.equations.backward_phases import Gradients, backward_phases
from tidegate.equations.expr import (
    Expr,
    Input,
    Mean,
    Product,
    State,
)
from tidegate.equations.forward_phases import forward_phases, is_stored, levels
from tidegate.equations.plan import Operand, Place, Plan
from tidegate.equations.tracing import Trace

if TYPE_CHECKING:
    from tidegate.cells import Cell

_MOST = 8  # states of a cell, its projections, and operands of its products
_MOST_BLOCKS = 16  # its products, and its vectors of H


@cache
def cut(cell: Cell) -> Plan:
    """Make the plan of a cell.  Raises ValueError, with the line, for what has none."""
    _refuse(cell)
    trace = cell.trace
    gates = (*(g for g in cell.gates if g in trace.inputs), *trace.noises)
    vectors = tuple((n, b) for n, blocks in cell.vectors.items() for b in blocks)
    operands = _operands(cell)
    if len(operands) > _MOST or len(trace.products) > _MOST_BLOCKS or len(vectors) > _MOST_BLOCKS:
        raise trace.refusal(
            f"expected at most {_MOST} operands of products, {_MOST_BLOCKS} products and "
            f"{_MOST_BLOCKS} vectors, got {len(operands)}, {len(trace.products)} and "
            f"{len(vectors)}; make it of fewer",
        )
    level = levels(trace)
    gradients = Gradients(cell, operands)
    kept = gradients.kept
    saved = _places(trace, kept, gates, level)
    forward = forward_phases(cell, operands, saved, gates, vectors)
    backward = backward_phases(cell, gradients, operands, saved, gates, vectors)
    extra = sum(p.kind == "extra" for p in saved.values())
    return Plan(gates, extra, operands, vectors, forward, backward)


def _operands(cell: Cell) -> tuple[Operand, ...]:
    """What products take, in the order of the declared blocks; what a parameter's share, once."""
    found: dict[tuple[Expr, str], list[tuple[str, str]]] = {}
    for name, parameter in cell.parameters.items():
        for gate in parameter.blocks:
            product = cell.trace.products.get((name, gate))
            if product is not None:
                found.setdefault((product.a, name), []).append((name, gate))
    names = list(cell.states)
    return tuple(
        Operand(e, names.index(e.name) if isinstance(e, State) else None, tuple(blocks))
        for (e, _), blocks in found.items()
    )


def _places(
    trace: Trace, kept: list[Expr], gates: tuple[str, ...], level: dict[Expr, int]
) -> dict[Expr, Place]:
    """Where the kept values stand: in the columns of input products that are needed no more.

    A gate has its own column where that can be; an input product that is kept itself stays.
    """
    last = {g: _last_use(trace, trace.inputs[g], level) for g in gates}
    owners: dict[str, Expr] = {n.gate: n for n in kept if isinstance(n, Input)}

    def is_free(gate: str, node: Expr) -> bool:
        return gate not in owners and last[gate] <= level[node]

    for gate in gates:
        node = trace.gates.get(gate)
        if (
            node is not None
            and node in kept
            and node not in owners.values()
            and is_free(gate, node)
        ):
            owners[gate] = node
    others: list[Expr] = []
    for node in kept:
        if node not in owners.values():
            gate = next((g for g in gates if is_free(g, node)), None)
            if gate is None:
                others.append(node)
            else:
                owners[gate] = node
    columns = {owners[g]: Place("gate", k) for k, g in enumerate(gates) if g in owners}
    return columns | {e: Place("extra", k) for k, e in enumerate(others)}


def _last_use(trace: Trace, leaf: Expr, level: dict[Expr, int]) -> int:
    """The level of the last phase that may load this leaf, values being computed anew from it."""
    last = 0
    reach = {leaf}
    for node in trace.nodes:
        if any(o in reach for o in node.operands):
            ends = isinstance(node, Mean | Product)  # its operand is stored one level below
            last = max(last, level[node] - ends)
            if not ends and not is_stored(node):
                reach.add(node)
    return last


def _refuse(cell: Cell) -> None:
    """Raise ValueError for what the engine has no phases for."""
    trace, projected = cell.trace, [n for n, s in cell.states.items() if s.width == "P"]
    if not trace.inputs.keys() & cell.gates.keys():
        raise trace.refusal("expected an input product, got none; let a gate take w.gate")
    wide = [trace.states[n] for n in projected]
    for name, node in zip(projected, wide, strict=True):
        if not (isinstance(node, Product) and not node.gate):
            raise trace.refusal(
                f"{name}: expected the result of a projection as the new state of width P, got "
                "another; compute with H units first and project what comes of it",
                node,
            )
    for node in trace.nodes:
        if isinstance(node, Product) and not node.gate and node not in wide:
            raise trace.refusal(
                f"{node.parameter}: expected its result to be a new state of width P and nothing "
                "else; compute with H units and project last",
                node,
            )
        for operand in node.operands:
            narrow = isinstance(operand, State) and operand.name in projected
            if operand in wide or (narrow and not (isinstance(node, Product) and node.gate)):
                raise trace.refusal(
                    "expected a state of width P in recurrent products alone, got it elsewhere; "
                    "keep a state of H units for that",
                    node,
                )
    if len(cell.states) > _MOST:
        raise trace.refusal(
            f"expected at most {_MOST} states, got {len(cell.states)}; make it of fewer"
        )
