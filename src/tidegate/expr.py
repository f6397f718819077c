"""The language in which every cell is written once, and what can be read off an equation.

A cell is a plain function ``equations(ops, w, u, *state)`` of one time step:

- ``w.g`` is the input product of block ``g``:      W_ig x_t + b_ig
- ``u.g(v)`` is the recurrent product of block ``g``: W_hg v + b_hg
- ``ops`` offers ``sigmoid``, ``tanh`` and ``relu``; the rest is ``+``, ``-`` and ``*`` by element.

It returns ``states(...)``, the new states by name, and ``gates(...)``, the values worth watching.
Called with arrays it computes; called with symbols (`trace`) it becomes a small graph, from which
`adjoint` derives one step of back-propagation through time (the chain rule, Werbos 1990) and the
exporters write C++, LaTeX and ONNX.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import SimpleNamespace
from typing import Any


class Expr:
    """A node of a traced equation.  Nodes are compared by identity: sharing one is meaningful."""

    __slots__ = ()

    def __add__(self, other: Expr | float) -> Expr:
        return Binary("add", self, as_expr(other))

    def __radd__(self, other: float) -> Expr:
        return Binary("add", as_expr(other), self)

    def __sub__(self, other: Expr | float) -> Expr:
        return Binary("sub", self, as_expr(other))

    def __rsub__(self, other: float) -> Expr:
        return Binary("sub", as_expr(other), self)

    def __mul__(self, other: Expr | float) -> Expr:
        return Binary("mul", self, as_expr(other))

    def __rmul__(self, other: float) -> Expr:
        return Binary("mul", as_expr(other), self)

    @property
    def operands(self) -> tuple[Expr, ...]:
        return ()


@dataclass(frozen=True, eq=False, slots=True)
class Constant(Expr):
    """A number in an equation."""

    value: float


@dataclass(frozen=True, eq=False, slots=True)
class Input(Expr):
    """``w.gate``, one [B, H] block of W_i x_t + b_i."""

    gate: str


@dataclass(frozen=True, eq=False, slots=True)
class State(Expr):
    """The state ``name`` before the step, [B, H]."""

    name: str


@dataclass(frozen=True, eq=False, slots=True)
class StateGradient(Expr):
    """dL/d(state ``name``) after the step, [B, H]: what comes back from the future."""

    name: str


@dataclass(frozen=True, eq=False, slots=True)
class Unary(Expr):
    """``op`` is sigmoid, tanh or relu, or ``positive``: 1 where the operand is above 0, else 0."""

    op: str
    a: Expr

    @property
    def operands(self) -> tuple[Expr, ...]:
        return (self.a,)


@dataclass(frozen=True, eq=False, slots=True)
class Binary(Expr):
    """``op`` is add, sub or mul."""

    op: str
    a: Expr
    b: Expr

    @property
    def operands(self) -> tuple[Expr, ...]:
        return (self.a, self.b)


@dataclass(frozen=True, eq=False, slots=True)
class Product(Expr):
    """``u.gate(a)`` = W_h a + b_h of one gate's rows; ``transposed``: W_h^T a, without bias."""

    gate: str
    a: Expr
    transposed: bool = False

    @property
    def operands(self) -> tuple[Expr, ...]:
        return (self.a,)


def as_expr(value: Expr | float) -> Expr:
    """An expression as it is, a number as a `Constant`."""
    return value if isinstance(value, Expr) else Constant(float(value))


def states(**new: Any) -> dict[str, Any]:
    """Name the new states of a step; the first is the layer's output."""
    return new


def gates(**values: Any) -> dict[str, Any]:
    """Name the values of a step that are worth watching."""
    return values


class SymbolOps:
    """The operations on symbols."""

    sigmoid = staticmethod(lambda a: Unary("sigmoid", a))
    tanh = staticmethod(lambda a: Unary("tanh", a))
    relu = staticmethod(lambda a: Unary("relu", a))


@dataclass(frozen=True)
class Trace:
    """One step as a graph: ``states`` and ``gates`` by name, in the order the cell names them."""

    states: dict[str, Expr]
    gates: dict[str, Expr]

    @cached_property
    def products(self) -> dict[str, Product]:
        """The recurrent product of each block, in order of computation."""
        return {e.gate: e for e in topological(self.states.values()) if isinstance(e, Product)}


@dataclass(frozen=True)
class Adjoint:
    """One step backward: expressions of the trace's own nodes and `StateGradient` leaves.

    ``inputs[g]`` is dL/d(w.g); ``products[g]`` is dL/d(u.g(v)), so that dL/dW_hg adds up
    products[g]^T v over time; ``states[s]`` is dL/d(state s before the step).
    """

    inputs: dict[str, Expr]
    products: dict[str, Expr]
    states: dict[str, Expr]


def trace(
    equations: Callable[..., tuple[dict[str, Any], dict[str, Any]]],
    gate_names: tuple[str, ...],
    state_names: tuple[str, ...],
) -> Trace:
    """Call ``equations`` on symbols."""
    w = SimpleNamespace(**{g: Input(g) for g in gate_names})
    u = SimpleNamespace(**{g: lambda v, g=g: Product(g, v) for g in gate_names})
    new, watched = equations(SymbolOps, w, u, *(State(s) for s in state_names))
    if tuple(new) != state_names:
        raise ValueError(f"expected the states {state_names}, got {tuple(new)}; name them alike")
    return Trace(new, watched)


def topological(roots: Iterable[Expr], known: Container[Expr] = ()) -> list[Expr]:
    """All nodes below ``roots``, operands first, each once; ``known`` ones and what only they need
    are left out.
    """
    order: dict[Expr, None] = {}

    def visit(node: Expr) -> None:
        if node not in order and node not in known:
            for operand in node.operands:
                visit(operand)
            order[node] = None

    for root in roots:
        visit(root)
    return list(order)


def adjoint(forward: Trace) -> Adjoint:
    """Derive the backward step of a traced cell by the chain rule, newest node first."""
    gradient: dict[Expr, Expr] = {}

    def add(node: Expr, term: Expr) -> None:
        gradient[node] = gradient[node] + term if node in gradient else term

    for name, node in forward.states.items():
        add(node, StateGradient(name))
    nodes = topological(forward.states.values())
    for node in reversed(nodes):
        if node not in gradient or not node.operands:
            continue
        for operand, term in zip(node.operands, _chain(node, gradient[node]), strict=True):
            if not isinstance(operand, Constant):
                add(operand, term)

    zero = Constant(0.0)
    by_kind = {kind: [n for n in nodes if isinstance(n, kind)] for kind in (Input, Product, State)}

    def total(kind: type, label: str, name: str) -> Expr:
        terms = [gradient[n] for n in by_kind[kind] if getattr(n, label) == name and n in gradient]
        result = terms[0] if terms else zero
        for term in terms[1:]:
            result = result + term
        return result

    gate_names = dict.fromkeys(n.gate for n in nodes if isinstance(n, Input | Product))
    return Adjoint(
        inputs={g: total(Input, "gate", g) for g in gate_names},
        products={g: total(Product, "gate", g) for g in gate_names},
        states={s: total(State, "name", s) for s in forward.states},
    )


def _chain(node: Expr, g: Expr) -> tuple[Expr, ...]:
    """The gradient that ``node`` hands to each of its operands, given its own, ``g``."""
    match node:
        case Unary("sigmoid"):
            return (g * (node * (1 - node)),)
        case Unary("tanh"):
            return (g * (1 - node * node),)
        case Unary("relu"):
            return (g * Unary("positive", node),)
        case Binary("add"):
            return g, g
        case Binary("sub"):
            return g, Constant(-1.0) * g
        case Binary("mul", a, b):
            return g * b, g * a
        case Product(gate):
            return (Product(gate, g, transposed=True),)
    raise TypeError(f"no derivative rule for {node}")


def evaluate(
    roots: Mapping[Any, Expr],
    leaf: Callable[[Expr], Any],
    ops: Any,
    product: Callable[[str, Any, bool], Any],
    values: dict[Expr, Any],
) -> dict[Any, Any]:
    """Compute ``roots`` on arrays, by the same keys.

    ``leaf`` gives the array of an `Input`, `State` or `StateGradient`; ``product(gate, v,
    transposed)`` the recurrent product; ``values`` holds what is already known (a forward pass's
    nodes, for the backward one) and receives what is computed.
    """
    for node in topological(roots.values()):
        if node in values:
            continue
        match node:
            case Constant(value):
                values[node] = value
            case Unary(op, a):
                values[node] = getattr(ops, op)(values[a])
            case Binary(op, a, b):
                values[node] = _ARITHMETIC[op](values[a], values[b])
            case Product(gate, a, transposed):
                values[node] = product(gate, values[a], transposed)
            case _:
                values[node] = leaf(node)
    return {name: values[node] for name, node in roots.items()}


_ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
}
