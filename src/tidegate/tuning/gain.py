"""What a search gained: winner and defaults trained alike, measured where the search never looked.

Both are trained with the same new seeds within the same limits.  The gain is beyond noise if the
95 % interval of the difference over the seeds does not hold 0, and a paired test over the held-out
examples gives p < 0.05: the rule by which cells are compared (comparison/report/advice.py).
"""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tidegate.comparison.experiments.experiment import Experiment
from tidegate.comparison.experiments.paired import FEW, as_p
from tidegate.comparison.report.advice import Margin, Scores, margin
from tidegate.comparison.runs.runs import copy_of
from tidegate.tasks.estimator import Estimator
from tidegate.training.clock import counting_from
from tidegate.training.watching import watched_by
from tidegate.tuning.progress import TuningProgress
from tidegate.tuning.search import Watch

_OF_A_RUN = 0.97  # of the time for a run and its figures; the rest is for what nobody foresees
_LONGER = 1.25  # times the minutes of a trial, at most: what the search left


@dataclass(frozen=True, kw_only=True)
class Gain:
    """Mean losses of the defaults and of the winner on the held-out part, over the seeds.

    ``examples``: what a loss is counted by; ``label``: the metric with its unit.
    """

    defaults: float
    winner: float
    seeds: int
    examples: str
    label: str
    margin: Margin

    @property
    def beyond_noise(self) -> bool:
        """Whether the winner is better, and not by chance."""
        return self.margin.told_apart

    def __str__(self) -> str:
        m, less = self.margin, self.defaults - self.winner
        relative = f"{100 * abs(less) / abs(self.defaults):.2g} %" if self.defaults else ""
        change = f"{relative} {'lower' if less >= 0 else 'higher'} than the defaults'"
        figures = f"{self.label}: defaults {self.defaults:.4g}, winner {self.winner:.4g}, {change}"
        seeds = f"{self.seeds} new seeds each" if self.seeds > 1 else "one new seed each"
        interval = "" if m.low is None else f" ({m.low:.2g} to {m.high:.2g} over the seeds)"
        p = as_p(m.p)
        how = f"{less:.2g}{interval}, {p} on the same {m.examples} held-out {self.examples}"
        return f"{self._verdict()} {figures}; difference {how}; {seeds}."

    def _verdict(self) -> str:
        if self.beyond_noise:
            return "Gain:"
        if self.winner > self.defaults:
            return "No gain: the winner of the search is no better on the part held out."
        why = "the difference may be chance"
        if self.margin.examples < FEW:
            why += f", and {self.margin.examples} {self.examples} are few to tell by"
        elif self.seeds == 1:
            why += ", and one seed cannot tell"
        return f"No gain beyond noise: {why}."

    def to_json(self) -> dict[str, Any]:
        """Every figure by name."""
        about = asdict(self.margin)
        return {
            "defaults": self.defaults,
            "winner": self.winner,
            "difference": self.defaults - self.winner,
            "seeds": self.seeds,
            "beyond_noise": self.beyond_noise,
            **{name: about[name] for name in ("low", "high", "p", "examples")},
        }


def measured(
    experiment: Experiment,
    defaults: Estimator,
    winner: Estimator,
    seeds: int,
    until: float,
    scoring_s: float,
    progress: TuningProgress,
) -> tuple[Gain, Any]:
    """The gain, and the fitted winner with the best validation figure.

    ``until``: the moment by which all is over, by ``time.monotonic``; what time there is the runs
    share alike; ``scoring_s``: seconds that figures on the held-out part take.
    """
    name = experiment.metric.name
    losses: dict[str, list[np.ndarray]] = {"defaults": [], "winner": []}
    best: Any = None
    for k in range(seeds):
        limits: dict[str, Any] = {"seed": defaults.seed + 1 + k}
        if math.isfinite(until):
            left = (until - time.monotonic()) / (2 * (seeds - k)) - scoring_s
            most = math.inf if defaults.max_minutes is None else _LONGER * defaults.max_minutes
            limits["max_minutes"] = min(max(_OF_A_RUN * left, 1e-3) / 60, most)
        for which, chosen in (("defaults", defaults), ("winner", winner)):
            model = copy_of(chosen, **limits)
            progress.begin(f"{which}, seed {model.seed}", (2 * k + (which == "winner")) / 2 / seeds)
            onlooker = _Onlooker(name, None, math.inf, progress.moved)
            with watched_by(onlooker), counting_from(time.monotonic()):
                experiment.fit(model)
            began = time.monotonic()
            of_examples = experiment.held_out_losses(model)
            scoring_s = max(scoring_s, time.monotonic() - began)
            losses[which].append(of_examples)
            part = experiment.held_out
            progress.done(
                f"{which}, seed {model.seed}: {part} {experiment.metric.label} "
                f"{of_examples.mean():.4g}"
            )
            if which == "winner" and (best is None or model.metrics_[name] < best.metrics_[name]):
                best = model
    scores = {
        which: Scores([float(one.mean()) for one in of], np.stack(of))
        for which, of in losses.items()
    }
    return Gain(
        defaults=float(np.mean(scores["defaults"].figures)),
        winner=float(np.mean(scores["winner"].figures)),
        seeds=seeds,
        examples=experiment.examples,
        label=experiment.metric.label,
        margin=margin(
            "winner", scores["winner"], "defaults", scores["defaults"], experiment.held_out
        ),
    ), best


class _Onlooker(Watch):
    """Asks for no evaluation of its own: such a run is what ``train`` does."""

    def wants_figures(self, fraction: float) -> bool:
        self.moved(fraction)
        return False
