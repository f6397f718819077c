"""Layers and tasks on a GPU against the CPU; skipped where there is none."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_layers import OURS, results_and_gradients
from tides import small as small_forecaster
from tides import tides
from torch.nn import functional as F  # noqa: N812

import tidegate as tg
from tidegate.nn import functional
from tidegate.nn.chunked_softmax import summed_cross_entropy
from tidegate.training.language_modelling import LanguageModelling
from tidegate.training.options import LEARNING_RATES
from tidegate.training.randomness import products_of
from tidegate.training.state import read_state

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")

T, B, INPUT, H = 9, 6, 5, 19
# of the largest number: sums of some 50 products in another order; cuDNN's tanh is its own
TOLERANCE = {torch.float32: 2e-5, torch.float64: 1e-10}
# a few optimiser steps carry those differences on: relative, of a loss
TRAINED = 2e-3


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("lengths", [None, [9, 1, 0, 4, 9, 2], [0] * 6, [3] * 6], ids=str)
@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}, {"bias": False}])
@pytest.mark.parametrize("name", OURS)
def test_outputs_and_gradients_equal_the_reference_on_the_cpu(
    name, options, lengths, dtype, monkeypatch
):
    cls, extra = OURS[name]
    torch.manual_seed(0)
    layer = cls(INPUT, H, **extra, **options, dtype=torch.float64)
    x = torch.randn(T, B, INPUT, dtype=torch.float64)
    with monkeypatch.context() as patch:
        patch.setattr(functional, "choose_path", lambda *_: ("reference", "asked for"))
        expected = results_and_gradients(layer, x, None, lengths=lengths)
    with products_of("float32"), warnings.catch_warnings():
        warnings.simplefilter("error")  # weights that cuDNN has to copy together are one
        layer.to("cuda", dtype)
        got = results_and_gradients(layer, x.to("cuda", dtype), None, lengths=lengths)
    for g, e in zip(got, expected, strict=True):
        largest = max(1.0, e.detach().abs().max().item())
        torch.testing.assert_close(g.double().cpu(), e, rtol=0, atol=largest * TOLERANCE[dtype])


def test_weights_stay_compact_after_loading_and_are_the_users():
    layer = tg.LSTM(INPUT, H, num_layers=2, bidirectional=True).cuda()
    other = tg.LSTM(INPUT, H, num_layers=2, bidirectional=True)
    layer.load_state_dict(other.state_dict())
    for name, tensor in layer.state_dict().items():
        assert torch.equal(tensor.cpu(), other.state_dict()[name])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        layer(torch.randn(T, B, INPUT, device="cuda"))
    assert layer.explain().startswith("torch: torch's own lstm kernel")


def test_streaming_step_by_step_equals_the_whole():
    layer = tg.GRU(INPUT, H, num_layers=2, device="cuda")
    x = torch.randn(T, B, INPUT, device="cuda")
    with torch.no_grad(), products_of("float32"):
        whole, last = layer(x)
        state, steps = None, []
        for x_t in x:
            y, state = layer.step(x_t, state)
            steps.append(y)
    torch.testing.assert_close(torch.stack(steps), whole, rtol=2e-5, atol=2e-5)
    torch.testing.assert_close(state, last, rtol=2e-5, atol=2e-5)


def test_recurrent_dropout_hides_units_and_says_that_it_is_slow():
    layer = tg.LSTM(INPUT, H, recurrent_dropout=0.5, device="cuda")
    assert layer.explain().startswith("reference: the engine runs on the CPU")
    x = torch.randn(T, B, INPUT, device="cuda")
    assert not torch.equal(layer(x)[0], layer(x)[0])
    strict = tg.LSTM(INPUT, H, recurrent_dropout=0.5, strict=True, device="cuda")
    with pytest.raises(RuntimeError, match="strict: expected a fused path"):
        strict(x)


@pytest.mark.parametrize("words", [11, 40_000])
def test_chunked_softmax_equals_torchs(words):
    torch.manual_seed(0)
    features, weight = torch.randn(700, 16, device="cuda"), torch.randn(words, 16, device="cuda")
    bias, targets = torch.randn(words, device="cuda"), torch.randint(words, (700,), device="cuda")
    leaves = [t.double().requires_grad_() for t in (features, weight, bias)]
    loss = F.cross_entropy(F.linear(*leaves), targets, reduction="sum")
    expected = [loss, *torch.autograd.grad(loss, leaves)]
    leaves = [t.requires_grad_() for t in (features, weight, bias)]
    with products_of("float32"):
        loss = summed_cross_entropy(*leaves, targets)
        got = [loss, *torch.autograd.grad(loss, leaves)]
    for g, e in zip(got, expected, strict=True):
        torch.testing.assert_close(g.double(), e, rtol=1e-4, atol=1e-4)


TEXT = "the tide goes out, the tide comes in; what was sand is sea again.\n" * 80
REVIEWS = [f"a {w} film about {t}" for w in ("good", "fine", "bad", "dull") for t in "abcdefghij"]
LABELS = ["+"] * 20 + ["-"] * 20
QUIET = {"verbose": 0, "dropout": 0.0, "max_steps": 8, "evaluate_every": 4}


def language_model(**options: Any) -> tg.LanguageModel:
    few = {"hidden_sizes": (16, 16), "batch_size": 4, "bptt": 20, "sample_steps": (3,)}
    return tg.LanguageModel(**{**QUIET, **few, **options}).fit(TEXT)


def text_classifier(**options: Any) -> tg.TextClassifier:
    none = {"embedding_dropout": 0.0, "recurrent_dropout": 0.0, "hidden_sizes": (12,)}
    return tg.TextClassifier(**{**QUIET, **none, **options}).fit(REVIEWS, LABELS)


def forecaster(**options: Any) -> tg.Forecaster:
    return small_forecaster(**{**QUIET, "batch_norm": True, "hidden_sizes": (8, 8)} | options).fit(
        tides(covariates=True)
    )


def series_classifier(**options: Any) -> tg.SequenceClassifier:
    rng = np.random.default_rng(0)
    X = [rng.normal(size=rng.integers(5, 40)) for _ in range(40)]  # noqa: N806
    few = {"hidden_sizes": (8, 8), "batch_norm": True, "crop": 0.0}
    return tg.SequenceClassifier(**{**QUIET, **few, **options}).fit(X, LABELS)


def series_regressor(**options: Any) -> tg.SequenceRegressor:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 30, 2))  # noqa: N806
    few = {"hidden_sizes": (8,), "crop": 0.0}
    return tg.SequenceRegressor(**{**QUIET, **few, **options}).fit(X, X.sum((1, 2)))


TASKS = (language_model, text_classifier, forecaster, series_classifier, series_regressor)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize("task", TASKS)
def test_a_task_learns_on_the_gpu_what_it_learns_on_the_cpu(task, cell, tmp_path: Path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        on_gpu, on_cpu = (task(device=d, cell=cell) for d in ("cuda", "cpu"))
    for gpu, cpu in zip(on_gpu.history_, on_cpu.history_, strict=True):
        assert gpu["train_loss"] == pytest.approx(cpu["train_loss"], rel=TRAINED)
        for name in {"cross_entropy", "mse", "training_cross_entropy", "training_mse"} & set(cpu):
            assert gpu[name] == pytest.approx(cpu[name], rel=TRAINED)
    on_gpu.save(tmp_path / "model.safetensors")  # runs its test vector again
    assert type(on_gpu).load(tmp_path / "model.safetensors").metrics_ == on_gpu.metrics_


@pytest.mark.parametrize("optimizer", LEARNING_RATES)
def test_every_optimiser_goes_on_from_a_saved_state(optimizer, tmp_path: Path):
    folder = tmp_path / "run"
    options = {"device": "cuda", "optimizer": optimizer, "average": 0.9, "dropout": 0.2}
    # not to the bit: cuDNN's sums of gradients may come in any order
    whole = language_model(**options, max_steps=None, epochs=2)
    with pytest.raises(KeyboardInterrupt):
        _interrupted_after_one_epoch(folder, options)
    before = read_state(folder / "state.safetensors").position.step
    assert 0 < before < whole.provenance_["steps"]
    resumed = language_model(**options, max_steps=None, epochs=2, run_folder=folder, resume=True)
    assert resumed.provenance_["steps"] == whole.provenance_["steps"]
    for a, b in zip(resumed.history_, whole.history_, strict=True):
        assert a["train_loss"] == pytest.approx(b["train_loss"], rel=TRAINED)


def _interrupted_after_one_epoch(folder: Path, options: dict[str, Any]) -> None:
    original = LanguageModelling.batches

    def batches(self, epoch, first, rank, world):
        if epoch == 1:
            raise KeyboardInterrupt
        return original(self, epoch, first, rank, world)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LanguageModelling, "batches", batches)
        language_model(**options, max_steps=None, epochs=2, run_folder=folder, checkpoint_seconds=0)


def test_rounded_products_are_rounded_in_steps_and_exact_in_evaluations():
    exact = language_model(device="cuda", cell="lstm")
    rounded = language_model(device="cuda", cell="lstm", precision="bfloat16")
    assert rounded.history_[-1]["train_loss"] == pytest.approx(
        exact.history_[-1]["train_loss"], rel=0.02
    )
    assert rounded.history_[-1]["train_loss"] != exact.history_[-1]["train_loss"]
    figure = rounded.metrics_["cross_entropy"]
    held_out = TEXT[round(0.9 * len(TEXT)) :]
    assert rounded.evaluate(held_out)["cross_entropy"] == pytest.approx(figure, rel=2e-5)


def test_dropout_of_every_kind_trains_and_is_announced(capsys: pytest.CaptureFixture[str]):
    model = text_classifier(
        device="cuda", dropout=0.3, recurrent_dropout=0.3, embedding_dropout=0.3, verbose=1
    )
    assert np.isfinite(model.metrics_["cross_entropy"])
    assert "step by step" in capsys.readouterr().out
