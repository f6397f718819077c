"""Several labels of a text: learning, thresholds, figures, files, the command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import TINY, Tidegate
from sklearn.metrics import accuracy_score, f1_score, multilabel_confusion_matrix, roc_auc_score

import tidegate as tg
from tidegate.baselines.baseline import Answered
from tidegate.baselines.texts import LinearLabelSets
from tidegate.data.text.label_sets import binary_losses, held_of, thresholds_of
from tidegate.errors import InputError

RNG = np.random.default_rng(0)
TEXTS = [" ".join(RNG.choice(["good", "dull", "film", "long", "plot"], 7)) for _ in range(240)]
SETS = [[w for w in ("dull", "good", "long") if t.count(w) > 1] for t in TEXTS]
SMALL: dict[str, Any] = {
    "hidden_sizes": (10,), "embedding_size": 8, "verbose": 0, "validation_fraction": 0.2,
}  # fmt: skip


@pytest.fixture(scope="module")
def model() -> tg.TextClassifier:
    options = {"max_steps": 150, "learning_rate": 0.01, "dropout": 0.0, "embedding_dropout": 0.0}
    return tg.TextClassifier(**SMALL | options, test_fraction=0.2).fit(TEXTS, SETS)


def test_texts_have_one_label_several_or_none(model: tg.TextClassifier) -> None:
    assert model.metrics_["test_micro_f1"] > 0.8
    told = model.predict(["film plot film", "good good film long long", "dull dull"])
    assert told == [[], ["good", "long"], ["dull"]]
    assert model.classes_.tolist() == ["dull", "good", "long"]


def test_figures_equal_scikit_learns(model: tg.TextClassifier) -> None:
    sets = SETS[::-1]  # mostly wrong: figures away from 0 and 1
    truth, p = held_of(sets, model.classes_.tolist()) > 0, model.predict_proba(TEXTS)
    told = held_of(model.predict(TEXTS), model.classes_.tolist()) > 0
    assert (told == (p > model.thresholds_)).all()
    figures = model.evaluate(TEXTS, sets)
    assert figures["micro_f1"] == pytest.approx(f1_score(truth, told, average="micro"))
    assert figures["macro_f1"] == pytest.approx(f1_score(truth, told, average="macro"))
    assert figures["subset_accuracy"] == pytest.approx(accuracy_score(truth, told))
    assert figures["auroc"] == pytest.approx(roc_auc_score(truth, p, average="macro"))
    assert figures["cross_entropy"] == pytest.approx(
        -np.where(truth, np.log(p), np.log1p(-p)).sum(1).mean(), rel=1e-3
    )
    assert model.score(TEXTS, sets) == pytest.approx(figures["subset_accuracy"])
    expected = multilabel_confusion_matrix(truth, told)
    np.testing.assert_array_equal(model.confusion_matrix(TEXTS, sets), expected)


def test_no_threshold_has_a_better_f1_than_the_chosen_one() -> None:
    p, held = RNG.random((300, 2)), RNG.random((300, 2)) < 0.3
    p[:, 1] = np.round(p[:, 1], 1) + 0.01  # equal ones, between which there is no threshold
    for column, threshold in enumerate(thresholds_of(p, held)):
        own, truth = p[:, column], held[:, column]
        best = max(f1_score(truth, own > t) for t in np.unique(np.r_[own - 1e-9, own, 0]))
        assert f1_score(truth, own > threshold) == pytest.approx(best)


def test_a_rare_label_has_the_threshold_of_all_labels() -> None:
    p = RNG.random((200, 3))
    held = np.stack([p[:, 0] > 0.7, p[:, 1] > 0.4, np.arange(200) == 3], 1)
    first, second, rare = thresholds_of(p, held)
    common = thresholds_of(p.reshape(-1, 1), held.reshape(-1, 1))[0]
    assert (first, second, rare) == (
        pytest.approx(0.7, abs=0.05),
        pytest.approx(0.4, abs=0.05),
        common,
    )
    assert thresholds_of(p, np.zeros((200, 3), bool)).tolist() == [0.5] * 3


def test_losses_are_those_of_the_sigmoid_however_large_the_logits() -> None:
    logits, held = np.array([[0.5, -2, 900.0, -900.0]]), np.array([[1, 0, 1, 1]])
    with np.errstate(over="ignore"):
        p = 1 / (1 + np.exp(-logits[:, :2]))
    found = binary_losses(logits, held)
    np.testing.assert_allclose(found[:, :2], -np.log(np.where(held[:, :2] > 0, p, 1 - p)))
    assert found[0, 2:].tolist() == [0, 900]


def test_a_label_of_its_own_is_learned_as_one_of_several_is_not() -> None:
    """A list with one label is no label: probabilities of several do not add up to 1."""
    texts, labels = TEXTS[:40], ["a", "b"] * 20
    one = tg.TextClassifier(**SMALL, max_steps=2).fit(texts, labels)
    several = tg.TextClassifier(**SMALL, max_steps=2).fit(texts, [[label] for label in labels])
    np.testing.assert_allclose(one.predict_proba(texts).sum(1), 1, rtol=1e-6)
    assert np.abs(several.predict_proba(texts).sum(1) - 1).max() > 1e-4
    assert one.predict(texts).shape == (40,)
    assert isinstance(several.predict(texts), list)


def test_few_texts_are_all_learned_from_and_folds_choose_the_thresholds() -> None:
    sets = [["rare", *own] if i == 7 else own for i, own in enumerate(SETS[:60])]
    model = tg.TextClassifier(**SMALL, max_steps=10).set_params(validation_fraction=None)
    model.fit(TEXTS[:60], sets)
    assert model.provenance_["training_texts"] == 60
    assert {"micro_f1", "subset_accuracy", "baseline_micro_f1"} <= set(model.metrics_)
    assert (model.thresholds_ != 0.5).any()


def test_a_file_gives_the_same_labels_and_any_kind_of_them(
    model: tg.TextClassifier, tmp_path: Path
) -> None:
    model.save(tmp_path / "m.safetensors")
    again: Any = tg.load(tmp_path / "m.safetensors")
    assert again.predict(TEXTS) == model.predict(TEXTS)
    np.testing.assert_array_equal(again.thresholds_, model.thresholds_)
    numbered = tg.TextClassifier(**SMALL, max_steps=1).fit(TEXTS[:20], [[1, 2], {3}] * 10)
    assert numbered.classes_.tolist() == [1, 2, 3]
    assert all(type(label) is int for own in numbered.predict(TEXTS[:9]) for label in own)


def test_a_stream_tells_the_probabilities_of_the_text_so_far() -> None:
    model = tg.TextClassifier(**SMALL, max_steps=3, bidirectional=False).fit(TEXTS[:50], SETS[:50])
    stream = model.stream()
    stream.feed("good film ")
    expected = model.predict_proba(["good film dull"])[0]
    np.testing.assert_allclose(stream.feed("dull"), expected, rtol=1e-5)


def test_a_classifier_starts_from_one_of_the_same_labels(model: tg.TextClassifier) -> None:
    """With the dense layer where the labels are the same ones, several of each text."""
    told = tg.TextClassifier(init_from=model, max_steps=1, verbose=0).fit(TEXTS, SETS).provenance_
    assert told["taken_over"].startswith("all weights")
    other = [["dull", "good", "long"][i % 3] for i in range(len(TEXTS))]  # one label each
    told = tg.TextClassifier(init_from=model, max_steps=1, verbose=0).fit(TEXTS, other).provenance_
    assert told["taken_over"].startswith("embedding")


def test_a_label_that_counts_more_is_told_more_often() -> None:
    sets = [["rare"] if i % 9 == 0 else [] for i in range(90)]
    sure = []
    weights: list[Any] = [None, "balanced", {"rare": 50.0}]
    for weight in weights:
        model = tg.TextClassifier(**SMALL, max_steps=60, learning_rate=0.02, class_weight=weight)
        model.set_params(validation_fraction=0.0, evidence=False)
        sure.append(model.fit(["film"] * 90, sets).predict_proba(["film"])[0, 0])
    plain, balanced, heavy = sure
    assert plain == pytest.approx(1 / 9, abs=0.06)
    assert balanced == pytest.approx(1 / 2, abs=0.1)
    assert heavy > balanced


def test_the_baseline_is_a_regression_for_each_label() -> None:
    held = held_of(SETS, ["dull", "good", "long", "never"])
    train, rest = Answered(TEXTS[:160], held[:160]), Answered(TEXTS[160:], held[160:])
    fitted = LinearLabelSets.fit(train, rest)
    assert fitted.figures(rest)["micro_f1"] > 0.9
    alone = LinearLabelSets.fit(train, Answered([], held[:0]))
    assert alone.losses(rest).shape == (80,)


@pytest.mark.parametrize(("labels", "problem"), [
    ([["a"], "b"] * 10, "expected a list of labels for each text, got 'b' at index 1"),
    ([["a"], ["b", "b"]] * 10, "expected different labels in each list, got 'b' twice at index 1"),
    ([[0, 1, 0]] * 20, "got 0 twice at index 0; of a matrix of zeros and ones give"),
    ([["a", None]] * 20, "expected a label at index 1, got None"),
    ([[]] * 20, "expected a label or more, got none"),
    ([["a"]] * 19, "expected one per text, 20, got 19"),
])  # fmt: skip
def test_wrong_sets_are_named(labels: Any, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        tg.TextClassifier(**SMALL, max_steps=1).fit(TEXTS[:20], labels)


def test_the_command_parts_cells_at_the_separator(tidegate: Tidegate) -> None:
    line = "graded.csv --text review --label tags --labels-separator ;"
    options = TINY["classifier"]
    trained = tidegate(f"train classifier {line} {options} --json")
    assert trained.code == 0, trained.err
    model = trained.json["model"]
    assert {"micro_f1", "subset_accuracy", "baseline_micro_f1"} <= set(trained.json)
    figures = tidegate(f"evaluate {model} graded.csv --json").json
    assert set(figures["labels"]) == {"long", "warm"}
    assert figures["labels"]["warm"]["n"] == 20
    Path("single.csv").write_text("review,tags\na lovely film,warm\na quiet one,long\n")
    assert tidegate(f"evaluate {model} single.csv --json").json["n"] == 2
    told = tidegate(f"predict {model} graded.csv --json").json["predictions"]
    assert set(told[0]["probabilities"]) == {"long", "warm"}
    assert "threshold" in tidegate(f"evaluate {model} graded.csv").out
    assert tidegate(f"predict {model} graded.csv").out.count("\t") == 120
    compared = tidegate(
        f"compare {line} --task classifier {options} --cells gru --seeds 1 "
        "--validation-fraction 0.3 --json"
    )
    assert compared.code == 0, compared.err


def test_lists_of_jsonl_and_parquet_are_labels(tidegate: Tidegate) -> None:
    import polars

    rows = [{"text": text, "label": own} for text, own in zip(TEXTS[:30], SETS, strict=False)]
    Path("t.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    polars.DataFrame(rows).write_parquet("t.parquet")
    found = []
    for name in ("t.jsonl", "t.parquet"):
        line = (
            f"train classifier {name} --text text --label label {TINY['classifier']} -o m --force"
        )
        assert tidegate(line).code == 0
        found.append(tidegate(f"evaluate m {name} --json").json)
    assert found[0] == found[1]
    assert set(found[0]["labels"]) == {"dull", "good", "long"}


@pytest.mark.parametrize(("options", "problem"), [
    ("--labels-separator |", "option --labels-separator: expected labels with '|' between them"),
    ("--labels-separator ''", "option --labels-separator: expected a mark, got ''"),
])  # fmt: skip
def test_a_separator_that_is_none_is_named(tidegate: Tidegate, options: str, problem: str) -> None:
    Path("t.csv").write_text("text,label\n" + "a good one,warm;long\nanother,long\n" * 10)
    line = f"train classifier t.csv --text text --label label {TINY['classifier']} {options}"
    assert problem in tidegate(line).err
