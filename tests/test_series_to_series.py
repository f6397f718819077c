"""Series that answer series: what is learned, measured, read from files, and refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import HALVES, Tidegate, tidegate  # noqa: F401

import tidegate as tg
from tidegate.baselines.series_pairs import StretchedRidge
from tidegate.comparison.experiments.of_tasks import experiment_of
from tidegate.data.sequence_sources import SequencesOfBoth
from tidegate.data.sequences.series_pairs import SeriesPairs
from tidegate.errors import InputError
from tidegate.model.checkpoint import ModelFileError, load_model, save_model
from tidegate.nn.arrays import network_on_arrays
from tidegate.runtime.series_answers import ends, places, series_figures, waves
from tidegate.training.series_transduction import SeriesTransduction

SMALL: dict[str, Any] = {"hidden_sizes": (12,), "verbose": 0, "baseline": False}


def loud(count: int, *, varied: bool = True) -> SeriesPairs:
    """How loud a tone is, at every second step: no linear map tells it."""
    rng, pairs = np.random.default_rng(0), SeriesPairs([], [])
    for _ in range(count):
        t = np.arange(rng.integers(12, 24) if varied else 20)
        envelope = np.exp(-(((t - rng.uniform(0, len(t))) / 6) ** 2))
        pairs.sources.append(envelope * np.sin(rng.uniform(0.8, 1.6) * t + rng.uniform(0, 6)))
        pairs.targets.append(5 + 3 * envelope[::2])
    return SeriesPairs([s[:, None] for s in pairs.sources], [t[:, None] for t in pairs.targets])


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def model() -> tg.SeriesToSeries:
    torch.set_num_threads(1)
    options = {**SMALL, "hidden_sizes": (24,), "baseline": True, "test_fraction": 0.2}
    return tg.SeriesToSeries(**options, max_steps=250, learning_rate=1e-2).fit(*loud(300))


def test_it_learns_answers_of_their_own_lengths_that_no_line_gives(
    model: tg.SeriesToSeries,
) -> None:
    figures = model.metrics_
    assert figures["test_scaled_mse"] < 0.3
    assert figures["test_scaled_mse"] < 0.5 * figures["test_baseline_scaled_mse"]
    assert figures["test_length_accuracy"] > 0.5
    other = loud(4)
    found = model.predict(other.sources)
    assert all(abs(len(a) - len(b)) <= 1 for a, b in zip(found, other.targets, strict=True))
    assert all(one.dtype == np.float64 and one.shape[1] == 1 for one in found)


def test_answers_of_one_length_have_it_and_no_output_more() -> None:
    pairs = loud(20, varied=False)
    model = tg.SeriesToSeries(**SMALL, max_steps=2).fit(*pairs)
    assert model.runtime_.architecture.output_size == 1
    assert "length_accuracy" not in model.metrics_
    assert [len(one) for one in model.predict([np.ones(7), np.ones(31)])] == [10, 10]


def test_the_loss_in_training_is_what_is_measured_and_how_answers_end() -> None:
    pairs = loud(12)
    model = tg.SeriesToSeries(**SMALL, max_steps=2).fit(*pairs)
    read = model._scaled(pairs, model._width)
    learned = SeriesTransduction(
        model.network_, read, read, scaler=model.target_, shortest=model.shortest_, batch_size=12,
        seed=0,
    )  # fmt: skip
    (batch,) = learned.batches(0, 0, 0, 1)
    network = model.network_.eval()
    result = learned.loss(network, batch, None)
    outputs, targets = model._against(pairs)
    squared = ended = 0.0
    for output, target in zip(outputs, targets, strict=True):
        squared += float(((output[: len(target), 0] - target[:, 0]) ** 2).sum())
        hazard = 1 / (1 + np.exp(-output[: len(target), 1].astype(float)))
        assert model.shortest_ is not None
        odds = 1 - hazard[model.shortest_ - 1 : len(target) - 1]
        ended -= np.log(odds).sum() + np.log(hazard[-1])
    assert result.count == sum(map(len, targets))
    assert result.loss.item() == pytest.approx((squared + ended) / result.count, rel=1e-4)
    figures = model.evaluate(*pairs)
    assert figures["scaled_mse"] == pytest.approx(squared / result.count, rel=1e-4)
    assert learned.evaluate(network)["mse"] == pytest.approx(figures["mse"], rel=1e-4)
    steps = sum(map(len, pairs.targets))
    weighted = model.losses(pairs) @ [len(t) for t in pairs.targets] / steps
    assert weighted == pytest.approx(figures["scaled_mse"], rel=1e-5)


def test_an_answer_does_not_depend_on_those_beside_it(model: tg.SeriesToSeries) -> None:
    sources = loud(9).sources
    for alone, beside in zip(sources, model.predict(sources), strict=True):
        np.testing.assert_allclose(model.predict([alone])[0], beside, rtol=1e-4, atol=1e-5)


def test_an_answer_ends_at_the_median_and_not_before_the_shortest() -> None:
    hazards = np.array([0.9, 0.2, 0.3, 0.3, 0.9, 0.9])
    logits = np.log(hazards / (1 - hazards))
    assert [ends(logits, shortest) for shortest in (1, 2, 5, 6)] == [1, 4, 5, 6]
    assert ends(np.full(4, -1e4), 2) == 4


def test_places_tell_all_steps_apart() -> None:
    for steps in (1, 2, 3, 100, 5000):
        where = places(steps, waves(steps))
        assert len(np.unique(where.round(3), axis=0)) == steps
    assert waves(2**40) == 40


def test_the_baseline_is_a_linear_map_stretched_to_the_true_length() -> None:
    rng = np.random.default_rng(0)
    X = [rng.normal(size=(9, 2)) for _ in range(60)]
    ridge = StretchedRidge.fit(
        *(SeriesPairs(part, [2 * x[::2, :1] - x[::2, 1:] for x in part]) for part in (X, X[:9]))
    )
    found = ridge.predict(X[:1], [5])[0]
    np.testing.assert_allclose(found, 2 * X[0][::2, :1] - X[0][::2, 1:], atol=1e-2)
    assert ridge.predict(X[:1], [12])[0].shape == (12, 1)


def test_a_file_keeps_the_model_and_refuses_what_does_not_fit(
    model: tg.SeriesToSeries, tmp_path: Path
) -> None:
    sources, path = loud(3).sources, tmp_path / "m.safetensors"
    model.save(path)
    again: Any = tg.load(path)
    for one, other in zip(model.predict(sources), again.predict(sources), strict=True):
        np.testing.assert_array_equal(one, other)
    kept = load_model(path)
    assert kept.scaling is not None
    good = kept.scaling
    for change in (
        {"shortest": None}, {"shortest": 0}, {"shortest": 1000}, {"shortest": "3"},
        {"target": good["inputs"]["scaler"] | {"mean": [0.0, 0.0], "scale": [1.0, 1.0]}},
        {"inputs": good["inputs"] | {"segment": 2}},
    ):  # fmt: skip
        kept.scaling = good | change
        save_model(tmp_path / "other", kept, )  # fmt: skip
        with pytest.raises(ModelFileError):
            tg.load(tmp_path / "other")


def test_both_onnx_files_answer_as_the_model_does(model: tg.SeriesToSeries, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    model.export_onnx(tmp_path / "e.onnx", step=tmp_path / "d.onnx")
    first, then = (onnxruntime.InferenceSession(tmp_path / f"{n}.onnx") for n in "ed")
    (source,) = loud(1).sources
    (read,) = model.sources_read([source])
    lengths = np.array([len(read)], np.int32)
    memory, *states = first.run(None, {"values": read[None], "sequence_lens": lengths})
    (expected,), found = model.predict([source]), []
    names = [i.name for i in then.get_inputs() if i.name.startswith("layer_")]
    for place in places(len(expected), model._width):
        feed = {"values": place[None], "memory": memory, "sequence_lens": lengths}
        outputs = [o.name for o in then.get_outputs()]
        told = dict(zip(outputs, then.run(None, feed | dict(zip(names, states, strict=True))),
                        strict=True))  # fmt: skip
        states = [told[f"{name}_out"] for name in names]
        found.append(told["output"][0, :1])
    found = model.target_.inverse(np.array(found).astype(np.float64))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_a_comparison_scores_the_network_and_the_line(model: tg.SeriesToSeries) -> None:
    pairs = loud(30)
    experiment = experiment_of(tg.SeriesToSeries(**SMALL), pairs, None, None)
    (ridge,) = experiment.baselines(model)
    assert ridge.name == "ridge"
    small = tg.SeriesToSeries(**SMALL, max_steps=1)
    experiment.fit(small)
    validation, scored = experiment.losses(small)
    assert len(validation) == len(scored) == experiment.size
    assert experiment.batch(small).inputs.shape[2] == small.runtime_.architecture.input_size


def test_a_run_that_is_resumed_ends_with_the_bits_of_one_that_was_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs, options = loud(20), {**SMALL, "max_steps": 4, "batch_size": 5, "checkpoint_seconds": 0}
    whole = tg.SeriesToSeries(**options).fit(*pairs)
    original, calls = SeriesTransduction.loss, iter(range(100))

    def loss(self: Any, *arguments: Any) -> Any:
        if next(calls) == 2:
            raise KeyboardInterrupt
        return original(self, *arguments)

    monkeypatch.setattr(SeriesTransduction, "loss", loss)
    with pytest.raises(KeyboardInterrupt):
        tg.SeriesToSeries(**options, run_folder=tmp_path / "run").fit(*pairs)
    again = tg.SeriesToSeries(**options, run_folder=tmp_path / "run", resume=True).fit(*pairs)
    for name, tensor in whole.runtime_.tensors.items():
        np.testing.assert_array_equal(tensor, again.runtime_.tensors[name])


def test_a_figure_is_in_the_targets_own_units() -> None:
    from tidegate.data.series.scaling import Scaler

    scaler = Scaler(np.array([1.0, 2.0]), np.array([10.0, 1.0]))
    outputs, targets = [np.array([[1.0, 2.0], [9.0, 9.0]])], [np.array([[0.0, 0.0]])]
    figures = series_figures(outputs, targets, scaler, None)
    assert figures == {"mse": (100 + 4) / 2, "mae": (10 + 2) / 2, "scaled_mse": 2.5}


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (lambda: ([], []), "sources: expected one sequence or more"),
        (lambda: ([[1.0, 2.0]], [[1.0], [2.0]]), "targets: expected one per source, 1, got 2"),
        (lambda: ([[1.0]] * 3, [[1.0], [np.nan], [2.0]]), "sequence 1: expected numbers, got none"),
        (lambda: ([[1.0]] * 3, [[1.0], ["a"], [2.0]]), "targets: sequence 1"),
        (lambda: ([[1.0]], [[1.0]]), "pairs: expected enough to train on"),
    ],
)
def test_what_are_no_pairs_is_refused(asked: Any, told: str) -> None:
    with pytest.raises(InputError, match=told):
        tg.SeriesToSeries(**SMALL, max_steps=1).fit(*asked())


def test_another_number_of_channels_and_a_stream_are_refused(model: tg.SeriesToSeries) -> None:
    with pytest.raises(InputError, match="expected 1 channels"):
        model.predict([np.ones((4, 2))])
    with pytest.raises(InputError, match="reads a source to its end"):
        model.stream()
    assert network_on_arrays(model.network_).digest == model.runtime_.digest


# files


def test_a_table_and_an_npz_file_hold_pairs(tmp_path: Path) -> None:
    table = tmp_path / "p.csv"
    table.write_text("id,t,x,y,z\na,1,1,5,50\na,2,2,6,\nb,1,,7,70\na,3,3,,\nb,2,4,,\n")
    source = SequencesOfBoth(id="id", time="t", values=("x",), target=("y",))
    X, Y = source.read(str(table), learning=True)
    np.testing.assert_array_equal(X[0][:, 0], [1, 2, 3])
    np.testing.assert_array_equal(X[1][:, 0], [np.nan, 4])
    assert [y[:, 0].tolist() for y in Y] == [[5, 6], [7]]
    inputs, names = SequencesOfBoth(id="id", time="t", target=("y",)).read_inputs(str(table))
    assert names == ["a", "b"]
    assert inputs[0].shape == (3, 2)  # x and z
    arrays = {"X": np.ones((2, 4)), "Y_values": np.arange(5.0), "Y_lengths": [3, 2]}
    np.savez(tmp_path / "p.npz", **arrays)
    X, Y = SequencesOfBoth().read(str(tmp_path / "p.npz"), learning=True)
    assert [x.shape for x in X] == [(4, 1)] * 2
    assert [y[:, 0].tolist() for y in Y] == [[0, 1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("told", "text", "expected"),
    [
        ({"id": None}, "id,x,y\na,1,2\n", "give id"),
        ({"target": ()}, "id,x,y\na,1,2\n", "give target"),
        ({"target": ("q",)}, "id,x,y\na,1,2\n", "'q'"),
        ({"values": ("y",)}, "id,x,y\na,1,2\n", "beside the others"),
        ({}, "id,x,y\na,1,2\nb,3,\n", "line 3.*expected a number in one row"),
        ({}, "id,x,y\na,1,2\na,3,d\n", "line 3"),
    ],
)
def test_a_table_without_pairs_is_refused_with_its_line(
    tmp_path: Path, told: dict[str, Any], text: str, expected: str
) -> None:
    (tmp_path / "p.csv").write_text(text)
    source = SequencesOfBoth(**{"id": "id", "values": ("x",), "target": ("y",), **told})
    with pytest.raises(InputError, match=expected):
        source.read(str(tmp_path / "p.csv"), learning=True)


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        ({"X": np.ones((2, 3))}, "expected the array Y"),
        ({"X": np.ones((2, 3)), "Y": np.ones((3, 3))}, "as many targets as sources, 2, got 3"),
        ({"X": np.ones((2, 3)), "Y_values": np.ones(3)}, "of Y: expected lengths"),
        ({"Y": np.ones((2, 3))}, "expected the arrays X"),
    ],
)
def test_an_npz_file_without_pairs_is_refused(
    tmp_path: Path, arrays: dict[str, Any], expected: str
) -> None:
    np.savez(tmp_path / "p.npz", **arrays)
    with pytest.raises(InputError, match=expected):
        SequencesOfBoth().read(str(tmp_path / "p.npz"), learning=True)


def test_the_commands_train_evaluate_predict_and_compare(tidegate: Tidegate) -> None:  # noqa: F811
    small = "--hidden-sizes 4 --max-steps 3"
    trained = tidegate(f"train series-to-series {HALVES} {small} --json").json
    assert trained["model"] == "halves-series-to-series.safetensors"
    figures = tidegate(f"evaluate {trained['model']} halves.csv --json").json
    assert {"mse", "mae", "scaled_mse", "length_accuracy", "n"} <= set(figures)
    lines = tidegate(f"predict {trained['model']} halves.csv").out.splitlines()
    assert lines[0] == "run,step,half"
    assert lines[1].startswith("r0,0,")
    told = tidegate(f"predict {trained['model']} halves.csv --json").json["predictions"]
    assert len(told) == figures["n"]
    assert sum(len(one["answer"]) for one in told) == len(lines) - 1
    done = tidegate(
        f"compare {HALVES} --task series-to-series --cells gru --seeds 1 {small} --json"
    )
    assert done.code == 0, done.err
