"""Evidence of whole sequences: convolutions, ridges that leave a row out, their sum, the tasks."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tidegate as tg
from tidegate.data.sequences.convolutions import Convolutions, _summed
from tidegate.data.sequences.evidence import SequenceEvidence, learn_evidence
from tidegate.data.sequences.mixing import best_mixture, log_loss, squared_error
from tidegate.data.sequences.ridge import PENALTIES, Ridge
from tidegate.model.checkpoint import ModelFileError, load_model, save_model
from tidegate.runtime.probabilities import log_softmax
from tidegate.tasks.sequence_blend import blended, trust

RNG = np.random.default_rng
SMALL: dict[str, Any] = {"hidden_sizes": (4,), "max_steps": 4, "verbose": 0}


def noise(lengths: tuple[int, ...], channels: int, seed: int = 0) -> list[np.ndarray]:
    rng = RNG(seed)
    return [rng.normal(size=(n, channels)).astype(np.float32) for n in lengths]


def outlines(count: int, seed: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Closed curves of three kinds, which differ in a notch; of any size and begun anywhere."""
    rng = RNG(seed)
    labels = np.arange(count) % 3
    at = np.linspace(0, 2 * np.pi, 120, endpoint=False)
    curves = []
    for label in labels:
        radius = 3 + rng.normal(size=3) @ np.stack([np.cos(k * at + k) for k in (1, 2, 3)]) / 3
        radius -= (0.0, 0.8, 0.8)[label] * np.exp(-(((at - 3) / (0.1, 0.1, 0.3)[label]) ** 2))
        curves.append(np.roll(radius, rng.integers(120)) * np.exp(rng.normal() / 3))
    return [c + 0.05 * rng.normal(size=120) for c in curves], labels


def share_by_loops(
    of: Convolutions, x: np.ndarray, d: int, r: int, k: int, q: int
) -> tuple[float, float]:
    """The definition, place by place: the share, and how much one place is of it."""
    twos = list(combinations(range(9), 3))[k]
    dilation, series = int(of.dilations[d]), x @ of.sums[d, r]
    beyond = d % 2 == k % 2 or len(series) <= 8 * dilation
    above = places = 0
    for middle in range(len(series)):
        where = [middle + (j - 4) * dilation for j in range(9)]
        if not beyond and (where[0] < 0 or where[-1] >= len(series)):
            continue
        total = sum(
            (2 if j in twos else -1) * series[t]
            for j, t in enumerate(where)
            if 0 <= t < len(series)
        )
        places += 1
        above += total > of.biases[d, r, k, q]
    return above / places, 1 / places


@pytest.mark.parametrize(
    ("lengths", "channels"), [((40, 40, 23), 1), ((9, 30, 12), 3), ((1, 4), 2)]
)
def test_features_are_the_shares_of_places_above_each_bias(
    lengths: tuple[int, ...], channels: int
) -> None:
    sequences = noise(lengths, channels)
    of = Convolutions.fit(sequences, 1000)
    shape = of.biases.shape
    features = of.features(sequences).reshape(len(sequences), *shape)
    rng = RNG(1)
    for _ in range(120):
        d, r, k, q = (int(rng.integers(n)) for n in shape)
        i = int(rng.integers(len(sequences)))
        expected, place = share_by_loops(of, sequences[i], d, r, k, q)
        # a place just at the bias may fall on either side
        assert abs(features[i, d, r, k, q] - expected) <= 1.01 * place


def test_a_sequences_features_do_not_depend_on_its_neighbours() -> None:
    sequences = noise((40, 40, 25, 40, 300), 2)
    of = Convolutions.fit(sequences, 2000)
    together = of.features(sequences)
    np.testing.assert_array_equal(of.features(sequences[::-1]), together[::-1])
    for sequence, features in zip(sequences, together, strict=True):
        np.testing.assert_array_equal(of.features([sequence])[0], features)


def test_what_is_added_to_a_whole_sequence_is_not_seen_between_its_ends() -> None:
    """The weights add up to zero, so places that lie inside know no level."""
    (x,) = noise((200,), 1)
    of = Convolutions.fit([x], 1000)
    inner = np.arange(of.biases.shape[2]) % 2 == 1  # of the first dilation
    shape = (len(of.dilations), *of.biases.shape[1:])
    before, after = (of.features([v])[0].reshape(shape)[0][:, inner] for v in (x, x + 8))
    np.testing.assert_allclose(before, after, atol=0.02)


@pytest.mark.parametrize(("rows", "width"), [(12, 30), (30, 6)])
def test_a_row_left_out_is_told_as_by_a_fit_without_it(rows: int, width: int) -> None:
    rng = RNG(0)
    x, y = 3 * rng.normal(size=(rows, width)) + 1, rng.normal(size=(rows, 2))
    counts = rng.random(rows)
    counts[3] = 0
    fit = Ridge(x.astype(np.float32), y, counts).fit(PENALTIES[4])
    share = counts / counts.sum()
    deviation = np.sqrt(share @ (x - share @ x) ** 2)
    design = np.c_[x / deviation, np.ones(rows)]
    held = np.diag([PENALTIES[4] * width] * width + [0])
    for i in range(rows):
        kept = counts / counts.mean()
        kept[i] = 0
        gram = design.T @ (kept[:, None] * design) + held
        solution = np.linalg.solve(gram, design.T @ (kept[:, None] * y))
        np.testing.assert_allclose(fit.left_out[i], design[i] @ solution, atol=2e-4)


def test_answers_are_mixed_as_a_search_mixes_them() -> None:
    rng = RNG(0)
    truth = rng.integers(3, size=80)
    good = np.eye(3)[truth] + rng.normal(size=(80, 3))
    answers = np.stack([good, rng.normal(size=(80, 3)), rng.normal(size=(80, 3)) - good])
    counts = np.ones(80)
    factors, loss = best_mixture(answers, log_loss(truth), counts)
    assert (factors >= 0).all()
    assert factors[0] > 0.5
    assert factors[2] == 0
    of = log_loss(truth)
    for other in rng.uniform(0.5, 2, size=(200, 3)) * factors + rng.exponential(0.05, (200, 3)):
        assert of(np.tensordot(other, answers, 1), answers)[0].mean() >= loss - 1e-9
    number = good[:, :1]
    factors, loss = best_mixture(np.stack([number, -number]), squared_error(2 * number), counts)
    np.testing.assert_allclose(factors, [2, 0], atol=1e-6)


def test_labels_drawn_at_random_have_no_evidence_to_trust() -> None:
    """In a sequence's own evidence nothing of its label was learned."""
    rng = RNG(0)
    labels = rng.integers(2, size=40)
    sequences = [rng.normal(size=(50, 1)) for _ in labels]
    _, left_out, strength = learn_evidence(sequences, labels, np.ones(40), 2)
    log_p = log_softmax(np.float32(strength) * left_out)
    assert -log_p[np.arange(40), labels].mean() > 0.6
    evidence, *_ = learn_evidence(sequences, labels, np.ones(40), 2)
    np.testing.assert_allclose(evidence.of(sequences[:5])[::-1], evidence.of(sequences[4::-1]))


def test_what_counts_nothing_teaches_nothing() -> None:
    sequences, labels = outlines(24, 0)
    columns = [s[:, None] for s in sequences]
    counts = np.r_[np.ones(18), np.zeros(6)]
    one, read, _ = learn_evidence(columns, labels, counts, 3)
    other, *_ = learn_evidence(columns, np.r_[labels[:18], (labels[18:] + 1) % 3], counts, 3)
    np.testing.assert_array_equal(one.weights, other.weights)
    np.testing.assert_allclose(read[18:], one.of(columns[18:]))


def test_a_network_is_trusted_as_far_as_held_out_sequences_say() -> None:
    rng = RNG(0)
    answers, alike = rng.normal(size=50), np.ones(50)
    good, bad = answers[:, None], answers[:, None] + rng.normal(size=(50, 1))
    np.testing.assert_allclose(trust(bad, good, answers, alike, 50), (0, 1), atol=1e-6)
    assert trust(good, bad, answers, alike, 50) == (1, 0)
    assert trust(bad[:5], good[:5], answers[:5], alike[:5], 50) == (1, 0)  # five tell nothing
    evidence, network = trust(bad, answers[:, None] + rng.normal(size=(50, 1)), answers, alike, 50)
    assert evidence > 0.2  # errors that even out
    assert network > 0.2
    # by chance one of very many would have gained as much
    assert trust(bad, bad[:, [0]] * 0.5 + good * 0.5, answers, alike, 50, 10**18) == (1, 0)


def test_a_small_gain_counts_where_many_sequences_were_learned_from() -> None:
    """Two nats on a hundred of them are worth nothing of few, which may have come by chance."""
    rng = RNG(1)
    answers, alike = rng.normal(size=100), np.ones(100)
    evidence = answers[:, None] + 0.2 * rng.normal(size=(100, 1))
    network = answers[:, None] + rng.normal(size=(100, 1))
    assert trust(evidence, network, answers, alike, 50) == (1, 0)
    assert trust(evidence, network, answers, alike, 899) == (1, 0)
    assert trust(evidence, network, answers, alike, 900)[1] > 0
    assert trust(evidence, network, answers, alike, 900, 20)[1] > 0  # nor has the choice a price
    few = slice(99)
    assert trust(evidence[few], network[few], answers[few], alike[few], 900) == (1, 0)


def test_a_network_that_is_certain_is_not_believed_for_a_few_right_answers() -> None:
    answers = np.arange(20) % 2
    right = np.eye(2)[answers]
    evidence, network = trust(right, 40 * right, answers, np.ones(20), 50)
    assert evidence + 40 * network < 5


def test_a_network_learns_nothing_of_the_evidence_beside_it() -> None:
    """So that what it says on held-out sequences is its own."""
    model = tg.SequenceClassifier(**SMALL).fit(*outlines(24, 0))
    weights = model.runtime_.tensors
    for name in ("weight_ih_l0", "weight_ih_l0_reverse"):
        assert not weights[f"recurrent.0.{name}"][:, -3:].any()
        assert weights[f"recurrent.0.{name}"][:, :-3].all()


@pytest.fixture(scope="module")
def outline_model() -> tg.SequenceClassifier:
    return tg.SequenceClassifier(max_steps=60, hidden_sizes=(16,), verbose=0).fit(*outlines(90, 0))


def test_a_classifier_of_outlines_does_not_lose_to_its_ridge(
    outline_model: tg.SequenceClassifier,
) -> None:
    others, truth = outlines(300, 1)
    model = outline_model
    alone = log_softmax(np.float32(model._strength) * _evidence_of(model, others))
    ridge = float((alone.argmax(1) == truth).mean())
    figures = model.evaluate(others, truth)
    assert ridge > 0.75
    assert figures["accuracy"] >= ridge - 0.01
    assert figures["calibration_error"] <= 0.08


def test_a_model_file_holds_evidence_and_gives_the_same_bits(
    outline_model: tg.SequenceClassifier, tmp_path: Path
) -> None:
    path = tmp_path / "m.safetensors"
    outline_model.save(path)
    again: Any = tg.load(path)
    sequences, _ = outlines(9, 2)
    np.testing.assert_array_equal(
        again.predict_proba(sequences), outline_model.predict_proba(sequences)
    )
    together = again.predict_proba(sequences)
    for sequence, p in zip(sequences, together, strict=True):
        np.testing.assert_allclose(again.predict_proba([sequence])[0], p, atol=1e-6)
    again.save(tmp_path / "n.safetensors")
    assert (tmp_path / "n.safetensors").read_bytes() == path.read_bytes()


def test_a_file_whose_evidence_does_not_fit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    tg.SequenceClassifier(**SMALL).fit(*outlines(24, 0)).save(path)
    model = load_model(path)
    e = model.evidence
    for change, problem in (
        ({"weights": e["weights"][:-1]}, "weights of"),
        ({"weights": e["weights"][:, :2]}, "evidence.weights"),
        ({"length": e["length"] * 0}, "length"),
        ({"length": e["length"] - 90}, "weights of"),
        ({"dilations": e["dilations"] * 0}, "dilations"),
        ({"biases": e["biases"][:, :, :80]}, "evidence.biases"),
        ({"biases": np.full_like(e["biases"], np.nan)}, "finite"),
        ({"sums": e["sums"][:, :, :1]}, "scale"),
        ({"more": np.zeros(1, np.float32)}, "evidence.more"),
    ):
        with pytest.raises(ValueError, match=problem):
            _reloaded(path, replace(model, evidence=e | change))
    with pytest.raises(ValueError, match="evidence"):
        save_model(path, replace(model, evidence={}))


def _reloaded(path: Path, model: Any) -> Any:
    save_model(path, model)
    return tg.load(path)


def test_a_model_without_evidence_holds_none() -> None:
    model = tg.SequenceRegressor(**SMALL, evidence=False).fit([[1.0, 2.0]] * 6, np.arange(6))
    assert model.evidence_ is None
    assert model.runtime_.architecture.linear_steps == 0


def test_a_sum_of_channels_is_added_up_in_their_order() -> None:
    """So that its bits are the same on every machine."""
    rng = RNG(0)
    x = rng.normal(size=(3, 7, 9)).astype(np.float32)
    weights = np.array([0, 1, 1, 0, 1, 0.5, 1, -1, 1], np.float32)
    expected = np.zeros((3, 7), np.float32)
    for i, t, c in np.ndindex(3, 7, 9):
        expected[i, t] += x[i, t, c] * weights[c]
    np.testing.assert_array_equal(_summed(x, weights), expected)


def test_a_linear_answer_is_found_where_sequences_are_few() -> None:
    """As by ridge regression on the values: a network alone learns hardly anything of it."""
    rng = RNG(0)
    sequences, weights = rng.normal(size=(160, 24)), rng.normal(size=24)
    answers = 50 + sequences @ weights
    model = tg.SequenceRegressor(**SMALL).fit(sequences[:80], answers[:80])
    assert model.score(sequences[80:], answers[80:]) > 0.9


def test_a_network_that_is_not_trusted_leaves_the_evidence_alone() -> None:
    model = tg.SequenceClassifier(**SMALL).fit(*outlines(24, 0))
    model.runtime_ = blended(model.runtime_, model._strength, (1.0, 0.0))
    sequences, _ = outlines(5, 3)
    np.testing.assert_allclose(
        model._outputs(sequences), model._strength * _evidence_of(model, sequences), rtol=1e-5
    )


def _evidence_of(model: Any, sequences: list[np.ndarray]) -> np.ndarray:
    evidence: SequenceEvidence = model.evidence_
    return evidence.of([model.inputs_.filled(s[:, None]) for s in sequences])


def test_a_damaged_file_of_evidence_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    tg.SequenceClassifier(**SMALL).fit(*outlines(24, 0)).save(path)
    model = load_model(path)
    weights = model.evidence["weights"].copy()
    weights[0, 0] = np.inf
    save_model(path, replace(model, evidence=model.evidence | {"weights": weights}))
    with pytest.raises(ModelFileError, match="finite weights"):
        tg.load(path)


def test_a_run_that_evaluates_a_part_of_what_is_held_out_is_blended_by_that_part() -> None:
    rng = np.random.default_rng(0)
    sequences = rng.normal(size=(150, 12)).cumsum(1)
    labels = np.where(sequences[:, -1] > 0, "up", "down")
    model = tg.SequenceClassifier(
        hidden_sizes=(4,), batch_size=1, max_steps=2, validation_fraction=0.4, verbose=0
    )
    model.fit(sequences, labels)
    assert model.provenance_["validation_share"] == pytest.approx(30 / 60, abs=0.02)
    assert 0 <= model.metrics_["cross_entropy"] < 0.7
