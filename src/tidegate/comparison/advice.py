"""Which cell to take, and why: a stated rule, in words.

1. The best cell has the best mean figure on the validation part.  Another is level with it if the
   95 % interval of the difference of their means over the seeds holds 0 (Welch 1947, Biometrika 34:
   variances may differ).
2. Of the cells that are level, the one with the fewest weights is advised; of those within 5 % of
   the fewest, the one that takes the least time per epoch.
3. The baseline that validates best is held against the advised cell on the held-out part.  If it is
   as good or better, that is said first.

So cells and baselines are chosen on the validation part alone; the test part, if there is one, is
looked at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tidegate.comparison.experiment import Baseline, Metric

_LEVEL = 0.95
_SAME = 0.05  # part by which weights or times differ without being worth a word


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A cell: its figure with each seed on both parts, and what it costs."""

    title: str
    validation: Sequence[float]
    held_out: Sequence[float]
    parameters: int
    seconds_per_epoch: float


class Margin(NamedTuple):
    """By how much a mean is better than another: the ends of its interval, and itself."""

    low: float
    size: float
    high: float

    def __str__(self) -> str:
        return f"{self.size:.2g} ({self.low:.2g} to {self.high:.2g})"


@dataclass(frozen=True)
class Advice:
    """The cell to take, by its title, and the sentences that say so."""

    cell: str
    sentences: tuple[str, ...]

    def __str__(self) -> str:
        return " ".join(self.sentences)


def advise(
    candidates: Sequence[Candidate], baselines: Sequence[Baseline], metric: Metric, held_out: str
) -> Advice:
    """The advice for one candidate or more; ``held_out`` names the part of their last figures."""
    sign = 1 if metric.lower_is_better else -1
    best, *others = sorted(candidates, key=lambda c: sign * np.mean(c.validation))
    advised, sentences = best, []
    if others and min(len(c.validation) for c in candidates) < 2:
        sentences = [
            f"The {best.title} did best, but a single run cannot tell a difference from chance: "
            "compare three seeds or more."
        ]
    elif others:
        margins = [(c, _margin(best, c, sign)) for c in others]
        level = [best, *(c for c, margin in margins if margin.low <= 0)]
        advised = _cheapest(level)
        sentences = _of_cells(advised, level, margins, metric)
    if baselines:
        wins, sentence = _of_baseline(advised, baselines, metric, held_out)
        sentences = [sentence, *sentences] if wins else [*sentences, sentence]
    return Advice(advised.title, tuple(sentences))


def _cheapest(level: list[Candidate]) -> Candidate:
    fewest = min(c.parameters for c in level)
    small = [c for c in level if c.parameters <= (1 + _SAME) * fewest]
    return min(small, key=lambda c: c.seconds_per_epoch)


def _of_cells(
    advised: Candidate,
    level: list[Candidate],
    margins: list[tuple[Candidate, Margin]],
    metric: Metric,
) -> list[str]:
    """Which cell to take; ``margins``: how far the best one is ahead of each of the others."""
    best = level[0]
    worse = [f"than the {c.title} by {margin}" for c, margin in margins if c not in level]
    better = f"is better in {metric.label} {' and '.join(worse)}; 95 % intervals over the seeds"
    if len(level) == 1:
        return [f"Take the {best.title}: on the validation part it {better}."]
    *names, last = (f"the {c.title}" for c in level)
    behind = [f"{c.title} is behind the {best.title} by {m}" for c, m in margins if c is advised]
    sentence = f"No difference between {', '.join(names)} and {last} beyond the seeds"
    sentence += "".join(f" (the {text}, 95 % interval)" for text in behind)
    other = best if best is not advised else level[1]
    sentences = [f"{sentence}: take the {advised.title}, {_cost(advised, other)}."]
    return sentences + ([f"The {best.title} {better}."] if worse else [])


def _cost(advised: Candidate, other: Candidate) -> str:
    """What the advised cell saves beside ``other``, or what it takes more."""
    changes = {
        ("has", "fewer", "weights"): advised.parameters / other.parameters - 1,
        ("takes", "less", "time per epoch"): advised.seconds_per_epoch / other.seconds_per_epoch
        - 1,
    }
    said = [
        f"{verb} {100 * abs(change):.0f} % {less if change < 0 else 'more'} {what}"
        for (verb, less, what), change in changes.items()
        if abs(change) > _SAME
    ]
    joint = " and " if all(change < _SAME for change in changes.values()) else " but "
    return f"which {joint.join(said) or 'costs no more'} than the {other.title}"


def _of_baseline(
    advised: Candidate, baselines: Sequence[Baseline], metric: Metric, held_out: str
) -> tuple[bool, str]:
    """Whether the best baseline is as good as the advised cell, and the sentence about it."""
    sign = 1 if metric.lower_is_better else -1
    base = min(baselines, key=lambda b: sign * b.validation)
    own = float(np.mean(advised.held_out))
    wins = not metric.better(own, base.held_out)
    verdict = "A baseline wins" if wins else "The baselines are beaten"
    if own == base.held_out:
        verdict = "A baseline is as good"
    label = metric.label[0].upper() + metric.label[1:]
    figures = f"{base.name} {base.held_out:.4g}, {advised.title} {own:.4g}"
    sentence = f"{verdict}. {label} on the {held_out} part: {figures}"
    if len(advised.held_out) > 1 and abs(own - base.held_out) <= _half_width([advised.held_out]):
        sentence += ", a difference within what the seeds move"
    return wins, f"{sentence}."


def _margin(best: Candidate, other: Candidate, sign: int) -> Margin:
    size = sign * float(np.mean(other.validation) - np.mean(best.validation)) + 0.0  # never -0
    half = _half_width([best.validation, other.validation])
    return Margin(size - half, size, size + half)


def _half_width(samples: Sequence[Sequence[float]]) -> float:
    """Half the width of the interval of a mean, or of the difference of two (Welch)."""
    from scipy.special import stdtrit

    terms = [float(np.var(s, ddof=1)) / len(s) for s in samples]
    if not sum(terms):
        return 0.0
    freedom = sum(terms) ** 2 / sum(
        t**2 / (len(s) - 1) for t, s in zip(terms, samples, strict=True)
    )
    return float(stdtrit(freedom, (1 + _LEVEL) / 2)) * sum(terms) ** 0.5
