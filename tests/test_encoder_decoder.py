"""The encoder and decoder: attention by hand, padding, runtime against torch, beams."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from any_cell import CELL_KINDS

from tidegate.model.architecture import Architecture
from tidegate.model.encoder_decoder import SCORES, EncoderDecoder
from tidegate.nn.arrays import network_on_arrays, torch_network
from tidegate.nn.encoder_decoder import EncoderDecoderNetwork
from tidegate.runtime.beam_search import answers
from tidegate.runtime.encoder_decoder import EncoderDecoderRuntime
from tidegate.runtime.pair_scoring import nats_of_pairs

SOURCE = Architecture(
    cell="gru",
    vocabulary_size=6,
    input_size=None,
    embedding_size=3,
    hidden_sizes=(5,),
    bidirectional=True,
    readout="every",
    output_size=5,
    batch_norm=False,
    embedding_dropout=0.0,
    dropout=0.0,
    recurrent_dropout=0.0,
)
TWO = EncoderDecoder(
    source=SOURCE,
    target=replace(SOURCE, vocabulary_size=4, output_size=4, bidirectional=False),
    score="dot",
    longest=7,
)
LENGTHS = [4, 1, 7, 2]


def network(architecture: EncoderDecoder = TWO, seed: int = 0) -> EncoderDecoderNetwork:
    torch.manual_seed(seed)
    made = EncoderDecoderNetwork(architecture).eval()
    with torch.no_grad():
        for weight in made.parameters():
            weight.normal_(0, 0.7)
    return made


def batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Sources [7, 4] whose lengths differ, and targets [5, 4]."""
    generator = torch.Generator().manual_seed(1)
    sources = torch.randint(0, 6, (7, 4), generator=generator)
    return sources, torch.tensor(LENGTHS), torch.randint(0, 4, (5, 4), generator=generator)


@pytest.mark.parametrize("score", SCORES)
def test_attention_is_what_the_papers_write(score):
    made = network(replace(TWO, score=score)).double()
    sources, lengths, targets = batch()
    with torch.no_grad():
        features = made.features(sources, lengths, targets)
        memory, start = made.encoded(sources, lengths)
        queries, _ = made.target.features(targets, None, start)
    attention = made.attention
    named = {name: weight.detach().numpy() for name, weight in attention.named_parameters()}
    for b, t in itertools.product(range(4), range(5)):
        m, q = memory[: LENGTHS[b], b].numpy(), queries[t, b].numpy()
        if score == "dot":
            scores = [q @ one for one in m]
        elif score == "general":
            scores = [one @ (named["query.weight"] @ q) for one in m]
        else:
            both = [named["query.weight"] @ q + named["key.weight"] @ one for one in m]
            scores = [float(named["energy.weight"][0] @ np.tanh(x)) for x in both]
        weights = np.exp(scores) / np.exp(scores).sum()
        seen = np.concatenate([weights @ m, q])
        wanted = np.tanh(named["combine.weight"] @ seen + named["combine.bias"])
        np.testing.assert_allclose(features[t, b].numpy(), wanted, rtol=1e-9)


def test_each_state_of_the_decoder_begins_with_a_map_of_the_encoders_both_directions():
    layers = {"cell": "lstm", "hidden_sizes": (4, 5)}
    two = replace(TWO, source=replace(SOURCE, **layers), target=replace(TWO.target, **layers))
    made = network(two)
    sources, lengths, _ = batch()
    with torch.no_grad():
        _, start = made.encoded(sources, lengths)
        _, final = made.source(sources, lengths)
    for k, name in itertools.product((0, 1), ("h", "c")):
        place = "hc".index(name)
        ends = final[k][place]  # [directions, B, H]
        linear = made.get_submodule(f"start.{k}.{name}")
        wanted = linear(torch.cat([ends[0], ends[1]], 1)).detach()
        torch.testing.assert_close(start[k][place], wanted[None])


@pytest.mark.parametrize("cell", CELL_KINDS)
@pytest.mark.parametrize("score", SCORES)
def test_the_runtime_answers_as_torch_does(cell, score):
    layers = {"cell": cell, "hidden_sizes": (6, 5)}
    target = replace(TWO.target, **layers)
    source = replace(SOURCE, **layers, output_size=target.feature_size)
    made = network(EncoderDecoder(source=source, target=target, score=score, longest=3))
    runtime = network_on_arrays(made)
    assert isinstance(runtime, EncoderDecoderRuntime)
    with torch.no_grad():
        wanted = made(*batch()).numpy()
    found = runtime(*(t.numpy() for t in batch()))
    np.testing.assert_allclose(found, wanted, atol=2e-5)
    again = torch_network(runtime.architecture, runtime.tensors)
    with torch.no_grad():
        np.testing.assert_array_equal(again(*batch()).numpy(), wanted)


def test_what_stands_beside_a_pair_in_its_batch_changes_nothing():
    made = network()
    sources, lengths, targets = batch()
    with torch.no_grad():
        together = made(sources, lengths, targets)
        for b, length in enumerate(LENGTHS):
            alone = made(sources[:length, b : b + 1], lengths[b : b + 1], targets[:, b : b + 1])
            torch.testing.assert_close(together[:, b : b + 1], alone, atol=1e-5, rtol=1e-4)


def sources_of(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(2)
    return [np.append(rng.integers(0, 5, rng.integers(0, 9)), 5) for _ in range(count)]


def greedy(made: EncoderDecoderNetwork, source: np.ndarray) -> list[int]:
    """The likeliest token after all before, again and again: the whole network for each."""
    written: list[int] = []
    while len(written) < made.architecture.longest:
        read = torch.tensor([[3, *written]]).T
        x = torch.tensor(source)[:, None]
        with torch.no_grad():
            token = int(made(x, torch.tensor([len(source)]), read)[-1, 0].argmax())
        if token == 3:
            break
        written.append(token)
    return written


def test_a_beam_of_one_takes_the_likeliest_token_at_each_step():
    for seed in range(4):
        made = network(seed=seed)
        sources = sources_of(20)
        found = answers(network_on_arrays(made), sources)
        assert [one.tokens.tolist() for one in found] == [greedy(made, s) for s in sources]
        for one, source in zip(found, sources, strict=True):
            assert one.attention.shape == (len(one.tokens), len(source) - 1)
            assert (one.attention.sum(1) <= 1 + 1e-5).all()


@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_a_beam_that_holds_all_answers_finds_the_best_of_all(penalty):
    two = replace(TWO, longest=3)
    every = [list(t) for n in range(4) for t in itertools.product(range(3), repeat=n)]
    for seed in range(3):
        runtime = network_on_arrays(network(two, seed))
        for source in sources_of(3):
            targets = [np.array([*one, 3]) for one in every]
            nats, _ = nats_of_pairs(runtime, [source] * len(every), targets)
            scores = [
                -n / ((5 + len(t)) / 6) ** penalty for n, t in zip(nats, targets, strict=True)
            ]
            best = int(np.argmax(scores))
            (found,) = answers(runtime, [source], beam=len(every), length_penalty=penalty)
            assert found.tokens.tolist() == every[best]
            assert found.log_probability == pytest.approx(-nats[best], abs=1e-4)


def test_a_wider_beam_finds_answers_that_are_no_less_likely_in_all():
    runtime = network_on_arrays(network(seed=5))
    sums = []
    for beam in (1, 2, 8, 200):
        sums.append(sum(one.log_probability for one in answers(runtime, sources_of(30), beam=beam)))
    assert sums[0] < sums[-1]
    assert max(sums) == pytest.approx(sums[-1])


def test_answers_do_not_depend_on_which_sources_are_asked_together():
    runtime = network_on_arrays(network(seed=3))
    sources = sources_of(15)
    together = answers(runtime, sources, beam=3)
    for one, source in zip(together, sources, strict=True):
        (alone,) = answers(runtime, [source], beam=3)
        assert alone.tokens.tolist() == one.tokens.tolist()
        np.testing.assert_allclose(alone.attention, one.attention, atol=1e-5)


def test_a_forbidden_token_is_never_written_and_an_answer_ends_in_time():
    runtime = network_on_arrays(network(seed=1))
    for beam in (1, 4):
        for one in answers(runtime, sources_of(20), beam=beam, forbidden=[0]):
            assert 0 not in one.tokens
            assert len(one.tokens) <= TWO.longest


def test_nats_of_pairs_are_those_of_torch_whatever_stands_beside_them():
    made = network(seed=2)
    sources = sources_of(9)
    rng = np.random.default_rng(4)
    targets = [np.append(rng.integers(0, 3, rng.integers(0, 6)), 3) for _ in sources]
    nats, counts = nats_of_pairs(network_on_arrays(made), sources, targets)
    assert counts.tolist() == [len(target) for target in targets]
    for i, (source, target) in enumerate(zip(sources, targets, strict=True)):
        read = torch.tensor([3, *target[:-1]])[:, None]
        with torch.no_grad():
            logits = made(torch.tensor(source)[:, None], torch.tensor([len(source)]), read)
        wanted = torch.nn.functional.cross_entropy(
            logits[:, 0], torch.tensor(target), reduction="sum"
        )
        assert nats[i] == pytest.approx(wanted.item(), rel=1e-4)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"score": "cosine"}, "score: expected one of dot, general, additive, got 'cosine'"),
        ({"longest": 0}, "longest: expected 1 to 65536 steps, got 0"),
        ({"target": SOURCE}, "target: expected one direction, got 'both'"),
        (
            {"source": replace(SOURCE, output_size=3)},
            "source: expected outputs of 5, the decoder's features, got 3",
        ),
        (
            {"source": replace(SOURCE, hidden_sizes=(4,))},
            "target: expected the cell and the layers of source, got (5,)",
        ),
    ],
)
def test_what_does_not_fit_together_is_refused(change, said):
    with pytest.raises(ValueError, match="expected") as refused:
        replace(TWO, **change)
    assert str(refused.value) == said


def test_an_architecture_is_what_its_json_says():
    assert EncoderDecoder.from_json(TWO.to_json()) == TWO
    shapes = {name: tuple(t.shape) for name, t in network().state_dict().items()}
    assert shapes == TWO.tensor_shapes()
    for wrong in ({}, {**TWO.to_json(), "more": 1}, {**TWO.to_json(), "longest": True}, None):
        with pytest.raises(ValueError, match="expected"):
            EncoderDecoder.from_json(wrong)
