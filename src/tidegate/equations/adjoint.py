"""One step of back-propagation through time, derived from a cell's equations by the chain rule.

Source: Werbos 1990, Backpropagation through time: what it does and how to do it.
"""

from __future__ import annotations

from dataclasses import dataclass

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
)
from tidegate.equations.tracing import Trace


@dataclass(frozen=True)
class Adjoint:
    """One step backward: expressions of the trace's own nodes and `StateGradient` leaves.

    ``inputs[g]`` is dL/d(w.g), or that of a noise; ``products[parameter, gate]`` is dL/d(that
    block's product with v), so that the gradient of the block adds up products^T v over time;
    ``vectors[parameter, gate]`` is added up over rows and time; ``states[s]`` is dL/d(state s
    before the step).
    """

    inputs: dict[str, Expr]
    products: dict[tuple[str, str], Expr]
    vectors: dict[tuple[str, str], Expr]
    states: dict[str, Expr]


def adjoint(forward: Trace) -> Adjoint:
    """Derive the backward step of a traced cell, newest node first."""
    gradient: dict[Expr, Expr] = {}

    def add(node: Expr, term: Expr) -> None:
        gradient[node] = gradient[node] + term if node in gradient else term

    for name, node in forward.states.items():
        add(node, StateGradient(name))
    nodes = forward.nodes
    for node in reversed(nodes):
        if node not in gradient or not node.operands or _is_flat(node):
            continue
        for operand, term in zip(node.operands, _chain(node, gradient[node]), strict=True):
            if not isinstance(operand, Constant):
                add(operand, term)

    def total(found: list[Expr]) -> Expr:
        terms = [gradient[n] for n in found if n in gradient]
        result = terms[0] if terms else Constant(0.0)
        for term in terms[1:]:
            result = result + term
        return result

    vectors: dict[tuple[str, str], list[Expr]] = {}
    for n in nodes:
        if isinstance(n, Vector):
            vectors.setdefault((n.parameter, n.gate), []).append(n)
    # of all sources of a gradient, an operand that is a state stands for itself
    return Adjoint(
        inputs={
            g: total([n for n in nodes if isinstance(n, Input) and n.gate == g])
            for g in forward.inputs
        },
        products={block: total([n]) for block, n in forward.products.items()},
        vectors={block: total(found) for block, found in vectors.items()},
        states={
            s: total([n for n in nodes if isinstance(n, State) and n.name == s])
            for s in forward.states
        },
    )


_TWO_OVER_ROOT_OF_PI = 1.1283791670955126


def _is_flat(node: Expr) -> bool:
    """Whether it hands on no gradient: what jumps, whose slope is 0 on both sides."""
    return isinstance(node, Unary) and node.op == "positive"


def _chain(node: Expr, g: Expr) -> tuple[Expr, ...]:
    """The gradient that ``node`` hands to each of its operands, given its own, ``g``."""
    match node:
        case Unary("sigmoid"):
            return (g * (node * (1 - node)),)
        case Unary("tanh"):
            return (g * (1 - node * node),)
        case Unary("relu"):
            return (g * Unary("positive", node),)
        case Unary("exp"):
            return (g * node,)
        case Unary("log", a):
            return (g / a,)
        case Unary("erf", a):
            return (g * (_TWO_OVER_ROOT_OF_PI * Unary("exp", Constant(-1.0) * (a * a))),)
        case Unary("rsqrt"):
            return (g * (-0.5 * (node * (node * node))),)
        case Binary("add"):
            return g, g
        case Binary("sub"):
            return g, Constant(-1.0) * g
        case Binary("mul", a, b):
            return g * b, g * a
        case Binary("div", _, b):
            quotient = g / b
            return quotient, Constant(-1.0) * (quotient * node)
        case Binary("maximum", a, b):
            return _shared(g, Unary("positive", a - b), Unary("positive", b - a))
        case Binary("minimum", a, b):
            return _shared(g, Unary("positive", b - a), Unary("positive", a - b))
        case Mean():
            # each unit has 1/H of what all units' gradients add up to
            return (Mean(g),)
        case Product(parameter, gate):
            return (Product(parameter, gate, g, transposed=True),)
    raise TypeError(f"no derivative rule for {node}")


def _shared(g: Expr, first: Expr, second: Expr) -> tuple[Expr, Expr]:
    """The gradient of the greater or lesser of two: half each where they are equal, as in torch."""
    mine = 0.5 * (1 + first - second)
    return g * mine, g * (1 - mine)
