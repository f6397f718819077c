"""What a run does before its first step: no more than its minutes leave time for; it says so."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tidegate as tg
from tidegate.data.series.line import widest_line
from tidegate.data.series.scaling import Scaler
from tidegate.data.series.windowing import Windowing
from tidegate.data.series.windows import Rows, Windows
from tidegate.tasks.splitting import thinned
from tidegate.training import preparation as module
from tidegate.training.options import TrainingOptions
from tidegate.training.preparation import Preparation

SECONDS = 60
HALF = SECONDS / 2


class FakeTime:
    """A clock that work moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    process_time = monotonic


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    fake = FakeTime()
    monkeypatch.setattr(module, "time", fake)
    return fake


def prepared(clock: FakeTime, minutes: float | None = 1, **options: Any) -> Preparation:
    return Preparation(TrainingOptions(max_minutes=minutes, verbose=0, **options), clock.now)


def taking(clock: FakeTime, row_s: float) -> Callable[[int], None]:
    def work(count: int) -> None:
        clock.now += row_s * count

    return work


@pytest.mark.parametrize("row_s", [1e-4, 0.003, 0.5])
@pytest.mark.parametrize("count", [5, 900, 60_000])
def test_preparing_takes_its_share_of_the_minutes_whatever_a_row_costs(
    clock: FakeTime, row_s: float, count: int
) -> None:
    preparation = prepared(clock)
    work = taking(clock, row_s)
    part = preparation.part("rows", count, work)
    rows = round(part * count)
    work(rows)
    assert clock.now - preparation.began <= 1.3 * HALF
    affordable = HALF / row_s
    assert rows == count if count <= 0.5 * affordable else rows >= 0.5 * min(count, affordable)


def test_without_minutes_nothing_is_measured_and_all_is_prepared(clock: FakeTime) -> None:
    preparation = prepared(clock, None)
    assert preparation.part("rows", 10**9, lambda _: pytest.fail("measured")) == 1
    assert preparation.decided == {}


def test_a_file_whose_reading_took_the_minutes_leaves_a_tenth_of_them(clock: FakeTime) -> None:
    preparation = prepared(clock)
    clock.now += 2 * SECONDS
    part = preparation.part("rows", 1000, taking(clock, 0.1))
    assert part * 1000 == pytest.approx(SECONDS / 10 / 0.1, rel=0.4)


def test_rows_that_cannot_be_prepared_alone_are_prepared_with_all_others(clock: FakeTime) -> None:
    def work(_: int) -> None:
        raise ValueError

    assert prepared(clock).part("rows", 1000, work) == 1


def test_some_of_the_rows_are_always_the_same_and_have_every_label() -> None:
    rows = np.arange(50, 1050)
    labels = np.zeros(1100, np.int64)
    labels[777] = 3
    some = thinned(rows, 0.1, labels)
    np.testing.assert_array_equal(some, thinned(rows, 0.1, labels))
    assert len(some) <= 102
    assert 777 in some
    assert set(some) <= set(rows)
    np.testing.assert_array_equal(thinned(rows, 1.0, labels), rows)


def test_a_line_is_as_long_as_there_is_time_for() -> None:
    values = np.random.default_rng(0).standard_normal((400, 1))
    w = Windowing(
        names=("x",), covariate_names=(), step=1, context=32, horizon=2, season=1, segment=1,
        joint=False, anchored=False, scaler=Scaler.fit(values), covariate_scaler=None,
        longer_seasons=(),
    )  # fmt: skip
    train = Windows(w, Rows(values, np.zeros((400, 0))), np.arange(0, 200))
    validation = train.at(np.arange(240, 300))
    assert widest_line(train, validation, 32, np.inf) == 32
    assert widest_line(train, validation, 32, 1e-9) == 8
    assert widest_line(train, validation, 32, 1e6) == 32


@pytest.fixture
def slow_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is time for four in ten of what is to be prepared, where it is measured."""
    torch.set_num_threads(1)
    monkeypatch.setattr(Preparation, "_affordable", lambda *_: 0.4)


TINY: dict[str, Any] = {"hidden_sizes": (4,), "max_minutes": 1, "max_steps": 2}
WORDS = ["good film", "bad film", "a good one", "a bad one", "so good"] * 100
TUNES = [np.eye(4, dtype=np.uint8)[np.arange(8 + k % 3) % 4] for k in range(60)]
WAVES = [np.sin(np.arange(20) / (2 + k % 2))[:, None] for k in range(100)]
SIDES = [f"{k} and {k + 1}" for k in range(90)], [str(k) for k in range(90)]

CASES: dict[str, tuple[Callable[..., Any], tuple[Any, ...], str, int]] = {
    "texts": (tg.TextClassifier, (WORDS, ["good", "bad"] * 250), "training_texts", 450),
    "sentences": (
        tg.SequenceTagger,
        ([w.split() for w in WORDS], [["A"] + ["B"] * w.count(" ") for w in WORDS]),
        "training_sentences", 450,
    ),
    "sequences": (
        tg.SequenceClassifier, (WAVES, ["slow", "fast"] * 50), "training_sequences", 80,
    ),
    "numbers": (tg.SequenceRegressor, (WAVES, np.arange(100.0)), "training_sequences", 80),
    "steps": (
        tg.SeriesTagger, (WAVES, [["up", "down"] * 10] * 100), "training_sequences", 90,
    ),
    "pieces": (tg.MusicModel, (TUNES,), "training_pieces", 54),
    "pairs": (tg.SequenceToSequence, SIDES, "training_pairs", 81),
    "characters": (
        tg.LanguageModel, ("one two three four. " * 1000,), "training_tokens", 18_000,
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", CASES)
@pytest.mark.usefixtures("slow_work")
def test_every_task_learns_from_what_there_is_time_to_prepare_and_says_so(
    what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    kind, data, name, count = CASES[what]
    model = kind(**TINY, verbose=1, baseline=False).fit(*data)
    assert model.provenance_[name] == pytest.approx(0.4 * count, abs=2)
    assert re.search(r"1 minutes leave time to prepare about .* give more", capsys.readouterr().out)


@pytest.mark.usefixtures("slow_work")
def test_a_run_that_goes_on_learns_from_what_it_began_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, data, name, _ = CASES["texts"]
    options = TINY | {"run_folder": tmp_path / "run", "verbose": 0, "baseline": False}
    began = kind(**options).fit(*data)
    monkeypatch.setattr(Preparation, "_affordable", lambda *_: 0.9)
    went_on = kind(**options | {"resume": True, "max_steps": 3}).fit(*data)
    assert went_on.provenance_[name] == began.provenance_[name]
    assert went_on.provenance_["steps"] == 3
