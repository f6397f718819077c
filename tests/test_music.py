"""Music and other steps of many outputs: what is predicted, from what, and how it is measured."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from streamed_models import music_model, rolls

import tidegate as tg
from tidegate.baselines.rolls import CountedSteps
from tidegate.errors import InputError
from tidegate.model.checkpoint import ModelFileError, load_model, save_model
from tidegate.runtime import repeats
from tidegate.runtime.repeats import Past, Reading
from tidegate.runtime.rolls import RollsAndConditions
from tidegate.training.step_outputs import StepOutputs

SMALL: dict[str, Any] = {"hidden_sizes": (5,), "max_steps": 3, "verbose": 0}
RAGGED = rolls(1, 1) + rolls(3, 9)


def by_hand(model: Any, roll: np.ndarray) -> np.ndarray:
    """Logits step by step, in torch, in float64."""
    network = model.network_.double()
    state, found = None, []
    for t in range(len(roll)):
        before = repetition(roll[:t]) if model.repeats else []
        read = np.concatenate([roll[t - 1] if t else 0 * roll[0], before]).astype(float)
        output, state = network(torch.from_numpy(read[None, None]), None, state)
        found.append(output[0, 0].detach().numpy())
    return np.array(found)


def repetition(roll: np.ndarray) -> np.ndarray:
    """What is read of the longest earlier repetition of the end of a roll, [O + 2]."""
    length, follower = longest(roll, len(roll))
    told = np.zeros(roll.shape[1]) if follower is None else roll[follower]
    return np.concatenate([told, [min(length, 16) / 16, min(length, 4) / 4]])


def longest(roll: np.ndarray, remembered: int) -> tuple[int, int | None]:
    """Its length, and which step followed it, by trying all."""
    end, best = len(roll) - 1, (0, None)
    for s in range(max(0, end - remembered), end):
        length = 0
        while s >= length and (roll[s - length] == roll[end - length]).all():
            length += 1
        length = min(length, 1) if s == end - remembered else length
        if length and length >= best[0]:
            best = length, s + 1
    return best


def objective(model: Any, train: list[np.ndarray], **options: Any) -> StepOutputs:
    about: dict[str, Any] = {"batch_size": 2, "bptt": 500, "transpose": 0, "input_dropout": 0.0}
    reading = model._reading(7)
    part = RollsAndConditions(train, np.zeros((len(train), 0), np.float32))
    about |= {"reading": reading, "columns": np.zeros(0, int), "seed": 0}
    return StepOutputs(model.network_, part, part, **about | options)


# what is predicted


@pytest.mark.parametrize(
    "options", [{}, {"hidden_sizes": (4, 3), "batch_norm": True}, {"repeats": False}]
)
def test_each_step_is_expected_from_the_steps_before_it_and_the_first_from_zeros(
    options: dict[str, Any],
) -> None:
    model = music_model(**options)
    for roll, found in zip(RAGGED, model.predict_proba(RAGGED), strict=True):
        np.testing.assert_allclose(found, 1 / (1 + np.exp(-by_hand(model, roll))), rtol=1e-5)


def test_what_comes_later_changes_nothing() -> None:
    model, roll = music_model(), rolls(1, 12)[0]
    other = roll.copy()
    other[6:] = 1 - other[6:]
    one, two = model.predict_proba([roll])[0], model.predict_proba([other])[0]
    np.testing.assert_array_equal(one[:7], two[:7])
    assert not np.allclose(one[7], two[7])


def test_nats_are_of_all_steps_of_all_pieces_and_accuracy_counts_what_is_on() -> None:
    model, nats, right, wrong, missed = music_model(), 0.0, 0, 0, 0
    for roll in RAGGED:
        logits = by_hand(model, roll)
        p = 1 / (1 + np.exp(-logits))
        nats -= np.log(np.where(roll, p, 1 - p)).sum()
        right += ((p > 0.5) & (roll == 1)).sum()
        wrong += ((p > 0.5) & (roll == 0)).sum()
        missed += ((p <= 0.5) & (roll == 1)).sum()
    figures = model.evaluate(RAGGED)
    assert figures["frames"] == sum(map(len, RAGGED))
    assert figures["nats_per_step"] == pytest.approx(nats / figures["frames"], rel=1e-5)
    assert figures["frame_accuracy"] == pytest.approx(right / (right + wrong + missed))
    assert model.score(RAGGED) == -figures["nats_per_step"]


def test_the_accuracy_of_silence_that_is_expected_is_undefined() -> None:
    model = music_model()
    model.runtime_.output_bias[:] = -50
    assert np.isnan(model.evaluate([np.zeros((3, 7))])["frame_accuracy"])


# how it is learned


def test_the_loss_in_training_is_what_evaluate_measures() -> None:
    model = music_model()
    learned = objective(model, RAGGED, batch_size=4)
    (batch,) = learned.batches(0, 0, 0, 1)
    result = learned.loss(learned.network.eval(), batch, None)
    figures = model.evaluate(RAGGED)
    assert result.count == figures["frames"]
    assert result.loss.item() == pytest.approx(figures["nats_per_step"], rel=1e-5)
    assert learned.evaluate(learned.network)["nats_per_step"] == pytest.approx(
        figures["nats_per_step"], rel=1e-5
    )


def test_batches_are_a_function_of_epoch_step_and_process_alone() -> None:
    learned = objective(music_model(), rolls(5, 9), bptt=4, transpose=2, input_dropout=0.3)

    def listed(*arguments: int) -> list[list[np.ndarray]]:
        return [[part.numpy() for part in b] for b in learned.batches(*arguments) if b]

    whole = listed(3, 0, 0, 1)
    assert len(whole) == learned.steps_in_epoch()
    for later, same in zip(listed(3, 2, 0, 1), whole[2:], strict=True):
        for one, other in zip(later, same, strict=True):
            np.testing.assert_array_equal(one, other)
    for inputs, lengths, targets in listed(3, 0, 1, 2):  # the second of two processes
        alike = [
            len(lengths) == 1
            and lengths[0] == b[1][1]
            and (targets[: lengths[0], 0] == b[2][: lengths[0], 1]).all()
            and (inputs[: lengths[0], 0] == b[0][: lengths[0], 1]).all()
            for b in whole
            if len(b[1]) == 2
        ]
        assert any(alike)


def test_long_pieces_are_cut_and_every_step_is_learned_from_once_an_epoch() -> None:
    pieces = rolls(3, 23)
    learned = objective(music_model(), pieces, bptt=6, batch_size=4)
    cuts = set()
    for epoch in range(3):
        found = sum(learned._pass(np.random.default_rng(epoch)), [])
        for row, roll in enumerate(pieces):
            own = sorted(stretch for stretch in found if stretch.roll == row)
            assert [s.begin for s in own] == [0, *(s.end for s in own[:-1])]
            assert own[-1].end == len(roll)
        cuts.add(tuple(sorted(stretch.begin for stretch in found)))
    assert len(cuts) == 3


def test_a_piece_that_moves_loses_nothing_and_keeps_its_intervals() -> None:
    roll = np.zeros((4, 7), np.uint8)
    roll[0, 2] = roll[1, 4] = roll[3, [2, 5]] = 1
    learned = objective(music_model(), [roll], transpose=9)
    seen = set()
    for epoch in range(40):
        ((_, _, targets),) = learned.batches(epoch, 0, 0, 1)
        steps, notes = np.nonzero(targets[:, 0].numpy())
        np.testing.assert_array_equal(steps, [0, 1, 3, 3])
        np.testing.assert_array_equal(notes - notes[0], [0, 2, 0, 3])
        seen.add(int(notes[0]))
    assert seen == {0, 1, 2, 3}


def test_a_pattern_is_learned_beyond_what_counting_knows() -> None:
    options = {"hidden_sizes": (24,), "max_steps": 250, "dropout": 0.0, "input_dropout": 0.0}
    model = tg.MusicModel(**options, verbose=0)
    # what comes after the first output depends on what came before it
    steps = np.eye(4, dtype=np.uint8)[[0, 1, 0, 2, 0, 3] * 6]
    model.fit([steps[k:] for k in range(6)] * 4)
    assert model.metrics_["nats_per_step"] < 0.7 * model.metrics_["baseline_nats_per_step"]
    assert model.evaluate([steps])["frame_accuracy"] > 0.9


@pytest.mark.parametrize("remembered", [5, 7, 1024])
@pytest.mark.parametrize(("outputs", "steps"), [(1, 40), (2, 5), (2, 1), (3, 60), (70, 30)])
def test_the_longest_earlier_repetition_is_found_in_a_roll_and_step_by_step(
    monkeypatch: pytest.MonkeyPatch, remembered: int, outputs: int, steps: int
) -> None:
    monkeypatch.setattr(repeats, "REMEMBERED", remembered)
    rng = np.random.default_rng(0)
    kinds = (rng.random((3, outputs)) < 0.5).astype(np.uint8)  # so that much comes again
    roll = kinds[rng.integers(0, 3, steps)]
    reading, past = Reading(outputs, repeats=True), Past(2, outputs)
    whole = reading.before(roll)
    assert not whole[0].any()
    for t in range(steps):
        length, follower = longest(roll[: t + 1], remembered)
        expected = np.zeros(outputs) if follower is None else roll[follower]
        found = past.push(roll[t : t + 1], np.array([1]))[0]  # the other row stays as it is
        np.testing.assert_array_equal(found[:-1], expected)
        assert found[-1] == length
        if t + 1 < steps:
            np.testing.assert_array_equal(whole[t + 1], np.concatenate([roll[t], found]))
    assert past.arrays["past.steps"].tolist() == [0, steps]


def test_repetitions_are_worth_reading() -> None:
    rng = np.random.default_rng(0)
    tunes = [np.tile((rng.random((12, 9)) < 0.3).astype(np.uint8), (4, 1)) for _ in range(30)]
    options = {"hidden_sizes": (32,), "max_steps": 120, "dropout": 0.0, "verbose": 0}
    nats = [
        tg.MusicModel(**options, repeats=repeats).fit(tunes).metrics_["nats_per_step"]
        for repeats in (True, False)
    ]
    assert nats[0] < 0.7 * nats[1]


def test_parts_that_a_file_brings_are_used_as_they_are_and_others_are_drawn() -> None:
    from tidegate.data.sequences.rolls.rolls import RollSet

    pieces = rolls(10, 6)
    model = tg.MusicModel(validation_fraction=0.2, test_fraction=0.1)
    assert [len(part) for part in model.split(pieces)] == [7, 2, 1]
    names = [str(k) for k in range(5)]
    parted = RollSet(pieces[:5], None, names, pieces[5:7], pieces[7:])
    assert [len(part) for part in model.split(parted)] == [5, 2, 3]
    with pytest.raises(InputError, match="parted already"):
        model.split(parted, validation=pieces)
    model.set_params(**SMALL).fit(parted)
    assert model.metrics_["test_frames"] == sum(map(len, pieces[7:]))
    train, held_out, test = model.split(pieces[:1])  # one alone: its end
    assert [len(part.rolls[0]) for part in (train, held_out, test)] == [4, 1, 1]


# what it writes


def test_a_seed_gives_one_piece_and_a_prompt_is_gone_on_with() -> None:
    model, prompt = music_model(), rolls(1, 6)
    one, same = (model.generate(prompt, 30, seed=5) for _ in range(2))
    np.testing.assert_array_equal(one, same)
    assert one.dtype == np.uint8
    assert one.shape == (30, 7)
    assert (one != model.generate(prompt, 30, seed=6)).any()
    assert (one != model.generate(None, 30, seed=5)).any()
    assert model.generate(prompt, 0).shape == (0, 7)


def test_steps_are_drawn_as_likely_as_a_stream_says() -> None:
    model, prompt = music_model(), rolls(1, 4)
    written = model.generate(prompt, 9, seed=2, temperature=0.5)
    rng, stream = np.random.default_rng(2), model.stream()
    likely = stream.feed(prompt[0])
    for step in written:
        odds = (likely / (1 - likely)) ** 2  # at half the temperature
        np.testing.assert_array_equal(step, odds / (1 + odds) > rng.random(7))
        likely = stream.feed(step)
    greedy = model.generate(prompt, 1, greedy=True)[0]
    np.testing.assert_array_equal(greedy, model.stream().feed(prompt[0]) > 0.5)


def test_names_stand_for_outputs_wherever_pieces_are_given(tmp_path: Path) -> None:
    weeks = [[{"milk"}, ["tea", "milk"], set(), ("bread",)]] * 6
    model = tg.MusicModel(**SMALL).fit(weeks)
    assert model.outputs_ == ("bread", "milk", "tea")
    array = np.array([[0, 1, 0], [0, 1, 1], [0, 0, 0], [1, 0, 0]])
    one, other = model.predict_proba(weeks)[0], model.predict_proba([array])[0]
    np.testing.assert_allclose(one, other, rtol=1e-5)
    assert model.names_of(array) == [["milk"], ["milk", "tea"], [], ["bread"]]
    answer = model.stream().feed([{"tea"}])
    np.testing.assert_allclose(answer, model.predict_proba([[["tea"], ["tea"]]])[0][1], rtol=1e-5)
    with pytest.raises(InputError, match="got 'beer'; leave it out"):
        model.evaluate([[["milk", "beer"]]])
    model.save(tmp_path / "m.safetensors")
    assert tg.load(tmp_path / "m.safetensors").outputs_ == model.outputs_


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ([], "expected one piece or more"),
        ("no.mid", "expected a file"),
        (np.zeros((3, 7)), r"one array \[3, 7\]; pass \[roll\]"),
        ([np.full((2, 7), 64)], "pass roll > 0"),
        ([np.zeros((2, 7)), np.zeros((2, 6))], "as many outputs each, got 6 and 7"),
        ([np.zeros((0, 7))], r"\[steps, outputs\]"),
        ([np.full((2, 7), np.nan)], "zeros and ones, got nan"),
        ([[["a"], "b"]], r"expected a list of names, got 'b'; write \[name\]"),
        ([[["a"], [3]]], "expected names, got 3"),
        ([[[]]], "expected an output that is on, got none"),
        (7, "expected a list of pieces, got int"),
    ],
)
def test_what_is_no_piece_is_refused(given: Any, told: str) -> None:
    with pytest.raises(InputError, match=told):
        tg.MusicModel(**SMALL).fit(given)


def test_another_number_of_outputs_than_in_training_is_refused() -> None:
    with pytest.raises(InputError, match="expected 7 outputs a step, as in training, got 3"):
        music_model().evaluate([np.zeros((2, 3))])
    with pytest.raises(InputError, match="option temperature|temperature"):
        music_model().generate(temperature=0.0)


# the file


def test_a_file_keeps_names_and_answers_and_refuses_another_number_of_names(
    tmp_path: Path,
) -> None:
    model = tg.MusicModel(**SMALL).fit(rolls(6, 8))
    path = tmp_path / "m.safetensors"
    model.save(path)
    again: Any = tg.load(path)
    np.testing.assert_array_equal(again.predict_proba(RAGGED)[2], model.predict_proba(RAGGED)[2])
    assert again.outputs_ == ("1", "2", "3", "4", "5", "6", "7")
    kept = load_model(path)
    kept.labels = list(range(7))
    save_model(path, kept)
    with pytest.raises(ModelFileError, match="outputs' names"):
        tg.load(path)


def test_both_onnx_graphs_answer_as_the_model_does(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    model = tg.MusicModel(**SMALL, repeats=False).fit(rolls(6, 8))
    whole, step = tmp_path / "whole.onnx", tmp_path / "step.onnx"
    model.export_onnx(whole, step=step)
    session = onnxruntime.InferenceSession(str(whole))
    (read,) = model.inputs_of(model._aligned(RAGGED[3:]))
    (values, lengths) = (i.name for i in session.get_inputs())
    feed = {values: read[None] if session.get_inputs()[0].shape[0] == "batch" else read[:, None]}
    feed[lengths] = np.array([len(read)], np.int32)
    (output,) = session.run(["output"], feed)
    found = 1 / (1 + np.exp(-output.reshape(len(read), 7).astype(float)))
    np.testing.assert_allclose(found, model.predict_proba([RAGGED[3]])[0], rtol=1e-4)
    assert step.exists()


# the baseline


def test_the_baseline_counts_what_follows_and_mixes_in_the_last_step() -> None:
    train = [np.array([[1, 0], [1, 0], [0, 1], [0, 1], [0, 1]])]
    alone = CountedSteps.fit(train, [np.array([[0, 1], [1, 0]])])  # nothing comes again there
    first, off, on = np.array([1.5, 0.5]) / 2, np.array([0.5, 1.5]) / 3, None
    on = np.array([1.5 / 3, 2.5 / 3])
    roll = np.array([[1, 1], [0, 1], [1, 1]])
    p = np.array([first, on, [off[0], on[1]]])
    nats = -np.log(np.where(roll, p, 1 - p)).sum()
    assert alone.losses([roll])[0] == pytest.approx(nats)
    mixed = CountedSteps.fit(train, [np.array([[1, 0]] * 9)])
    share = mixed._share
    assert share > 0.5
    again = np.array([[0, 1], [0, 1]])
    q = np.array([first, [off[0], on[1]]])
    each = np.where(again, q, 1 - q).prod(1)
    expected = -np.log(each[0]) - np.log(share + (1 - share) * each[1])
    assert mixed.losses([again])[0] == pytest.approx(expected)
    figures = mixed.figures([again])
    assert figures["nats_per_step"] == pytest.approx(expected / 2)


def test_a_baseline_is_a_distribution_over_all_steps() -> None:
    counted = CountedSteps.fit(rolls(3, 9, 3), rolls(2, 7, 3))
    steps = np.array([[k >> 2 & 1, k >> 1 & 1, k & 1] for k in range(8)])
    last = np.array([[1, 0, 1]])
    pairs = [np.concatenate([last, step[None]]) for step in steps]
    alone = counted.losses([last])[0]
    assert np.exp(alone - counted.losses(pairs)).sum() == pytest.approx(1)


def test_a_run_that_is_resumed_ends_with_the_bits_of_one_that_was_not(tmp_path: Path) -> None:
    from tidegate.training.objective import TrainingError

    options = {**SMALL, "max_steps": 9, "transpose": 2, "checkpoint_seconds": 0, "bptt": 5}
    whole = tg.MusicModel(**options, run_folder=tmp_path / "a").fit(rolls(8, 9))

    class Stopped(TrainingError):
        pass

    stopping = tg.MusicModel(**options, run_folder=tmp_path / "b")
    original = StepOutputs.loss
    calls = iter(range(100))

    def loss(self: Any, *arguments: Any) -> Any:
        if next(calls) == 5:
            raise Stopped
        return original(self, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StepOutputs, "loss", loss)
        with pytest.raises(Stopped):
            stopping.fit(rolls(8, 9))
    again = tg.MusicModel(**options, run_folder=tmp_path / "b", resume=True).fit(rolls(8, 9))
    for name, tensor in whole.runtime_.tensors.items():
        np.testing.assert_array_equal(tensor, again.runtime_.tensors[name])
    assert len(list(islice(whole.history_["step"], 9))) == len(again.history_["step"])
