"""Streams that are refused, states that are set, files of streams, threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streamed_models import forecaster, language_model, sequence_model, text_classifier

import tidegate as tg
from tidegate.errors import InputError

CLOSE = {"rtol": 1e-5, "atol": 1e-5}  # after a few steps in float32


def rows(count: int = 23) -> np.ndarray:
    return np.random.default_rng(5).standard_normal((count, 2)) * 3 + 1


HOSTILE: dict[str, tuple[Callable[[], Any], Any, str]] = {
    "a text for tokens": (language_model, [1, 999], "expected tokens from 0 to"),
    "no tokens": (language_model, [0.5], r"expected a str, or whole numbers \[T\]"),
    "no text": (text_classifier, 3, "expected a str, got 3"),
    "infinity": (
        lambda: sequence_model(tg.SequenceClassifier), [[1, np.inf]], "expected finite numbers",
    ),
    "too far": (
        lambda: sequence_model(tg.SequenceClassifier), [[1, 1e300]], "standard deviations away",
    ),
    "too far for a default model": (
        lambda: sequence_model(tg.SequenceClassifier, own_scale=True), [[1, 1e300]],
        "standard deviations away",
    ),
    "infinity for a default model": (
        lambda: sequence_model(tg.SequenceClassifier, evidence=20), [[1, -np.inf]],
        "expected finite numbers",
    ),
    "three channels": (
        lambda: sequence_model(tg.SequenceClassifier), [[1, 2, 3]], r"expected numbers \[T, 2\]",
    ),
    "words for numbers": (lambda: sequence_model(tg.SequenceRegressor), "x", "expected numbers"),
    "a missing value": (forecaster, [[1, np.nan]], "column 'y': expected finite values"),
    "one series of two": (forecaster, [1.0], r"expected numbers \[T, 2\] or \[2\]"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_piece_that_cannot_be_read_is_named_and_changes_nothing(name: str) -> None:
    make, piece, problem = HOSTILE[name]
    model = make()
    good: Any = "a film"
    if not isinstance(model, tg.TextClassifier | tg.LanguageModel):
        good = np.ones((3, 2))
    for stream, bad in ((model.stream(), piece), (model.stream(2), [good, piece])):
        stream.feed(good if stream.batch_size is None else [good, good])
        before = stream.state
        with pytest.raises(InputError, match=problem):
            stream.feed(bad)
        for key, array in stream.state.items():
            np.testing.assert_array_equal(array, before[key])


def test_a_default_model_of_numbers_streams_and_one_in_one_direction_forgets_its_values() -> None:
    x = [np.linspace(k, k + n, 12).reshape(6, 2) for n in (1, -1) for k in range(10)]
    y = ["up"] * 10 + ["down"] * 10
    options: dict[str, Any] = {"hidden_sizes": (4,), "max_steps": 2, "verbose": 0}
    model: Any = tg.SequenceClassifier(**options).fit(x, y)
    stream = model.stream()
    np.testing.assert_allclose(stream.feed(x[0]), model.predict_proba(x[:1])[0], **CLOSE)
    assert stream.state["values"].shape == (1, 6, 2)
    number: Any = tg.SequenceRegressor(**options).fit(x, np.arange(20.0))
    assert number.stream().feed(x[0]) == pytest.approx(number.predict(x[:1])[0], rel=1e-5)
    one_way = {"bidirectional": False, "own_scale": False, "evidence": False}
    model = tg.SequenceClassifier(**options, **one_way).fit(x, y)
    stream = model.stream()
    np.testing.assert_allclose(stream.feed(x[0]), model.predict_proba(x[:1])[0], **CLOSE)
    assert "values" not in stream.state
    with pytest.raises(InputError, match="batch_size: expected a whole number from 0"):
        model.stream(-1)


def test_a_sequence_too_long_to_read_anew_is_refused_and_begins_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tidegate.runtime.whole_streams.MOST_STEPS", 30)
    stream = sequence_model(tg.SequenceClassifier, own_scale=True).stream(2)
    stream.feed([rows(), rows(30)])
    before = stream.state
    with pytest.raises(
        InputError, match=r"at most 30 steps.*got 31; begin it anew with reset"
    ) as e:
        stream.feed([rows(2), rows(1)])
    assert "evidence=False" in str(e.value)
    for name, array in stream.state.items():
        np.testing.assert_array_equal(array, before[name])
    stream.reset(1)
    assert np.isfinite(stream.feed([rows(2), rows(1)])).all()
    longer = {**before, "values": np.zeros((2, 31, 2))}
    with pytest.raises(InputError, match=r"values: expected \[2, 30, 2\], got \[2, 31, 2\]"):
        stream.state = longer


def test_values_that_are_remembered_are_checked_before_they_are_taken(tmp_path: Path) -> None:
    model, path = sequence_model(tg.SequenceClassifier, evidence=20), tmp_path / "stream"
    stream = model.stream(2)
    stream.feed([rows(), rows(4)])
    good = stream.state
    for name, change, problem in (
        ("values", lambda a: a * np.nan, "expected finite values"),
        ("values", lambda a: a + 1e31, "expected numbers up to 1e[+]30"),
        ("values", lambda a: a[..., :1], r"expected \[2, 23, 2\]"),
        ("values", lambda a: a[:1], r"expected \[2, 23, 2\]"),
        ("values", lambda a: a[:, 0], r"expected \[2, 0, 2\]"),
        ("values", lambda a: a[:, 1:], "expected at most 22, those of the values"),
        ("steps", lambda a: a + 1, "expected at most 23, those of the values"),
        ("steps", lambda a: a - 5, "expected numbers from 0"),
    ):
        with pytest.raises(InputError, match=f"state: (values|steps): {problem}"):
            stream.state = {**good, name: change(good[name])}
        for held, array in stream.state.items():
            np.testing.assert_array_equal(array, good[held])
    stream.save(path)
    for size, problem in ((None, "one of 2; load it into one of batch_size=2"), (3, "of 2")):
        with pytest.raises(InputError, match=problem):
            model.stream(size).load(path)
    again = model.stream(2)
    again.feed([rows(), rows()])  # more than it will remember
    again.load(path)
    np.testing.assert_array_equal(again.answer, stream.answer)
    np.testing.assert_array_equal(again.state["values"], good["values"])
    again.reset()
    again.save(path)  # of no steps
    np.testing.assert_array_equal(stream.load(path).answer, model.stream(2).answer)


def test_texts_that_are_read_from_their_end_are_refused_with_a_remedy_that_helps() -> None:
    options: dict[str, Any] = {"hidden_sizes": (4,), "max_steps": 2, "verbose": 0}
    with pytest.raises(InputError, match="bidirectional=False"):
        tg.TextClassifier(**options).fit(["a b", "c"] * 10, ["x", "y"] * 10).streams()
    with pytest.raises(InputError, match=r"reads from a text's end.*reverse=False"):
        tg.LanguageModel(**options, reverse=True, bptt=4).fit("a tide " * 20).stream()
    with pytest.raises(InputError, match="call fit or load first"):
        tg.Forecaster().stream()


def test_a_text_longer_than_the_model_reads_is_refused_with_a_remedy_that_helps() -> None:
    model = text_classifier().set_params(max_length=4)
    stream = model.stream()
    stream.feed("a film")
    stream.feed("not good")
    with pytest.raises(InputError, match=r"at most 4 tokens.*set_params\(max_length=None\)"):
        stream.feed("so")
    np.testing.assert_array_equal(stream.answer, stream.copy().answer)
    model.set_params(max_length=None)
    answer = model.stream().feed("a film not good so")
    np.testing.assert_allclose(answer, model.predict_proba(["a film not good so"])[0], **CLOSE)


def test_pieces_are_asked_for_as_many_as_there_are_streams() -> None:
    stream = text_classifier().stream(2)
    with pytest.raises(InputError, match="one piece per sequence, 2, got 1"):
        stream.feed(["a"])
    with pytest.raises(InputError, match="list or array of 2 pieces, got str"):
        stream.feed("ab")
    streams = text_classifier().streams()
    with pytest.raises(InputError, match="id: expected one that is open, got 'a'; open it"):
        streams.feed({"a": "good"})
    streams.open("a")
    with pytest.raises(InputError, match="id: expected a new one, got 'a'"):
        streams.open("b", "a")
    with pytest.raises(InputError, match="expected pieces by id"):
        streams.feed(["good"])
    assert streams.ids == ["a"]


def test_a_frame_s_columns_are_taken_by_their_names() -> None:
    polars = pytest.importorskip("polars")
    model = forecaster()
    names = model.stream().columns
    rows = np.random.default_rng(0).normal(size=(60, 2))
    frame = polars.DataFrame({names[1]: rows[:, 1], "more": "text", names[0]: rows[:, 0]})
    answer = model.stream().feed(rows)
    assert np.isfinite(answer).all()
    np.testing.assert_array_equal(model.stream().feed(frame), answer)
    np.testing.assert_allclose(model.stream(2).feed([frame, rows]), [answer] * 2, rtol=1e-6)
    with pytest.raises(InputError, match=f"got none named {names[0]}; add it"):
        model.stream().feed(frame.drop(names[0]))


def test_a_state_is_checked_before_it_is_taken() -> None:
    stream = sequence_model(tg.SequenceClassifier, segment=3, readout="mean+max").stream()
    stream.feed(np.ones((5, 2)))
    good = stream.state
    for name, change, problem in (
        ("recurrent.0.h", lambda a: a.astype(np.float64), "expected an array of float32"),
        ("recurrent.0.h", lambda a: a[:, 1:], r"expected \[1, 6\]"),
        ("recurrent.1.h", lambda a: a * np.float32(np.nan), "expected finite values"),
        ("steps", lambda a: a - 9, "expected numbers from 0"),
        ("pending.steps", lambda a: a + 3, "expected 0 to 2"),
        ("readout.max", lambda a: a - np.float32(np.inf), "expected finite values"),
        ("last", lambda _: None, "expected an array of float64, got NoneType"),
    ):
        with pytest.raises(InputError, match=f"state: {name}: {problem}"):
            stream.state = {**good, name: change(good[name])}
    with pytest.raises(InputError, match="got or missed 'other'"):
        stream.state = {**good, "other": good["last"]}
    for name, array in stream.state.items():
        np.testing.assert_array_equal(array, good[name])
    fresh = sequence_model(tg.SequenceClassifier, segment=3, readout="mean+max").stream()
    fresh.state = fresh.state  # also of a sequence that has not begun


def test_a_file_of_another_stream_or_a_damaged_one_is_refused(tmp_path: Path) -> None:
    model, path = sequence_model(tg.SequenceClassifier), tmp_path / "stream.safetensors"
    stream = model.stream(2)
    stream.feed([rows(), rows(4)])
    stream.save(path)
    whole = path.read_bytes()
    for other, size, problem in (
        (
            model,
            None,
            "expected a stream of 1, got one of 2; load it into one of batch_size=2",
        ),
        (
            sequence_model(tg.SequenceClassifier, seed=1),
            2,
            "model: expected a stream of this model",
        ),
        (forecaster(), 2, "stream: expected one of a forecaster"),
        (sequence_model(tg.SequenceClassifier, segment=4), 2, "model: expected"),
    ):
        with pytest.raises(InputError, match=problem) as refused:
            other.stream(size).load(path)
        assert str(path) in str(refused.value)
    rng = np.random.default_rng(0)
    before = stream.state
    for place in rng.integers(0, len(whole), 60).tolist():
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged if place % 3 else whole[:place])
        with pytest.raises(InputError, match="stream.safetensors"):
            stream.load(path)
    for name, array in stream.state.items():
        np.testing.assert_array_equal(array, before[name])
    stream.save(path, force=True)  # of the damaged one
    with pytest.raises(InputError, match=r"got what a stream remembers.*stream\(\).load\(path"):
        tg.load(path)
    other = tmp_path / "notes.txt"
    other.write_text("mine")
    with pytest.raises(InputError, match="a file that tidegate did not write"):
        stream.save(other)
    stream.save(other, force=True)
    stream.load(other)


def test_streams_of_one_model_run_in_threads_of_their_own() -> None:
    model = sequence_model(tg.SequenceClassifier, hidden_sizes=(64, 64))
    found: dict[int, np.ndarray] = {}

    def run(number: int) -> None:
        stream = model.stream()
        for row in rows():
            answer = stream.feed(row)
        found[number] = answer

    workers = [threading.Thread(target=run, args=(n,)) for n in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(found) == 4
    for answer in found.values():
        np.testing.assert_array_equal(answer, found[0])
