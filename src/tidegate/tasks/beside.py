"""A cheap method beside a training run: what it reaches on the same parts, and who is ahead.

It is fitted before the training, within the run's own time, and on a sample where everything would
take too long.  Who is ahead is judged by the proper score, which also says whether probabilities
can be believed: cross-entropy, perplexity, nats per step, or the squared error.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Self

from tidegate.baselines.baseline import Baseline, caveat
from tidegate.errors import spelled
from tidegate.tasks.sklearn_options import SklearnOptions
from tidegate.terminal import say
from tidegate.training.options import option

_LONGEST_S = 30.0  # for a baseline, about
_SHARE = 0.05  # of the minutes that a run may take
_LEVEL = 0.01  # part by which scores differ without being worth a word
_MORE = 3  # times as long, where more training may help
_CHEAPER = "take the cheaper method for this data"
_LATE = 0.8  # of the steps: best weights after them show that training was not at its end

# The proper scores, the first of which a task has is what decides.
_SCORES = ("perplexity", "cross_entropy", "nats_per_step", "mse", "character_error_rate")


@dataclass(frozen=True, kw_only=True)
class Beside:
    """A fitted baseline's figures on the validation and on the test part, empty without one.

    ``share``: of the validation part, where figures are of a fixed part of it, as the network's.
    """

    baseline: Baseline
    validation: Mapping[str, float]
    test: Mapping[str, float]
    seconds: float
    share: float = 1.0
    cheaper: str = _CHEAPER

    @property
    def metrics(self) -> dict[str, float]:
        """The figures by the names that they have in a model file."""
        parts = {"baseline": self.validation, "test_baseline": self.test}
        return {f"{p}_{name}": v for p, of_part in parts.items() for name, v in of_part.items()}

    @property
    def provenance(self) -> dict[str, str | float]:
        return {
            "baseline": f"{self.baseline.name}: {self.baseline.told}",
            "baseline_seconds": self.seconds,
        }

    def verdict(self, metrics: Mapping[str, float], provenance: Mapping[str, Any]) -> str:
        """Who is ahead on the test part, or else on the validation part, in a sentence.

        A loser is told what may help: ``provenance`` says how the training ended.
        """
        part, prefix, its = (
            ("test", "test_", self.test) if self.test else ("validation", "", self.validation)
        )
        shown = {
            name: (metrics[prefix + name], value)
            for name, value in its.items()
            if prefix + name in metrics
        }
        # of a label that training never had the score is not a number; then the next figure decides
        shown = {n: pair for n, pair in shown.items() if all(map(math.isfinite, pair))} or shown
        decides = next((name for name in _SCORES if name in shown), next(iter(shown)))
        own, other = shown.pop(decides)
        shown = {} if decides == "perplexity" else shown  # the cross-entropy says the same
        change = own / other - 1 if other > 0 else float(own > 0)
        worse = change if decides in _SCORES else -change
        figures = [f"{_words(decides)} {own:.4g} against its {other:.4g} ({_how_far(change)})"]
        figures += [f"{_words(name)} {a:.4g} against {b:.4g}" for name, (a, b) in shown.items()]
        word = "level with" if abs(worse) < _LEVEL else "behind" if worse > 0 else "ahead of"
        it = self.baseline
        told = f"{word} {it.name} ({it.told}) on the {part} part: {', '.join(figures)}"
        share = provenance.get("validation_share", 1)
        if not self.test and self.share < 1:
            told += f" (both of {self.share:.1%} of it)"
        elif not self.test and share < 1:  # the minutes were not enough for all of it
            told += f" (the network's figures are of {share:.1%} of it)"
        if word != "behind":
            return told + caveat(it.part)
        return f"{told}; {_remedy(provenance, self.cheaper)}"


class Candidate(NamedTuple):
    """A baseline that ``fit`` makes in about so many seconds.

    ``by_folds``: gives its figures where no part is there to validate by.
    """

    fit: Callable[[float], Baseline]
    by_folds: Callable[[], Mapping[str, float]] | None = None

    def beside(self, validation: Any, test: Any, seconds: float) -> Beside:
        """Fit it and score it on parts; None: no such part."""
        began, fitted = time.monotonic(), self.fit(seconds)
        figures = [{} if part is None else fitted.figures(part) for part in (validation, test)]
        if self.by_folds is not None:
            figures[0] = dict(self.by_folds())
        return Beside(
            baseline=fitted,
            validation=figures[0],
            test=figures[1],
            seconds=round(time.monotonic() - began, 1),
        )


def best_beside(
    candidates: Sequence[Candidate], validation: Any, test: Any, seconds: float
) -> Beside:
    """Of ``candidates`` that which does best by the proper score on the validation part.

    Without such a part the test part tells: a network that beats the worse one has beaten nothing.
    """

    def score(one: Beside) -> float:
        figures = one.validation or one.test
        found = next((figures[name] for name in _SCORES if name in figures), math.inf)
        return found if math.isfinite(found) else math.inf

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a solver has not converged is no news of the run
        fitted = [one.beside(validation, test, seconds) for one in candidates]
    spent_s = round(sum(one.seconds for one in fitted), 1)
    return replace(min(fitted, key=score), seconds=spent_s)


def allowance(max_minutes: float | None) -> float:
    """Seconds that a baseline may take, about."""
    return _LONGEST_S if max_minutes is None else min(_LONGEST_S, _SHARE * 60 * max_minutes)


def _how_far(change: float) -> str:
    """A part by which a score differs, in words."""
    if change >= 1:
        return f"{1 + change:.2g} times as high"
    percent = 100 * abs(change)
    shown = (
        f"{percent:.2g}" if percent < 10 else f"{percent:.0f}" if percent < 99 else f"{percent:.1f}"
    )
    return f"{shown} % {'higher' if change > 0 else 'lower'}"


def _remedy(provenance: Mapping[str, Any], cheaper: str) -> str:
    """What may help a network that lost, or what is ``cheaper``."""
    steps, best = provenance["steps"], provenance["best_step"]
    if best < _LATE * steps:
        return (
            f"its best weights came at step {best} of {steps}, so more time would not help: give "
            f"more data, or {cheaper}"
        )
    more = {
        "epochs": math.ceil(_MORE * provenance["epochs"]),
        "max_steps": math.ceil(_MORE * steps),
        "max_minutes": math.ceil(_MORE * provenance["training_seconds"] / 60),
    }
    limit = provenance["stopped_by"]
    limit = limit if limit in more else "epochs"
    longer = spelled(limit, more[limit])
    return f"it was still getting better: train longer with {longer}, or {cheaper}"


def _words(name: str) -> str:
    words = {"mse": "mean squared error", "mae": "mean absolute error"}
    words |= {"cross_entropy": "cross-entropy"}
    return words.get(name) or name.replace("_", " ")


@dataclass(kw_only=True, eq=False, repr=False)
class StandsBeside(SklearnOptions):
    """An estimator whose every training stands beside a baseline, and says so at its end."""

    baseline: bool = option(
        True,
        "also fit a method that takes seconds, and say what it reaches on the same held-out part "
        "and whether the network is ahead of it",
    )

    @property
    def _baseline_s(self) -> float:
        """Seconds that the baseline may take, about."""
        return allowance(self.max_minutes)

    def _stand_beside(
        self,
        fit: Callable[[float], Baseline],
        validation: Any,
        test: Any = None,
        by_folds: Callable[[], Mapping[str, float]] | None = None,
        *,
        constant: Candidate | None = None,
        spent_s: float = 0.0,
        cheaper: str = _CHEAPER,
    ) -> None:
        """Fit the baseline, given the seconds that it may take, and score it; None: no part.

        ``by_folds`` gives validation figures where there is no such part; ``constant``: what stands
        in its place where it does better, though it reads nothing; ``spent_s``: what it has taken
        already; ``cheaper``: what to do instead of training longer.
        """
        self._beside = None
        if not (self.baseline and self.is_first_process):
            return
        if validation is None and test is None and by_folds is None:
            self._say_of_baseline(
                f"left out, since nothing is held out to compare on; "
                f"{spelled('test_fraction', 0.2)} holds out a part"
            )
            return
        try:
            candidates = [Candidate(fit, by_folds), *([] if constant is None else [constant])]
            beside = best_beside(candidates, validation, test, self._baseline_s)
            spent_s = round(beside.seconds + spent_s, 1)
            self._beside = replace(beside, seconds=spent_s, cheaper=cheaper)
        except ModuleNotFoundError as e:
            self._say_of_baseline(
                f"left out, since {e.name} is not installed; install it with: "
                "pip install 'tidegate[train]'"
            )
        except Exception as e:  # the run is worth something without it
            self._say_of_baseline(f"left out, since it failed ({type(e).__name__}: {e})")

    def _stand_beside_part(self, part: Any, share: float) -> None:
        """Take the baseline's figures on the ``part`` of the validation part that was evaluated."""
        if self._beside is not None and share < 1:
            figures = self._beside.baseline.figures(part)
            self._beside = replace(self._beside, validation=figures, share=share)

    def _say_of_baseline(self, told: str) -> None:
        if self.speaks:
            say(f"baseline: {told}")

    def _conclude(self, test: Mapping[str, float]) -> Self:
        """Keep the ``test`` figures and those of the baseline; say who is ahead."""
        self.metrics_ |= {f"test_{name}": value for name, value in test.items()}
        beside = self._beside
        if beside is not None:
            self._say_of_baseline(beside.verdict(self.metrics_, self.provenance_))
            self.metrics_ |= beside.metrics
            self.provenance_ |= beside.provenance
        return self
