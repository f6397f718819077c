"""Every training run says what a cheap method reaches on the same part, and who is ahead."""

from __future__ import annotations

import re
import sys
from dataclasses import replace

import numpy as np
import pytest

import tidegate as tg
from tidegate.baselines import windows
from tidegate.baselines.baseline import Answered, Baseline
from tidegate.baselines.sequences import labels_within, numbers_within
from tidegate.data.series.line import fit_line
from tidegate.data.text.ngrams import KneserNey
from tidegate.errors import options_as_flags
from tidegate.tasks import folds as folds_module
from tidegate.tasks import forecast_blend
from tidegate.tasks.beside import Beside, allowance
from tidegate.tasks.folds import FEW, cool, temperature_of
from tidegate.tasks.kinds.one_label import OneLabel

SMALL = {"hidden_sizes": (6,), "max_steps": 3}
RNG = np.random.default_rng(0)
TEXTS = [" ".join(RNG.choice(["good", "bad", "film", "plot"], 6)) for _ in range(120)]
LABELS = ["pos" if t.count("good") > t.count("bad") else "neg" for t in TEXTS]
SEQUENCES = RNG.normal(size=(60, 20)).cumsum(1)
RISING = np.where(SEQUENCES[:, -1] > 0, "up", "down")
SERIES = np.sin(np.arange(400) / 7) + 0.1 * RNG.normal(size=400)


def trained(task, **options):
    given = {**SMALL, **options}
    if task == "text":
        return tg.TextClassifier(**given).fit(TEXTS, LABELS)
    if task == "language":
        return tg.LanguageModel(**given, sample_steps=(), counts=False).fit("\n".join(TEXTS))
    if task == "forecast":
        return tg.Forecaster(**given, horizon=6).fit(SERIES)
    if task == "labels":
        return tg.SequenceClassifier(**given, validation_fraction=0.3).fit(SEQUENCES, RISING)
    return tg.SequenceRegressor(**given, validation_fraction=0.3).fit(SEQUENCES, SEQUENCES.mean(1))


TASKS = {
    "text": ("TF-IDF + logistic regression", "accuracy", "cross_entropy"),
    "language": ("-grams", "perplexity", "cross_entropy"),
    "forecast": ("ridge regression", "mse", "mae"),
    "labels": ("ridge on convolutions", "accuracy", "cross_entropy"),
    "numbers": ("ridge on convolutions", "mse", "mae"),
}


@pytest.mark.parametrize("task", TASKS)
def test_every_task_stands_beside_a_baseline_and_its_file_says_so(task, capsys, tmp_path):
    name, *figures = TASKS[task]
    model = trained(task)
    told = capsys.readouterr().out.strip().splitlines()[-1]
    # after three steps a forecaster's line works already, and sequences have the same ridges
    words = {"forecast": "level with"} | dict.fromkeys(("labels", "numbers"), ".*")
    assert re.match(f"baseline: {words.get(task, 'behind')} ", told)
    assert name in told
    assert "on the validation part" in told
    model.save(tmp_path / "model.safetensors")
    kept = tg.load(tmp_path / "model.safetensors")
    assert name in kept.provenance_["baseline"]
    for figure in figures:
        assert kept.metrics_[f"baseline_{figure}"] == model.metrics_[f"baseline_{figure}"]
        assert f"{model.metrics_[f'baseline_{figure}']:.4g}" in told or figure == "cross_entropy"


def test_the_command_shows_the_baseline_beside_its_own_figure_and_in_the_json(
    tidegate, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    rows = ["text,label", *(f"{t},{label}" for t, label in zip(TEXTS, LABELS, strict=True))]
    (tmp_path / "texts.csv").write_text("\n".join(rows) + "\n")
    line = "train classifier texts.csv --text text --label label --max-steps 2 --hidden-sizes 4"
    shown = tidegate(f"{line} --validation-fraction 0.3")
    assert shown.code == 0, shown.err
    assert re.search(r"validation cross entropy +[\d.]+ +baseline [\d.]+", shown.out)
    told = tidegate(f"{line} --validation-fraction 0.3 --force --json").json
    assert told["validation"]["baseline_accuracy"] > 0.5
    assert "baseline" in tidegate("info texts-text-classifier.safetensors").out


def test_where_ridges_on_convolutions_would_take_too_long_a_cheaper_method_stands_beside():
    part = Answered(list(SEQUENCES[:, :, None]), (SEQUENCES[:, -1] > 0).astype(int))
    assert labels_within(part, 20, 5.0).name == "ridge on convolutions"
    assert "of 60 sequences" in labels_within(part, 0, 0.12).part
    assert labels_within(part, 20, 0.01).name == "1-nearest neighbour"
    many = Answered(part.inputs * 20, np.arange(1200) // 4)
    assert labels_within(many, 0, 60.0).name == "1-nearest neighbour"
    numbers = Answered(part.inputs, SEQUENCES.mean(1))
    assert numbers_within(numbers, 20, 5.0).name == "ridge on convolutions"
    assert numbers_within(numbers, 20, 0.01).name == "ridge regression"


def test_the_line_of_a_forecaster_is_fitted_once(monkeypatch):
    """As its baseline it is the one that the network begins with."""
    fitted = []
    monkeypatch.setattr(forecast_blend, "fit_line", lambda *a: fitted.append(a) or fit_line(*a))
    monkeypatch.setattr(windows, "fit_line", lambda *a: fitted.append(a) or fit_line(*a))
    model = trained("forecast")
    assert "ridge regression" in model.provenance_["baseline"]
    assert len(fitted) == 1
    assert model.metrics_["baseline_mse"] == pytest.approx(model.provenance_["line_mse"], rel=1e-5)


def test_without_the_baseline_nothing_is_said_or_kept(capsys):
    model = trained("text", baseline=False)
    assert "baseline" not in capsys.readouterr().out
    assert not any("baseline" in name for name in [*model.metrics_, *model.provenance_])


def test_a_test_part_decides_who_is_ahead(capsys):
    model = trained("text", test_fraction=0.3)
    assert "on the test part" in capsys.readouterr().out
    assert {"baseline_accuracy", "test_baseline_accuracy"} <= set(model.metrics_)


def test_where_nothing_is_held_out_the_way_to_hold_out_is_said(capsys):
    nothing = {"validation_fraction": 0}
    tg.SequenceClassifier(**SMALL, **nothing).fit(SEQUENCES, RISING)
    assert "baseline: left out, since nothing is held out" in capsys.readouterr().out
    tg.SequenceClassifier(**SMALL, **nothing, test_fraction=0.2).fit(SEQUENCES, RISING)
    assert "on the test part" in capsys.readouterr().out


def test_where_scikit_learn_is_absent_the_run_goes_on_and_says_how_to_install_it(
    capsys, monkeypatch
):
    monkeypatch.setitem(sys.modules, "sklearn.linear_model", None)
    trained("text")
    assert "pip install 'tidegate[train]'" in capsys.readouterr().out


def test_a_text_that_a_baseline_cannot_read_does_not_end_the_run(capsys):
    model = tg.TextClassifier(**SMALL).fit(["!!!", "???"] * 30, ["a", "b"] * 30)
    assert "left out, since it failed" in capsys.readouterr().out
    assert "baseline" not in model.provenance_


class Counting(Baseline):
    name, about = "counting", "pairs"

    def __init__(self, part=""):
        self.part = part

    def losses(self, part):
        raise NotImplementedError

    def figures(self, part):
        raise NotImplementedError


def beside(part="", **figures):
    return Beside(baseline=Counting(part), validation=figures, test={}, seconds=1.0)


ENDED = {"steps": 100, "best_step": 100, "epochs": 2.5, "training_seconds": 590.0}


def test_who_is_ahead_is_judged_by_the_proper_score():
    """A network with the better accuracy, whose probabilities are worse, is behind."""
    own = {"accuracy": 0.9, "cross_entropy": 0.6}
    told = beside(accuracy=0.8, cross_entropy=0.5).verdict(own, ENDED | {"stopped_by": "epochs"})
    assert told.startswith("behind counting (pairs) on the validation part: cross-entropy 0.6 ")
    assert "0.6 against its 0.5 (20 % higher), accuracy 0.9 against 0.8" in told
    own = {"perplexity": 150.0, "cross_entropy": 5.01}
    told = beside(perplexity=151.0, cross_entropy=5.02).verdict(own, ENDED)
    assert told == (
        "level with counting (pairs) on the validation part: perplexity 150 against its 151 "
        "(0.66 % lower)"
    )
    assert beside(mse=2.0).verdict({"mse": 1.0}, ENDED).startswith("ahead of counting")
    ended = ENDED | {"stopped_by": "epochs"}
    unseen = beside(cross_entropy=float("nan"), accuracy=0.9)  # a label that training never had
    for accuracy, word in ((0.5, "behind"), (0.95, "ahead of"), (0.9, "level with")):
        told = unseen.verdict({"cross_entropy": float("nan"), "accuracy": accuracy}, ended)
        assert told.startswith(f"{word} counting")
        assert "nan" not in told


def test_who_is_ahead_of_a_baseline_of_a_part_says_that_of_the_whole_nothing_is_known():
    caveat = "; nothing is known of one that learns from all"
    one = beside("904 of 18,539 texts", mse=1.0)
    for mse, word in ((0.5, "ahead of"), (1.0, "level with")):
        told = one.verdict({"mse": mse}, ENDED)
        assert told.startswith(f"{word} counting (pairs, of 904 of 18,539 texts) on the")
        assert told.endswith(caveat)
    behind = one.verdict({"mse": 2.0}, ENDED | {"stopped_by": "epochs"})
    assert behind.startswith("behind counting (pairs, of 904 of 18,539 texts)")
    assert caveat not in behind
    assert one.provenance["baseline"] == "counting: pairs, of 904 of 18,539 texts"
    assert caveat not in beside(mse=1.0).verdict({"mse": 0.5}, ENDED)


def test_a_network_that_was_judged_on_a_part_of_the_validation_part_is_said_to_be():
    told = beside(mse=2.0).verdict({"mse": 1.0}, ENDED | {"validation_share": 0.041})
    assert told.endswith("(50 % lower) (the network's figures are of 4.1% of it)")
    both = replace(beside(mse=2.0), share=0.041)
    told = both.verdict({"mse": 1.0}, ENDED | {"validation_share": 0.041})
    assert told.endswith("(50 % lower) (both of 4.1% of it)")


@pytest.mark.parametrize("level", ["word", "bpe", "char"])
def test_a_language_models_figures_and_its_baselines_are_of_the_same_part(level, capsys):
    """They are counted by the model itself: what it counted is the baseline."""
    size = 260 if level == "bpe" else None
    options = {"hidden_sizes": (4,), "bptt": 2, "batch_size": 2, "max_steps": 2}
    model = tg.LanguageModel(level=level, vocabulary_size=size, **options)
    model.fit("one two three four\nfive six one two\n" * 400)
    figures, share = model.metrics_, model.provenance_["validation_share"]
    told = capsys.readouterr().out.splitlines()[-1]
    assert f"(both of {share:.1%} of it)" in told
    tokens = model.encoder_.encode("one two three four\nfive six one two\n" * 400)
    part = tokens[model.provenance_["training_tokens"] :]
    part = part[: max(2, round(share * len(part)))]
    counted = KneserNey.fit(
        tokens[: model.provenance_["training_tokens"]],
        tokens[model.provenance_["training_tokens"] :],
        model.encoder_.size,
        model.encoder_.start_id,
        9 if level == "char" else 5,
    )
    expected = np.exp(counted.cross_entropy(part))
    assert figures["baseline_perplexity"] == pytest.approx(expected, rel=1e-6)
    assert f"against its {figures['baseline_perplexity']:.4g}" in told
    assert f"perplexity {figures['perplexity']:.4g} " in told
    assert figures["counts_perplexity"] == pytest.approx(expected, rel=0.01)


def test_characters_that_were_not_counted_are_told_to_be_where_the_network_is_behind(capsys):
    options = {"hidden_sizes": (4,), "bptt": 2, "batch_size": 2, "max_steps": 2}
    tg.LanguageModel(**options, counts=False).fit("one two three four\nfive six one two\n" * 40)
    assert "mix the two with counts=True" in capsys.readouterr().out.splitlines()[-1]


@pytest.mark.parametrize(
    ("stopped", "remedy"),
    [
        ({"stopped_by": "max_minutes"}, "train longer with --max-minutes 30"),
        ({"stopped_by": "max_steps"}, "train longer with --max-steps 300"),
        ({"stopped_by": "epochs"}, "train longer with --epochs 8"),
        ({"stopped_by": "epochs", "best_step": 20}, "more time would not help: give more data"),
    ],
)
def test_who_lost_is_told_what_may_help(stopped, remedy):
    with options_as_flags():
        told = beside(perplexity=150.0).verdict({"perplexity": 180.0}, ENDED | stopped)
    assert "perplexity 180 against its 150 (20 % higher)" in told
    assert remedy in told


def test_a_baseline_takes_a_small_part_of_the_minutes():
    assert allowance(None) == allowance(60) == 30
    assert allowance(1) == 3


# few examples


def few(count=60, **options):
    rng = np.random.default_rng(1)
    texts = [
        " ".join(rng.choice(["good", "bad", "film", "plot", "actor"], 6)) for _ in range(count)
    ]
    labels = ["pos" if t.count("good") > t.count("bad") else "neg" for t in texts]
    return tg.TextClassifier(hidden_sizes=(4,), max_steps=2, **options), texts, labels


def test_few_texts_are_all_learned_from_and_folds_give_the_figures(capsys, tmp_path):
    model, texts, labels = few()
    model.fit(texts, labels)
    assert "60 texts are few: all are learned from, and 5 folds" in capsys.readouterr().out
    assert model.provenance_["training_texts"] == model.provenance_["validation_texts"] == 60
    assert set(model.metrics_) == {
        *("accuracy", "cross_entropy", "calibration_error"),
        *("baseline_accuracy", "baseline_cross_entropy"),
    }
    model.save(tmp_path / "model.safetensors")
    again = tg.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(again.predict_proba(texts), model.predict_proba(texts))


def test_a_fraction_to_validate_by_is_held_out_of_few_texts_too(capsys):
    model, texts, labels = few(validation_fraction=0.1)
    model.fit(texts, labels)
    assert "texts are few" not in capsys.readouterr().out
    assert model.provenance_["validation_texts"] == 6
    with_few_of_a_label = ["rare", "rare", *labels[2:]]
    model, _, _ = few()
    assert model.fit(texts, with_few_of_a_label).provenance_["validation_texts"] == 6


def test_folds_have_each_label_alike_and_none_are_made_of_many():
    answers = np.array([0] * 33 + [1] * 12)
    kind = OneLabel(np.array(["a", "b"]))
    folds = kind.folds(answers, 0)
    assert folds is not None
    for label, counts in ((0, {6, 7}), (1, {2, 3})):
        assert set(np.bincount(folds[answers == label])) == counts
    assert kind.folds(np.arange(FEW) % 2, 0) is None
    assert kind.folds(np.array([0] * 30 + [1] * 4), 0) is None


def test_the_temperature_makes_probabilities_as_sure_as_they_are_right():
    """Right in seven cases of ten, and certain: at best 0.7, with one case more of either label."""
    truth = np.array([0] * 7 + [1] * 3)
    certain = np.log(np.array([[0.999, 0.001]] * 10))
    kind = OneLabel(np.array(["a", "b"]))
    p = kind.values(certain / temperature_of(kind, certain, truth))
    np.testing.assert_allclose(p[:, 0], (7 + 0.5) / (10 + 1), atol=0.005)


def test_folds_choose_the_length_of_training_where_no_limit_is_given(monkeypatch):
    """Of three lengths the second is best, so that the third is tried and the second kept."""
    model, texts, labels = few(verbose=0)
    model.set_params(max_steps=None)
    answers = np.array([labels[0] == label for label in labels]).astype(int)
    sure = {2: 0.6, 4: 0.9, 8: 0.8}
    tried = []

    def out_of_fold(*given):
        steps = given[-1]
        tried.append(steps)
        wrong = np.arange(len(answers)) < (1 - sure[steps]) * len(answers)
        right = np.where((answers == 1) != wrong, sure[steps], 1 - sure[steps])
        return np.log(np.stack([1 - right, right], 1))

    monkeypatch.setattr(folds_module, "_LENGTHS", tuple(sure))
    monkeypatch.setattr(folds_module, "_out_of_fold", out_of_fold)
    model.kind_ = OneLabel(np.array(["neg", "pos"]))
    parted = model.kind_.folds(answers, 0)
    assert parted is not None
    judged = folds_module.judged_by_folds(model, texts, answers, np.ones(60), parted)
    assert (judged.steps, tried) == (4, [2, 4, 8])
    with folds_module.trained_for(model, judged):
        assert model.max_steps == 4
    assert model.max_steps is None


def test_outputs_are_divided_by_the_temperature_in_the_weights():
    model, texts, labels = few(verbose=0)
    model.fit(texts, labels)
    before = model.predict_log_proba(texts)
    network = model.network_
    cool(network, 3.0)
    model.network_ = network
    expected = model.kind_.values(before / 3.0)
    np.testing.assert_allclose(model.predict_proba(texts), expected, atol=1e-6)
