"""The language in which every cell is written once.

A cell is a plain function of one time step, ``equations(ops, w, u, *parameters, *states)``:

- ``w.g`` is the input product of gate ``g``:         W_ig x_t + b_ig, [B, H]
- ``u.g(v)`` is the recurrent product of gate ``g``:  W_hg v + b_hg, [B, H]
- ``parameters`` are the cell's further ones, in the order in which it declares them: vectors with
  one entry per unit, ``p.g`` for gate ``g``; or a projection, called as ``p(v)`` = W v
- ``states`` are the states before the step
- ``ops`` offers the functions of `FUNCTIONS` and `COMPARISONS`, and ``mean``, the mean over the
  units of each row; the rest is ``+``, ``-``, ``*`` and ``/`` by element.

It returns ``states(...)``, the new states by name, and ``gates(...)``, the values worth watching.
Called with arrays it computes; called with symbols (`trace`) it becomes a small graph, from which
adjoint.py derives one step of back-propagation through time and the exporters write C++ and LaTeX.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NoReturn

FUNCTIONS = ("sigmoid", "tanh", "relu", "exp", "log", "rsqrt")
COMPARISONS = ("maximum", "minimum")
_NO_BRANCH = (
    "a step cannot branch on a value, which differs from unit to unit; write ops.maximum(a, b), "
    "ops.minimum(a, b) or a gate between the two"
)


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

    def __truediv__(self, other: Expr | float) -> Expr:
        return Binary("div", self, as_expr(other))

    def __rtruediv__(self, other: float) -> Expr:
        return Binary("div", as_expr(other), self)

    def __neg__(self) -> Expr:
        return Binary("mul", Constant(-1.0), self)

    def __bool__(self) -> NoReturn:
        raise TypeError(_NO_BRANCH)

    def __lt__(self, _: Any) -> NoReturn:
        raise TypeError(_NO_BRANCH)

    __le__ = __gt__ = __ge__ = __lt__

    def __pow__(self, _: Any) -> NoReturn:
        raise TypeError("a step cannot take **; write products, or ops.exp and ops.log")

    def __matmul__(self, _: Any) -> NoReturn:
        raise TypeError("a step cannot take @; write u.g(v), or the name of a projection, p(v)")

    def __abs__(self) -> NoReturn:
        raise TypeError("a step cannot take abs; write ops.maximum(a, -a)")

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
class Vector(Expr):
    """``p.gate`` of a vector parameter, [H], the same for every row."""

    parameter: str
    gate: str


@dataclass(frozen=True, eq=False, slots=True)
class State(Expr):
    """The state ``name`` before the step, [B, its width]."""

    name: str


@dataclass(frozen=True, eq=False, slots=True)
class StateGradient(Expr):
    """dL/d(state ``name``) after the step: what comes back from the future."""

    name: str


@dataclass(frozen=True, eq=False, slots=True)
class Unary(Expr):
    """``op`` is one of FUNCTIONS, or ``positive``: 1 where the operand is above 0, else 0."""

    op: str
    a: Expr

    @property
    def operands(self) -> tuple[Expr, ...]:
        return (self.a,)


@dataclass(frozen=True, eq=False, slots=True)
class Binary(Expr):
    """``op`` is add, sub, mul, div or one of COMPARISONS."""

    op: str
    a: Expr
    b: Expr

    @property
    def operands(self) -> tuple[Expr, ...]:
        return (self.a, self.b)


@dataclass(frozen=True, eq=False, slots=True)
class Mean(Expr):
    """The mean over the units of each row: [B, 1], which stands beside every unit."""

    a: Expr

    @property
    def operands(self) -> tuple[Expr, ...]:
        return (self.a,)


@dataclass(frozen=True, eq=False, slots=True)
class Product(Expr):
    """The product of ``a`` and one block of a matrix: the rows of ``gate`` of the recurrent
    weights, with their bias, or the projection ``parameter`` (``gate`` is empty), which has none.

    ``transposed``: of the block's transpose, without bias.
    """

    parameter: str
    gate: str
    a: Expr
    transposed: bool = False

    @property
    def block(self) -> tuple[str, str]:
        return self.parameter, self.gate

    @property
    def operands(self) -> tuple[Expr, ...]:
        return (self.a,)


RECURRENT = "weight_hh"  # the parameter whose blocks ``u`` multiplies by


def as_expr(value: Expr | float) -> Expr:
    """An expression as it is, a number as a `Constant`."""
    return value if isinstance(value, Expr) else Constant(float(value))


def states(**new: Any) -> dict[str, Any]:
    """Name the new states of a step; the first is the layer's output."""
    return new


def gates(**values: Any) -> dict[str, Any]:
    """Name the values of a step that are worth watching."""
    return values


class _SymbolOps:
    """The operations on symbols."""

    @staticmethod
    def mean(a: Expr) -> Expr:
        return Mean(a)

    def __getattr__(self, name: str) -> Callable[..., Expr]:
        if name in FUNCTIONS:
            return lambda a: Unary(name, a)
        if name in COMPARISONS:
            return lambda a, b: Binary(name, as_expr(a), as_expr(b))
        known = ", ".join((*FUNCTIONS, *COMPARISONS, "mean"))
        raise AttributeError(f"ops.{name}: expected one of {known}; write it with these")


class _Blocks:
    """One value per gate, read as an attribute; a name that is no gate is told as one."""

    def __init__(self, what: str, gate_names: Iterable[str], make: Callable[[str], Any]) -> None:
        self._what, self._made = what, {g: make(g) for g in gate_names}

    def __getattr__(self, name: str) -> Any:
        if name in self._made:
            return self._made[name]
        raise AttributeError(
            f"{self._what}.{name}: expected a gate, one of {', '.join(self._made)}"
        )


@dataclass(frozen=True)
class Trace:
    """One step as a graph: ``states`` and ``gates`` by name, in the order the cell names them."""

    states: dict[str, Expr]
    gates: dict[str, Expr]

    @cached_property
    def nodes(self) -> list[Expr]:
        """All that the new states are made of, operands first."""
        return topological(self.states.values())

    @cached_property
    def products(self) -> dict[tuple[str, str], Product]:
        """The product of each block (parameter, gate), in order of computation."""
        return {e.block: e for e in self.nodes if isinstance(e, Product)}

    @cached_property
    def inputs(self) -> dict[str, Input]:
        """The input product of each gate that has one."""
        return {e.gate: e for e in self.nodes if isinstance(e, Input)}


def trace(
    equations: Callable[..., tuple[dict[str, Any], dict[str, Any]]],
    gate_names: tuple[str, ...],
    state_names: tuple[str, ...],
    vectors: Mapping[str, tuple[str, ...]],
    projections: Iterable[str],
) -> Trace:
    """Call ``equations`` on symbols.

    ``vectors``: the gates of each vector parameter.  Raises ValueError, TypeError or
    AttributeError, in the words of the equations, for what cannot be a cell.
    """
    inputs: dict[str, Input] = {g: Input(g) for g in gate_names}
    w = _Blocks("w", gate_names, inputs.__getitem__)
    u = _Blocks("u", gate_names, lambda g: lambda v: Product(RECURRENT, g, v))
    further = [
        *(
            _Blocks(name, blocks, lambda g, name=name: Vector(name, g))
            for name, blocks in vectors.items()
        ),
        *(lambda v, name=name: Product(name, "", v) for name in projections),
    ]
    new, watched = equations(_SymbolOps(), w, u, *further, *(State(s) for s in state_names))
    if tuple(new) != state_names:
        raise ValueError(f"expected the states {state_names}, got {tuple(new)}; name them alike")
    traced = Trace(new, watched)
    products = [e.block for e in traced.nodes if isinstance(e, Product)]
    for parameter, gate in products:
        if products.count((parameter, gate)) > 1:
            name = f"u.{gate}" if gate else parameter
            raise ValueError(
                f"{name}: expected one product a step, got more; keep it in a variable"
            )
    return traced


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


def evaluate(
    roots: Mapping[Any, Expr],
    leaf: Callable[[Expr], Any],
    ops: Any,
    product: Callable[[Product, Any], Any],
    values: dict[Expr, Any],
) -> dict[Any, Any]:
    """Compute ``roots`` on arrays, by the same keys.

    ``leaf`` gives the array of an `Input`, `Vector`, `State` or `StateGradient`; ``product`` that
    of a `Product` of this operand; ``values`` holds what is already known (a forward pass's nodes,
    for the backward one) and receives what is computed.
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
                values[node] = _apply(op, ops)(values[a], values[b])
            case Mean(a):
                values[node] = ops.mean(values[a])
            case Product():
                values[node] = product(node, values[node.a])
            case _:
                values[node] = leaf(node)
    return {name: values[node] for name, node in roots.items()}


def _apply(op: str, ops: Any) -> Callable[[Any, Any], Any]:
    return _ARITHMETIC.get(op) or getattr(ops, op)


_ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
}
