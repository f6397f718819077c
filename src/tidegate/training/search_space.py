"""What a search may try for an option, declared beside it; free of torch, as options are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol


@dataclass(frozen=True, kw_only=True)
class Dimension:
    """One thing that is drawn: a number from ``low`` to ``high``, or one of ``choices``.

    ``log``: as likely between 1 and 2 as between 2 and 4.  ``whole``: without a fraction.
    """

    name: str
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    whole: bool = False
    choices: tuple[Any, ...] = ()

    def __str__(self) -> str:
        if self.choices:
            return ", ".join(map(str, self.choices))
        shown = f"{self.low:.3g} to {self.high:.3g}"
        return f"{shown}, logarithmic" if self.log else shown

    def between(self, low: float, high: float) -> Dimension:
        """The same from ``low`` to ``high``; logarithmic only where both are above 0."""
        return replace(self, low=low, high=high, choices=(), log=self.log and low > 0)

    def among(self, choices: Sequence[Any]) -> Dimension:
        """One of ``choices``, instead."""
        return replace(self, choices=tuple(choices))

    def holds(self, value: Any) -> bool:
        """Whether ``value`` can be drawn."""
        if self.choices:
            return value in self.choices
        return value is not None and self.low <= value <= self.high


class Search(Protocol):
    """How an option is searched.

    ``whole``: its numbers are whole; ``default``: the value that it takes when it is not searched.
    """

    def dimensions(self, option: str, whole: bool, default: Any) -> tuple[Dimension, ...]:
        """What is drawn for the option."""
        ...

    def value(self, drawn: Sequence[Any]) -> Any:
        """The option's value, of what was drawn for each of its dimensions."""
        ...

    def drawn(self, value: Any) -> Sequence[Any]:
        """What would have to be drawn for ``value``."""
        ...


class _Single:
    """An option that is drawn as it is."""

    def value(self, drawn: Sequence[Any]) -> Any:
        (value,) = drawn
        return value

    def drawn(self, value: Any) -> Sequence[Any]:
        return (value,)


@dataclass(frozen=True)
class Span(_Single):
    """A number from ``low`` to ``high``."""

    low: float
    high: float
    log: bool = False

    def dimensions(self, option: str, whole: bool, default: Any) -> tuple[Dimension, ...]:  # noqa: ARG002
        return (Dimension(name=option, low=self.low, high=self.high, log=self.log, whole=whole),)


@dataclass(frozen=True)
class Around(_Single):
    """A number up to ``factor`` times as large or as small as the default, which is above 0."""

    factor: float

    def dimensions(self, option: str, whole: bool, default: Any) -> tuple[Dimension, ...]:
        low, high = default / self.factor, default * self.factor
        if whole:
            low, high = max(1, math.ceil(low)), math.floor(high)
        return (Dimension(name=option, low=low, high=high, log=True, whole=whole),)


class Among(_Single):
    """One of several values."""

    def __init__(self, *choices: Any) -> None:
        self.choices: tuple[Any, ...] = choices

    def dimensions(self, option: str, whole: bool, default: Any) -> tuple[Dimension, ...]:  # noqa: ARG002
        return (Dimension(name=option, choices=self.choices),)


@dataclass(frozen=True)
class Widths:
    """Sizes of layers, all alike: so many ``units`` in each, at most ``layers`` of them."""

    low: int
    high: int
    layers: int

    def dimensions(self, option: str, whole: bool, default: Any) -> tuple[Dimension, ...]:  # noqa: ARG002
        return (
            Dimension(name="units", low=self.low, high=self.high, log=True, whole=True),
            Dimension(name="layers", low=1, high=self.layers, whole=True),
        )

    def value(self, drawn: Sequence[Any]) -> tuple[int, ...]:
        units, layers = drawn
        return (units,) * layers

    def drawn(self, value: Any) -> Sequence[Any]:
        """Of layers that are not alike, none."""
        sizes: tuple[int, ...] = tuple(value or ())
        units = set(sizes)
        return (units.pop(), len(sizes)) if len(units) == 1 else (None, None)


def search_of(estimator: type, option: str) -> Search | None:
    """What is declared beside an option, by ``estimator`` or the class that it has it from."""
    for base in estimator.__mro__:
        known: Mapping[str, Any] = vars(base).get("__dataclass_fields__", {})
        if option in known and (search := known[option].metadata.get("search")) is not None:
            return search
    return None
