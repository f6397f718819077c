"""A tagger: what it learns, what its figures mean, and that how sentences stand changes nothing."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import Tidegate, tidegate  # noqa: F401  a fixture
from sklearn.base import clone

import tidegate as tg
from tidegate.baselines.tagged import Tagged
from tidegate.baselines.tags import MostFrequentTag
from tidegate.data.text.tokens import TokenEncoder, as_sentences
from tidegate.errors import InputError
from tidegate.model.checkpoint import ModelFileError, load_model, save_model
from tidegate.nn.arrays import torch_network
from tidegate.runtime.batches import step_outputs
from tidegate.training.judging import as_function

QUIET: dict[str, Any] = {"verbose": 0, "hidden_sizes": (6,), "embedding_size": 5, "max_steps": 3}
SMALL: dict[str, Any] = QUIET | {"letter_embedding_size": 3, "letter_hidden_size": 4}


def sentences(count: int, seed: int = 0) -> tuple[list[list[str]], list[list[str]]]:
    """Of "watch": a noun after "the", a verb after "we"; "-ing" words are verbs, all different.

    So a word's most frequent tag is wrong half of the time, and words alone do not tell new ones.
    """
    rng = np.random.default_rng(seed)
    tokens, labels = [], []
    for _ in range(count):
        new = "".join(rng.choice(list("abcdefgh"), 5))
        ending, label = ("ing", "VERB") if rng.random() < 0.5 else ("ness", "NOUN")
        first, then = [("the", "NOUN"), ("we", "VERB")][rng.integers(2)]
        tokens.append([first, "watch", new + ending])
        labels.append(["DET" if first == "the" else "PRON", then, label])
    return tokens, labels


def chunks(count: int, seed: int = 0) -> tuple[list[list[str]], list[list[str]]]:
    rng = np.random.default_rng(seed)
    tokens, labels = [], []
    for _ in range(count):
        length = rng.integers(2, 5)
        tokens.append(["said", *["Anna"] * int(length), "today"])
        labels.append(["O", "B-PER", *["I-PER"] * int(length - 1), "O"])
    return tokens, labels


@pytest.fixture(scope="module")
def trained() -> tg.SequenceTagger:
    options = QUIET | {"max_steps": 150, "learning_rate": 0.01, "hidden_sizes": (16,)}
    return tg.SequenceTagger(**options, letter_hidden_size=8).fit(*sentences(400))


def test_it_reads_what_stands_around_and_how_words_end(trained):
    tokens, labels = sentences(100, seed=1)
    figures = trained.evaluate(tokens, labels)
    assert figures["accuracy"] > 0.98  # the baseline has 1 - 1/2 * 1/3 - 1/2 * 1/3, about
    assert trained.metrics_["baseline_accuracy"] < 0.8
    assert (figures["n"], figures["sentences"]) == (300, 100)


def test_neighbours_in_a_batch_change_nothing(trained):
    tokens, _ = sentences(7)
    tokens = [*tokens, [], ["we"], ["\u65e5\u672c" * 30, *tokens[0] * 9]]
    together = trained.predict_log_proba(tokens)
    for own, alone in zip(together, map(trained.predict_log_proba, ([t] for t in tokens)),
                          strict=True):  # fmt: skip
        np.testing.assert_allclose(own, alone[0], atol=1e-5)  # float32, T = 27
    assert [len(p) for p in together] == [len(t) for t in tokens]


@pytest.mark.parametrize("cell", ["gru", "lstm", "rnn", "lstm_projected", "gru_light"])
def test_numpy_answers_as_torch_does(cell):
    model = tg.SequenceTagger(**SMALL, cell=cell).fit(*sentences(12))
    network = torch_network(model.runtime_.architecture, model.runtime_.tensors)
    read = model.encode([*sentences(5, seed=3)[0], ["x"], ["the"] * 11])
    expected = step_outputs(as_function(network), read, 4)
    for own, theirs in zip(step_outputs(model.runtime_, read, 4), expected, strict=True):
        np.testing.assert_allclose(own, theirs, atol=2e-6)  # float32, H = 6


def test_each_word_is_spelled_once_and_as_if_alone():
    """The network reads each different word of a batch once; the padding is no word."""
    model = tg.SequenceTagger(**SMALL).fit(*sentences(12))
    read = model.encode([["the", "watch", "the"], ["the"]])
    alone = [model.runtime_.spelled(one["letters"]) for one in read]
    np.testing.assert_array_equal(alone[0][0], alone[0][2])
    np.testing.assert_allclose(alone[0][0], alone[1][0], atol=1e-6)
    assert np.abs(alone[0][0] - alone[0][1]).max() > 1e-3
    assert not model.runtime_.spelled(np.zeros((2, 24), np.int32)).any()


def test_gradients_reach_letters_and_transitions():
    model = tg.SequenceTagger(**SMALL, crf=True).fit(*chunks(12))
    network = torch_network(model.runtime_.architecture, model.runtime_.tensors).train()
    fresh = tg.SequenceTagger(**SMALL, crf=True).initial_network(network.architecture)
    for name, weight in fresh.state_dict().items():
        assert not torch.equal(weight, network.state_dict()[name]), name


def test_a_crf_knows_which_labels_follow_which():
    options = QUIET | {"max_steps": 120, "learning_rate": 0.02}
    model = tg.SequenceTagger(**options, letter_hidden_size=0).fit(*chunks(200))
    assert model.transitions_ is not None  # as the labels name entities
    classes = model.classes_.tolist()
    after_o = model.transitions_[classes.index("O")]
    assert after_o[classes.index("B-PER")] > after_o[classes.index("I-PER")]
    figures = model.evaluate(*chunks(50, seed=1))
    assert figures["f1"] == figures["precision"] == figures["recall"] == 1
    assert model.score(*chunks(50, seed=1)) == 1
    assert model.table(*chunks(9, seed=1)) == {
        "PER": {"precision": 1.0, "recall": 1.0, "f1": 1.0, "n": 9}
    }


def test_the_labels_of_a_crf_are_those_of_viterbi_and_its_probabilities_sum_to_one():
    model = tg.SequenceTagger(**SMALL, crf=True).fit(*sentences(12))
    tokens, labels = sentences(5, seed=2)
    for of_one in model.predict_proba(tokens):
        np.testing.assert_allclose(of_one.sum(1), 1)
    assert model.evaluate(tokens, labels)["cross_entropy"] > 0


def test_cross_entropy_of_a_softmax_is_the_mean_over_tokens(trained):
    tokens, labels = sentences(6, seed=4)
    logs = trained.predict_log_proba(tokens)
    columns = {label: i for i, label in enumerate(trained.classes_.tolist())}
    nats = [-own[t, columns[x]] for own, one in zip(logs, labels, strict=True)
            for t, x in enumerate(one)]  # fmt: skip
    assert trained.evaluate(tokens, labels)["cross_entropy"] == pytest.approx(np.mean(nats))


def test_a_label_that_was_not_learned_counts_as_wrong(trained):
    tokens, labels = sentences(2, seed=4)
    known = trained.evaluate(tokens, labels)
    labels = [["ADV", *labels[0][1:]], labels[1]]
    figures = trained.evaluate(tokens, labels)
    assert figures["unknown_labels"] == 1
    assert figures["accuracy"] == pytest.approx(known["accuracy"] - 1 / 6)
    assert math.isfinite(figures["cross_entropy"])
    with pytest.raises(InputError, match="got others, such as 'ADV'; mend the labels"):
        trained.evaluate([["the"]], [["ADV"]])


def test_the_baseline_gives_each_word_its_most_frequent_tag():
    train = Tagged([["a", "b", "a", "a", "c"]], [["X", "Y", "X", "Y", "Y"]])
    fitted = MostFrequentTag.fit(train)
    assert fitted.predict([["a", "b", "new"]]) == [["X", "Y", "Y"]]
    part = Tagged([["a", "new"]], [["X", "X"]])
    shares = (2 + 2 / 5) / 4, 2 / 5
    assert fitted.figures(part) == {
        "accuracy": 0.5,
        "cross_entropy": pytest.approx(-np.log(shares).mean()),
    }


def test_a_file_keeps_it_all(tmp_path, trained):
    for model in (trained, tg.SequenceTagger(**SMALL, crf=True, cell="lstm").fit(*chunks(12))):
        model.save(tmp_path / "m.safetensors")
        again = tg.load(tmp_path / "m.safetensors")
        assert isinstance(again, tg.SequenceTagger)
        tokens = [["the", "watch", "\u00fcbung"], []]
        assert again.predict(tokens) == model.predict(tokens)
        assert again.metrics_ == model.metrics_
        again.save(tmp_path / "n.safetensors")
        assert (tmp_path / "n.safetensors").read_bytes() == (
            tmp_path / "m.safetensors"
        ).read_bytes()


@pytest.mark.parametrize(
    "change",
    [
        lambda e: e.update(word_length=5),
        lambda e: e.update(letters=None),
        lambda e: e.update(more=1),
        lambda e: e["words"]["words"].append("more"),
        lambda e: e["letters"].update(characters="abc"),
        lambda e: e.update(words=e["letters"]),
    ],
    ids=["length", "no letters", "a key", "a word", "letters", "level"],
)
def test_a_file_whose_encoder_does_not_fit_is_refused(tmp_path, trained, change):
    trained.save(tmp_path / "m.safetensors")
    model = load_model(tmp_path / "m.safetensors")
    model.encoder = json.loads(json.dumps(model.encoder))
    change(model.encoder)
    save_model(tmp_path / "n.safetensors", model)
    with pytest.raises(ModelFileError, match="options or parts out of schema"):
        tg.load(tmp_path / "n.safetensors")


def test_a_run_goes_on_to_the_same_bits(tmp_path):
    def fitted(**more: Any) -> tg.SequenceTagger:
        options = SMALL | {"max_steps": 6, "evaluate_every": 3, "average": 0.9}
        return tg.SequenceTagger(**options | more).fit(*sentences(40))

    whole = fitted()
    kept = {"run_folder": tmp_path / "run", "checkpoint_seconds": 0.0}

    class Killed(Exception):
        pass

    from tidegate.training.keeping import Keeper

    saved, count = Keeper.save, 0

    def save(self: Keeper, *arguments: Any) -> None:
        nonlocal count
        saved(self, *arguments)
        count += 1
        if count == 2:
            raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Keeper, "save", save)
        with pytest.raises(Killed):
            fitted(**kept)
    again = fitted(**kept, resume=True)
    for name, weight in whole.runtime_.tensors.items():
        np.testing.assert_array_equal(weight, again.runtime_.tensors[name])


def test_it_has_scikit_learns_manners():
    model = tg.SequenceTagger(**SMALL, crf=True, word_dropout=0.5)
    assert clone(model).get_params() == model.get_params()
    with pytest.raises(InputError, match="call fit or load first"):
        model.predict([["a"]])


def test_frames_of_lists_and_long_ones_are_taken():
    pandas = pytest.importorskip("pandas")
    polars = pytest.importorskip("polars")
    tokens, labels = sentences(12)
    expected = tg.SequenceTagger(**SMALL).fit(tokens, labels).predict(tokens[:2])
    rows = [(i, t, x) for i, (a, b) in enumerate(zip(tokens, labels, strict=True))
            for t, x in zip(a, b, strict=True)]  # fmt: skip
    long = pandas.DataFrame(rows, columns=["s", "token", "label"]).groupby("s").agg(list)
    wide = polars.DataFrame({"tokens": tokens, "labels": labels})
    for given in ((long["token"], long["label"]), (wide["tokens"], wide["labels"])):
        assert tg.SequenceTagger(**SMALL).fit(*given).predict(given[0][:2]) == expected


def test_labels_keep_their_type():
    tokens, labels = sentences(12)
    numbers = [[len(label) for label in of_one] for of_one in labels]
    found = tg.SequenceTagger(**SMALL).fit(tokens, numbers).predict([["the"]])
    assert type(found[0][0]) is int


def test_without_a_part_held_out_the_training_part_is_judged():
    model = tg.SequenceTagger(**SMALL, validation_fraction=0.0, baseline=False).fit(*sentences(9))
    names = ("accuracy", "macro_f1", "cross_entropy")
    assert set(model.metrics_) == {f"training_{name}" for name in names}


@pytest.mark.parametrize(
    ("options", "reasons"),
    [
        ({}, ["backwards", "bidirectional=False"]),
        ({"crf": True, "bidirectional": False}, ["whole sentence together", "crf=False"]),
    ],
)
def test_a_stream_is_refused_with_the_reason(options, reasons):
    model = tg.SequenceTagger(**SMALL, **options).fit(*sentences(12))
    with pytest.raises(InputError) as refused:
        model.stream()
    assert all(reason in str(refused.value) for reason in reasons)


def test_a_stream_labels_each_token_as_it_comes():
    model = tg.SequenceTagger(**SMALL, bidirectional=False).fit(*sentences(12))
    sentence = ["the", "watch", "abcing", "we"]
    expected = model.predict_proba([sentence])[0]
    stream = model.stream()
    for token, p in zip(sentence, expected, strict=True):
        np.testing.assert_allclose(stream.feed([token]), p, atol=1e-6)
    two = model.stream(2)
    answers = two.feed([sentence, sentence[:2]])
    np.testing.assert_allclose(answers, [expected[3], expected[1]], atol=1e-6)


def test_gates_are_inspected_token_by_token(trained):
    found = trained.inspect(["the", "watch"])
    assert found.steps == ("the", "watch")
    assert found.gates["layer_0.z"].shape == (2, 16)


def test_a_long_word_loses_its_middle_and_capitals_are_letters():
    encoder = TokenEncoder.learn(
        [["abcdef", "Ab"]], vocabulary_size=None, min_count=1, lowercase=True, word_length=4
    )
    tokens, letters = encoder.encode(["abcdef", "AB", "xy"])
    assert letters is not None
    assert tokens.tolist()[2] == 0
    spelled = [None, "?", *"Aabcdef"]
    assert [[spelled[i] for i in row if i] for row in letters] == [list("abef"), ["A", "?"],
                                                                   ["?", "?"]]  # fmt: skip


WRONG = {
    "one str": (("the dog", [["A"]]), "expected lists of tokens, got one str"),
    "a str in a list": ((["the dog"], [["A"]]), "got one str, 'the dog'; split it"),
    "a number": (([["the", 3]], [["A", "B"]]), "got int 3 at index 0, place 1"),
    "an empty token": (([["the", ""]], [["A", "B"]]), "got an empty one at index 0, place 1"),
    "too few labels": (([["a", "b"]], [["A"]]), "one per token of sentence 0, 2, got 1"),
    "too few lists": (([["a"], ["b"]], [["A"]]), "one list per sentence, 2, got 1"),
    "one label": (([["a"]] * 20, [["A"]] * 20), "two different ones, got only 'A'"),
    "two types": (([["a", "b"]] * 20, [["A", 1]] * 20), "expected all of one type"),
    "nothing": (([], []), "at least one, got none"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_learned_is_told(case):
    given, message = WRONG[case]
    with pytest.raises(InputError, match=message):
        tg.SequenceTagger(**SMALL).fit(*given)


def test_tokens_that_are_no_text_are_refused():
    with pytest.raises(InputError, match="lone surrogate at index 0, place 1"):
        as_sentences([["a", "\ud800"]])


@pytest.fixture
def corpus(tidegate: Tidegate) -> Tidegate:  # noqa: F811
    rows = zip(*sentences(40), strict=True)
    with Path("s.jsonl").open("w") as file:
        file.writelines(json.dumps({"tokens": t, "labels": x}) + "\n" for t, x in rows)
    return tidegate


def test_the_commands_train_evaluate_and_predict(corpus: Tidegate):
    line = "train tagger s.jsonl --hidden-sizes 4 --max-steps 4 -o m.safetensors --json"
    told = corpus(line).json
    assert told["task"] == "tagger"
    assert told["measured_on"] == "validation"
    assert {"accuracy", "cross_entropy", "baseline_accuracy"} <= set(told["validation"])
    assert corpus(line).code == 2  # a run folder that holds a run
    assert corpus(f"{line} --resume").json["validation"] == told["validation"]

    figures = corpus("evaluate m.safetensors s.jsonl --json").json
    assert figures["n"] == 120
    assert set(figures["labels"]) == {"DET", "NOUN", "PRON", "VERB"}
    assert "precision, recall, F1" in corpus("evaluate m.safetensors s.jsonl").out

    Path("new.txt").write_text("the watch\n\nwe\n")
    out = corpus("predict m.safetensors new.txt").out
    rows = [line.split("\t") for line in out.split("\n")]
    assert [row[0] for row in rows] == ["the", "watch", "", "we", "", ""]
    assert all(0 <= float(row[2]) <= 1 for row in rows if len(row) == 3)
    answers = corpus("predict m.safetensors new.txt --json").json["predictions"]
    assert answers[1]["tokens"] == ["we"]
    (Path("again.jsonl")).write_text(corpus("predict m.safetensors s.jsonl --jsonl").out)
    assert corpus("evaluate m.safetensors again.jsonl --json").json["accuracy"] == 1
    assert corpus("inspect m.safetensors s.jsonl --row 2").code == 0
    assert corpus("info m.safetensors --json").json["transitions"] is None


def test_info_shows_which_label_follows_which(tidegate: Tidegate):  # noqa: F811
    assert tidegate("train tagger names.conll --hidden-sizes 3 --max-steps 3").code == 0
    model = "names-tagger.safetensors"
    told = tidegate(f"info {model} --json").json["transitions"]
    weights = tg.load(model).transitions_
    assert list(told) == ["B-PER", "I-PER", "O", "start"]
    assert list(told["start"]) == ["B-PER", "I-PER", "O", "end"]
    assert told["O"]["B-PER"] == pytest.approx(weights[2, 0])
    assert told["start"]["O"] == pytest.approx(weights[3, 2])
    assert "what speaks for a label after another" in tidegate(f"info {model}").out


def test_a_network_of_letters_is_no_stack_of_layers_and_without_them_it_is(tmp_path):
    from tidegate.interchange.model_file import read_tidegate
    from tidegate.interchange.settled import Answers

    path = tmp_path / "m.safetensors"
    options = SMALL | {"crf": True, "evidence": False}
    tg.SequenceTagger(**options).fit(*sentences(12)).save(path)
    with pytest.raises(InputError, match="train it with letter_hidden_size=0"):
        read_tidegate(path, Answers())
    tg.SequenceTagger(**options | {"letter_hidden_size": 0}).fit(*sentences(12)).save(path)
    (note,) = read_tidegate(path, Answers()).notes
    assert "the weights of neighbouring labels" in note
