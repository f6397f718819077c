"""A cell's graph on the arguments of a step: what its leaves stand for, and what multiplies."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tidegate.equations import expr


def arrays(
    names: Iterable[str],
    w: Any,
    u: Any,
    others: tuple[Any, ...],
    drawn: Mapping[str, Any] | None = None,
) -> tuple[Callable[[expr.Expr], Any], Callable[[expr.Product, Any], Any]]:
    """What stands for a leaf, and what multiplies, as ``expr.evaluate`` takes them.

    ``names``: of ``others``, the cell's vectors, projections and states.  ``drawn``: its noises by
    name.
    """
    given = dict(zip(names, others, strict=True))

    def leaf(node: expr.Expr) -> Any:
        match node:
            case expr.Noise(gate) if drawn is not None:
                return drawn[gate]
            case expr.Input(gate):
                return getattr(w, gate)
            case expr.Vector(parameter, gate):
                return getattr(given[parameter], gate)
            case expr.State(name):
                return given[name]
        raise TypeError(f"no array for {node}")

    def product(node: expr.Product, value: Any) -> Any:
        return (getattr(u, node.gate) if node.gate else given[node.parameter])(value)

    return leaf, product
