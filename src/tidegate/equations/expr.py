"""The language in which every cell is written once.

A cell is a plain function of one time step, ``equations(ops, w, u, *parameters, *states)``:

- ``w.g`` is the input product of gate ``g``:         W_ig x_t + b_ig, [B, H]
- ``u.g(v)`` is the recurrent product of gate ``g``:  W_hg v + b_hg, [B, H]; of a cell with heads
  W_hg is block-diagonal
- ``parameters`` are the cell's further ones, in the order in which it declares them: vectors with
  one entry per unit, ``p.g`` for gate ``g``; or a projection, called as ``p(v)`` = W v
- ``states`` are the states before the step
- ``ops`` offers the functions of `FUNCTIONS` and `COMPARISONS`, and those of activations.py, which
  are made of these; ``mean``, the mean over the units of each row; and ``noise()``, standard normal
  numbers [B, H], at each call and step others in training, zeros otherwise.  The rest is ``+``,
  ``-``, ``*`` and ``/`` by element.

It returns ``states(...)``, the new states by name, and ``gates(...)``, the values worth watching.
Called with arrays it computes; called with symbols (tracing.py) it becomes a small graph, from
which adjoint.py derives one step of back-propagation through time and the exporters write C++ and
LaTeX.  What the language cannot say is refused there, at the line of the statement.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from tidegate.equations.activations import ACTIVATIONS
from tidegate.equations.refusal import Line, is_tracing, refusal_here, statement

FUNCTIONS = ("sigmoid", "tanh", "relu", "exp", "log", "rsqrt", "erf")
COMPARISONS = ("maximum", "minimum")


class Expr:
    """A node of a traced equation.  Nodes are compared by identity: sharing one is meaningful.

    ``line``: where the equations make it; None for what they are given and what is derived.
    """

    __slots__ = ("line",)
    line: Line | None

    def __new__(cls, *_: Any, **__: Any) -> Expr:
        node = object.__new__(cls)
        object.__setattr__(node, "line", statement())  # nodes are frozen
        return node

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

    def __eq__(self, other: object) -> bool:
        if is_tracing():
            raise refusal_here(_NO_BRANCH, TypeError)
        return self is other

    __hash__ = object.__hash__

    def __getattr__(self, name: str) -> NoReturn:
        known = name in (*FUNCTIONS, *COMPARISONS, *ACTIVATIONS, "mean")
        advice = f"write ops.{name}(a)" if known else f"write it with {_OFFERED}"
        raise refusal_here(f"a value of a step has no .{name}; {advice}", AttributeError)

    @classmethod
    def __torch_function__(cls, function: Any, *_: Any) -> NoReturn:
        _refuse_call(getattr(function, "__name__", "a function of torch"))

    def __array_ufunc__(self, function: Any, *_: Any, **__: Any) -> NoReturn:
        _refuse_call(function.__name__)

    def __array_function__(self, function: Any, *_: Any) -> NoReturn:
        _refuse_call(function.__name__)

    @property
    def operands(self) -> tuple[Expr, ...]:
        return ()


_OFFERED = (
    f"+, -, *, / and ops.{', ops.'.join((*FUNCTIONS, *COMPARISONS, 'mean', 'noise'))} or an "
    f"activation such as ops.{', ops.'.join(list(ACTIVATIONS)[:3])}"
)
_NO_BRANCH = (
    "a step cannot branch on a value, which differs from unit to unit, or compare it; write "
    "ops.maximum(a, b), ops.minimum(a, b) or a gate between the two"
)
_IN_PLACE = "a step cannot change a value in place; give the result a name, as in a = a + b"
_NO_PARTS = "a step cannot take some of a value's units; give them a gate or a state of their own"
_IMPOSSIBLE = {
    _NO_BRANCH: "bool lt le gt ge",
    _IN_PLACE: "iadd isub imul itruediv ipow imatmul imod ifloordiv setitem delitem",
    _NO_PARTS: "getitem iter len contains reversed",
    "a step cannot take **; write products, or ops.exp and ops.log": "pow rpow",
    "a step cannot take @; write u.g(v), or the name of a projection, p(v)": "matmul rmatmul",
    "a step cannot take abs; write ops.maximum(a, -a)": "abs",
    f"a step cannot take this; write it with {_OFFERED}": (
        "mod rmod floordiv rfloordiv divmod rdivmod round trunc floor ceil and or xor invert pos"
    ),
    f"a value of a step is no number yet, as math's functions want; write it with {_OFFERED}": (
        "float int index complex array"
    ),
}


def _refusing(problem: str) -> Callable[..., NoReturn]:
    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise refusal_here(problem, TypeError)

    return refuse


def _refuse_call(function: str) -> NoReturn:
    advice = {"sqrt": "1 / ops.rsqrt(a)", "clip": "ops.maximum(low, ops.minimum(a, high))"}
    offered = function in (*FUNCTIONS, *COMPARISONS, *ACTIVATIONS, "mean")
    way = advice.get(function, f"ops.{function}" if offered else f"it with {_OFFERED}")
    raise refusal_here(
        f"{function}: a step is called on symbols, too, which only ops takes; write {way}",
        TypeError,
    )


for _problem, _names in _IMPOSSIBLE.items():
    for _name in _names.split():
        setattr(Expr, f"__{_name}__", _refusing(_problem))


@dataclass(frozen=True, eq=False, slots=True)
class Constant(Expr):
    """A number in an equation."""

    value: float


@dataclass(frozen=True, eq=False, slots=True)
class Input(Expr):
    """``w.gate``, one [B, H] block of W_i x_t + b_i."""

    gate: str


@dataclass(frozen=True, eq=False, slots=True)
class Noise(Input):
    """``ops.noise()``: numbers that are given for each unit and step, as input products are.

    ``gate`` names no gate, but the order of the calls.
    """


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


def is_sum_of_products(node: Expr) -> bool:
    """Whether it adds up input products and recurrent ones: what is kept as one value, not two."""
    return (
        isinstance(node, Binary)
        and node.op == "add"
        and all(isinstance(o, Input | Product) or is_sum_of_products(o) for o in node.operands)
    )


RECURRENT = "weight_hh"  # the parameter whose blocks ``u`` multiplies by


def as_expr(value: Any) -> Expr:
    """An expression as it is, a number as a `Constant`."""
    if isinstance(value, Expr):
        return value
    try:
        return Constant(float(value))
    except (TypeError, ValueError):
        remedy = "make what is learned a vector or a projection of the cell"
        if callable(value):
            remedy = "call it: u.g is a product, and u.g(v) its value; so are a projection and p(v)"
        raise refusal_here(
            f"expected a value of the step or a number, got {type(value).__name__}; {remedy}",
            TypeError,
        ) from None


def states(**new: Any) -> dict[str, Any]:
    """Name the new states of a step; the first is the layer's output.

    >>> from tidegate import states
    >>> states(h=0.5, c=1.0)
    {'h': 0.5, 'c': 1.0}
    """
    return new


def gates(**values: Any) -> dict[str, Any]:
    """Name the values of a step that are worth watching.

    >>> from tidegate import gates
    >>> gates(z=0.25)
    {'z': 0.25}
    """
    return values


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

    ``leaf`` gives the array of an `Input`, `Noise`, `Vector`, `State` or `StateGradient`;
    ``product`` that of a `Product` of this operand; ``values`` holds what is already known (a
    forward pass's nodes, for the backward one) and receives what is computed.
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
