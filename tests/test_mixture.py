"""A network mixed with counts: probabilities, files, and the paths that must agree."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from streamed_models import language_model

import tidegate as tg
from tidegate.data.text.ngrams import KneserNey
from tidegate.model.checkpoint import ModelFileError, load_model, save_model
from tidegate.runtime.mixture import Mixture, follow, nothing_read
from tidegate.runtime.scoring import token_nats
from tidegate.tasks.by_level import by_level

KINDS = 6
SMALL: dict[str, Any] = {"level": "word", "hidden_sizes": (8,), "max_steps": 3, "verbose": 0}
texts = st.lists(st.integers(0, KINDS - 1), min_size=2, max_size=60).map(np.array)
never_targets = st.sampled_from([None, 2])
BOOK = "the cat sat on the mat .\nthe dog sat on the log .\na bird sang !\n" * 12


def mixture_of(train: np.ndarray, never: int | None, seed: int) -> Mixture:
    counted = KneserNey.fit(train, train, KINDS, never, 4).pruned(30)
    shares = 2 * np.random.default_rng(seed).standard_normal((3, counted.width + 1))
    return Mixture(counted, shares.astype(np.float32))


def after(tokens: np.ndarray) -> np.ndarray:
    recent = nothing_read(1)
    follow(recent[0], tokens)
    return recent


@given(texts, texts, never_targets, st.integers(0, 99))
def test_probabilities_of_all_tokens_are_one_in_sum(train, read, never, seed):
    train = np.append(train, 0)  # something to predict
    outputs = np.random.default_rng(seed).standard_normal((1, KINDS)).astype(np.float32)
    if never is not None:
        outputs[0, never] = -np.inf
    log_p = mixture_of(train, never, seed).log_probabilities(outputs, after(read))
    assert np.exp(log_p.astype(np.float64)).sum() == pytest.approx(1, abs=1e-6)


@given(texts, texts, never_targets, st.integers(0, 99))
def test_a_token_is_scored_as_it_would_be_drawn(train, read, never, seed):
    mixture = mixture_of(np.append(train, 0), never, seed)
    outputs = np.random.default_rng(seed).standard_normal((1, KINDS)).astype(np.float32)
    drawn = mixture.log_probabilities(outputs, after(read))[0]
    alone = outputs[0] - np.log(np.exp(outputs[0].astype(np.float64)).sum())
    for token in set(range(KINDS)) - {never}:
        nats = np.append(np.full(len(read), np.nan), -alone[token])
        scored = mixture.nats(np.append(read, token), nats)
        assert -scored[-1] == pytest.approx(drawn[token], abs=1e-5)
        assert np.isnan(scored[:-1]).all()


def test_only_the_latest_tokens_count_as_recent():
    mixture = mixture_of(np.arange(60) % KINDS, None, 0)
    long = np.random.default_rng(0).integers(0, KINDS, 2000)
    nats = np.full(len(long), 1.5)
    np.testing.assert_allclose(
        mixture.nats(long, nats)[-1], mixture.nats(long[-520:], nats[-520:])[-1]
    )


def test_shares_go_to_whoever_knows_the_text():
    rng = np.random.default_rng(0)
    counted = KneserNey.fit(np.tile(np.arange(KINDS), 50), np.arange(KINDS), KINDS, None, 3)
    noise, known = rng.integers(0, KINDS, 800), np.tile(np.arange(KINDS), 130)
    for tokens, nats in ((noise, np.full(800, 0.01)), (known, np.full(780, 5.0))):
        mixture = Mixture.fit(counted.pruned(1000), tokens, nats)
        best = min(nats[1], counted.cross_entropy(tokens))
        assert mixture.nats(tokens, nats)[1:].mean() < best + 0.02


@given(texts, st.integers(2, 30))
def test_n_grams_left_out_leave_a_distribution(train, most):
    whole = KneserNey.fit(np.append(train, 0), train, KINDS, None, 5)
    pruned = whole.pruned(most)
    assert pruned.ngrams <= max(most, len(whole.orders[0].keys))
    for context in ([], [0], [1, 0], train[-3:]):
        p, known = pruned.after(after(np.array(context, int)))
        assert p.sum() == pytest.approx(1, abs=1e-6)
        assert known.shape == (1, pruned.width)
        assert (p >= 0).all()


@pytest.fixture(scope="module")
def fitted() -> Any:
    return tg.LanguageModel(**SMALL).fit(BOOK)


def test_a_file_gives_the_same_bits(fitted: Any, tmp_path: Path):
    fitted.save(tmp_path / "words.safetensors")
    again = tg.load(tmp_path / "words.safetensors")
    assert again.evaluate(BOOK) == fitted.evaluate(BOOK)
    assert list(again.generate("the", 20, seed=1)) == list(fitted.generate("the", 20, seed=1))


def test_figures_stand_beside_those_of_the_network_alone(fitted: Any, capsys):
    figures = fitted.metrics_
    assert figures["perplexity"] == pytest.approx(np.exp(figures["cross_entropy"]))
    assert figures["perplexity"] < figures["network_perplexity"]
    tg.LanguageModel(**dict(SMALL, verbose=1)).fit(BOOK)
    told = f"validation perplexity: {figures['perplexity']:.4g} with counts"
    assert told in capsys.readouterr().out


def test_without_counts_the_network_answers_alone():
    model = tg.LanguageModel(**SMALL, counts=False).fit(BOOK)
    assert model.counts_ is None
    assert "network_perplexity" not in model.metrics_
    tokens = model.encoder_.encode(BOOK)
    nats = token_nats(model.runtime_, tokens, model.encoder_.start_id)
    assert model.evaluate(BOOK)["cross_entropy"] == pytest.approx(np.nanmean(nats), rel=1e-6)


@pytest.mark.parametrize("worth", [0.01, 0.999])
def test_characters_are_mixed_where_counting_tells_enough(worth, capsys, monkeypatch):
    monkeypatch.setattr("tidegate.tasks.language_model._WORTH", worth)
    small: dict[str, Any] = {"hidden_sizes": (8,), "max_steps": 3, "verbose": 1}
    model: Any = tg.LanguageModel(**small).fit(BOOK)
    told = capsys.readouterr().out
    if worth < 0.5:
        assert model.metrics_["perplexity"] < model.metrics_["network_perplexity"]
        assert re.search(r"counts lower the perplexity by .*% and are kept.* counts=False", told)
    else:
        assert model.counts_ is None
        assert re.search(r"counts lower the perplexity by .*% and are left out.* counts=True", told)


def test_characters_are_mixed_where_it_is_wanted():
    small: dict[str, Any] = {"hidden_sizes": (8,), "max_steps": 3, "verbose": 0}
    assert tg.LanguageModel(**small, counts=False).fit(BOOK).counts_ is None
    mixed: Any = tg.LanguageModel(**small, counts=True).fit(BOOK)
    assert mixed.counts_.ngrams.length > 5
    assert mixed.evaluate(BOOK)["perplexity"] < 1.5 < mixed.metrics_["network_perplexity"]
    assert "sat on the log .\na bird" in "".join(mixed.generate("the ", 60, greedy=True))


@pytest.mark.parametrize(
    ("level", "options", "expected"),
    [
        ("char", {}, ((384,), 128, False)),
        ("char", {"tie_embeddings": True}, ((384,), 384, True)),
        ("word", {}, ((200,), 200, True)),
        ("word", {"hidden_sizes": (30, 20)}, ((30, 20), 20, True)),
        ("word", {"embedding_size": 50}, ((200,), 50, False)),
        ("bpe", {"tie_embeddings": False}, ((200,), 128, False)),
        ("word", {"cell": "lstm_projected"}, ((200,), 100, True)),
        ("word", {"cell": "lstm_projected", "projection_size": 7}, ((200,), 7, True)),
    ],
)
def test_what_is_left_open_follows_from_the_level_and_from_what_is_given(level, options, expected):
    given = {**vars(tg.LanguageModel(level=level)), **options}
    projects = options.get("cell") == "lstm_projected"
    found = by_level(level, given, given["projection_size"] if projects else 0)
    assert (found["hidden_sizes"], found["embedding_size"], found["tie_embeddings"]) == expected
    assert found["counts"] == (None if level == "char" else True)


def test_backwards_and_from_another_model_too(fitted: Any):
    backwards = tg.LanguageModel(**SMALL, reverse=True).fit(BOOK)
    assert backwards.evaluate(BOOK)["perplexity"] < backwards.metrics_["network_perplexity"]
    assert "".join(backwards.generate("sat", 5, seed=0)).endswith(" ")
    more: Any = tg.LanguageModel(init_from=fitted, max_steps=2, verbose=0).fit(
        "a cat sang .\n" * 40
    )
    assert more.counts_.ngrams.size == fitted.encoder_.size


DAMAGE = {
    "rising keys": ("2.keys", lambda a: a[::-1].copy()),
    "keys of known contexts": ("2.keys", lambda a: np.append(a[:-1], 2**62)),
    "finite counts from 0": ("2.counted", lambda a: -a),
    "totals that hold the counts": ("2.total", lambda a: a * 0),
    "finite numbers": ("shares", lambda a: a * np.float32(np.nan)),
    "tensor 'counts.1.total'": ("1.total", lambda a: np.append(a, a)),
    "tensor 'counts.shares'": ("shares", lambda a: a[:2].copy()),
}


@pytest.mark.parametrize("problem", DAMAGE)
def test_damaged_counts_are_refused(fitted: Any, tmp_path: Path, problem: str):
    fitted.save(path := tmp_path / "words.safetensors")
    model, (name, damage) = load_model(path), DAMAGE[problem]
    model.counts[name] = damage(model.counts[name])

    def written_and_read() -> None:
        save_model(path, model)
        tg.load(path)

    with pytest.raises((ModelFileError, ValueError), match=problem):
        written_and_read()


def test_counts_of_a_task_that_has_none_are_refused(tmp_path: Path):
    model = tg.TextClassifier(max_steps=1, verbose=0).fit(
        ["a good film", "bad"] * 9, ["x", "y"] * 9
    )
    model.save(path := tmp_path / "model.safetensors")
    held = load_model(path)
    held.counts = language_model("word").counts_.arrays()
    with pytest.raises(ValueError, match="only the architecture's tensors, got 'counts"):
        save_model(path, held)


@settings(max_examples=30)
@given(arrays.arrays(np.float32, st.integers(2, 30), elements=st.floats(0, 50, width=32)))
def test_shares_of_few_tokens_stay_finite(nats: np.ndarray):
    tokens = np.arange(len(nats)) % KINDS
    counted = KneserNey.fit(tokens, tokens, KINDS, None, 5).pruned(1000)
    mixture = Mixture.fit(counted, tokens, np.append(np.nan, nats[1:]).astype(np.float32))
    assert np.isfinite(mixture.nats(tokens, nats)[1:]).all()


def test_after_a_refit_all_of_the_text_is_counted_and_figures_are_from_before():
    options: dict[str, Any] = SMALL | {"max_steps": 30, "validation_fraction": 0.3}
    alone, refitted = (
        tg.LanguageModel(**options, refit=refit).fit(BOOK + "a crow cried .\n" * 20)
        for refit in (False, True)
    )
    assert refitted.provenance_["refit_steps"] > 0
    assert refitted.metrics_ == alone.metrics_
    assert alone.counts_ is not None
    assert refitted.counts_ is not None
    np.testing.assert_array_equal(refitted.counts_.shares, alone.counts_.shares)
    held_out = "a crow cried .\n" * 3
    assert refitted.score(held_out) > alone.score(held_out)
