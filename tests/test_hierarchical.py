"""Documents read sentence by sentence: how they are parted, grouped, learned from and kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import TINY, Tidegate

import tidegate as tg
from tidegate.data.sequences.sequences import pad_sequences, with_sentences
from tidegate.data.text.words import sentences
from tidegate.errors import InputError
from tidegate.runtime.batches import outputs_of
from tidegate.runtime.sentences import grouped
from tidegate.training.judging import as_function

RNG = np.random.default_rng(0)


def sentence() -> str:
    return " ".join(RNG.choice(["good", "bad", "film", "plot"], RNG.integers(2, 5))) + ". "


DOCUMENTS = ["".join(sentence().capitalize() for _ in range(RNG.integers(2, 6))) for _ in range(90)]
LABELS = ["yes" if "good" in one.lower().split(". ")[1] else "no" for one in DOCUMENTS]
SMALL: dict[str, Any] = {"hidden_sizes": (6,), "embedding_size": 5, "verbose": 0}


@pytest.fixture(scope="module")
def model() -> tg.TextClassifier:
    return tg.TextClassifier(**SMALL, max_steps=6, hierarchical=True).fit(DOCUMENTS, LABELS)


@pytest.mark.parametrize(("text", "parts"), [
    ("One. Two? Three!", ["One. ", "Two? ", "Three!"]),
    ("Mr. J. Smith came, e.g. here. He left.", ["Mr. ", "J. Smith came, e.g. here. ", "He left."]),
    ('He said "go." Then\nit ended', ['He said "go." ', "Then\n", "it ended"]),
    ("a<br /><br />b", ["a<br /><br />", "b"]),
    ("你好。再见！", ["你好。", "再见！"]),
    (" \n ", []), ("", []), ("no end", ["no end"]),
])  # fmt: skip
def test_sentences_are_the_text(text: str, parts: list[str]) -> None:
    assert sentences(text) == parts


def test_each_sentence_is_a_column_of_its_own_tokens() -> None:
    rows = [[1, 1, 2, 3, 3, 3], [1, 2, 2, 0, 0, 0], [0] * 6, [1, 1, 1, 1, 1, 1]]
    numbers = np.array(rows).T
    found = grouped(numbers)
    flat = numbers.reshape(-1)
    assert found.counts.tolist() == [3, 2, 0, 1]
    assert found.lengths.tolist() == [2, 1, 3, 1, 2, 6, 0]
    for document in range(4):
        for order, place in enumerate(found.places[:, document]):
            tokens = found.tokens[: found.lengths[place], place]
            assert (tokens % 4 == document).all()
            assert (np.diff(tokens) > 0).all()
            assert (flat[tokens] == order + 1).all()
            assert len(tokens) == (numbers[:, document] == order + 1).sum()


def test_numbers_of_sentences_begin_with_one_wherever_a_document_is_cut() -> None:
    tokens = np.arange(6)
    cut = with_sentences(tokens, np.array([4, 4, 5, 9, 9, 0]))
    assert cut["sentence"].tolist() == [1, 1, 2, 3, 3, 0]
    assert cut["token"].tolist() == tokens.tolist()


def test_a_document_is_answered_alike_alone_and_in_company(model: tg.TextClassifier) -> None:
    texts = [*DOCUMENTS[:7], "", "Word " * 200, "One. " * 60]
    together = model.predict_proba(texts)
    for text, p in zip(texts, together, strict=True):
        np.testing.assert_allclose(model.predict_proba([text])[0], p, atol=1e-6)
    read, network = model.encode(texts), model.network_
    theirs = outputs_of(as_function(network), read, 2)
    np.testing.assert_allclose(outputs_of(model.runtime_, read, 2), theirs, atol=1e-5)


def test_what_a_sentence_says_does_not_depend_on_its_neighbours(model: tg.TextClassifier) -> None:
    """The first layer begins anew: its states for a sentence are the same wherever it stands."""
    network, (one, two) = model.runtime_, model.encode(["Good film. ", "Bad plot. Good film. "])
    numbers = two["sentence"] == 2
    assert one["token"].tolist() == two["token"][numbers].tolist()
    two["evidence"][numbers] = one["evidence"]  # a pair's evidence knows the word before
    padded, _ = pad_sequences([one, two])
    groups = grouped(padded["sentence"])
    x = network.embedded(padded).reshape(-1, 5)[groups.tokens]
    y, _ = network._layers[0][0].forward(x, None, groups.lengths)
    count = len(one)
    np.testing.assert_array_equal(y[:count, groups.places[0, 0]], y[:count, groups.places[1, 1]])


def test_the_first_layers_sums_are_what_the_second_one_reads(model: tg.TextClassifier) -> None:
    a = model.runtime_.architecture
    assert a.sentences
    assert a.hidden_sizes == (6, 6)
    assert a.layer_sizes()[1]["I"] == 2 * 2 * 6  # mean and max, of both directions


def test_where_a_word_stands_among_sentences_is_learned() -> None:
    options = {"max_steps": 150, "learning_rate": 0.02, "dropout": 0.0, "embedding_dropout": 0.0}
    options |= {"recurrent_dropout": 0.0, "evidence": False, "validation_fraction": 0.0}
    options |= {"hidden_sizes": (12,), "average": 0.0}
    model = tg.TextClassifier(**SMALL | options, hierarchical=True).fit(DOCUMENTS, LABELS)
    assert model.score(DOCUMENTS, LABELS) > 0.9


def test_the_middle_of_a_long_document_is_left_out(model: tg.TextClassifier) -> None:
    model.set_params(max_length=6)
    (read,) = model.encode(["Good film. " + "Bad plot. " * 9 + "Long story. "])
    model.set_params(max_length=400)
    assert read["sentence"].tolist() == [1, 1, 1, 2, 2, 2]


@pytest.mark.parametrize("options", [
    {"level": "char"}, {"cell": "lstm", "hidden_sizes": (5, 4, 3), "readout": "last"},
    {"cell": "lstm_projected", "bidirectional": False, "readout": "max", "evidence": False},
], ids=str)  # fmt: skip
def test_other_networks_read_sentences_and_files_keep_them(
    options: dict[str, Any], tmp_path: Path
) -> None:
    model = tg.TextRegressor(**SMALL | {"max_steps": 2, "hierarchical": True} | options)
    frame = {"text": DOCUMENTS, "kind": LABELS}
    model.fit(frame, np.arange(90.0), conditions=["kind"])
    model.save(tmp_path / "m.safetensors")
    again: Any = tg.load(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(again.predict(frame), model.predict(frame))


def test_what_cannot_be_says_what_to_train_instead(
    model: tg.TextClassifier, tmp_path: Path
) -> None:
    def refused(use: Any) -> str:
        with pytest.raises(InputError) as e:
            use()
        return str(e.value)

    assert "hierarchical=False" in refused(lambda: model.export_onnx(tmp_path / "m.onnx"))
    assert "hierarchical=False" in refused(lambda: model.inspect("A text."))
    assert "hierarchical=False" in refused(model.stream)
    normed = tg.TextClassifier(**SMALL, hierarchical=True, batch_norm=True)
    assert "no batch_norm" in refused(lambda: normed.fit(DOCUMENTS, LABELS))


def test_the_command_trains_and_compares(tidegate: Tidegate) -> None:
    rows = [f'"{text}",{label}' for text, label in zip(DOCUMENTS, LABELS, strict=True)]
    Path("t.csv").write_text("text,label\n" + "\n".join(rows) + "\n")
    line = f"t.csv --text text --label label --hierarchical {TINY['classifier']}"
    model = tidegate(f"train classifier {line} --json").json["model"]
    assert tidegate(f"evaluate {model} t.csv --json").json["n"] == 90
    assert tidegate(f"explain {model} 'Good film. Bad plot.'").code == 0
    compared = tidegate(f"compare {line} --task classifier --cells gru --seeds 1 --json")
    assert compared.code == 0, compared.err
