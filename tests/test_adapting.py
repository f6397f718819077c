"""Dynamic evaluation: a language model learns from the text on which it is measured."""

import numpy as np
import pytest
import torch

import tidegate as tg
from tidegate.errors import InputError
from tidegate.runtime.scoring import token_nats
from tidegate.training.adapting import adapted_nats

TEXT = "the tide comes in, the tide goes out; the gate is open, the gate is shut.\n" * 60
OTHER = "a gate is shut in the tide: no one comes out.\n" * 20
LONG = OTHER * 5
SMALL = {"hidden_sizes": (24, 16), "embedding_size": 8, "bptt": 16, "batch_size": 8, "verbose": 0}


@pytest.fixture(scope="module", params=["char", "word"])
def model(request):
    options = {"level": request.param, "max_steps": 100, "counts": False, "sample_steps": ()}
    return tg.LanguageModel(**SMALL, **options).fit(TEXT)


def read(model, text):
    return model.encoder_.encode(text), model._frame()[0]


def test_a_text_goes_the_better_the_more_of_it_was_read(model):
    adapted, plain = (model.evaluate(LONG, adapt=a)["cross_entropy"] for a in (True, False))
    assert adapted < plain - 0.02


def test_what_is_measured_is_the_same_and_so_is_the_model_afterwards(model):
    before = model.evaluate(OTHER)
    assert model.evaluate(OTHER, adapt=True).keys() == before.keys()
    assert model.evaluate(OTHER, adapt=True)["tokens"] == before["tokens"]
    assert model.evaluate(OTHER) == before


def test_no_token_is_predicted_by_what_has_seen_it(model):
    tokens, opening = read(model, OTHER)
    changed = tokens.copy()
    changed[45:] = changed[45:][::-1]
    nats = [adapted_nats(model.network_, t, opening) for t in (tokens, changed, tokens[:46])]
    np.testing.assert_array_equal(nats[0][:45], nats[1][:45])
    np.testing.assert_array_equal(nats[0][:46], nats[2])


def test_before_its_first_step_a_network_predicts_as_it_is(model):
    tokens, opening = read(model, OTHER)
    learned = adapted_nats(model.network_, tokens, opening)
    plain = token_nats(model.runtime_, tokens, opening)
    np.testing.assert_allclose(learned[:21], plain[:21], rtol=1e-4, atol=1e-5)  # float32
    assert np.nanmax(np.abs(learned[21:] - plain[21:])) > 1e-3


def test_a_step_is_adams_without_momentum_on_the_mean_over_a_piece_and_a_little_back(model):
    tokens, opening = read(model, OTHER)
    network, x = model.network_, torch.from_numpy(tokens[:41].astype(np.int64))
    scored = x != (-1 if opening is None else opening)
    before = [w.detach().clone() for w in network.parameters()]
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-5 / 50, betas=(0.0, 0.999))
    output, state = network(x[:20, None])
    log_p = torch.log_softmax(output[:, 0], 1).gather(1, x[1:21, None])[:, 0]
    (-log_p[scored[1:21]].mean()).backward()
    optimizer.step()
    with torch.no_grad():
        for weight, old in zip(network.parameters(), before, strict=True):
            weight += 1e-3 * (old - weight)
        output, _ = network(x[20:40, None], state=state)
    log_p = torch.log_softmax(output[:, 0], 1).gather(1, x[21:41, None])[:, 0]
    found = adapted_nats(model.network_, tokens, opening)[21:41]
    kept = scored[21:41].numpy()
    np.testing.assert_allclose(found[kept], -log_p.numpy()[kept], rtol=1e-4, atol=1e-5)
    assert np.isnan(found[~kept]).all()


def test_counts_are_mixed_with_what_has_learned():
    options = {"max_steps": 60, "counts": True, "sample_steps": ()}
    model = tg.LanguageModel(**SMALL, **options).fit(TEXT)
    tokens, opening = read(model, OTHER)
    nats = model.counts_.nats(tokens, adapted_nats(model.network_, tokens, opening))
    assert model.evaluate(OTHER, adapt=True)["cross_entropy"] == pytest.approx(np.nanmean(nats))


def test_texts_with_conditions_are_each_by_themselves():
    texts, conditions = ["ab", "ba"] * 20, ["x", "y"] * 20
    model = tg.LanguageModel(**SMALL, max_steps=2).fit(texts, conditions=conditions)
    with pytest.raises(InputError, match="adapt: expected none for texts with conditions"):
        model.evaluate(texts, conditions=conditions, adapt=True)
