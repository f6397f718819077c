"""Which words carry an answer: each is left out in turn, and so are several, as a check.

What a word carries is by how much the answer's score falls where the text stands without it
(occlusion, Zeiler & Fergus 2014, arXiv:1311.2901; of words, Li, Monroe & Jurafsky 2016,
arXiv:1612.08220).  The whole text is read anew for that, so that this is exact for any network: but
of the single word.  Words that say the same thing stand in for each other, and then none of them
seems to carry much.  So the check leaves out several at a time, those that carry most, beside as
many random ones (comprehensiveness: DeYoung et al. 2020, ERASER, arXiv:1911.03429).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from tidegate.data.text.rows import BETWEEN, Row, text_of
from tidegate.data.text.words import spans
from tidegate.errors import InputError
from tidegate.runtime.batches import outputs_of

SHARES = (0.1, 0.2, 0.5)  # of a text's words, left out at a time
_DRAWS = 5  # of random words
_FEWEST = 5  # words of a text that can be checked
_MOST = 300  # texts that a check reads, drawn from more: each is read once for every word
_Z = 1.96


class Word(NamedTuple):
    """A word of a text, and where it stands there; or what stands in a ``column`` beside it."""

    text: str
    start: int
    end: int
    column: str | None = None


@dataclass(frozen=True, eq=False)
class Explanation:
    """What the words of a text carry of its answer.

    ``names``: what was told: the label, the labels, or the number.  ``scores``: of each the
    log-odds of the label, or the number.  ``contributions`` float64 [words, names]: by how much the
    score falls without the word; below 0 where it rises.
    """

    text: str
    names: list[str]
    scores: list[float]
    words: list[Word]
    contributions: np.ndarray

    def top(self, count: int = 10, column: int = 0) -> list[tuple[str, float]]:
        """The words that carry most, for or against, the most first."""
        of_words = self.contributions[:, column]
        order = np.argsort(-np.abs(of_words), kind="stable")[:count]
        return [(self.words[i].text, float(of_words[i])) for i in order]

    def to_json(self) -> dict[str, Any]:
        """All there is to it, in JSON's types."""
        return {
            "input": self.text,
            "answers": [
                {"answer": name, "score": score, "contributions": column.tolist()}
                for name, score, column in zip(
                    self.names, self.scores, self.contributions.T, strict=True
                )
            ],
            "words": [word._asdict() for word in self.words],
        }


class Fall(NamedTuple):
    """How far scores fall where this ``share`` of words is left out, in the mean over texts.

    ``top``: those that carry most; ``random``: as many random ones.  ``interval``: of the
    difference of both, 95 %.  ``changed``, ``changed_random``: the share of texts that are then
    told another answer; of numbers None.
    """

    share: float
    top: float
    random: float
    interval: tuple[float, float]
    changed: float | None
    changed_random: float | None


@dataclass(frozen=True)
class Faithfulness:
    """Whether what explanations name carries answers: the falls by share of words, of N texts."""

    falls: list[Fall]
    texts: int

    @property
    def holds(self) -> bool:
        """Whether named words carry more than random ones, beyond chance, at every share."""
        return all(fall.interval[0] > 0 for fall in self.falls)

    def to_json(self) -> dict[str, Any]:
        """All there is to it, in JSON's types."""
        falls = [fall._asdict() | {"interval": list(fall.interval)} for fall in self.falls]
        return {"faithful": self.holds, "texts": self.texts, "falls": falls}


def explained(model: Any, texts: Any) -> Iterator[Explanation]:
    """What each word of each text carries, by leaving it out.  Raises InputError."""
    return (_explained(model, text) for text in model._known(texts))


def _explained(model: Any, text: Any) -> Explanation:
    words = words_of(text)
    variants = [text, *(without(text, [word]) for word in words)]
    outputs = _outputs(model, variants)
    told = model.kind_.names(outputs[0])
    columns = [column for _, column in told]
    scores = model.kind_.scores(outputs)[:, columns]
    return Explanation(
        text=text_of(text),
        names=[name for name, _ in told],
        scores=scores[0].tolist(),
        words=words,
        contributions=scores[0] - scores[1:],
    )


def faithfulness(model: Any, texts: Any, *, seed: int = 0) -> Faithfulness:
    """How far answers fall without the words that carry most, and without random ones.

    Of more than 300 texts so many are drawn.  Raises InputError where fewer than two texts have
    five words or more.
    """
    rng, known = np.random.default_rng(seed), model._known(texts)
    known = [known[i] for i in np.sort(rng.permutation(len(known))[:_MOST])]
    each = zip(known, (_explained(model, one) for one in known), strict=True)
    found = [(given, one) for given, one in each if len(one.words) >= _FEWEST]
    if len(found) < 2:
        problem = f"expected two texts of {_FEWEST} words or more to check on, got {len(found)}"
        raise InputError(f"{problem}; give more, or longer ones")
    rows = [[_fall(model, *one, share, rng) for share in SHARES] for one in found]
    falls = []
    for share, of_share in zip(SHARES, np.array(rows, np.float64).swapaxes(0, 1), strict=True):
        top, random, changed, changed_random = of_share.mean(0)
        differences = of_share[:, 0] - of_share[:, 1]
        half = _Z * float(differences.std(ddof=1)) / len(found) ** 0.5
        middle = float(differences.mean())
        falls.append(
            Fall(
                share, float(top), float(random), (middle - half, middle + half),
                *(None if np.isnan(c) else float(c) for c in (changed, changed_random)),
            )
        )  # fmt: skip
    return Faithfulness(falls, len(found))


def _fall(
    model: Any, given: Any, one: Explanation, share: float, rng: np.random.Generator
) -> tuple[float, float, float, float]:
    """Of a text: falls without top and without random words, and whether the answer is another."""
    count = max(1, round(share * len(one.words)))
    order = np.argsort(-one.contributions[:, 0], kind="stable")[:count]
    drawn = [rng.permutation(len(one.words))[:count] for _ in range(_DRAWS)]
    variants = [given] + [without(given, [one.words[i] for i in rows]) for rows in (order, *drawn)]
    outputs = _outputs(model, variants)
    column = model.kind_.names(outputs[0])[0][1]
    scores = model.kind_.scores(outputs)[:, column]
    told = [model.kind_.names(row) for row in outputs]
    other = np.array([one != told[0] if model.kind_.LABELS else np.nan for one in told])
    falls = scores[0] - scores
    return falls[1], falls[2:].mean(), other[1], other[2:].mean()


def _outputs(model: Any, texts: list[Any]) -> np.ndarray:
    return outputs_of(model.runtime_, model.encode(texts), model.kind_.outputs)


def words_of(given: str | Row) -> list[Word]:
    """The words and punctuation marks of a text, and then what stands beside it."""
    text = text_of(given)
    words = [Word(text[start:end], start, end) for start, end in spans(text)]
    words = [word for word in words if word.text != BETWEEN]
    cells = {} if isinstance(given, str) else given.cells
    return words + [
        Word(f"{name} = {cell:g}" if isinstance(cell, float) else f"{name} = {cell}", 0, 0, name)
        for name, cell in cells.items()
        if cell is not None
    ]


def without(given: str | Row, words: Sequence[Word]) -> str | Row:
    """The input without some words, and the white space after each, or without some cells."""
    text, kept, at = text_of(given), [], 0
    for word in sorted(words, key=lambda word: word.start):
        if word.column is None:
            kept.append(text[at : word.start])
            at = word.end
            while at < len(text) and text[at].isspace():
                at += 1
    left = "".join(kept) + text[at:]
    if isinstance(given, str):
        return left
    gone = {word.column for word in words}
    return Row(left, {name: cell for name, cell in given.cells.items() if name not in gone})
