"""A baseline that has too few seconds learns from a part, and whoever is ahead of it says so."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest

import tidegate as tg
from tidegate.baselines.baseline import Answered, Baseline
from tidegate.baselines.language import CountedTokens
from tidegate.baselines.pairs import NearestAnswer
from tidegate.baselines.sequences import (
    ConvolvedLabels,
    ConvolvedNumbers,
    LinearSequences,
    NearestNeighbour,
)
from tidegate.baselines.steps import LinearSteps, NearestSteps
from tidegate.baselines.tagged import Tagged
from tidegate.baselines.texts import LinearLabelSets, LinearTexts, RidgeTexts
from tidegate.baselines.windows import LinearWindows, best_of
from tidegate.data.series.line import fit_line
from tidegate.data.series.scaling import Scaler
from tidegate.data.series.windowing import Windowing
from tidegate.data.series.windows import Rows, Windows
from tidegate.tasks import beside

RNG = np.random.default_rng(0)
WORDS = ["good", "bad", "film", "plot"]
TEXTS = [" ".join(RNG.choice(WORDS, 6)) for _ in range(300)]
GOOD = np.array([text.count("good") for text in TEXTS])
SEQUENCES = list(RNG.normal(size=(300, 20)).cumsum(1)[:, :, None])
ENDS = np.array([one[-1, 0] for one in SEQUENCES])
STEPS = Tagged(SEQUENCES, [["up" if v > 0 else "down" for v in one[:, 0]] for one in SEQUENCES])
NONE = Answered([], np.empty(0))
TOKENS = RNG.integers(0, 9, 30_000)

WALK = RNG.normal(size=(400, 1)).cumsum(0)
WINDOWING = Windowing(
    names=("a",), covariate_names=(), step=1, context=12, horizon=5, season=6, segment=3,
    joint=False, anchored=True, scaler=Scaler.fit(WALK), covariate_scaler=None,
)  # fmt: skip
ROWS = Rows(WALK, np.empty((400, 0)))
TRAIN, JUDGES = (Windows(WINDOWING, ROWS, np.arange(*ends)) for ends in ((0, 300), (320, 380)))

Fit = Callable[[float], Baseline]  # in so many seconds

TIMED: dict[str, tuple[str, Fit]] = {
    "texts and labels": (
        "300 texts",
        lambda s: LinearTexts.fit(Answered(TEXTS, GOOD > 1), NONE, seconds=s),
    ),
    "texts and numbers": (
        "300 texts",
        lambda s: RidgeTexts.fit(Answered(TEXTS, GOOD.astype(float)), NONE, seconds=s),
    ),
    "texts and sets of labels": (
        "300 texts",
        lambda s: LinearLabelSets.fit(
            Answered(TEXTS, np.c_[GOOD > 0, GOOD > 1].astype(int)),
            Answered([], np.empty((0, 2))),
            seconds=s,
        ),
    ),
    "pairs": (
        "300 pairs",
        lambda s: NearestAnswer.fit(
            Answered(TEXTS, np.array(TEXTS)), Answered(TEXTS[:5], np.array(TEXTS[:5])), seconds=s
        ),
    ),
    "the nearest sequence": (
        "300 sequences",
        lambda s: NearestNeighbour.fit(Answered(SEQUENCES, ENDS > 0), seconds=s),
    ),
    "sequences and numbers": (
        "300 sequences",
        lambda s: LinearSequences.fit(Answered(SEQUENCES, ENDS), seconds=s),
    ),
    "the nearest step": ("6,000 steps", lambda s: NearestSteps.fit(STEPS, seconds=s)),
    "steps and labels": ("6,000 steps", lambda s: LinearSteps.fit(STEPS, None, s)),
    "windows": ("300 windows", lambda s: LinearWindows.fit(TRAIN, JUDGES, seconds=s)),
    "tokens": (
        "30,000 tokens",
        lambda s: CountedTokens.fit(TOKENS, TOKENS[:500], size=9, never_target=None, seconds=s),
    ),
}
SHARED: dict[str, Fit] = {  # by a share of the sequences, not by seconds
    "labels": lambda share: ConvolvedLabels.fit(Answered(SEQUENCES, ENDS > 0), share=share),
    "numbers": lambda share: ConvolvedNumbers.fit(Answered(SEQUENCES, ENDS), share=share),
}
SECONDS = {"windows": 1e-5, "the nearest sequence": 1e-3, "sequences and numbers": 1e-4}


@pytest.mark.parametrize("kind", TIMED)
def test_every_baseline_that_lacks_time_tells_of_which_part_it_learned(kind: str) -> None:
    of, fit = TIMED[kind]
    few = fit(SECONDS.get(kind, 0.01))
    assert re.fullmatch(rf"(the last )?[0-9,]+ of {of}", few.part), few.part
    assert few.told == f"{few.about}, of {few.part}"
    whole = fit(np.inf)
    assert whole.part == ""
    assert whole.told == whole.about


@pytest.mark.parametrize("kind", SHARED)
def test_convolutions_of_a_share_of_sequences_tell_of_it(kind: str) -> None:
    part = SHARED[kind](0.5).part
    assert re.fullmatch("15[0-2] of 300 sequences", part), part  # of each label one at least
    assert SHARED[kind](1.0).part == ""


def test_a_line_that_reads_fewer_rows_than_the_network_tells_of_them() -> None:
    line = fit_line(TRAIN, JUDGES, 2)  # of the 4 steps of 3 rows
    assert LinearWindows.of(line, TRAIN).part == "the last 6 of 12 rows of each"
    assert LinearWindows.of(fit_line(TRAIN, JUDGES, 4), TRAIN).part == ""
    assert best_of(TRAIN, JUDGES, line).part in ("", "the last 6 of 12 rows of each")


def test_a_training_whose_baseline_had_too_few_seconds_says_it_at_its_end(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beside, "allowance", lambda minutes: 0.01)  # noqa: ARG005
    model = tg.TextRegressor(hidden_sizes=(4,), max_steps=2, validation_fraction=0.3)
    model.fit(TEXTS, GOOD.astype(float))
    told = capsys.readouterr().out.strip().splitlines()[-1]
    assert re.search(r", of [0-9]+ of 210 texts\) on the validation part", told)
    caveat = "; nothing is known of one that learns from all"
    assert told.endswith(caveat) == (not told.startswith("baseline: behind"))
