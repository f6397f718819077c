"""Which cell to take, and why: a stated rule, in words.

1. The best cell has the least mean loss on the validation part.  The loss is a proper score, which
   punishes probabilities that cannot be believed.  It is better than another cell if two
   things hold.  Over the seeds: the 95 % interval of the difference of their means does not hold 0
   (Welch 1947, Biometrika 34: variances may differ).  Over the examples: a paired test of their
   mean losses on the same examples gives p < 0.05 (experiments/paired.py).  Else the two are level.
   If it is the examples that do not tell and there are fewer than 30 of them, it is said that they
   are too few.
2. Of the level cells whose mean loss is within 2 % of the least, the one with the fewest weights is
   advised; of those within 5 % of the fewest, the one that takes the least time per epoch.  So what
   was not told apart but is clearly worse in the mean is never advised for being cheap.
3. The baseline that validates best is held against the advised cell on the held-out part, over the
   seeds and over the examples in the same way.  Unless it is beaten, that is said first.

So cells and baselines are chosen on the validation part alone; the test part, if there is one, is
looked at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tidegate.comparison.experiments.experiment import BaselineScores, Metric
from tidegate.comparison.experiments.paired import FEW, LEVEL, as_p, paired_p

_SEEDS_LEVEL = 0.95
_TIE = 0.02  # part by which a mean loss may be above the least and still be as good
_SAME = 0.05  # part by which weights or times differ without being worth a word


class Scores(NamedTuple):
    """A cell on one part: its figure with each seed, and its losses there, [seeds, examples]."""

    figures: Sequence[float]
    losses: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A cell: its scores on both parts, and what it costs."""

    title: str
    validation: Scores
    held_out: Scores
    parameters: int
    seconds_per_epoch: float


@dataclass(frozen=True, kw_only=True)
class Margin:
    """By how much ``better`` is ahead of ``worse`` on a part, and whether that is chance.

    ``low`` and ``high`` are the ends of the 95 % interval over the seeds, None with one seed; ``p``
    is that of the paired test over ``examples``.
    """

    better: str
    worse: str
    part: str
    size: float
    low: float | None
    high: float | None
    p: float
    examples: int

    @property
    def told_apart(self) -> bool:
        """Whether the difference is beyond both the seeds and the examples."""
        return self.size > 0 and (self.low is None or self.low > 0) and self.p < LEVEL

    def __str__(self) -> str:
        seeds = "" if self.low is None else f"{self.low:.2g} to {self.high:.2g}; "
        return f"{self.size:.2g} ({seeds}{as_p(self.p)})"


@dataclass(frozen=True)
class Advice:
    """The cell to take, by its title, the sentences that say so, and the differences behind it."""

    cell: str
    sentences: tuple[str, ...]
    margins: tuple[Margin, ...]

    def __str__(self) -> str:
        return " ".join(self.sentences)


def advise(
    candidates: Sequence[Candidate],
    baselines: Sequence[BaselineScores],
    metric: Metric,
    held_out: str,
    examples: str,
) -> Advice:
    """The advice for one candidate or more.

    ``held_out`` names the part of their last figures, ``examples`` what is counted in a part.
    """
    best, *others = sorted(candidates, key=lambda c: np.mean(c.validation.figures))
    margins = [_of_two(best, other) for other in others]
    advised, sentences = best, []
    if others and min(len(c.validation.figures) for c in candidates) < 2:
        sentences = [
            f"The {best.title} did best, but a single run cannot tell a difference from chance: "
            "compare three seeds or more."
        ]
    elif others:
        level = [best, *(c for c, m in zip(others, margins, strict=True) if not m.told_apart)]
        least = float(np.mean(best.validation.figures))
        as_good = [c for c in level if np.mean(c.validation.figures) <= (1 + _TIE) * least]
        advised = _cheapest(as_good)
        sentences = _of_cells(advised, level, margins, metric, examples)
    if baselines:
        margin, sentence = _of_baseline(advised, baselines, metric, held_out, examples)
        beaten = margin.told_apart and margin.better == advised.title
        sentences = [*sentences, sentence] if beaten else [sentence, *sentences]
        margins.append(margin)
    return Advice(advised.title, tuple(sentences), tuple(margins))


def _cheapest(level: list[Candidate]) -> Candidate:
    fewest = min(c.parameters for c in level)
    small = [c for c in level if c.parameters <= (1 + _SAME) * fewest]
    return min(small, key=lambda c: c.seconds_per_epoch)


def _of_cells(
    advised: Candidate,
    level: list[Candidate],
    margins: list[Margin],
    metric: Metric,
    examples: str,
) -> list[str]:
    """Which cell to take; ``margins``: how far the best one is ahead of each of the others."""
    best, count = level[0], margins[0].examples
    worse = [f"than the {m.worse} by {m}" for m in margins if m.told_apart]
    how = (
        "In brackets: the 95 % interval over the seeds, and p of a paired test on the same "
        f"{count} {examples}."
    )
    rule = f"Two cells differ if that interval is above 0 and that p is below {LEVEL}."
    better = f"is better in {metric.label} {' and '.join(worse)}"
    if len(level) == 1:
        return [f"Take the {best.title}.", f"On the validation part it {better}.", how, rule]
    *names, last = (f"the {c.title}" for c in level)
    between = f"{', '.join(names)} and {last}"
    behind = [f"The {m.worse} is behind by {m}." for m in margins if not m.told_apart]
    other = best if best is not advised else level[1]
    cost = _cost(advised, other)
    advised_cell = f"the {advised.title}, which {cost}."
    if advised is best:
        advised_cell = f"the {advised.title}, which did best; it {cost}."
    examples_tell = all(m.p < LEVEL for m in margins if not m.told_apart)
    if count < FEW and not examples_tell:
        level_told = f"{count} {examples} are too few to tell {between} apart."
        take = f"Until you have more, take {advised_cell}"
    else:
        why = ": the seeds differ as much" if examples_tell else ""
        level_told = f"The {between.removeprefix('the ')} do not differ beyond chance{why}."
        take = f"Take {advised_cell}"
    ahead = [f"The {best.title} {better}."] if worse else []
    return [level_told, *behind, take, *ahead, how, rule]


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
    return f"{joint.join(said) or 'costs no more'} than the {other.title}"


def _of_baseline(
    advised: Candidate,
    baselines: Sequence[BaselineScores],
    metric: Metric,
    part: str,
    examples: str,
) -> tuple[Margin, str]:
    """How far the best baseline and the advised cell are apart, and the sentence about it."""
    base = min(baselines, key=lambda b: b.validation)
    cell = advised.held_out
    own = float(np.mean(cell.figures))
    names = [advised.title, base.name]
    if base.held_out < own:
        names.reverse()
    size = abs(own - base.held_out)
    half = _half_width([cell.figures]) if len(cell.figures) > 1 else None
    margin = Margin(
        better=names[0],
        worse=names[1],
        part=part,
        size=size,
        low=None if half is None else size - half,
        high=None if half is None else size + half,
        p=paired_p(cell.losses.mean(0), base.losses),
        examples=len(base.losses),
    )
    if own == base.held_out:
        verdict = f"A baseline is as good as the {advised.title}"
    elif margin.told_apart and margin.better == advised.title:
        verdict = f"The {advised.title} beats the baselines"
    elif margin.told_apart:
        verdict = f"A baseline beats the {advised.title}"
    elif margin.examples < FEW and margin.p >= LEVEL:
        verdict = (
            f"{margin.examples} {examples} are too few to tell a baseline and the {advised.title} "
            "apart"
        )
    else:
        verdict = f"The difference between a baseline and the {advised.title} may be chance"
        if margin.p < LEVEL:
            verdict += ", because the seeds differ as much"
    label = metric.label[0].upper() + metric.label[1:]
    learned = f" of {base.part}" if base.part else ""
    figures = f"{base.name}{learned} {base.held_out:.4g}, {advised.title} {own:.4g}"
    test = f"{as_p(margin.p)} on the same {margin.examples} {examples}"
    told = f"{verdict}. {label} on the {part} part: {figures} ({test})"
    told += "." if margin.told_apart and margin.better == base.name else f"{base.caveat}."
    if margin.told_apart or own == base.held_out:
        return margin, told
    rule = f"They differ if p is below {LEVEL}"
    if margin.low is not None:
        seeds = f"{margin.low:.2g} to {margin.high:.2g}"
        rule += f" and the 95 % interval of the difference over the seeds, {seeds}, is above 0"
    return margin, f"{told} {rule}."


def _of_two(best: Candidate, other: Candidate) -> Margin:
    return margin(best.title, best.validation, other.title, other.validation, "validation")


def margin(better: str, mine: Scores, worse: str, theirs: Scores, part: str) -> Margin:
    """How far one is ahead of another on the same examples; less than 0: it is behind."""
    size = float(np.mean(theirs.figures) - np.mean(mine.figures))
    repeated = min(len(mine.figures), len(theirs.figures)) > 1
    half = _half_width([mine.figures, theirs.figures]) if repeated else None
    return Margin(
        better=better,
        worse=worse,
        part=part,
        size=size,
        low=None if half is None else size - half,
        high=None if half is None else size + half,
        p=paired_p(mine.losses.mean(0), theirs.losses.mean(0)),
        examples=mine.losses.shape[1],
    )


def _half_width(samples: Sequence[Sequence[float]]) -> float:
    """Half the width of the interval of a mean, or of the difference of two (Welch)."""
    from scipy.special import stdtrit

    terms = [float(np.var(s, ddof=1)) / len(s) for s in samples]
    if not sum(terms):
        return 0.0
    freedom = sum(terms) ** 2 / sum(
        t**2 / (len(s) - 1) for t, s in zip(terms, samples, strict=True)
    )
    return float(stdtrit(freedom, (1 + _SEEDS_LEVEL) / 2)) * sum(terms) ** 0.5
