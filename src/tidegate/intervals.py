"""How far a share that was counted on some examples may be from the true one."""

from __future__ import annotations

from typing import NamedTuple

_Z = 1.959964  # 95 % of a normal distribution lie within so many standard deviations
_WIDE = 0.15


class Interval(NamedTuple):
    """The ends of a 95 % interval of a share, from 0 to 1."""

    low: float
    high: float

    @property
    def wide(self) -> bool:
        """Whether the examples are too few to tell: the interval is wider than 0.15."""
        return self.high - self.low > _WIDE

    def __str__(self) -> str:
        return f"{self.low:.2g} to {self.high:.2g}"


def wilson(share: float, count: int) -> Interval:
    """The 95 % interval of a share of ``count`` examples, such as an accuracy.

    Unlike share ± standard errors it is right for few examples and for shares of 0 and 1.
    Source: Wilson 1927, J. Am. Stat. Assoc. 22; Brown, Cai & DasGupta 2001, Stat. Sci. 16.
    """
    if count < 1 or not 0 <= share <= 1:
        raise ValueError(f"expected a share of 1 example or more, got {share} of {count}")
    weight = _Z**2 / count
    middle = (share + weight / 2) / (1 + weight)
    half = _Z / (1 + weight) * (share * (1 - share) / count + weight / (4 * count)) ** 0.5
    return Interval(max(0.0, middle - half), min(1.0, middle + half))


def with_interval(share: float, count: int, what: str) -> str:
    """A share as a person reads it: ``0.9 (100 texts: 95 % interval 0.83 to 0.94)``."""
    interval = wilson(share, count)
    few = "too few to tell; " if interval.wide else ""
    one = what.removesuffix("s") if count == 1 else what
    return f"{share:.4g} ({count} {one}: {few}95 % interval {interval})"
