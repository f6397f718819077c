"""Cells made of others: dropout of candidates, and zoneout.

Both change what a step computes, so each is a cell of its own, with the parameters, gates and
states of the cell that it is made of.  Both take numbers for each unit and step from
``ops.noise()``, which are zeros when not training; who trains says which numbers
(`candidate_noise`, `zoneout_noise` in nn/regularising.py).
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

from tidegate.cells.definition import Cell
from tidegate.cells.graphs import arrays
from tidegate.equations import expr

Probabilities = tuple[tuple[str, float], ...]  # of states, by name


def candidates_of(cell: Cell) -> tuple[str, ...]:
    """The gates that propose a new state: watched, without a role, no state and nothing that
    scales, which a sigmoid and an exponential are.
    """
    states, found = set(map(id, cell.trace.states.values())), []
    for name, node in cell.trace.gates.items():
        scales = isinstance(node, expr.Unary) and node.op in ("sigmoid", "exp")
        if name in cell.gates and not (cell.gates[name].role or scales or id(node) in states):
            found.append(name)
    return tuple(found)


@cache
def scales_of(cell: Cell) -> dict[str, str]:
    """The states that mean nothing without another, which is their common scale: of each its name.

    Such a scale is m of c' = exp(a - m') c + ..., as that of the sLSTM, whose memory is exp(m) c: c
    of one step beside m of another is another memory.
    """
    found = {}
    new = {id(node): name for name, node in cell.trace.states.items()}
    for node in cell.trace.nodes:
        if not (isinstance(node, expr.Binary) and node.op == "mul"):
            continue
        for old, factor in ((node.a, node.b), (node.b, node.a)):
            if not (isinstance(old, expr.State) and isinstance(factor, expr.Unary)):
                continue
            by = factor.a if factor.op == "exp" else None
            if isinstance(by, expr.Binary) and by.op == "sub" and id(by.b) in new:
                found[old.name] = new[id(by.b)]
    return found


@cache
def with_candidate_dropout(cell: Cell) -> Cell:
    """The same with each candidate scaled by 1 + noise: of mean one where the noise has mean zero.

    Source: Semeniuta et al. 2016, arXiv:1603.05118, recurrent dropout without memory loss: what is
    dropped is what is written, never what is kept.  Raises ValueError for a cell that proposes
    nothing but its state itself.
    """
    _need_none(cell, change="candidate_dropout")
    candidates = [cell.trace.gates[name] for name in candidates_of(cell)]
    if not candidates:
        raise ValueError(
            f"candidate_dropout: expected 0 for {cell.name}, which proposes no state beside the "
            "one it keeps, got more; take recurrent_dropout"
        )

    def equations(ops: Any, w: Any, u: Any, *others: Any) -> tuple[dict, dict]:
        names = (*cell.vectors, *cell.projections, *cell.states)
        leaf, product = arrays(names, w, u, others)
        values: dict[expr.Expr, Any] = {}
        expr.evaluate(dict(enumerate(candidates)), leaf, ops, product, values)
        for node in candidates:
            values[node] = values[node] * (1 + ops.noise())
        new = expr.evaluate(cell.trace.states, leaf, ops, product, values)
        return new, expr.evaluate(cell.trace.gates, leaf, ops, product, values)

    return _made(cell, "candidate_dropout", equations)


@cache
def with_zoneout(cell: Cell, probabilities: Probabilities) -> Cell:
    """The same with each of these states as it was before, unit by unit, where noise says so.

    A state's share of the old value is its probability plus the noise: 1 or 0 in training, and
    the probability when not training, which is what is to be expected.

    Source: Krueger et al. 2017, arXiv:1606.01305, eq. of section 3.2: the step computes with its
    own new states, and zoneout comes last.
    """
    _need_none(cell, change="zoneout")

    def equations(ops: Any, w: Any, u: Any, *others: Any) -> tuple[dict, dict]:
        new, watched = cell.equations(ops, w, u, *others)
        before = dict(zip(cell.states, others[-len(cell.states) :], strict=True))
        zoned = dict(new)
        for name, probability in probabilities:
            kept = probability + ops.noise()
            zoned[name] = kept * before[name] + (1 - kept) * new[name]
        return zoned, watched

    return _made(cell, "zoneout", equations)


def _need_none(cell: Cell, change: str) -> None:
    if cell.noises and not cell.name.endswith("_candidate_dropout"):
        raise ValueError(
            f"{change}: expected 0 for {cell.name}, whose equations have noise of their own, got "
            "more; leave it out"
        )


def _made(cell: Cell, change: str, equations: Any) -> Cell:
    made = replace(cell, name=f"{cell.name}_{change}", equations=equations, torch=None, short=None)
    made = replace(made, key="")  # of the name, until the digest is known
    return replace(made, key=f"{made.name}@{made.digest()}")
