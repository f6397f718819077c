"""Language models: exact perplexity, carried state, generation, the file."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import tidegate as tg
from tidegate.errors import InputError
from tidegate.model.checkpoint import ModelFileError
from tidegate.runtime.scoring import score
from tidegate.tasks import load
from tidegate.training.language_modelling import LanguageModelling

TEXT = "the tide comes in, the tide goes out; the gate is open, the gate is shut.\n" * 60
SMALL = {
    "hidden_sizes": (24,),
    "embedding_size": 8,
    "bptt": 16,
    "batch_size": 8,
    "sample_steps": (),
    "counts": False,
}


def small(**options):
    return tg.LanguageModel(**{**SMALL, "max_steps": 60, "verbose": 0, **options})


@pytest.fixture(scope="module")
def model():
    torch.set_num_threads(1)
    return small(max_steps=150).fit(TEXT)


def test_a_repetitive_text_is_learned(model):
    uniform = math.log(model.encoder_.size)
    assert model.metrics_["cross_entropy"] < 0.4 * uniform
    assert model.metrics_["perplexity"] == pytest.approx(math.exp(model.metrics_["cross_entropy"]))


def test_perplexity_is_that_of_every_token_but_the_first_in_order(model):
    """Against the plain definition, one token at a time."""
    text = TEXT[:150]
    tokens = torch.from_numpy(model.encoder_.encode(text).astype(np.int64))
    state, nats = None, 0.0
    with torch.no_grad():
        for token, target in zip(tokens[:-1], tokens[1:], strict=True):
            output, state = model.network_(token.view(1, 1), state=state)
            nats -= torch.log_softmax(output[0, 0], 0)[target].item()
    figures = model.evaluate(text)
    assert figures["tokens"] == 149
    assert figures["cross_entropy"] == pytest.approx(nats / 149, rel=1e-5)
    assert figures["bits_per_character"] == pytest.approx(nats / 149 / math.log(2), rel=1e-5)
    assert figures["perplexity"] == pytest.approx(math.exp(nats / 149), rel=1e-5)


@settings(max_examples=20, deadline=None)
@given(length=st.integers(2, 900), streams=st.integers(1, 7))
def test_scoring_in_parallel_stretches_scores_each_token_once(model, length, streams):
    tokens = model.encoder_.encode((TEXT * 2)[:length])
    alone = score(model.runtime_, tokens, streams=1)
    parallel = score(model.runtime_, tokens, streams=streams, warm_up=64)
    assert parallel.tokens == alone.tokens == length - 1
    # a state entered 64 tokens early differs by what this network remembers for that long
    assert parallel.nats == pytest.approx(alone.nats, rel=5e-3, abs=1e-2)


def test_each_epoch_reads_every_stream_in_order_and_resumes_at_any_step():
    tokens = np.arange(1000, dtype=np.int32)
    objective = LanguageModelling(
        None, tokens, tokens, batch_size=4, bptt=10, seed=0, never_target=None,
        unknown=None, sample_steps=(), sample=lambda *_: "",
    )  # fmt: skip
    batches = list(objective.batches(3, 0, 0, 1))
    assert len(batches) == objective.steps_in_epoch()
    for inputs, targets, _ in batches:
        assert torch.equal(inputs + 1, targets)
    for (before, *_), (after, *_) in zip(batches, batches[1:], strict=False):
        assert torch.equal(before[-1] + 1, after[0])
    resumed = objective.batches(3, 5, 0, 1)
    for again, first in zip(resumed, batches[5:], strict=True):
        assert all(torch.equal(a, b) for a, b in zip(again, first, strict=True))
    shares = [list(objective.batches(3, 0, rank, 2)) for rank in range(2)]
    for whole, even, odd in zip(batches, *shares, strict=True):
        for all_streams, first, second in zip(whole, even, odd, strict=True):
            assert torch.equal(all_streams[..., 0::2], first)
            assert torch.equal(all_streams[..., 1::2], second)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"cell": "lstm"}, 1.0),
        ({"cell": "gru"}, 0.3),
        ({"cell": "rnn"}, 0.3),
        ({"cell": "gru", "embedding_scale": 0.02}, 0.02),
        ({"cell": "lstm", "hidden_sizes": (256,), "tie_embeddings": True}, 0.0625),
    ],
    ids=str,
)
def test_vectors_start_at_the_size_that_serves_the_cell(options, expected):
    model = tg.LanguageModel(
        embedding_size=256, max_steps=1, learning_rate=1e-9, verbose=0, **options
    ).fit("a tide " * 50)
    vectors = model.network_.embedding.weight.detach()
    assert float(vectors.std()) == pytest.approx(expected, rel=0.05)


def test_a_stream_now_and_then_starts_afresh(model):
    tokens = model.encoder_.encode(TEXT * 5)
    objective = LanguageModelling(
        model.network_, tokens, tokens, batch_size=4, bptt=10, seed=0, never_target=None,
        unknown=None, sample_steps=(), sample=lambda *_: "",
    )  # fmt: skip
    batches = list(objective.batches(0, 0, 0, 1))
    fresh = torch.stack([batch[2] for batch in batches]).float()
    assert 0 < fresh.mean() < 0.2
    inputs, targets, _ = batches[1]
    carry = objective.loss(model.network_, batches[0], None).carry
    some = torch.tensor([False, True, False, False])
    after = objective.loss(model.network_, (inputs, targets, some), carry).carry
    kept = objective.loss(model.network_, (inputs, targets, ~some & some), carry).carry
    cut = objective.loss(model.network_, (inputs, targets, some), None).carry  # all from zeros
    for layer, as_before, from_zeros in zip(after, kept, cut, strict=True):
        for part, old, new in zip(layer, as_before, from_zeros, strict=True):
            torch.testing.assert_close(part[:, ~some], old[:, ~some])
            torch.testing.assert_close(part[:, some], new[:, some])
            assert not torch.equal(old[:, some], new[:, some])


def test_sentence_starts_are_given_and_ends_are_predicted():
    text = "a cat sat\na dog ran\n" * 40
    model = small(level="word").fit(text)
    figures = model.evaluate("a cat sat\na dog ran\n")
    assert figures["tokens"] == 8  # six words, two ends
    assert next(model.generate("a", 1, greedy=True)) in (" cat", " dog")
    assert next(model.generate("a ", 1, greedy=True)) in ("cat", "dog")
    written = "".join(model.generate("a cat", 200, seed=0))
    assert "<unk>" not in written
    assert "<s>" not in written
    assert "\n" in written


@pytest.mark.parametrize("level", ["char", "bpe"])
def test_every_level_learns_and_writes(level):
    model = small(level=level, vocabulary_size=300 if level == "bpe" else None).fit(TEXT)
    assert "".join(model.generate("the ", 30, greedy=True))


def test_generation_follows_the_prompt_and_the_seed(model):
    def write(seed, **options):
        return "".join(model.generate("the tide ", 40, seed=seed, **options))

    assert write(1) == write(1)
    assert write(1) != write(2)
    assert len(write(1)) == 40
    assert write(1, greedy=True) == write(2, greedy=True) == write(3, top_k=1)
    assert write(0, greedy=True)[0] in "cg"  # comes, goes


def test_a_long_prompt_is_read_whole(model):
    """Streaming after a prompt equals the network on prompt and text at once."""
    prompt, length = TEXT[:97], 20
    written = "".join(model.generate(prompt, length, greedy=True))
    tokens = torch.from_numpy(model.encoder_.encode(prompt + written).astype(np.int64))
    with torch.no_grad():
        outputs, _ = model.network_(tokens.unsqueeze(1))
    logits = outputs[len(prompt) - 1 : -1, 0]
    logits[:, model.encoder_.unknown_id] = -torch.inf
    assert torch.equal(logits.argmax(1), tokens[len(prompt) :])


def test_a_model_file_gives_the_same_model(model, tmp_path):
    path = tmp_path / "model.safetensors"
    model.save(path)
    for again in (tg.LanguageModel.load(path), load(path)):
        assert again.evaluate(TEXT[:100]) == model.evaluate(TEXT[:100])
        assert again.get_params() == {**model.get_params(), "run_folder": None}
        assert again.provenance_["training_tokens"] == model.provenance_["training_tokens"]
    with pytest.raises(ModelFileError, match="expected a text-classifier, got a language-model"):
        tg.TextClassifier.load(path)


def test_held_out_text_never_reaches_training():
    altered = TEXT[:-800] + "q" * 800
    first = small(validation_fraction=0.1, test_fraction=0.1).fit(TEXT)
    second = small(validation_fraction=0.1, test_fraction=0.1).fit(altered)
    assert second.encoder_.to_json() == first.encoder_.to_json()
    assert second.metrics_["test_cross_entropy"] > first.metrics_["test_cross_entropy"]


def test_samples_are_printed_at_the_chosen_steps(capsys):
    small(max_steps=6, sample_steps=(2, 5), sample_length=12, verbose=2).fit(TEXT)
    printed = capsys.readouterr().out
    assert "step 2, held-out perplexity" in printed
    assert "step 5, held-out perplexity" in printed
    assert "step 3" not in printed


WRONG = {
    "one character": (lambda: small().fit("a"), "at least 2 tokens of training text"),
    "not texts": (lambda: small().fit([TEXT, 3]), "texts: expected str, got int at index 1"),
    "too few texts": (lambda: small().fit([TEXT]), "texts: expected enough to train on"),
    "fractions": (
        lambda: small(test_fraction=0.95).fit(TEXT),
        "expected a sum with test_fraction",
    ),
    "level": (lambda: small(level="letter").fit(TEXT), "level: expected one of char, word, bpe"),
    "cell": (lambda: small(cell="gruu").fit(TEXT), "expected a cell, such as gru"),
    "sizes": (
        lambda: small(hidden_sizes=(0,)).fit(TEXT),
        "hidden_sizes: expected a tuple of",
    ),
    "unfitted": (lambda: tg.LanguageModel().evaluate(TEXT), "call fit or load first"),
    "length": (
        lambda: small(max_steps=1).fit(TEXT).generate("a", -1),
        "length: expected",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_use_is_named(case):
    call, message = WRONG[case]
    with pytest.raises(InputError, match=message):
        call()
