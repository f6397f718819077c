"""A straight line of words and pairs beside a network: what it says, and when it is there."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

import numpy as np
import pytest

import tidegate as tg
from tidegate.data.sequences.mixing import binary_log_loss, log_loss
from tidegate.data.text.evidence import Evidence, answers_of_labels, learn_evidence
from tidegate.model.architecture import Architecture
from tidegate.tasks.text_line import LineBeside, TextLine, lifted, trust, words_held

WORDS = [f"w{k}" for k in range(60)]


def told_by_many_words(count: int, labels: int, seed: int = 0) -> tuple[list[str], list[int]]:
    """Texts of a dozen words, each of which says a little of the label."""
    rng = np.random.default_rng(seed)
    weights = np.random.default_rng(7).standard_normal((len(WORDS), labels))
    drawn = [rng.integers(0, len(WORDS), 12) for _ in range(count)]
    texts = [" ".join(WORDS[k] for k in of) for of in drawn]
    return texts, [int(weights[np.unique(of)].sum(0).argmax()) for of in drawn]


def untrained(**options: object) -> tg.TextClassifier:
    """One step, after which a network knows nothing: so a line is worth its two factors."""
    given = {"hidden_sizes": (4,), "embedding_size": 4, "max_steps": 1, "baseline": False}
    return tg.TextClassifier(**given | {"verbose": 0} | options)  # pyright: ignore


@pytest.fixture(scope="module", params=[2, 3])
def lined(request) -> tuple[tg.TextClassifier, list[str]]:
    texts, labels = told_by_many_words(420, request.param)
    return untrained().fit(texts, labels), texts


def line_of(model: tg.TextClassifier) -> tuple[Architecture, Evidence]:
    assert model.evidence_ is not None
    return model.runtime_.architecture, model.evidence_


def test_words_and_pairs_up_to_each_word_add_up_and_a_second_time_adds_nothing():
    evidence, _ = learn_evidence([["a", "b", "a"], ["b", "c"]], np.array([[True], [False]]))
    line = np.random.default_rng(0).standard_normal(evidence.log_odds.shape).astype(np.float32)
    both = Evidence(evidence.buckets, evidence.log_odds, line)
    text = ["a", "b", "a", "b", "a", "unseen", "c"]
    (read,) = both.of([text])
    assert read.shape == (7, both.width) == (7, 4)
    for t in range(1, 8):
        added = words_held(both, [text[:t]]) @ line
        np.testing.assert_allclose(read[t - 1, 3:], added[0], rtol=1e-6, atol=1e-6)
    assert read[3, 3] == read[4, 3]  # "b a" and "a" came before


def test_the_example_of_a_reader_finds_the_same_numbers(lined, monkeypatch):
    model, texts = lined
    _, evidence = line_of(model)
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "examples" / "onnx")
    from evidence import evidence_of  # pyright: ignore[reportMissingImports]

    kinds = {"buckets": "<i4", "log_odds": "<f4", "line": "<f4"}
    told = {
        name: b64encode(table.astype(kinds[name]).tobytes()).decode()
        for name, table in evidence.tables.items()
    }
    words = texts[0].split() * 2
    np.testing.assert_allclose(
        evidence_of(words, told), evidence.of([words])[0], rtol=1e-5, atol=1e-5
    )


def test_a_line_is_the_logistic_regression_of_which_words_a_text_holds():
    texts, labels = told_by_many_words(200, 2)
    words, held = [text.split() for text in texts], answers_of_labels(np.array(labels), 2)
    evidence, _ = learn_evidence(words, held)
    features = words_held(evidence, words)
    line = TextLine.fit(evidence, features, held, np.ones(200))
    p = 1 / (1 + np.exp(-line(features)))
    # what the penalty allows: without one, the gradient would be zero
    assert ((p > 0.5) == held).mean() > 0.95
    assert abs((p - held).sum()) < 0.5  # the intercept has no penalty
    twice = TextLine.fit(evidence, features, held, np.where(held[:, 0], 2.0, 1.0))
    assert (twice(features) > line(features)).mean() > 0.9


def test_an_answer_of_all_texts_or_of_none_says_nothing():
    words = [["a"], ["b"], ["c"]]
    held = np.array([[True, False, True], [True, False, False], [True, False, True]])
    evidence, _ = learn_evidence(words, held)
    line = TextLine.fit(evidence, words_held(evidence, words), held, np.ones(3))
    assert (line(words_held(evidence, words))[:, :2] == 0).all()
    assert line.weights[:, 2].any()


@pytest.mark.parametrize("labels", [2, 3])
@pytest.mark.parametrize("refit", [False, True])
def test_answers_are_the_sum_of_network_and_line_as_they_are_trusted(labels, refit):
    texts, given = told_by_many_words(420, labels)
    model = untrained(refit=refit, max_steps=2).fit(texts, given)
    a, evidence = line_of(model)
    of_line, of_network = (model.provenance_[k] for k in ("line_weight", "network_weight"))
    assert a.linear_steps == 1
    assert a.evidence_size == evidence.width == 4 * (1 if labels == 2 else 3)
    bare = untrained(linear=False, refit=refit, max_steps=2).fit(texts, given)
    asked = ["w1 w2 w3 w2", "w7", "unseen words"]
    words = [text.split() for text in asked]
    assert evidence.line is not None
    sums = lifted(words_held(evidence, words) @ evidence.line, labels)
    found = model._outputs(asked) - of_line * sums
    rest = found - of_network * bare._outputs(asked)  # the intercept
    np.testing.assert_allclose(rest, rest[:1].repeat(3, 0), atol=2e-3)  # factors are told rounded


def test_the_line_of_a_refitted_model_has_learned_from_the_texts_held_out_too():
    texts, given = told_by_many_words(420, 2)
    words, held = [text.split() for text in texts], answers_of_labels(np.array(given), 2)
    evidence, _ = learn_evidence(words[:340], held[:340])
    parts = (words[:340], words[340:]), (held[:340], held[340:]), (np.ones(340), np.ones(80))
    line = LineBeside(evidence, *parts)
    assert line.said().shape == (80, 1)
    whole = TextLine.fit(evidence, words_held(evidence, words), held, np.ones(420))
    np.testing.assert_allclose(line.of_all().weights, whole.weights, atol=1e-4)
    assert abs(line.line.weights - whole.weights).max() > 1e-3


def test_the_figures_of_the_held_out_part_are_those_of_the_sum(capsys):
    texts, labels = told_by_many_words(420, 2)
    judge = told_by_many_words(100, 2, seed=1)
    model = untrained(verbose=1).fit(texts, labels, validation=judge)
    assert "a straight line of words and pairs stands beside the network" in capsys.readouterr().out
    assert model.metrics_["cross_entropy"] == pytest.approx(
        model.evaluate(*judge)["cross_entropy"], abs=1e-5
    )
    alone = untrained(linear=False).fit(texts, labels, validation=judge)
    assert model.metrics_["cross_entropy"] < alone.metrics_["cross_entropy"] - 0.1


def test_files_hold_it(lined, tmp_path):
    model, texts = lined
    assert model.runtime_.architecture.linear_steps == 1
    model.save(tmp_path / "m.safetensors")
    again = tg.load(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(again.predict_proba(texts[:9]), model.predict_proba(texts[:9]))
    found, expected = (m.runtime_.architecture for m in (again, model))
    assert found == expected


def test_the_torch_network_answers_as_the_runtime(lined):
    model, texts = lined
    before = model.predict_proba(texts[:5])
    model.network_ = model.network_
    np.testing.assert_allclose(model.predict_proba(texts[:5]), before, atol=1e-6)


def test_prefixes_end_with_the_answer_to_the_whole(lined):
    model, texts = lined
    found = model.connectivity(texts[0])
    whole = [q for q in found.questions if q.at is None]
    outputs = model._outputs(texts[:1])[0]
    scores = found.scores[: len(whole)]
    np.testing.assert_allclose(scores, outputs[[q.column for q in whole]], atol=1e-5)
    last = [k for k, q in enumerate(found.questions) if q.at == len(texts[0].split()) - 1]
    np.testing.assert_allclose(found.scores[last], outputs.max(), atol=1e-5)


def test_another_model_starts_from_the_network_without_the_line(lined):
    model, texts = lined
    _, labels = told_by_many_words(420, len(model.classes_))
    other = untrained(init_from=model).fit(texts, labels)
    assert "evidence" not in other.provenance_.get("started_fresh", "")
    assert other.runtime_.architecture.linear_steps == 1  # fitted anew


def test_columns_beside_a_text_stay_what_they_are():
    texts, labels = told_by_many_words(420, 2)
    rows = [{"text": text, "stars": k % 5} for k, text in enumerate(texts)]
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(rows)
    model = untrained().fit(frame, labels, conditions=["stars"])
    a = model.runtime_.architecture
    assert (a.linear_steps, a.columns_size, a.evidence_size) == (1, 1, 5)
    assert not np.asarray(model.runtime_.tensors["evidence.weight"])[:, a.of_line].any()
    assert np.asarray(model.runtime_.tensors["evidence.weight"])[:, 4:].any()


def test_several_labels_have_a_line_each():
    texts, labels = told_by_many_words(420, 3)
    sets = [[f"l{k}", "even"] if k % 2 == 0 else [f"l{k}"] for k in labels]
    model = untrained().fit(texts, sets)
    assert model.runtime_.architecture.linear_steps == 1
    told = model.predict(texts[:200])
    assert np.mean([set(a) == set(b) for a, b in zip(told, sets, strict=False)]) > 0.8


def test_none_stands_beside_one_direction_no_evidence_numbers_or_what_few_texts_judge():
    texts, labels = told_by_many_words(420, 2)
    few = untrained().fit(texts, labels, validation=told_by_many_words(39, 2, seed=1))
    assert few.runtime_.architecture.linear_steps == 0
    for options in ({"bidirectional": False}, {"evidence": False}, {"linear": False}):
        model = untrained(**options).fit(texts, labels)
        assert model.runtime_.architecture.linear_steps == 0, options
    numbers = tg.TextRegressor(max_steps=1, baseline=False, verbose=0).fit(texts, labels)
    assert numbers.runtime_.architecture.linear_steps == 0


def test_a_line_that_says_nothing_new_is_left_out():
    """Of a network whose probabilities are right, noise gains nothing, and a better line much."""
    rng = np.random.default_rng(0)
    known, more = rng.standard_normal((2, 400, 2)) * 2
    p = np.exp(known + more) / np.exp(known + more).sum(1, keepdims=True)
    truth = (rng.random(400) < p[:, 1]).astype(int)
    both, noise, every = known + more, rng.standard_normal((400, 2)), np.ones(400)
    assert trust(noise, both, log_loss(truth), every) is None
    found = trust(more, known, log_loss(truth), every)
    assert found is not None
    np.testing.assert_allclose(found, (1, 1), atol=0.3)


def test_the_loss_of_several_answers_has_the_derivatives_it_says():
    rng = np.random.default_rng(1)
    truth, logits = rng.random((6, 3)) > 0.5, rng.standard_normal((6, 3))
    directions = rng.standard_normal((2, 6, 3))
    loss = binary_log_loss(truth)
    _, gradient, curvature = loss(logits, directions)
    step = 1e-5
    for g in range(2):
        up, down = (loss(logits + s * directions[g], directions) for s in (step, -step))
        np.testing.assert_allclose(
            (up[0] - down[0]) / (2 * step), (gradient * directions[g]).sum(1), atol=1e-8
        )
        for h in range(2):
            along = ((up[1] - down[1]) / (2 * step) * directions[h]).sum(1)
            np.testing.assert_allclose(along, curvature[g, h], atol=1e-8)
