"""A linear-chain CRF, in torch and on numpy, beside the sum over all ways to label a sequence."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from tidegate.nn.crf import negative_log_likelihood
from tidegate.runtime import crf

LABELS = 3
LENGTHS = np.array([4, 0, 1, 3])


@pytest.fixture
def drawn() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights [T, B, L], transitions [L + 1, L + 1] and labels [T, B]; noise beyond the lengths."""
    rng = np.random.default_rng(3)
    weights = rng.normal(size=(4, len(LENGTHS), LABELS)).astype(np.float32)
    transitions = 2 * rng.normal(size=(LABELS + 1, LABELS + 1)).astype(np.float32)
    return weights, transitions, rng.integers(0, LABELS, (4, len(LENGTHS)))


def scores(weights: np.ndarray, transitions: np.ndarray) -> dict[tuple[int, ...], float]:
    """Of every way to label a sequence of weights [T, L] the sum of what speaks for it."""
    found = {}
    for path in itertools.product(range(LABELS), repeat=len(weights)):
        steps = [LABELS, *path, LABELS]  # start and end
        moves = sum(transitions[a, b] for a, b in itertools.pairwise(steps))
        found[path] = moves + sum(float(weights[t, label]) for t, label in enumerate(path))
    return found


def log_total(of_paths: dict[tuple[int, ...], float]) -> float:
    return float(np.log(np.exp(list(of_paths.values())).sum()))


def test_the_likelihood_is_that_over_all_ways(drawn):
    weights, transitions, labels = drawn
    ours = crf.log_likelihoods(weights, transitions, LENGTHS, labels)
    tensors = map(torch.from_numpy, (weights, transitions, labels, LENGTHS))
    in_torch = negative_log_likelihood(*tensors)
    for b, n in enumerate(LENGTHS.tolist()):
        expected = 0.0
        if n:
            of_paths = scores(weights[:n, b], transitions)
            expected = of_paths[tuple(labels[:n, b].tolist())] - log_total(of_paths)
        assert ours[b] == pytest.approx(expected, abs=1e-5)  # float32 weights
        assert -in_torch[b].item() == pytest.approx(expected, abs=1e-4)  # all in float32


def test_viterbi_finds_the_best_of_all_ways(drawn):
    weights, transitions, _ = drawn
    found = crf.viterbi(weights, transitions, LENGTHS)
    for b, n in enumerate(LENGTHS.tolist()):
        of_paths = scores(weights[:n, b], transitions)
        assert tuple(found[:n, b].tolist()) == max(of_paths, key=lambda path: of_paths[path])
        assert not found[n:, b].any()


def test_the_best_way_is_not_the_best_of_each_step():
    """So that the test above says something."""
    weights = np.array([[[1.0, 0, 0]], [[1.0, 0.9, 0]]], np.float32)
    transitions = np.zeros((4, 4), np.float32)
    transitions[0, 0] = -5
    found = crf.viterbi(weights, transitions, np.array([2]))
    assert found[:, 0].tolist() == [0, 1]
    assert weights.argmax(2)[:, 0].tolist() == [0, 0]


def test_marginals_are_the_sums_over_all_ways(drawn):
    weights, transitions, _ = drawn
    found = np.exp(crf.log_marginals(weights, transitions, LENGTHS))
    for b, n in enumerate(LENGTHS.tolist()):
        of_paths = scores(weights[:n, b], transitions)
        total = log_total(of_paths)
        expected = np.zeros((n, LABELS))
        for path, score in of_paths.items():
            expected[np.arange(n), list(path)] += np.exp(score - total)
        np.testing.assert_allclose(found[:n, b], expected, atol=1e-6)


def test_gradients_are_those_of_finite_differences(drawn):
    weights, transitions, labels = (torch.from_numpy(a) for a in drawn)
    lengths = torch.from_numpy(LENGTHS)

    def loss(w: torch.Tensor, m: torch.Tensor) -> torch.Tensor:
        return negative_log_likelihood(w, m, labels, lengths)

    given = (weights.double().requires_grad_(), transitions.double().requires_grad_())
    assert torch.autograd.gradcheck(loss, given)
    (of_weights,) = torch.autograd.grad(loss(*given).sum(), given[0])
    beyond = torch.arange(4)[:, None] >= lengths
    assert not of_weights[beyond].any()


def test_large_weights_stay_finite(drawn):
    weights, transitions, labels = drawn
    found = crf.log_marginals(1e4 * weights, 1e4 * transitions, LENGTHS)
    assert not np.isnan(found).any()
    assert np.isfinite(crf.log_likelihoods(1e4 * weights, transitions, LENGTHS, labels)).all()
