"""Evidence: what a linear map of a whole sequence says of its answer, read beside its values.

Three groups of features, each with a ridge of its own: convolutions (convolutions.py) over the
sequence in deviations of its own, the same over its values in deviations of the training part, and
the values themselves.  For labels the three answers are added up as logits, for numbers as shares
of the answer, in the proportion that tells best what is right of rows that were left out.

How far evidence can be trusted is judged by what a fit without a sequence says of it (ridge.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final, Self

import numpy as np

from tidegate.data.sequences.convolutions import Convolutions
from tidegate.data.sequences.mixing import Loss, best_mixture, log_loss, squared_error
from tidegate.data.sequences.ridge import PENALTIES, Ridge

__all__ = [
    "FARTHEST",
    "MAX_LABELS",
    "SHORTEST",
    "SequenceEvidence",
    "learn_evidence",
    "points_of",
]

MAX_LABELS: Final = 256
_MANY = 2500  # sequences: of more, half as many convolutions, so that a fit takes seconds
_MOST = 20_000  # sequences that teach; of more, a part that is drawn
_FEATURES = 5000  # convolutions of each of the two groups
SHORTEST = 32  # steps: what is shorter is stretched, as kernels have nine weights
_POINTS = 128  # at which values are read, at most
FARTHEST = 100.0  # deviations of the training part
_FLAT = 1e-6  # as inputs.py has it
_GROUPS = 3
_JUDGES = 1000  # sequences that choose penalties, at most
_ROWS = 2048  # sequences at a time: bounds the memory


@dataclass(frozen=True, eq=False)
class SequenceEvidence:
    """O numbers of a sequence: logits of labels, or the answer in scaled units.

    ``length``: the median of the training part.  ``weights``: float32 [F, O] of all features,
    ``intercepts`` float32 [O].
    """

    convolutions: Convolutions
    length: int
    weights: np.ndarray
    intercepts: np.ndarray

    def __post_init__(self) -> None:
        channels = self.convolutions.sums.shape[2]
        if channels % 2 or self.convolutions.sums.shape[1] % 2:
            raise ValueError("evidence: expected sums over own and common scale")
        if self.length < 1 or self.length >= 2**31:
            raise ValueError("evidence: expected a length from 1")
        expected = len(_groups(self.convolutions, self.length))
        if len(self.weights) != expected:
            raise ValueError(f"evidence: expected weights of {expected} features")
        if not (np.isfinite(self.weights).all() and np.isfinite(self.intercepts).all()):
            raise ValueError("evidence: expected finite weights")

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Everything by the names that the model file has for it."""
        of = self.convolutions
        return {
            "dilations": of.dilations,
            "sums": of.sums,
            "biases": of.biases,
            "length": np.array([self.length]),
            "weights": self.weights,
            "intercepts": self.intercepts,
        }

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> Self:
        """What ``to_arrays`` gave.  Raises ValueError for what does not fit together."""
        of = Convolutions(*(arrays[name] for name in ("dilations", "sums", "biases")))
        return cls(of, int(arrays["length"][0]), arrays["weights"], arrays["intercepts"])

    @property
    def channels(self) -> int:
        """Of a sequence."""
        return self.convolutions.sums.shape[2] // 2

    def of(self, sequences: list[np.ndarray]) -> np.ndarray:
        """Evidence float32 [N, O] of sequences [T, C] in deviations of the training part."""
        result = np.empty((len(sequences), len(self.intercepts)), np.float32)
        for begin in range(0, len(sequences), _ROWS):
            some = sequences[begin : begin + _ROWS]
            # row by row, so that none depends on its neighbours
            for i, features in enumerate(_features(self.convolutions, self.length, some), begin):
                result[i] = features @ self._exact_weights + self.intercepts
        return result

    @cached_property
    def _exact_weights(self) -> np.ndarray:
        """In float64: ten thousand terms, of which most even out, lose too much in float32."""
        return self.weights.astype(np.float64)


def learn_evidence(
    sequences: list[np.ndarray],
    targets: np.ndarray,
    counts: np.ndarray,
    label_count: int | None = None,
) -> tuple[SequenceEvidence, np.ndarray, float]:
    """The evidence of sequences; that of each by a fit without it, float32 [N, O]; and a factor.

    Evidence has a deviation of about 1, as all that a network reads; times the factor it is logits.

    ``sequences``: float64 [T, C] each, in deviations of the training part.  ``targets``: positions
    of ``label_count`` labels, int64 [N]; of None, scaled numbers, float [N].  ``counts`` [N]: how
    much each counts; what counts 0 teaches nothing.
    """
    drawn = np.random.default_rng(0).permutation(len(sequences))
    rows = drawn[counts[drawn] > 0][:_MOST]
    taught, truth = [sequences[i] for i in rows], targets[rows]
    wanted = truth[:, None].astype(float) if label_count is None else np.eye(label_count)[truth]

    def loss(some: slice) -> Loss:
        return squared_error(wanted[some]) if label_count is None else log_loss(truth[some])

    length = round(float(np.median([len(sequence) for sequence in taught])))
    most = _FEATURES if len(taught) <= _MANY else _FEATURES // 2
    both = [_both(sequence, length) for sequence in taught]
    convolutions = Convolutions.fit(both, 2 * most, groups=2)
    features, groups = _features(convolutions, length, taught), _groups(convolutions, length)

    few = slice(_JUDGES)  # in the order in which they were drawn
    fits = []
    for group in range(_GROUPS):
        x = features[:, groups == group]
        trial = Ridge(x[few], wanted[few], counts[rows[few]])
        losses = [
            best_mixture(trial.fit(penalty).left_out[None], loss(few), counts[rows[few]])[1]
            for penalty in PENALTIES
        ]
        ridge = trial if len(rows) <= _JUDGES else Ridge(x, wanted, counts[rows])
        fits.append(ridge.fit(PENALTIES[int(np.argmin(losses))]))
    answers = np.stack([fit.left_out for fit in fits])
    factors, _ = best_mixture(answers, loss(slice(None)), counts[rows])
    weights = np.empty((len(groups), wanted.shape[1]))
    for group, fit in enumerate(fits):
        weights[groups == group] = factors[group] * fit.weights
    intercepts = factors @ np.stack([fit.intercepts for fit in fits])
    told = np.tensordot(factors, answers, 1)
    strength = 1.0 if label_count is None else float(told.std()) or 1.0
    weights, intercepts = ((array / strength).astype(np.float32) for array in (weights, intercepts))
    evidence = SequenceEvidence(convolutions, length, weights, intercepts)
    read = np.empty((len(sequences), wanted.shape[1]), np.float32)
    read[rows] = told / strength
    others = np.setdiff1d(np.arange(len(sequences)), rows)
    read[others] = evidence.of([sequences[i] for i in others])
    return evidence, read, strength


def _both(sequence: np.ndarray, length: int) -> np.ndarray:
    """In deviations of its own and as it is, float32 [T, 2 C]; stretched if ``length`` is short."""
    mean, deviation = sequence.mean(0), sequence.std(0)
    own = (sequence - mean) / np.where(deviation > _FLAT, deviation, np.inf)
    both = np.concatenate([own, sequence.clip(-FARTHEST, FARTHEST)], axis=1)
    if length < SHORTEST:
        both = _resampled(both, -(-len(both) * SHORTEST // length))
    return both.astype(np.float32)


def _resampled(values: np.ndarray, points: int) -> np.ndarray:
    """[T, C] at so many points, evenly spaced from the first step to the last."""
    at, steps = np.linspace(0, len(values) - 1, points), np.arange(len(values))
    return np.stack([np.interp(at, steps, channel) for channel in values.T], axis=1)


def points_of(length: int) -> int:
    """At how many points values are read where sequences have a median of ``length`` steps."""
    return min(length, _POINTS)


def _features(convolutions: Convolutions, length: int, sequences: list[np.ndarray]) -> np.ndarray:
    """Convolutions, values, the logarithms of the deviations and of the length, float32 [N, F]."""
    both = [_both(sequence, length) for sequence in sequences]
    shares = convolutions.features(both)
    others = np.empty((len(sequences), _groups(convolutions, length).size - shares.shape[1]))
    for row, x, sequence in zip(others, both, sequences, strict=True):
        deviation = np.log10(sequence.std(0) + _FLAT)
        values = _resampled(x, points_of(length)).ravel()
        row[:] = np.concatenate([values, deviation, [np.log(len(sequence) / length)]])
    return np.concatenate([shares, others.astype(np.float32)], axis=1)


def _groups(convolutions: Convolutions, length: int) -> np.ndarray:
    """Which ridge each feature belongs to, [F]."""
    shape, channels = convolutions.biases.shape, convolutions.sums.shape[2]
    of_sums = np.arange(shape[1]) * 2 // shape[1]
    of_shares = np.broadcast_to(of_sums[:, None, None], shape).ravel()
    return np.append(of_shares, np.full(channels * points_of(length) + channels // 2 + 1, 2))
