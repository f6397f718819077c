"""The answer of the most similar source: what a table of examples gives without learning."""

from __future__ import annotations

import math
from typing import Any, Self

import numpy as np

from tidegate.baselines.baseline import Answered, Baseline, part_of, sampled
from tidegate.data.text.edit_distance import character_errors

_LONGEST = (2, 3, 4, 5)  # n-grams: how long they may be is chosen on the validation part
_CHARACTERS_A_SECOND = 200_000  # counted and compared, all lengths together, on one core
_AT_ONCE = 500  # sources that are compared with all others
_MOST = 500  # pairs that choose


class NearestAnswer(Baseline):
    """The target whose source has the nearest TF-IDF of character n-grams, by their cosine."""

    name = "nearest neighbour"

    def __init__(self, longest: int, train: Answered, part: str) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer

        options: dict[str, Any] = {"dtype": np.float32, "sublinear_tf": True}
        self._vectorizer: Any = TfidfVectorizer(
            analyzer="char", ngram_range=(1, longest), **options
        )
        self._known = self._vectorizer.fit_transform(train.inputs)
        self._answers = train.answers
        self.about = f"the answer of the most similar source, n-grams of 1 to {longest}"
        self.part = part

    @classmethod
    def fit(cls, train: Answered, validation: Answered, *, seconds: float = math.inf) -> Self:
        """That of ``train`` whose longest n-grams have the fewest errors on ``validation``.

        Where all pairs would take more than about ``seconds``, some of them are looked up.
        """
        characters = len(_LONGEST) * sum(map(len, train.inputs))
        some = sampled_pairs(train, seconds * _CHARACTERS_A_SECOND / max(characters, 1))
        part = part_of(len(some.inputs), len(train.inputs), "pairs")
        judges = validation.rows(np.arange(min(_MOST, len(validation.inputs))))
        models = [cls(longest, some, part) for longest in _LONGEST]
        return min(models, key=lambda model: float(model.losses(judges).mean()))

    def predict(self, sources: list[str]) -> list[str]:
        """The answer to each source."""
        found: list[str] = []
        for first in range(0, len(sources), _AT_ONCE):
            read = self._vectorizer.transform(sources[first : first + _AT_ONCE])
            nearest = np.asarray((read @ self._known.T).argmax(axis=1)).ravel()
            found += self._answers[nearest].tolist()
        return found

    def losses(self, part: Answered) -> np.ndarray:
        """Errors in each answer, [N]; their mean is the character error rate."""
        return character_errors(self.predict(part.inputs), list(part.answers))

    def figures(self, part: Answered) -> dict[str, float]:
        """``character_error_rate`` and ``exact_match``."""
        found = self.predict(part.inputs)
        exact = [a == b for a, b in zip(found, part.answers, strict=True)]
        errors = character_errors(found, list(part.answers))
        return {
            "character_error_rate": float(errors.mean()),
            "exact_match": float(np.mean(exact)),
        }


def sampled_pairs(part: Answered, share: float) -> Answered:
    """About ``share`` of the pairs, drawn at random but always the same; all from 1 on."""
    rows = sampled(Answered(part.inputs, np.arange(len(part.inputs), dtype=float)), share).answers
    return part.rows(rows.astype(int))
