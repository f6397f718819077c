"""Channels of any size brought to one scale, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from tidegate.errors import InputError

__all__ = ["FARTHEST", "Scaler", "power_of_two"]

_LARGEST: Final = 1e300  # a value that differences, and sums of some, do not overflow
FARTHEST: Final = 1e30  # in standard deviations: products of it stay within float32's 3.4e38


@dataclass(frozen=True, eq=False)
class Scaler:
    """Mean and scale of each channel [C]; a channel that never changes has scale 1."""

    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def fit(cls, values: np.ndarray) -> Scaler:
        """Mean and standard deviation (population) over the rows of values [N, C]."""
        values = np.asarray(values, dtype=np.float64)
        if values.ndim != 2 or not len(values) or not np.isfinite(values).all():
            shape = list(values.shape)
            problem = f"expected finite values [N, C] with N > 0 to scale, got {shape}"
            raise InputError(f"{problem}; fill in or leave out what is missing")
        if (np.abs(values).max(axis=0) > _LARGEST).any():
            problem = f"expected numbers up to {_LARGEST:g}, got {np.abs(values).max():g}"
            remedy = "write NaN if it stands for a missing one, else divide all by a power of ten"
            raise InputError(f"{problem}; {remedy}")
        unit = power_of_two(values)
        scaled = values / unit
        deviation = scaled.std(axis=0) * unit
        usable = (values.max(axis=0) > values.min(axis=0)) & (deviation > 0)
        return cls(scaled.mean(axis=0) * unit, np.where(usable, deviation, 1.0))

    def transform(self, values: np.ndarray) -> np.ndarray:
        """Values [..., C] as multiples of the scale from the mean; NaN stays.

        Raises InputError for a value so far away that float32 could not hold what follows.
        """
        with np.errstate(over="ignore"):
            scaled = (values - self.mean) / self.scale
        if (far := np.abs(scaled) > FARTHEST).any():
            raise InputError(
                f"expected values like those that were learned from, got {values[far][0]:g}, more "
                f"than {FARTHEST:g} standard deviations away; check its unit"
            )
        return scaled

    def inverse(self, scaled: np.ndarray) -> np.ndarray:
        """The values [..., C] that ``transform`` scaled."""
        return scaled * self.scale + self.mean

    def to_json(self) -> dict[str, list[float]]:
        """Keys: mean, scale."""
        return {"mean": self.mean.tolist(), "scale": self.scale.tolist()}

    @classmethod
    def from_json(cls, description: Any) -> Scaler:
        """The scaler that ``to_json`` described.  Raises ValueError for anything else."""
        if not isinstance(description, Mapping) or set(description) != {"mean", "scale"}:
            raise ValueError("a scaler must be an object with the keys mean and scale")
        mean, scale = description["mean"], description["scale"]
        for key, numbers in (("mean", mean), ("scale", scale)):
            if not isinstance(numbers, list) or any(type(x) not in (int, float) for x in numbers):
                raise ValueError(f"scaler key {key!r} must be a list of numbers")
        mean, scale = np.array(mean, dtype=np.float64), np.array(scale, dtype=np.float64)
        finite = (np.abs(mean) <= _LARGEST).all() and (np.abs(scale) <= _LARGEST).all()
        if len(mean) != len(scale) or not finite or not (scale > 0).all():
            raise ValueError("a scaler must have one finite mean and one scale above 0 per channel")
        return cls(mean, scale)


def power_of_two(values: np.ndarray) -> np.ndarray:
    """A power of two near the largest of each channel's values [N, C], by which to divide.

    That loses nothing, while the squares of numbers near 1e300 would overflow, and of those near
    1e-300 vanish.
    """
    _, exponent = np.frexp(np.abs(values).max(axis=0))
    return np.ldexp(1.0, np.clip(exponent, -1000, 1023))
