"""Texts with conditions: what they set, that all paths agree on it, and what cannot be."""

from __future__ import annotations

import importlib
import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import polars
import pytest
import torch
from any_cell import CELL_KINDS
from command_line import Tidegate, tidegate  # noqa: F401

import tidegate as tg
from tidegate.baselines.language import CountedTokens
from tidegate.cells import CELLS
from tidegate.comparison.experiments.of_tasks import experiment_of
from tidegate.data.sequences.sequences import with_condition
from tidegate.data.text.conditions import ConditionedTexts, Conditions
from tidegate.errors import InputError
from tidegate.model.checkpoint import ModelFileError, load_model, save_model
from tidegate.runtime.scoring import text_nats
from tidegate.tasks import load
from tidegate.training.judging import TorchReader
from tidegate.training.text_modelling import TextModelling

SYLLABLES = {"east": ["ka", "ko", "ru", "mi"], "west": ["sch", "ber", "gen", "hau"]}
SMALL: dict[str, Any] = {
    "hidden_sizes": (10, 6), "embedding_size": 5, "sample_steps": (), "verbose": 0,
    "baseline": False, "batch_size": 16,
}  # fmt: skip


def names(count: int = 120, seed: int = 0) -> tuple[list[str], dict[str, list[Any]]]:
    rng = np.random.default_rng(seed)
    side = [list(SYLLABLES)[i % 2] for i in range(count)]
    texts = ["".join(rng.choice(SYLLABLES[s], rng.integers(1, 4))) for s in side]
    return texts, {"side": side, "stars": [float(i % 5) for i in range(count)]}


def fitted(**options: Any) -> tg.LanguageModel:
    texts, conditions = names()
    model = tg.LanguageModel(**{**SMALL, "max_steps": 6, **options})
    return model.fit(texts, conditions=conditions)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def model() -> tg.LanguageModel:
    torch.set_num_threads(1)
    return fitted(hidden_sizes=(32,), max_steps=250, learning_rate=1e-2)


def nats_one_by_one(model: tg.LanguageModel, text: str, condition: np.ndarray) -> list[float]:
    """By the definition: embedding and condition side by side, from the state it makes."""
    network = model.network_
    encoder, c = model.encoder_, torch.from_numpy(condition)[None]
    tokens = [int(i) for i in encoder.encode(f"\x02{text}\x03")]
    states = [
        [maps[name](c) for name in CELLS["lstm"].states]  # pyright: ignore
        for maps in network.initial  # pyright: ignore
    ]
    found = []
    for token, target in itertools.pairwise(tokens):
        x = torch.cat([network.embedding.weight[token][None], c], dim=1)  # pyright: ignore
        for k, layer in enumerate(network.recurrent):
            y, after = layer(x[None], tuple(s[None] for s in states[k]))
            x, states[k] = y[0], [s[0] for s in after]
        logs = torch.log_softmax(network.output(x), dim=1)
        found.append(-float(logs[0, target]))
    return found


def with_random_states(model: tg.LanguageModel) -> tg.LanguageModel:
    """The same with larger maps from the condition to the states."""
    network = model.network_
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if name.startswith("initial"):
                weight.copy_(torch.randn(weight.shape, generator=torch.manual_seed(1)))
    model.network_ = network
    return model


def test_each_token_is_predicted_from_the_condition_and_the_tokens_before_it() -> None:
    model = with_random_states(fitted(cell="lstm"))
    texts, conditions = names(5, seed=3)
    given = ConditionedTexts.of(texts, conditions)
    assert model.conditions_ is not None
    rows = model.conditions_.numbers(given.columns)
    with torch.no_grad():
        expected = [nats_one_by_one(model, t, c) for t, c in zip(texts, rows, strict=True)]
    found = text_nats(model.runtime_, *model.texts_and_conditions(given))
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    figures = model.evaluate(texts, conditions=conditions)
    assert figures["tokens"] == sum(len(text) + 1 for text in texts)
    assert figures["cross_entropy"] == pytest.approx(np.mean(np.concatenate(expected)), rel=1e-5)
    assert figures["bits_per_character"] == pytest.approx(
        figures["cross_entropy"] / math.log(2), rel=1e-6
    )


@pytest.mark.parametrize("cell", CELL_KINDS)
def test_every_cell_begins_with_its_condition_on_numpy_as_in_torch(cell: str) -> None:
    model = with_random_states(fitted(cell=cell, max_steps=1))
    texts, conditions = names(4, seed=5)
    given = model.texts_and_conditions(ConditionedTexts.of(texts, conditions))
    ours, torchs = text_nats(model.runtime_, *given), text_nats(TorchReader(model.network_), *given)
    for a, b in zip(ours, torchs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_a_text_does_not_depend_on_those_beside_it(model: tg.LanguageModel) -> None:
    texts, conditions = names(30, seed=9)
    texts[3], texts[4] = "", "k"
    together = text_nats(
        model.runtime_, *model.texts_and_conditions(ConditionedTexts.of(texts, conditions))
    )
    for i in (0, 3, 4, 29):
        alone = ConditionedTexts.of([texts[i]], {n: [c[i]] for n, c in conditions.items()})
        (nats,) = text_nats(model.runtime_, *model.texts_and_conditions(alone))
        np.testing.assert_allclose(together[i], nats, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("side", sorted(SYLLABLES))
def test_what_is_written_is_as_the_condition_says(model: tg.LanguageModel, side: str) -> None:
    written = ["".join(model.generate(given={"side": side}, seed=i)) for i in range(30)]
    own = {letter for syllable in SYLLABLES[side] for letter in syllable}
    share = np.mean([set(text) <= own for text in written])
    assert share > 0.7
    assert all(len(text) < 60 and text.isalpha() for text in written if text)


def test_a_prompt_is_gone_on_with_to_its_end_or_for_so_many_tokens(model: tg.LanguageModel) -> None:
    greedy = "".join(model.generate("sch", given={"side": "west"}, greedy=True))
    assert len(greedy) < 500
    assert len("".join(model.generate(length=2, given={"side": "east"}, seed=3))) <= 2
    assert list(model.generate(length=0)) == []


@pytest.mark.parametrize("level", ["char", "word", "bpe"])
def test_every_level_reads_and_writes_texts_of_several_lines(level: str) -> None:
    texts = ["good film,\nso good", "bad film !", "", "not a\n\nbad one"] * 10
    stars = [5, 1, None, 3] * 10
    model = tg.LanguageModel(**SMALL, level=level, max_steps=4, vocabulary_size=270)
    model.fit(texts, conditions=polars.DataFrame({"stars": stars}))
    assert model.counts_ is None
    figures = model.evaluate(texts, conditions={"stars": stars})
    (tokens, *_), _ = model.texts_and_conditions(ConditionedTexts.of(texts, {"stars": stars}))
    opening, closing = int(tokens[0]), int(tokens[-1])
    assert opening not in tokens[1:]
    assert closing not in tokens[:-1]
    assert figures["perplexity"] < 2 * model.encoder_.size
    assert "\x03" not in "".join(model.generate(given={"stars": 5}, seed=0, length=30))


def test_a_file_holds_the_conditions_and_answers_alike(
    model: tg.LanguageModel, tmp_path: Path
) -> None:
    model.save(tmp_path / "m.safetensors")
    again: Any = load(tmp_path / "m.safetensors")
    texts, conditions = names(9, seed=2)
    assert again.evaluate(texts, conditions=conditions) == model.evaluate(
        texts, conditions=conditions
    )
    given = {"side": "west", "stars": 2}
    assert list(again.generate(given=given, seed=4)) == list(model.generate(given=given, seed=4))
    assert again.conditions_ == model.conditions_
    for weights in ("bfloat16", "int8"):
        model.save(tmp_path / f"{weights}.safetensors", weights=weights)
        load(tmp_path / f"{weights}.safetensors")  # verifies the test vector


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c.pop(),
        lambda c: c.append({"name": "more", "mean": 0.0, "scale": 1.0}),
        lambda c: c[0].update(categories=["east", "east"]),
        lambda c: c[0].update(categories=["east"]),
        lambda c: c[1].update(scale=0.0),
        lambda c: c[1].update(scale="1"),
        lambda c: c[1].update(name="side"),
        lambda c: c.clear(),
    ],
)
def test_a_file_with_other_conditions_than_its_network_is_refused(
    tmp_path: Path, change: Any
) -> None:
    path = tmp_path / "m.safetensors"
    fitted(max_steps=1).save(path)
    held = load_model(path)
    assert held.encoder is not None
    change(held.encoder["conditions"])
    save_model(path, held)
    with pytest.raises(ModelFileError):
        load(path)


def test_a_stream_answers_as_the_whole_text_wherever_it_is_cut(model: tg.LanguageModel) -> None:
    given = {"side": "west", "stars": 4}
    text, conditions = "schber", {name: [value] for name, value in given.items()}
    tokens, rows = model.texts_and_conditions(ConditionedTexts.of([text], conditions))
    outputs = model.runtime_(with_condition(tokens[0][:, None], rows))[:, 0]
    outputs = outputs - np.log(np.exp(outputs).sum(1, keepdims=True))
    stream = model.stream(given=given)
    np.testing.assert_allclose(stream.answer.log_probabilities, outputs[0], atol=1e-5)
    for piece, read in (("s", 1), ("", 1), ("chb", 4), ("er", 6)):
        answer = stream.feed(piece)
        np.testing.assert_allclose(answer.log_probabilities, outputs[read], atol=1e-5)
    stream.reset()
    np.testing.assert_allclose(stream.answer.log_probabilities, outputs[0], atol=1e-5)


def test_a_stream_that_is_saved_goes_on_with_its_condition(
    model: tg.LanguageModel, tmp_path: Path
) -> None:
    stream = model.stream(2, given={"side": "east"})
    stream.feed(["ka", "k"])
    stream.save(tmp_path / "s.safetensors")
    other = model.stream(2).load(tmp_path / "s.safetensors")
    for a, b in zip(stream.feed(["", "o"]), other.feed(["", "o"]), strict=True):
        np.testing.assert_array_equal(a.log_probabilities, b.log_probabilities)


def test_streams_of_several_conditions_are_read_side_by_side(model: tg.LanguageModel) -> None:
    streams, sides = model.streams(), sorted(SYLLABLES)
    for side in streams.open(*sides):
        streams.put(side, model.stream(given={"side": side}))
    together = streams.feed(dict.fromkeys(sides, "k"))
    for side in sides:
        alone = model.stream(given={"side": side}).feed("k")
        np.testing.assert_allclose(together[side].probabilities, alone.probabilities, atol=1e-5)
    assert not np.allclose(*(together[side].probabilities for side in sides), atol=1e-3)


def test_an_inspection_begins_with_the_state_that_the_condition_makes() -> None:
    model = with_random_states(fitted(cell="gru"))
    texts, conditions = names(1, seed=1)
    given = ConditionedTexts.of(texts, conditions)
    seen = model.inspect(given).gates["layer_0.z"]
    tokens, rows = model.texts_and_conditions(given)
    begun = model.runtime_.initial_state(1, rows)
    _, after = model.runtime_.run(with_condition(tokens[0][:1, None], rows))
    # h = (1 - z) n + z h' lies between n and h', so that z of a far state shows in h
    assert len(seen) == len(tokens[0]) - 1
    z, n = seen[0], model.inspect(given).gates["layer_0.n"][0]
    np.testing.assert_allclose(after[0][0][0], (1 - z) * n + z * begun[0][0][0], atol=1e-5)


@pytest.mark.parametrize("cell", ["lstm", "mgu"])
def test_onnx_runtime_answers_as_the_model(cell: str, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    model = with_random_states(fitted(cell=cell, max_steps=1))
    model.export_onnx(tmp_path / "m.onnx")  # compares with ONNX Runtime before it writes
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    texts, conditions = names(1, seed=1)
    (tokens,), rows = model.texts_and_conditions(ConditionedTexts.of(texts, conditions))
    feed = {
        "tokens": tokens[None],
        "condition": rows,
        "sequence_lens": np.array([len(tokens)], np.int32),
    }
    (output,) = session.run(None, feed)
    expected = model.runtime_(with_condition(tokens[:, None], rows))
    np.testing.assert_allclose(output[0], expected[:, 0], atol=1e-4)
    told = json.loads(session.get_modelmeta().custom_metadata_map["tidegate"])
    assert model.conditions_ is not None
    assert told["conditions"] == model.conditions_.to_json()
    with pytest.raises(InputError, match="whose condition sets them"):
        model.export_onnx(tmp_path / "m.onnx", step=tmp_path / "s.onnx", force=True)


def test_conditions_are_one_of_many_and_distances_from_the_mean() -> None:
    texts = ConditionedTexts.of(
        list("abcd"), {"kind": ["x", "y", None, "x"], "size": [1.0, 3.0, math.nan, 2.0]}
    )
    learned = Conditions.learn(texts.columns)
    deviation = np.std([1, 3, 2])
    np.testing.assert_allclose(
        learned.numbers(texts.columns),
        [[1, 0, -1 / deviation], [0, 1, 1 / deviation], [0, 0, 0], [1, 0, 0]],
        rtol=1e-6,
    )
    np.testing.assert_array_equal(learned.given({"kind": "y"}), [0, 1, 0])
    np.testing.assert_array_equal(learned.given(None), [0, 0, 0])
    other = ConditionedTexts.of(["e"], {"kind": ["new"], "size": [None]})
    np.testing.assert_array_equal(learned.numbers(other.columns), [[0, 0, 0]])
    assert Conditions.from_json(json.loads(json.dumps(learned.to_json()))) == learned


def test_a_condition_is_not_told_now_and_then_and_otherwise_as_it_is() -> None:
    model = fitted(max_steps=1)
    rows = np.ones((400, 3), np.float32)
    objective = TextModelling(
        model.network_,
        ([np.array([1, 3, 4, 2], np.int32)] * 400, rows),
        ([np.array([1, 2], np.int32)], rows[:1]),
        columns=np.array([0, 0, 1]),
        batch_size=40,
        seed=0,
        opening=1,
        unknown=None,
        sample_steps=(),
        sample=lambda *_: "",
    )
    batches = list(objective.batches(0, 0, 0, 1))
    told = np.concatenate([inputs.condition[0] for inputs, _ in batches])
    assert set(np.unique(told)) == {0, 1}
    np.testing.assert_array_equal(told[:, 0], told[:, 1])  # one column is told or not as a whole
    assert 0.9 < told[:, 0].mean() < 1
    assert (told[:, 0] != told[:, 2]).any()
    # a resumed run, and several processes, see the same
    for step, (inputs, _) in enumerate(batches):
        (later, _), *_ = objective.batches(0, step, 0, 1)
        assert torch.equal(later.condition, inputs.condition)
        halves = [next(iter(objective.batches(0, step, rank, 2)))[0] for rank in (0, 1)]
        assert torch.equal(halves[1].condition, inputs.condition[:, 1::2])


def test_a_run_that_is_resumed_has_the_bits_of_one_never_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts, conditions = names()
    options = {**SMALL, "max_steps": 14, "checkpoint_seconds": 0, "dropout": 0.3}
    whole = tg.LanguageModel(**options, run_folder=tmp_path / "whole")
    whole.fit(texts, conditions=conditions)
    stopped = tg.LanguageModel(**options, run_folder=tmp_path / "stopped")
    true_loss, steps = TextModelling.loss, itertools.count(1)

    def loss(self: TextModelling, *batch: Any) -> Any:
        if next(steps) == 9:
            raise KeyboardInterrupt
        return true_loss(self, *batch)

    monkeypatch.setattr(TextModelling, "loss", loss)
    with pytest.raises(KeyboardInterrupt):
        stopped.fit(texts, conditions=conditions)
    resumed = tg.LanguageModel(**options, run_folder=tmp_path / "stopped", resume=True)
    resumed.fit(texts, conditions=conditions)
    for name, tensor in whole.runtime_.tensors.items():
        np.testing.assert_array_equal(tensor, resumed.runtime_.tensors[name])
    with pytest.raises(InputError, match="data"):
        tg.LanguageModel(**options, run_folder=tmp_path / "stopped", resume=True).fit(
            texts, conditions={**conditions, "stars": conditions["stars"][::-1]}
        )


def test_a_comparison_stands_beside_counts_that_know_no_conditions() -> None:
    texts, conditions = names(200)
    model = tg.LanguageModel(**SMALL, max_steps=3, test_fraction=0.2)
    experiment: Any = experiment_of(
        model, (ConditionedTexts.of(texts, conditions),), validation=None, test=None
    )
    assert (experiment.held_out, experiment.size) == ("test", 40)
    experiment.fit(model)
    held_out, _ = experiment.score(model)
    losses = experiment.held_out_losses(model)
    assert losses.mean() == pytest.approx(held_out["cross_entropy"], rel=1e-5)
    (baseline,) = experiment.baselines(model)
    assert baseline.losses.mean() == pytest.approx(baseline.held_out, rel=1e-5)
    framed = [
        np.concatenate(model.texts_and_conditions(part)[0])
        for part in (experiment.train, experiment.validation, experiment.scored)
    ]
    counted = CountedTokens.fit(
        *framed[:2], size=model.encoder_.size, never_target=int(framed[0][0])
    )
    assert baseline.held_out == pytest.approx(counted.figures(framed[2])["cross_entropy"])
    assert len(experiment.batch(model).targets) == 40


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"side": "north"}, "one of 'east', 'west', got 'north'"),
        ({"nation": "x"}, "'side', 'stars', got 'nation'"),
        ({"stars": "many"}, "expected a number for stars"),
        ({"stars": math.inf}, "finite"),
        ("east", "expected a dict"),
    ],
)
def test_conditions_that_are_not_known_are_named(
    model: tg.LanguageModel, given: Any, told: str
) -> None:
    with pytest.raises(InputError, match=told):
        list(model.generate(given=given))


@pytest.mark.parametrize(
    ("options", "conditions", "told"),
    [
        ({}, {"side": ["a"]}, "expected one for each of 3 texts, got 1"),
        ({}, {}, "a column or more"),
        ({}, ["a", "a", "a"], "'a' alone"),
        ({}, [None, None, None], "got none"),
        ({"reverse": True}, ["a", "b", "a"], "reverse"),
        ({"counts": True}, ["a", "b", "a"], "counts"),
        ({"vocabulary_size": 3}, ["a", "b", "a"], "vocabulary"),
    ],
)
def test_what_cannot_be_conditions_is_refused(options: Any, conditions: Any, told: str) -> None:
    model = tg.LanguageModel(**SMALL, max_steps=1, **options)
    with pytest.raises(InputError, match=told):
        model.fit(["aaaa", "bbbb", "cccc"], conditions=conditions)


def test_texts_with_the_marks_of_their_frame_are_refused() -> None:
    with pytest.raises(InputError, match="index 1"):
        tg.LanguageModel(**SMALL).fit(["a", "b\x03"] * 9, conditions=["x", "y"] * 9)


def test_models_with_and_without_conditions_are_not_mistaken(model: tg.LanguageModel) -> None:
    without = tg.LanguageModel(**SMALL, max_steps=1, bptt=8).fit("tide and gate. " * 30)
    for ask in (
        lambda: list(without.generate(given={"side": "east"})),
        lambda: without.stream(given={"side": "east"}),
        lambda: without.evaluate(["a"], conditions={"side": ["east"]}),
    ):
        with pytest.raises(InputError, match="trained without"):
            ask()
    with pytest.raises(InputError, match=r"expected those of each text \(side, stars\)"):
        model.evaluate("a text")
    with pytest.raises(InputError, match="missing|'stars'"):
        model.evaluate(["ka"], conditions={"side": ["east"]})
    with pytest.raises(InputError, match="trained with conditions"):
        tg.LanguageModel(**SMALL, init_from=model).fit("text " * 100)


def test_validation_texts_bring_their_conditions() -> None:
    texts, conditions = names(40)
    held_out = names(10, seed=7)
    model = tg.LanguageModel(**SMALL, max_steps=2)
    model.fit(texts, held_out, conditions=conditions)
    assert model.provenance_["training_texts"] == 40
    assert model.provenance_["validation_texts"] == 10
    with pytest.raises(InputError, match="pair of texts and conditions"):
        model.fit(texts, held_out[0], conditions=conditions)


def test_commands_train_ask_measure_and_show(tidegate: Tidegate) -> None:  # noqa: F811
    texts, conditions = names(60)
    stars = ["" if i % 7 == 0 else f"{int(s)}" for i, s in enumerate(conditions["stars"])]
    rows = zip(texts, conditions["side"], stars, strict=True)
    table = "name,side,stars\n" + "".join(",".join(row) + "\n" for row in rows)
    Path("names.csv").write_text(table)
    small = "--hidden-sizes 8 --max-steps 3 --verbose 0"
    learn = "train language-model names.csv"
    done = tidegate(f"{learn} --text name --condition side,stars {small}")
    assert done.code == 0, done.err
    path = "names-language-model.safetensors"
    asked = tidegate(f"generate {path} --given side=west,stars=4 --seed 1 --json")
    assert asked.json["text"].isprintable()
    figures = tidegate(f"evaluate {path} names.csv --json").json
    assert figures["tokens"] == sum(len(text) + 1 for text in texts)
    told = tidegate(f"info {path} --json").json["conditions"]
    assert told["side"] == ["east", "west"]
    assert told["stars"].startswith("a number, ")
    assert "condition" in tidegate(f"info {path}").out
    wrong = tidegate(f"generate {path} --given side=north").err
    assert "option --given: expected a side of the training, one of 'east', 'west'" in wrong
    learn += " --run-folder elsewhere"
    for given in ("side", "side=east,side=west"):
        assert "option --given" in tidegate(f"generate {path} --given {given}").err
    assert "option --condition" in tidegate(f"{learn} --condition side").err
    assert "did you mean 'side'?" in tidegate(f"{learn} --text name --condition sid").err
    assert "both" in tidegate(f"{learn} --text name --condition name").err


def test_a_classifier_gives_back_the_nation_that_a_name_was_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = Path(__file__).resolve().parents[1] / "benchmarks" / "reproduce"
    monkeypatch.syspath_prepend(str(folder))
    command = importlib.import_module("names")
    small: dict[str, Any] = {"hidden_sizes": (32,), "embedding_size": 16, "sample_steps": ()}
    writer = {**small, "max_steps": 400, "learning_rate": 1e-2, "baseline": False}
    judge = {**small, "max_steps": 200, "learning_rate": 1e-2, "baseline": False}
    del judge["sample_steps"]
    row = command.measured(200, 10, 0, writer, judge)
    assert row["given_back"] >= 0.7
    assert row["judge"] > 0.8
