"""The phases of a step forward."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from tidegate.equations.expr import (
    Constant,
    Expr,
    Input,
    Mean,
    Product,
    State,
    Unary,
    Vector,
    is_sum_of_products,
)
from tidegate.equations.plan import Block, Forward, Operand, Phase, Place
from tidegate.equations.tracing import Trace

if TYPE_CHECKING:
    from tidegate.cells import Cell


def levels(trace: Trace) -> dict[Expr, int]:
    """How many products of computed values, and means, each node stands above.

    A product of a state as it is could be made at once; it is made where it is first needed.
    """
    level: dict[Expr, int] = {}
    for node in trace.nodes:
        below = max((level[o] for o in node.operands), default=0)
        if isinstance(node, Mean) or (isinstance(node, Product) and not _is_raw(node)):
            below += 1
        level[node] = below
    for node in trace.nodes:
        if isinstance(node, Product) and _is_raw(node):
            users = [u for u in trace.nodes if node in u.operands]
            needed = [level[u] - isinstance(u, Mean | Product) for u in users]
            level[node] = 0 if node in trace.states.values() else min(needed)
    return level


def is_stored(node: Expr) -> bool:
    """Whether a later phase loads it, and does not compute it anew."""
    return isinstance(node, Unary) or is_sum_of_products(node)


def _is_raw(product: Product) -> bool:
    return isinstance(product.a, State)


def below(roots: Iterable[Expr], is_leaf: Callable[[Expr], bool]) -> list[Expr]:
    """The leaves that roots are computed from."""
    found: dict[Expr, None] = {}
    seen: set[Expr] = set()

    def visit(node: Expr) -> None:
        if node in seen:
            return
        seen.add(node)
        if is_leaf(node):
            found[node] = None
        for operand in () if is_leaf(node) else node.operands:
            visit(operand)

    for root in roots:
        visit(root)
    return [n for n in found if not isinstance(n, Constant)]


def forward_phases(
    cell: Cell,
    operands: tuple[Operand, ...],
    saved: dict[Expr, Place],
    gates: tuple[str, ...],
    vectors: tuple[Block, ...],
) -> Forward:
    """Cut the step; ``saved`` says where what the pass back needs is kept."""
    trace, states = cell.trace, list(cell.states)
    level = levels(trace)
    new = {n: e for n, e in trace.states.items() if cell.states[n].width == "H"}
    wide = {e: n for n, e in trace.states.items() if n not in new}
    computed = [o.value for o in operands if o.state is None]
    averaged = dict.fromkeys(n.a for n in trace.nodes if isinstance(n, Mean))
    carried: dict[Expr, int] = {e: k for k, e in enumerate(averaged)}
    kept = [e for e in saved if not isinstance(e, Input)]
    roots: dict[int, dict[Expr, None]] = {}
    for node in [*new.values(), *computed, *carried, *kept]:
        roots.setdefault(level[node], {})[node] = None

    # from the last phase to the first, as each may need more of those before
    leaves: dict[int, list[Expr]] = {}
    loaded: dict[Expr, bool] = {}
    for q in range(max(level.values()), -1, -1):

        def is_leaf(node: Expr, q: int = q) -> bool:
            late = is_stored(node) and level[node] < q
            return not node.operands or late or isinstance(node, Product | Mean)

        leaves[q] = below(roots.get(q, ()), is_leaf)
        for node in leaves[q]:
            if (is_stored(node) or isinstance(node, Product)) and level[node] < q:
                roots.setdefault(level[node], {})[node] = None
                if node in saved and saved[node].kind == "gate":
                    loaded[node] = True
                else:
                    carried.setdefault(node, len(carried))

    def load(node: Expr, made: list[Product]) -> Place:
        match node:
            case Input(gate):
                return Place("gate", gates.index(gate))
            case State(name):
                return Place("before", states.index(name))
            case Vector(parameter, gate):
                return Place("vector", vectors.index((parameter, gate)))
            case Mean(a):
                return Place("mean", carried[a])
            case Product() if node in made:
                return Place("product", made.index(node))
        return Place("carried", carried[node]) if node in carried else saved[node]

    order = [b for o in operands for b in o.blocks]
    phases: list[Phase] = []
    for q in range(max(level.values()) + 1):
        here = [e for e in roots.get(q, ())]
        stores = [
            *((saved[e]._replace(flag=e in loaded), e) for e in here if e in saved),
            *((Place("carried", carried[e]), e) for e in here if e in carried),
            *(
                (Place("operand", k), o.value)
                for k, o in enumerate(operands)
                if o.state is None and level[o.value] == q
            ),
            *((Place("state", states.index(n)), e) for n, e in new.items() if level[e] == q),
        ]
        all_made = [trace.products[b] for b in order if level[trace.products[b]] == q]
        if stores:
            made = [p for p in all_made if p not in wide]
            loads = {e: load(e, made) for e in leaves[q]}
            phases.append(Phase(q, "H", loads, tuple(stores), tuple(made)))
        made = [p for p in all_made if p in wide]
        if made:
            loads: dict[Expr, Place] = {p: Place("product", k) for k, p in enumerate(made)}
            stores = [(Place("state", states.index(wide[p])), p) for p in made]
            phases.append(Phase(q, "P", loads, tuple(stores), tuple(made)))

    def last_use(state: str) -> int:
        uses = [q for q in leaves for e in leaves[q] if isinstance(e, State) and e.name == state]
        return max(uses, default=0)

    taken = {o.state for o in operands}
    in_place = tuple(
        k not in taken and last_use(n) <= level[trace.states[n]] for k, n in enumerate(states)
    )
    return Forward(tuple(phases), len(carried), in_place)
