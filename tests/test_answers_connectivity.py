"""On which steps answers of any task hang: beside torch's gradients; and the page that shows it."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pytest
import torch
from streamed_models import forecaster, language_model, network, sequence_model, text_classifier

import tidegate as tg
from tidegate.cells import CELLS
from tidegate.errors import InputError
from tidegate.nn.arrays import torch_network
from tidegate.runtime import connectivity as connectivity_module
from tidegate.runtime.connectivity import gradient_lengths, questions_of
from tidegate.runtime.inspection_page import inspection_page
from tidegate.tasks.inspecting import page_of

TOLERANCE = {"rtol": 2e-3, "atol": 1e-5}  # gradients in float32, of some hundred terms


def expected(net: Any, x: np.ndarray, question: Any) -> tuple[np.ndarray, float]:
    """By torch in float64: the lengths of the gradients by the inputs, and the output."""
    module = torch_network(net.architecture, net.tensors).double()
    read = torch.from_numpy(x[: question.length].astype(np.float64))[:, None].requires_grad_()
    outputs = module(read, torch.tensor([question.length]))[0]
    outputs = outputs[question.step] if net.architecture.readout == "every" else outputs
    outputs[0, question.column].backward()
    lengths = np.zeros(len(x))
    assert read.grad is not None
    lengths[: question.length] = read.grad[:, 0].norm(dim=-1).numpy()
    return lengths, outputs[0, question.column].item()


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(
    "options",
    [
        {"readout": "last+mean+max", "bidirectional": True},
        {"readout": "every", "bidirectional": True, "batch_norm": True},
        {"readout": "last", "linear_steps": 3},
    ],
    ids=["pooled", "every", "shortcut"],
)
def test_it_is_torch_s_gradient(cell: str, options: dict[str, Any]) -> None:
    net = network(cell=cell, input_size=3, **options)
    x = np.random.default_rng(0).standard_normal((8, 3)).astype(np.float32)
    asked = questions_of(net, {"": x}, ["a", "b", "c"])
    lengths, scores = gradient_lengths(net, x, asked)
    for k in range(0, len(asked), 3):
        of_torch, score = expected(net, x, asked[k])
        np.testing.assert_allclose(lengths[k], of_torch, **TOLERANCE)
        assert scores[k] == pytest.approx(score, rel=1e-3, abs=1e-4)


def test_long_sequences_are_followed_back_through_a_window(monkeypatch: pytest.MonkeyPatch) -> None:
    net = network(input_size=3, readout="every")
    x = np.random.default_rng(0).standard_normal((47, 3)).astype(np.float32)
    asked = questions_of(net, {"": x}, "abc")
    whole, scores = gradient_lengths(net, x, asked)
    monkeypatch.setattr(connectivity_module, "FOLLOWED", 10)
    found, again = gradient_lengths(net, x, asked)
    np.testing.assert_allclose(again, scores, rtol=1e-4, atol=1e-5)
    for one, lengths, of_all in zip(asked, found, whole, strict=True):
        begin = max(0, one.step // 10 * 10 - 10)
        assert one.step - begin >= min(10, one.step)
        np.testing.assert_allclose(lengths[begin:], of_all[begin:], rtol=1e-4, atol=1e-6)
        assert not lengths[:begin].any()


def test_the_longest_row_of_a_batch_bounds_what_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """1,000 characters of a language model once took 32 GB, as the first of them bounded all."""
    net = network(input_size=3, readout="every")
    x = np.random.default_rng(0).standard_normal((60, 3)).astype(np.float32)
    asked = questions_of(net, {"": x}, "abc")
    taken = []

    class Watched(connectivity_module._Run):
        def __init__(self, net: Any, x: np.ndarray, *rest: Any) -> None:
            taken.append(x.shape[:2])
            super().__init__(net, x, *rest)

    monkeypatch.setattr(connectivity_module, "_Run", Watched)
    monkeypatch.setattr(connectivity_module, "_VALUES", 150_000)
    gradient_lengths(net, x, asked)
    cells, sizes = net.architecture.answering_cells, net.architecture.hidden_sizes
    each = sum(len(c.trace.nodes) * h for c, h in zip(cells, sizes, strict=True))
    assert sum(rows for _, rows in taken) == len(asked)
    assert all(rows == 1 or steps * rows * each <= 150_000 for steps, rows in taken)


def test_a_few_rows_at_a_time_come_to_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    net = network(input_size=3, readout="mean", bidirectional=True)
    x = np.random.default_rng(0).standard_normal((9, 3)).astype(np.float32)
    asked = questions_of(net, {"": x}, "abc")
    whole, _ = gradient_lengths(net, x, asked)
    monkeypatch.setattr("tidegate.runtime.connectivity._VALUES", 3000)
    np.testing.assert_allclose(gradient_lengths(net, x, asked)[0], whole, rtol=1e-5, atol=1e-7)


def test_a_classifier_is_asked_of_each_label_and_had_the_text_ended_at_each_step() -> None:
    model = text_classifier(evidence=True)
    found = model.connectivity("the good film, so bad")
    p = model.predict_proba(["the good film, so bad"])[0]
    finals = [one.name for one in found.questions if one.at is None]
    assert finals == [str(model.classes_[k]) for k in np.argsort(-p)]
    np.testing.assert_allclose(
        np.exp(found.scores[:3]) / np.exp(found.scores[:3]).sum(), np.sort(p)[::-1], rtol=1e-4
    )
    by_step = [k for k, one in enumerate(found.questions) if one.at is not None]
    assert [found.questions[k].at for k in by_step] == list(range(6))
    read = found.lengths[by_step] > 0
    assert np.array_equal(read, np.tri(6, dtype=bool))  # nothing that comes later counts
    np.testing.assert_allclose(found.lengths[by_step[-1]], found.lengths[0])


def test_a_prompt_shows_on_which_steps_each_answer_hangs_most() -> None:
    hangs = text_classifier().connectivity("the good film, so bad")
    first, *told = repr(hangs).split("\n  ")
    assert first == f"Connectivity of {len(hangs.questions)} answers, {len(hangs.steps)} steps"
    final = [k for k, one in enumerate(hangs.questions) if one.at is None]
    assert len(told) == len(final) == 3
    for line, k in zip(told, final, strict=True):
        most = int(hangs.lengths[k].argmax())
        name = hangs.questions[k].name
        assert line.startswith(f"{name}: hangs most on {hangs.steps[most]} (step {most}), ")


def test_a_language_model_is_asked_of_each_token_that_comes() -> None:
    from tidegate.runtime.connectivity import connectivity

    model = language_model()
    found = model.connectivity("the good film")
    tokens = model.encoder_.encode("the good film")
    assert [one.name for one in found.questions] == list("he good film")
    last = connectivity(model.runtime_, tokens)
    np.testing.assert_allclose(found.lengths[-1, :-1], last, rtol=1e-4)
    assert found.lengths[-1, -1] == 0


def test_a_forecaster_is_asked_of_each_step_ahead_of_each_series() -> None:
    times = np.datetime64("2030-01-01T00", "s") + 3600 * np.arange(10)
    from tidegate.data.series.series import Series

    series = Series.of(times, np.random.default_rng(1).standard_normal((10, 2)), names=["x", "y"])
    horizon = forecaster().windowing_.horizon
    for joint in (True, False):
        found = forecaster(joint=joint).connectivity(series)
        assert [one.name for one in found.questions] == [
            f"{name} +{h + 1}" for name in "xy" for h in range(horizon)
        ]
        assert (found.lengths > 0).any(1).all()


def test_what_evidence_of_a_whole_sequence_says_is_not_its_last_step_s() -> None:
    x = np.random.default_rng(1).standard_normal((20, 2))
    model = sequence_model(tg.SequenceClassifier, evidence=20)
    net, read = model.runtime_, model._read_one(x)[0][""]
    found = model.connectivity(x)
    own, _ = gradient_lengths(net, read, found.questions, width=model.inputs_.input_size)
    whole, _ = gradient_lengths(net, read, found.questions)
    np.testing.assert_array_equal(found.lengths, own)
    assert whole[0, -1] > own[0, -1]
    np.testing.assert_array_less(own[0, :-1], whole[0, :-1] + 1e-6)


def data_of(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    assert found is not None
    return json.loads(found[1])


def test_the_page_holds_what_inspect_and_connectivity_give_and_nothing_else_is_asked_for() -> None:
    model = text_classifier()
    text = "the good film, so bad"
    found, connected = model.inspect(text), model.connectivity(text)
    page = page_of(model, text, found, 'a <model> & "more"')
    told = data_of(page)
    assert told["steps"] == list(found.steps)
    for one, gate in zip(told["gates"], found.watched, strict=True):
        np.testing.assert_allclose(one["means"], gate.values.mean(1), rtol=1e-3)
        np.testing.assert_allclose(one["mean"], gate.mean, rtol=1e-3)
        assert one["keeps"] == (gate.gate == "z")
        for side, shares in zip(("low", "high"), gate.saturated_by_step or (), strict=True):
            np.testing.assert_allclose(one[side], shares, rtol=1e-3)
    z = found.watched[1]
    scales = 1 / (1 - z.values.mean(0, dtype=np.float64))
    np.testing.assert_allclose(z.time_scales, scales)
    quantiles = [scales.min(), np.median(scales), scales.max()]
    np.testing.assert_allclose(told["gates"][1]["scales"], quantiles, rtol=1e-3)
    for one, lengths in zip(told["questions"], connected.lengths, strict=True):
        told_of = np.zeros_like(lengths)
        told_of[one["first"] : one["first"] + len(one["lengths"])] = one["lengths"]
        np.testing.assert_allclose(told_of, lengths, rtol=1e-3)
    assert "a &lt;model&gt; &amp; &quot;more&quot;" in page
    assert not re.search(r"(src|href)=\"(?!data:)", page)
    assert "/* views" not in page
    assert "https:" not in page.replace("http://www.w3.org", "")


def test_no_text_ends_the_page_s_script() -> None:
    model = language_model()
    found = model.inspect("the g")
    hostile = type(found)(("</script><b>", *found.steps[1:]), found.watched)
    page = inspection_page(hostile, None, title="t", words=True)
    assert data_of(page)["steps"][0] == "</script><b>"
    assert "</script><b>" not in page


def test_an_encoder_and_a_decoder_show_gates_alone() -> None:
    pairs = [f"{k} and {k + 1}" for k in range(40)]
    model = tg.SequenceToSequence(
        hidden_sizes=(4,), embedding_size=4, max_steps=2, verbose=0, baseline=False
    ).fit(pairs, pairs)
    with pytest.raises(InputError, match="shown by attend and plot_attention"):
        model.connectivity(pairs[0])
    assert data_of(page_of(model, pairs[0], model.inspect(pairs[0]), "t"))["questions"] == []
