"""The straight line from windows to their targets: ridge regression, in closed form.

Of linear maps on differences from the last known value the plainest forecast long horizons about as
well as Transformers do (Zeng et al. 2023, NLinear, arXiv:2205.13504).  All that a fit and its error
need of windows are sums of products, which add up over stretches of them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tidegate.data.series.windows import Windows

PENALTIES = tuple(10.0 ** (e / 2) for e in range(-6, 13))  # in squared standard deviations
MOST_INPUTS = 4096  # of a line, whose products of inputs must fit into memory
_MOST_WEIGHTS = 2**22
_WORK = 3e10  # multiplications in the sums of one part: a few seconds
_ROWS = 2048  # at once: bounds the memory
_FOLDS = 5  # of training
_TWICE_AS_LONG = 8  # times the work of a line of twice as many steps, at most
_ENOUGH = 10  # horizons of validation rows, from which on they alone choose


@dataclass(frozen=True, eq=False)
class Line:
    """Outputs are ``weights`` [O, I] on inputs and ``intercept`` [O]."""

    weights: np.ndarray
    intercept: np.ndarray
    penalty: float

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The outputs [B, O] of inputs [B, I]."""
        return x @ self.weights.T + self.intercept

    def fitted_to(self, part: Windows, steps: int) -> Line:
        """The line of other windows with this one's penalty."""
        return _Sums.of(part, steps).line(self.penalty)


@dataclass(frozen=True, eq=False)
class Fold:
    """A line that was fitted without some windows, and these: what it is worth on unseen rows."""

    line: Line
    unseen: Windows


def line_steps(input_size: int, output_size: int, steps: int) -> int:
    """How many of a window's last ``steps`` recurrent steps a line can read; 0 for too wide ones.

    Its equations have as many unknowns as inputs.
    """
    most = min(MOST_INPUTS, _MOST_WEIGHTS // output_size)
    return min(steps, most // input_size)


def fit_line(train: Windows, validation: Windows, steps: int) -> Line:
    """The line of the last ``steps`` steps of ``train``.

    Its penalty is the one with the least squared error on ``validation``.
    """
    learned = _Sums.of(train, steps)
    return learned.line(learned.best_penalty(_Sums.of(validation, steps)))


def widest_line(train: Windows, validation: Windows, most: int, seconds: float) -> int:
    """Of how many of the last ``most`` steps a line takes no more than about ``seconds``.

    The cost rises with their third power at most, so that shorter lines tell.
    """
    if math.isinf(seconds):
        return most
    ahead = train.windowing.steps_ahead  # are read last
    for steps in sorted({ahead - (ahead - most) // part for part in (4, 2)}):
        began = time.monotonic()
        fit_line(train, validation, steps)
        took = time.monotonic() - began
        seconds -= took
        if _TWICE_AS_LONG * took > seconds:
            return steps
    return most


def fold_count(train: Windows, validation: Windows) -> int:
    """How many lines of earlier rows ``line_folds`` fits."""
    horizon = train.windowing.horizon
    enough = len(validation.starts) >= _ENOUGH * horizon
    return 0 if enough or len(train.starts) <= 2 * _FOLDS * horizon else _FOLDS - 1


def line_folds(line: Line, train: Windows, validation: Windows, steps: int) -> list[Fold]:
    """The line with ``validation``, and where that has few horizons of rows, earlier ones.

    Training is then parted into stretches, each forecast by a line of those before it, whose
    penalty did best on the stretch before (a rolling origin: Tashman 2000, Int. J. Forecasting 16).
    """
    horizon = train.windowing.horizon
    folds = [Fold(line, validation)]
    if not fold_count(train, validation):
        return folds
    penalty = None
    for own in np.array_split(train.starts, _FOLDS)[1:]:
        before = _Sums.of(train.at(train.starts[train.starts <= own[0] - horizon]), steps)
        unseen = train.at(own)
        if penalty is not None:
            folds.append(Fold(before.line(penalty), unseen))
        penalty = before.best_penalty(_Sums.of(unseen, steps))
    return folds


def stride_of(part: Windows, steps: int) -> int:
    """Of very many windows every second, third, ... is learned from: neighbours are alike."""
    w = part.windowing
    width = 1 + steps * w.input_size + w.output_size
    return max(1, int(len(part) * width**2 / _WORK))


def designs(
    part: Windows, steps: int, *, thinned: bool = True
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Rows, inputs [B, I] of the last ``steps`` steps and targets [B, O], float64.

    ``thinned``: of very many windows every second, third, ... start is taken: neighbours say almost
    the same.  Windows of which little is known are left out; else where a target is missing, the
    last known value stands.
    """
    w = part.windowing
    stride = stride_of(part, steps) if thinned else 1
    rows = part.answered
    rows = rows[rows // w.rows_per_window % stride == 0]
    for some in np.split(rows, range(_ROWS, len(rows), _ROWS)):
        x = part.inputs(some)[-steps:].swapaxes(0, 1).reshape(len(some), -1)
        yield some, x.astype(np.float64), part.targets(some, gaps=False).astype(np.float64)


@dataclass(frozen=True, eq=False)
class _Sums:
    """Sums over windows of products of one, inputs and targets: ``products`` [D, D], D = 1+I+O."""

    products: np.ndarray
    inputs: int

    @classmethod
    def of(cls, part: Windows, steps: int) -> _Sums:
        w = part.windowing
        inputs = steps * w.input_size
        width = 1 + inputs + w.output_size
        products = np.zeros((width, width))
        for _, x, y in designs(part, steps):
            z = np.concatenate([np.ones((len(x), 1)), x, y], axis=1)
            products += z.T @ z
        return cls(products, inputs)

    def best_penalty(self, held: _Sums) -> float:
        """That of the line with the least squared error on other windows.

        Along the eigenvectors an error is a square form of the 1 / (value + penalty), so that all
        penalties together cost as much as one line.
        """
        values, vectors, moment = self._spectrum
        gram, cross = held.centred(self._mean_x, self._mean_y)
        square = (vectors.T @ gram @ vectors) * (moment @ moment.T)
        linear = np.einsum("io,io->i", vectors.T @ cross, moment)

        def error(penalty: float) -> float:
            factors = 1 / (values + penalty)
            return float(factors @ square @ factors - 2 * linear @ factors)

        return min(PENALTIES, key=error)

    def line(self, penalty: float) -> Line:
        values, vectors, moment = self._spectrum
        weights = (vectors @ (moment / (values + penalty)[:, None])).T
        return Line(weights, self._mean_y - weights @ self._mean_x, penalty)

    def centred(self, mean_x: np.ndarray, mean_y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Sums of the products of inputs with inputs and with targets, less these means."""
        k, count = 1 + self.inputs, self.products[0, 0]
        x, y = self.products[0, 1:k], self.products[0, k:]
        gram = self.products[1:k, 1:k] - np.outer(x, mean_x) - np.outer(mean_x, x)
        cross = self.products[1:k, k:] - np.outer(x, mean_y) - np.outer(mean_x, y)
        return (
            gram + count * np.outer(mean_x, mean_x),
            cross + count * np.outer(mean_x, mean_y),
        )

    @property
    def _mean_x(self) -> np.ndarray:
        return self.products[0, 1 : 1 + self.inputs] / self.products[0, 0]

    @property
    def _mean_y(self) -> np.ndarray:
        return self.products[0, 1 + self.inputs :] / self.products[0, 0]

    @cached_property
    def _spectrum(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of centred inputs the eigenvalues and vectors, and their products with the targets."""
        gram, moment = self.centred(self._mean_x, self._mean_y)
        values, vectors = np.linalg.eigh(gram)
        return values.clip(0), vectors, vectors.T @ moment
