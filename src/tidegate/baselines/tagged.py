"""Sequences with a label of every step: what baselines of taggers learn from, and are asked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Self


class Tagged(NamedTuple):
    """N sequences, lists of tokens or values [T, C], and the T labels of each."""

    inputs: Sequence[Any]
    labels: Sequence[Sequence[Any]]

    @property
    def steps(self) -> int:
        """How many steps, and labels, there are in all."""
        return sum(map(len, self.labels))

    def rows(self, rows: Iterable[int]) -> Self:
        """Some of the sequences."""
        kept = list(rows)
        return type(self)([self.inputs[i] for i in kept], [self.labels[i] for i in kept])
