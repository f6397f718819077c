"""The softmax in chunks: the loss and gradients of the whole one, in bounded memory."""

import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F  # noqa: N812

from tidegate import _engine
from tidegate.nn.chunked_softmax import summed_cross_entropy
from tidegate.runtime import probabilities


def parts(tokens, words, width, dtype=torch.float32):
    generator = torch.Generator().manual_seed(tokens * 1000 + words)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=dtype).requires_grad_()

    targets = torch.randint(words, (tokens,), generator=generator)
    return normal(tokens, width), normal(words, width), normal(words), targets


def of_the_whole(features, weight, bias, targets):
    return F.cross_entropy(F.linear(features, weight, bias), targets, reduction="sum")


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(probabilities, "_CHUNK_LOGITS", 20)
    monkeypatch.setattr(probabilities, "_FEWEST_ROWS", 3)


@pytest.mark.usefixtures("small_chunks")
@given(
    tokens=st.integers(0, 20),
    words=st.integers(1, 12),
    width=st.integers(1, 5),
    scale=st.floats(0.01, 100),
)
def test_loss_and_every_gradient_are_those_of_the_whole_softmax(tokens, words, width, scale):
    ours, whole = (parts(tokens, words, width) for _ in range(2))
    losses = summed_cross_entropy(*ours), of_the_whole(*whole)
    for loss in losses:
        (scale * loss).backward()
    # float32, sums over at most 20 tokens and 12 words
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-5, atol=1e-4)
    for a, b in zip(ours[:3], whole[:3], strict=True):
        torch.testing.assert_close(a.grad / scale, b.grad / scale, rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("small_chunks")
def test_gradients_equal_finite_differences():
    features, weight, bias, targets = parts(8, 7, 3, torch.float64)
    assert torch.autograd.gradcheck(
        lambda x, w, b: summed_cross_entropy(x, w, b, targets), (features, weight, bias)
    )


@pytest.mark.usefixtures("small_chunks")
def test_a_weight_used_twice_gets_both_gradients():
    """As where the embedding is the softmax layer's weight."""
    gradients = []
    for loss in (summed_cross_entropy, of_the_whole):
        _, weight, bias, targets = parts(8, 7, 3, torch.float64)
        loss(F.embedding(targets.flip(0), weight).tanh(), weight, bias, targets).backward()
        gradients.append(weight.grad)
    torch.testing.assert_close(*gradients)


def test_improbable_targets_have_a_finite_loss():
    features = torch.tensor([[1e4]], requires_grad=True)
    weight, bias = torch.tensor([[1.0], [-1.0]]), torch.zeros(2)
    loss = summed_cross_entropy(features, weight, bias, torch.tensor([1]))
    loss.backward()
    assert loss.item() == 2e4
    assert features.grad.item() == 2


def test_without_gradients_none_are_made():
    features, weight, bias, targets = parts(8, 7, 3)
    with torch.no_grad():
        loss = summed_cross_entropy(features, weight, bias, targets)
    assert not loss.requires_grad
    torch.testing.assert_close(loss, of_the_whole(features, weight, bias, targets).detach())


@pytest.fixture(params=_engine.available_isas())
def isa(request):
    before = _engine.isa()
    _engine.select_isa(request.param)
    yield request.param
    _engine.select_isa(before)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("learning", [True, False])
@pytest.mark.parametrize("words", [1, 3, 15, 16, 17, 33, 1000])
@pytest.mark.parametrize("rows", [0, 1, 5])
def test_the_engines_softmax_is_that_in_float64(rows, words, learning, threads):
    generator = torch.Generator().manual_seed(words)
    logits = 10 * torch.randn(rows, words, generator=generator)
    targets = torch.randint(words, (rows,), generator=generator)
    log_p = torch.log_softmax(logits.double(), 1)
    left, nats = logits.clone(), torch.full((rows,), torch.nan)
    _engine.softmax_cross_entropy(left, targets, nats, learning, threads)
    # sums of up to 1000 float32, and a logit of up to 40 taken from the highest
    expected = -log_p.gather(1, targets.unsqueeze(1)).squeeze(1)
    torch.testing.assert_close(nats.double(), expected, rtol=1e-6, atol=1e-5)
    gradient = log_p.exp() - F.one_hot(targets, words)
    torch.testing.assert_close(
        left.double(), gradient if learning else logits.double(), rtol=1e-5, atol=1e-7
    )


@pytest.mark.usefixtures("isa")
def test_one_undefined_logit_makes_its_row_undefined_and_no_other():
    for place in (0, 7, 39):
        logits, nats = torch.zeros(2, 40), torch.zeros(2)
        logits[0, place] = torch.nan
        _engine.softmax_cross_entropy(logits, torch.tensor([3, 3]), nats, True, 1)
        assert logits[0].isnan().all()
        assert nats.isnan().tolist() == [True, False]
        assert logits[1].isfinite().all()


@pytest.mark.parametrize("target", [-1, 4])
def test_a_target_that_is_no_word_is_refused(target):
    with pytest.raises(ValueError, match=f"targets: expected 0 to 3, got {target}"):
        _engine.softmax_cross_entropy(
            torch.zeros(1, 4), torch.tensor([target]), torch.zeros(1), True, 1
        )


PROGRAM = """
import resource, torch
from tidegate.nn.chunked_softmax import summed_cross_entropy

def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

torch.set_num_threads(1)
small = torch.randn(4, 64, requires_grad=True)
summed_cross_entropy(small, small, small[:, 0], torch.arange(4)).backward()  # libraries are loaded
features = torch.randn(3200, 64, requires_grad=True)
weight, bias = torch.randn(50_000, 64, requires_grad=True), torch.zeros(50_000)
before = peak_mb()
loss = summed_cross_entropy(features, weight, bias, torch.arange(3200))
loss.backward()
print(peak_mb() - before)
"""


def test_fifty_thousand_words_and_3200_tokens_stay_below_160_megabytes():
    """All logits at once would be 610 of them, and training holds three such arrays."""
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    assert float(run.stdout) < 160
