"""A cell's equations called on symbols, which makes a graph of them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cached_property, partial
from typing import Any

from tidegate.equations.activations import ACTIVATIONS
from tidegate.equations.expr import (
    COMPARISONS,
    FUNCTIONS,
    RECURRENT,
    Binary,
    Expr,
    Input,
    Mean,
    Noise,
    Product,
    State,
    Unary,
    Vector,
    as_expr,
    topological,
)
from tidegate.equations.refusal import (
    Line,
    first_line,
    last_line,
    refusal,
    refusal_here,
    tracing,
)


@dataclass(frozen=True)
class Trace:
    """One step of ``cell`` as a graph: ``states`` and ``gates`` by name, in the cell's order.

    ``declared`` and ``returned`` are lines of its function, of which some have none.
    """

    cell: str
    states: dict[str, Expr]
    gates: dict[str, Expr]
    noises: tuple[str, ...]  # in the order in which the equations ask for them
    declared: Line | None
    returned: Line | None

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
        """The input product of each gate that has one, and each noise."""
        return {e.gate: e for e in self.nodes if isinstance(e, Input)}

    def text(self) -> str:
        """The graph, line by line: the same for the same operations, whoever writes them."""
        results = {f"state {n}": e for n, e in self.states.items()}
        results |= {f"gate {n}": e for n, e in self.gates.items()}
        number = {node: k for k, node in enumerate(topological(results.values()))}
        lines = []
        for node in number:
            values = [getattr(node, field.name) for field in fields(node)]  # pyright: ignore
            parts = [f"%{number[v]}" if isinstance(v, Expr) else repr(v) for v in values]
            lines.append(" ".join([type(node).__name__, *parts]))
        return "\n".join([*lines, *(f"{name} %{number[e]}" for name, e in results.items())])

    def refusal(self, problem: str, node: Expr | None = None) -> ValueError:
        """The error at the line that makes ``node``, or at the cell's declaration."""
        line = self.declared if node is None else node.line or self.returned
        return refusal(problem, self.cell, line)


def trace(
    cell: str,
    equations: Callable[..., tuple[dict[str, Any], dict[str, Any]]],
    gate_names: tuple[str, ...],
    state_names: tuple[str, ...],
    vectors: Mapping[str, tuple[str, ...]],
    projections: Iterable[str],
) -> Trace:
    """Call the ``equations`` of ``cell`` on symbols.

    ``vectors``: the gates of each vector parameter.  Raises ValueError, TypeError or
    AttributeError, with file and line of the statement, for what cannot be a cell.
    """
    inputs: dict[str, Input] = {g: Input(g) for g in gate_names}
    before = [State(s) for s in state_names]
    w = _Blocks("w", gate_names, inputs.__getitem__)
    u = _Blocks("u", gate_names, lambda g: _product(f"u.{g}", RECURRENT, g))
    further = {
        **{
            name: _Blocks(name, blocks, lambda g, name=name: Vector(name, g))
            for name, blocks in vectors.items()
        },
        **{name: _product(name, name, "") for name in projections},
    }
    declared, returned = first_line(equations), last_line(equations)
    ops = SymbolOps()
    arguments = (ops, w, u, *further.values(), *before)
    try:
        inspect.signature(equations).bind(*arguments)
    except TypeError:
        expected = ", ".join(("ops", "w", "u", *further, *state_names))
        got = ", ".join(inspect.signature(equations).parameters)
        raise refusal(
            f"expected a function of ({expected}), got one of ({got}); take all, in this order",
            cell, declared, TypeError,
        ) from None  # fmt: skip
    with tracing(cell):
        result = equations(*arguments)
    pair = result if isinstance(result, tuple) else (result,)
    if len(pair) != 2 or not all(isinstance(part, dict) for part in pair):
        example = ", ".join(f"{name}=.." for name in state_names)
        got = ", ".join("states or gates" if type(p) is dict else type(p).__name__ for p in pair)
        raise refusal(
            "expected new states and the gates worth watching as the returned value, got "
            f"{got or 'nothing'}; write return states({example}), gates()",
            cell, returned,
        )  # fmt: skip
    new, watched = pair
    if tuple(new) != state_names:
        raise refusal(
            f"expected the states {', '.join(state_names)} from states(..), got "
            f"{', '.join(new) or 'none'}; return each of them, in this order",
            cell, returned,
        )  # fmt: skip
    for name, value in (*new.items(), *watched.items()):
        if not isinstance(value, Expr):
            raise refusal(
                f"{name}: expected a value of the step, got {type(value).__name__}; for a number "
                f"c write 0 * w.{next(iter(gate_names), 'g')} + c",
                cell, returned,
            )  # fmt: skip
    noises = tuple(noise.gate for noise in ops.noises)
    traced = Trace(cell, new, watched, noises, declared, returned)
    for noise in ops.noises:
        if noise.gate not in traced.inputs:
            raise traced.refusal(
                "ops.noise(): expected its numbers in the new states; leave it out", noise
            )
    made = set()
    for node in traced.nodes:
        if isinstance(node, Product):
            if node.block in made:
                name = f"u.{node.gate}" if node.gate else node.parameter
                raise traced.refusal(
                    f"{name}: expected one product a step, got more; keep it in a variable, or "
                    "make the other one's gate a new one",
                    node,
                )
            made.add(node.block)
    return traced


class SymbolOps:
    """The operations on symbols."""

    def __init__(self) -> None:
        self.noises: list[Noise] = []

    def noise(self, *operands: Any) -> Noise:
        """A noise of its own at each call."""
        if operands:
            raise refusal_here(
                f"ops.noise: expected no value, got {len(operands)}; write a + b * ops.noise() for "
                "noise of mean a and deviation b",
                TypeError,
            )
        self.noises.append(Noise(f"{_NOISE}{len(self.noises)}"))
        return self.noises[-1]

    def __getattr__(self, name: str) -> Callable[..., Expr]:
        if name in ACTIVATIONS:
            return partial(self._activation, name)
        if name not in _OPERATIONS:
            known = ", ".join((*_OPERATIONS, "noise", *ACTIVATIONS))
            raise refusal_here(
                f"ops.{name}: expected one of {known}; write it with these", AttributeError
            )
        count, make = _OPERATIONS[name]

        def operation(*operands: Any) -> Expr:
            if len(operands) != count:
                raise refusal_here(
                    f"ops.{name}: expected {count} value{'s'[: count > 1]}, got {len(operands)}; "
                    f"write ops.{name}({', '.join('ab'[:count])})",
                    TypeError,
                )
            return make(*map(as_expr, operands))

        return operation

    def _activation(self, name: str, *operands: Any) -> Expr:
        _, _, *numbers = inspect.signature(ACTIVATIONS[name]).parameters
        if not 1 <= len(operands) <= 1 + len(numbers):
            most = f" and up to {len(numbers)} numbers" if numbers else ""
            raise refusal_here(
                f"ops.{name}: expected 1 value{most}, got {len(operands)}; write ops.{name}(a)",
                TypeError,
            )
        value, *others = map(as_expr, operands)
        return ACTIVATIONS[name](self, value, *others)

    @staticmethod
    def positive(a: Expr) -> Expr:
        """Of activations alone: a gradient learns nothing from what jumps."""
        return Unary("positive", as_expr(a))


_OPERATIONS: dict[str, tuple[int, Callable[..., Expr]]] = {
    **{name: (1, lambda a, name=name: Unary(name, a)) for name in FUNCTIONS},
    **{name: (2, lambda a, b, name=name: Binary(name, a, b)) for name in COMPARISONS},
    "mean": (1, Mean),
}


_NOISE = "noise "  # no name that a gate can have


class _Blocks:
    """One value per gate, read as an attribute; a name that is no gate is told as one."""

    def __init__(self, what: str, gate_names: Iterable[str], make: Callable[[str], Any]) -> None:
        self._what, self._made = what, {g: make(g) for g in gate_names}

    def __getattr__(self, name: str) -> Any:
        if name in self._made:
            return self._made[name]
        raise refusal_here(
            f"{self._what}.{name}: expected a gate, one of {', '.join(self._made)}; write one of "
            "these, or declare it",
            AttributeError,
        )


def _product(name: str, parameter: str, gate: str) -> Callable[..., Product]:
    def product(*values: Any) -> Product:
        if len(values) != 1:
            raise refusal_here(
                f"{name}: expected one value, got {len(values)}; write {name}(v)", TypeError
            )
        return Product(parameter, gate, as_expr(values[0]))

    return product
