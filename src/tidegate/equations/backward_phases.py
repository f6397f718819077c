"""The phases of a step back: the adjoint, with what all products of an operand hand back as one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tidegate.equations.expr import (
    Binary,
    Constant,
    Expr,
    Input,
    Mean,
    Product,
    State,
    StateGradient,
    Unary,
    Vector,
    is_sum_of_products,
)
from tidegate.equations.forward_phases import below
from tidegate.equations.plan import Backward, Block, Operand, Phase, Place

if TYPE_CHECKING:
    from tidegate.cells import Cell


@dataclass(frozen=True, eq=False, slots=True)
class OperandGradient(Expr):
    """dL/d(an operand): the transposed products of all blocks that take it, added up."""

    operand: int


class Gradients:
    """The adjoint in terms of leaves that the engine has, with the level of each node.

    ``inputs`` by gate, ``products`` and ``vectors`` by block; ``states`` by name, in terms to be
    added up, without the transposed products of the state itself.  ``kept``: the values of the
    forward pass that all this is computed from.
    """

    def __init__(self, cell: Cell, operands: tuple[Operand, ...]) -> None:
        self._cell, self._operands = cell, operands
        self._forward = set(cell.trace.nodes)
        self._handed = [OperandGradient(k) for k in range(len(operands))]
        self._slots = {b: k for k, o in enumerate(operands) for b in o.blocks}
        self._rewritten: dict[Expr, Expr] = {}
        self._levels: dict[Expr, int] = {}
        self._passes: dict[Expr, bool] = {}
        adjoint = cell.adjoint
        self.products = {b: self._rewrite(e) for b, e in adjoint.products.items()}
        self.inputs = {g: self._rewrite(e) for g, e in adjoint.inputs.items()}
        self.vectors = {b: self._rewrite(e) for b, e in adjoint.vectors.items()}
        self.states = {
            name: [
                t
                for t in self._rewritten_terms(e)
                if not (isinstance(t, OperandGradient) and self._is_own(t, name))
                and not (isinstance(t, Constant) and t.value == 0)
            ]
            for name, e in adjoint.states.items()
        }
        self.kept = self._kept()

    def _is_own(self, term: OperandGradient, state: str) -> bool:
        value = self._operands[term.operand].value
        return isinstance(value, State) and value.name == state

    def _kept(self) -> list[Expr]:
        roots = [*self.inputs.values(), *self.products.values(), *self.vectors.values()]
        roots += [t for terms in self.states.values() for t in terms]
        roots += [o.value for o in self._operands if o.state is None]
        wanted = set(below(roots, self._is_kept))
        return [n for n in self._cell.trace.nodes if n in wanted and self._is_kept(n)]

    def _is_kept(self, node: Expr) -> bool:
        values = isinstance(node, Unary | Product | Mean | Input) or is_sum_of_products(node)
        return node in self._forward and values

    def passes_through(self, node: Expr) -> bool:
        """Whether it holds a gradient, and not just values of the forward pass."""
        if node not in self._passes:
            here = isinstance(node, StateGradient | OperandGradient)
            self._passes[node] = here or any(self.passes_through(o) for o in node.operands)
        return self._passes[node]

    def level(self, node: Expr) -> int:
        """How many transposed products, and means of gradients, it stands above."""
        if node not in self._levels:
            self._levels[node] = self._level(node)
        return self._levels[node]

    def _level(self, node: Expr) -> int:
        if node in self._forward:
            return 0
        if isinstance(node, OperandGradient):
            return 1 + self.level_of_operand(node.operand)
        highest = max((self.level(o) for o in node.operands), default=0)
        return highest + 1 if isinstance(node, Mean) else highest

    def level_of_operand(self, operand: int) -> int:
        """Of the last of the gradients whose transposed products the operand's is the sum of."""
        products = self._cell.adjoint.products
        return max(self.level(self._rewrite(products[b])) for b in self._operands[operand].blocks)

    def _rewrite(self, node: Expr) -> Expr:
        if node not in self._rewritten:
            self._rewritten[node] = self._of_leaves(node)
        return self._rewritten[node]

    def _of_leaves(self, node: Expr) -> Expr:
        if node in self._forward or not node.operands:
            return node
        if self._is_sum(node) or isinstance(node, Product):
            terms = self._rewritten_terms(node)
            handed = any(isinstance(t, OperandGradient) for t in terms)
            if isinstance(node, Binary) and not handed and len({self.level(t) for t in terms}) == 1:
                return self._rewritten_binary(node)
            total = terms[0]
            for term in terms[1:]:
                total = total + term
            return total
        match node:
            case Unary(op, a):
                return node if (new := self._rewrite(a)) is a else Unary(op, new)
            case Mean(a):
                return Mean(self._rewrite(a))
            case Binary():
                return self._rewritten_binary(node)
        raise TypeError(f"no phase for {node}")

    def _rewritten_binary(self, node: Binary) -> Expr:
        x, y = self._rewrite(node.a), self._rewrite(node.b)
        return node if x is node.a and y is node.b else Binary(node.op, x, y)

    def _is_sum(self, node: Expr) -> bool:
        return node not in self._forward and isinstance(node, Binary) and node.op == "add"

    def _rewritten_terms(self, node: Expr) -> list[Expr]:
        """The terms of a sum: first those of the earlier phases, which are added up there."""
        terms: list[Expr] = []
        for term in self._terms(node):
            if isinstance(term, Product) and term.transposed:
                handed = self._handed[self._slots[term.block]]
                if handed not in terms:
                    terms.append(handed)
            else:
                terms.append(self._rewrite(term))
        return sorted(terms, key=self.level)

    def _terms(self, node: Expr) -> list[Expr]:
        if self._is_sum(node):
            return [t for operand in node.operands for t in self._terms(operand)]
        return [node]


def backward_phases(
    cell: Cell,
    gradients: Gradients,
    operands: tuple[Operand, ...],
    saved: dict[Expr, Place],
    gates: tuple[str, ...],
    vectors: tuple[Block, ...],
) -> Backward:
    """Cut the step back; ``saved`` says where the forward pass left its values."""
    states, level = list(cell.states), gradients.level
    is_wide = [s.width == "P" for s in cell.states.values()]
    columns: dict[Expr, Place] = {}
    for k, gate in enumerate(gates):
        columns.setdefault(gradients.inputs[gate], Place("d_gate", k))
    placed: dict[Block, Place] = {}
    separate: dict[Expr, int] = {}
    wide = [b for o in operands for b in o.blocks if not o.is_masked]
    for block, e in gradients.products.items():
        if block in wide:
            placed[block] = Place("d_projected", wide.index(block))
        elif e in columns:
            placed[block] = columns[e]
        else:
            placed[block] = Place("d_product", separate.setdefault(e, len(separate)))

    # in which phase a state's gradient is first replaced, and by what
    first: list[int] = []
    adds: dict[int, bool] = {}
    roots: dict[tuple[int, str], list[tuple[Place, Expr]]] = {}

    def ask(place: Place, e: Expr, width: str = "H") -> None:
        roots.setdefault((level(e), width), []).append((place, e))

    for k, name in enumerate(states):
        by_level: dict[int, Expr] = {}
        for term in gradients.states[name]:
            q = level(term)
            by_level[q] = by_level[q] + term if q in by_level else term
        taken = next((i for i, o in enumerate(operands) if o.state == k), None)
        product = None if taken is None else gradients.level_of_operand(taken)
        if product is None and not by_level:
            by_level[0] = Constant(0.0)
        events = [*by_level, *(() if product is None else (product,))]
        first.append(min(events))
        for q, e in by_level.items():
            adds_it = q > first[k] or (product is not None and product < q)
            ask(Place("d_state", k, adds_it), e, "P" if is_wide[k] else "H")
        if taken is not None:
            assert product is not None
            adds[taken] = min(by_level, default=product + 1) <= product

    for k, gate in enumerate(gates):
        ask(Place("d_gate", k), gradients.inputs[gate])
    for e, k in separate.items():
        ask(Place("d_product", k), e)
    for block in wide:
        ask(placed[block], gradients.products[block], "P")
    for k, block in enumerate(vectors):
        ask(Place("d_vector", k), gradients.vectors.get(block, Constant(0.0)))
    for width in "HP":
        mine = [
            (Place("operand", k), o.value)
            for k, o in enumerate(operands)
            if width == ("P" if o.state is not None and is_wide[o.state] else "H")
        ]
        if mine:
            earliest = min(q for q, w in roots if w == width)
            roots[earliest, width] += mine

    # a kept value is lost once its gradient has replaced it
    lost = {Place("gate", k): level(gradients.inputs[g]) for k, g in enumerate(gates)}
    if not wide and len(separate) == sum(p.kind == "extra" for p in saved.values()):
        lost |= {Place("extra", k): level(e) for e, k in separate.items()}
    carried: dict[Expr, int] = {}
    loads: dict[tuple[int, str], dict[Expr, Place]] = {}

    def carry(e: Expr, q: int) -> Place:
        if e not in carried:
            carried[e] = len(carried)
            roots.setdefault((q, "H"), []).append((Place("carried", carried[e]), e))
        return Place("carried", carried[e])

    def load(node: Expr, q: int) -> Place | None:
        """Where phase ``q`` finds a node; None if it computes it."""
        match node:
            case _ if node in saved:
                place = saved[node]._replace(flag=False)
                return place if lost.get(place, q) >= q else carry(node, lost[place])
            case State(name):
                return Place("before", states.index(name))
            case Vector(parameter, gate):
                return Place("vector", vectors.index((parameter, gate)))
            case StateGradient(name):
                k = states.index(name)
                return Place("after", k) if q <= first[k] else carry(node, first[k])
            case OperandGradient(k):
                return Place("back", k)
            case Mean(a):
                return Place("mean", carry(a, level(a)).index)
        if level(node) < q and gradients.passes_through(node):
            return carry(node, level(node))
        return None

    highest = max(q for q, _ in roots)
    for q in range(highest, -1, -1):
        for width in "PH":
            found: dict[Expr, Place] = {}

            def is_leaf(node: Expr, q: int = q, found: dict[Expr, Place] = found) -> bool:
                place = load(node, q)
                if place is not None:
                    found[node] = place
                return place is not None

            # an operand that is a state is stored where it is wanted, and loaded there
            below([e for _, e in roots.get((q, width), ()) if not isinstance(e, State)], is_leaf)
            loads[q, width] = found

    phases: list[Phase] = []
    for q in range(highest + 1):
        handed = [k for k in range(len(operands)) if gradients.level_of_operand(k) == q]
        keys = [(q, w) for w in "HP" if roots.get((q, w))]
        for key in keys:
            then = tuple(handed) if key == keys[-1] else ()
            stores = tuple(sorted(roots[key], key=_order))
            phases.append(Phase(q, key[1], loads[key], stores, then=then))
    all_adds = tuple(adds.get(k, False) for k in range(len(operands)))
    return Backward(tuple(phases), len(carried), placed, len(separate), all_adds)


def _order(store: tuple[Place, Expr]) -> int:
    kinds = ("d_gate", "d_product", "d_projected", "d_state", "d_vector", "carried", "operand")
    return kinds.index(store[0].kind)
