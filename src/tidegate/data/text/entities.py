"""Named stretches in labels such as B-PER, I-PER, O: which tokens make one entity.

The rules are those of conlleval, by which CoNLL-2000 and CoNLL-2003 were scored (Tjong Kim Sang &
Buchholz 2000; Sang & De Meulder 2003, arXiv:cs/0306050), with the prefixes E and S of its later
forms.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

__all__ = ["Counts", "Entity", "are_entity_labels", "counted", "entities"]

_LABEL = re.compile(r"O|[BIES]-.+")


class Entity(NamedTuple):
    """Tokens ``first`` to ``end`` - 1 of a sentence, named ``kind``."""

    first: int
    end: int
    kind: str


class Counts(NamedTuple):
    """Of entities: how many are right, how many were predicted, how many there are."""

    right: int = 0
    predicted: int = 0
    there: int = 0

    def plus(self, other: Counts) -> Counts:
        return Counts(*(a + b for a, b in zip(self, other, strict=True)))

    @property
    def precision(self) -> float:
        """Right among the predicted; 0 where nothing was predicted."""
        return self.right / self.predicted if self.predicted else 0.0

    @property
    def recall(self) -> float:
        """Right among those that are there; 0 where there is none."""
        return self.right / self.there if self.there else 0.0

    @property
    def f1(self) -> float:
        """Their harmonic mean, 2 right / (predicted + there)."""
        total = self.predicted + self.there
        return 2 * self.right / total if total else 0.0


def are_entity_labels(labels: Iterable[object]) -> bool:
    """Whether labels name stretches: all are O or begin with B-, I-, E- or S-, and some do."""
    found = set(labels)
    named = [label for label in found if isinstance(label, str) and _LABEL.fullmatch(label)]
    return len(named) == len(found) and any(label != "O" for label in found)


def entities(labels: Sequence[str]) -> list[Entity]:
    """The entities of a sentence's labels, in their order.

    One begins at B or S, after an end (E, S), and where the kind changes or an O stands before; so
    I alone is as good as B.  It ends before the next, before O, and after E or S.
    """
    found: list[Entity] = []
    first, before = None, ("O", "")
    for place, label in enumerate([*labels, "O"]):
        prefix, _, kind = label.partition("-")
        ends = before[0] in "ES" or prefix in "BSO" or kind != before[1]
        if first is not None and ends:
            found.append(Entity(first, place, before[1]))
            first = None
        if prefix != "O" and first is None:
            first = place
        before = prefix, kind
    return found


def counted(
    predicted: Iterable[Sequence[str]], truth: Iterable[Sequence[str]]
) -> dict[str, Counts]:
    """Of each kind of entity the counts over all sentences; one is right if all of it is."""
    by_kind: dict[str, Counts] = {}
    for guess, true in zip(predicted, truth, strict=True):
        ours, theirs = set(entities(guess)), set(entities(true))
        for these, count in (
            (ours & theirs, Counts(right=1)),
            (ours, Counts(predicted=1)),
            (theirs, Counts(there=1)),
        ):
            for entity in these:
                by_kind[entity.kind] = by_kind.get(entity.kind, Counts()).plus(count)
    return by_kind
