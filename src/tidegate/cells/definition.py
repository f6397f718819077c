"""What a cell is: its equations with names, and what is derived from them."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tidegate import expr

Equations = Callable[..., tuple[dict[str, Any], dict[str, Any]]]


@dataclass(frozen=True)
class Cell:
    """A recurrent cell.

    ``gates`` names the blocks of H rows in W_ih, W_hh and the biases, in the order of torch.nn's
    weights, each with its meaning; ``state`` the states, the first being the output.  ``layer``
    is the class of layers that runs it, and ``options`` are the arguments that choose it there.
    """

    name: str
    layer: str
    options: dict[str, str]
    gates: dict[str, str]
    state: dict[str, str]
    source: str
    equations: Equations

    def step(self, ops: Any, w: Any, u: Any, *state: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """One time step on arrays: the new states, and the watched values by name."""
        new, watched = self.equations(ops, w, u, *state)
        return tuple(new.values()), watched

    @cached_property
    def trace(self) -> expr.Trace:
        return expr.trace(self.equations, tuple(self.gates), tuple(self.state))

    @cached_property
    def adjoint(self) -> expr.Adjoint:
        return expr.adjoint(self.trace)

    @cached_property
    def gates_of_state(self) -> tuple[str, ...]:
        """The blocks whose recurrent product takes the output state as it is, in one product."""
        first = next(iter(self.state))
        products = self.trace.products
        return tuple(
            g
            for g in self.gates
            if g in products
            and isinstance(products[g].a, expr.State)
            and products[g].a.name == first  # pyright: ignore[reportAttributeAccessIssue]
        )

    def parameter_count(self, input_size: int, hidden_size: int, bias: bool = True) -> int:
        """Weights of one layer in one direction, with torch.nn's two biases."""
        rows = len(self.gates) * hidden_size
        return rows * (input_size + hidden_size) + (2 * rows if bias else 0)

    def __reduce__(self) -> tuple[Any, ...]:
        """A cell is serialised as the place where it is defined; a copy is the cell itself."""
        return _defined_in, (self.equations.__module__, self.equations.__qualname__)


def _defined_in(module: str, name: str) -> Cell:
    return getattr(importlib.import_module(module), name)


def cell(
    name: str,
    *,
    layer: str,
    options: dict[str, str] | None = None,
    gates: dict[str, str],
    state: dict[str, str],
    source: str,
) -> Callable[[Equations], Cell]:
    """Make a `Cell` of the function that holds its equations."""
    return lambda equations: Cell(name, layer, options or {}, gates, state, source, equations)
