"""Gates and states of every step of a layer, which somebody asked to look at."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor


@dataclass
class StepValues:
    """What a layer in one direction did at every step; at first empty.

    ``gates`` [T, B, H] and ``states`` [T, B, their width] by the cell's names, zero from each row's
    length on.  No gradient flows through them.
    """

    gates: dict[str, Tensor] = field(default_factory=dict)
    states: dict[str, Tensor] = field(default_factory=dict)


def named(
    layers: Iterable[tuple[int, str]],
    seen: Sequence[StepValues],
    as_input: Callable[[Tensor], Any],
    asked: tuple[bool, bool],
) -> list[dict[str, Any]]:
    """The gates and the states of all layers by name, as far as they are ``asked`` for.

    ``layers``: number and suffix of each layer and direction, one for each of ``seen``, if there
    are any; ``as_input`` gives values [T, B, ..] the form of the input.
    """
    gates: dict[str, Any] = {}
    states: dict[str, Any] = {}
    for (k, suffix), of_layer in zip(layers, seen, strict=False):
        for into, values in ((gates, of_layer.gates), (states, of_layer.states)):
            for name, value in values.items():
                into[f"layer_{k}.{name}{suffix}"] = as_input(value)
    return [told for told, wanted in zip((gates, states), asked, strict=True) if wanted]
