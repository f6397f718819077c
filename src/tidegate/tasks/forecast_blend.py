"""How far a forecast trusts what was learned: naive forecast, straight line and network in one.

The forecast is naive + a (line - naive) + c network, with weights a and c from 0 to 1 that unseen
windows choose, in closed form.  All three are sums of the inputs or of the network's last features,
so the weights of the trained network take a and c in, and nothing else need know of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from tidegate.data.series.line import Fold, Line, designs, fit_line, widest_line
from tidegate.data.series.windowing import Windowing
from tidegate.data.series.windows import Windows
from tidegate.runtime.batches import Run
from tidegate.runtime.network import Network
from tidegate.tasks.forecast_naive import CLEARLY, Naive, best_naive, is_better, stretches
from tidegate.terminal import say
from tidegate.training.preparation import Preparation

if TYPE_CHECKING:
    from tidegate.nn.network import SequenceNetwork

_OF_PREPARING = 0.5  # of the time for preparing: what a straight line may take


def line_in_time(
    train: Windows, validation: Windows, most: int, preparation: Preparation, speaks: bool
) -> tuple[Line, float]:
    """The line of the last ``most`` steps, or of those there is time for; the seconds it took.

    With fewer that is said.
    """

    def chosen() -> float:
        seconds = preparation.seconds(_OF_PREPARING)
        return widest_line(train, validation, most, seconds) / most

    steps = max(1, round(preparation.decide("line", chosen) * most))
    if steps < most and speaks:
        rows = (steps - train.windowing.steps_ahead) * train.windowing.segment
        say(f"the minutes are too few for a straight line of all that is read: it has {rows} rows")
    began = monotonic()
    return fit_line(train, validation, steps), monotonic() - began


def start_from_line(network: SequenceNetwork, line: Line) -> dict[str, Any]:
    """Set the network to the line alone, which stays; what it learns is added to it."""
    import torch

    assert network.linear is not None
    with torch.no_grad():
        network.linear.weight.copy_(torch.from_numpy(line.weights))
        network.dense.bias.copy_(torch.from_numpy(line.intercept))
        network.dense.weight.zero_()
    network.linear.weight.requires_grad_(False)
    return {"line_penalty": line.penalty}


def with_weights(network: Network, weights: Mapping[str, Any]) -> Network:
    """The network with tensors of torch by their names in its state_dict, for its own."""
    tensors = {name: tensor.cpu().numpy() for name, tensor in weights.items()}
    return Network(network.architecture, tensors)


@dataclass(frozen=True, eq=False)
class Blend:
    """``line`` and ``network`` [O]: the weights a and c beside the ``naive`` forecast.

    ``naive_mse`` and ``line_mse``: squared errors of the two on the windows that the network has
    not seen, in standard deviations.
    """

    naive: Naive
    line: np.ndarray
    network: np.ndarray
    naive_mse: float
    line_mse: float

    @classmethod
    def of(
        cls, trained: Run, line: Line, folds: Sequence[Fold], w: Windowing, *, wandering: bool
    ) -> Self:
        """Weights of what ``trained`` puts out and of its ``line``.

        Where windows are too few to agree on any, they are those of the naive forecast or of the
        line alone, whichever had the lesser error.  Of series that are ``wandering`` like random
        walks the line must have it clearly: there the last value is the best forecast, and a line
        that does better does so by chance.

        They are chosen on the windows that the lines of ``folds`` have not seen; the first fold's
        are those that the network has not seen either.
        """
        steps = line.weights.shape[1] // w.input_size
        bands = _bands(w)
        again = best_naive(folds, w, steps, wandering=wandering)
        parts, sums = [], []
        for fold in folds:
            for rows, x, y in designs(fold.unseen, steps):
                naive = again(x)
                straight = fold.line(x) - naive
                parts.append(stretches(fold.unseen, rows))
                sums.append(_products(y - naive, straight, np.zeros_like(y), bands))
        by_folds = _Weighed.of(parts, sums)
        alone, _ = by_folds.trusted(by_folds.better(CLEARLY if wandering else 0.0))
        _, trust = by_folds.trusted()
        parts, sums, wrong = [], [], np.zeros(3)
        unseen = folds[0].unseen
        for rows, x, y in designs(unseen, steps):
            naive, straight = again(x), line(x)
            wrong += np.sum((naive - y) ** 2), np.sum((straight - y) ** 2), y.size
            learned = trained(unseen.inputs(rows), None) - straight
            parts.append(stretches(unseen, rows))
            sums.append(_products(y - naive, straight - naive, learned, bands))
        # few windows chose the network's step, too, so they cannot trust it further than the line
        most = trust if len(folds) > 1 else 1.0
        weights, _ = _Weighed.of(parts, sums).trusted(alone, most)
        of_line, of_network = weights.T[:, bands]
        mse = (wrong[:2] / wrong[2]).tolist()
        return cls(again, of_line, of_network, *mse)

    def applied(self, trained: Network, line: Line, kept: Line) -> Network:
        """The network, trained beside ``line``, with the weights taken in, beside ``kept``."""
        a, c = self.line[:, None], self.network[:, None]
        weights = a * kept.weights + (1 - a) * self.naive.weights
        tensors: dict[str, np.ndarray] = dict(trained.tensors)
        bias = tensors["dense.bias"].astype(np.float64) - line.intercept
        tensors["dense.weight"] = c * tensors["dense.weight"]
        tensors["dense.bias"] = self.line * kept.intercept + self.network * bias
        tensors["linear.weight"] = weights
        return Network(trained.architecture, tensors)

    def told(self) -> dict[str, Any]:
        """For the provenance: which the naive forecast is, and mean weights."""
        return {
            "naive": self.naive.about,
            "naive_season": self.naive.season,
            "line_weight": round(float(self.line.mean()), 4),
            "network_weight": round(float(self.network.mean()), 4),
            "naive_mse": self.naive_mse,
            "line_mse": self.line_mse,
        }

    def said(self, mse: float) -> str:
        """What training says of the forecast's error on the validation rows, beside the two's."""
        return (
            f"validation mse {mse:.4g} with the network at {self.network.mean():.2g} of its weight "
            f"and the line at {self.line.mean():.2g}; the straight line alone {self.line_mse:.4g}, "
            f"{self.naive.about} {self.naive_mse:.4g}"
        )


def _bands(w: Windowing) -> np.ndarray:
    """A number for each output [O], the same for rows ahead from one power of two to the next."""
    ahead = np.arange(1, w.horizon + 1)
    return np.tile(np.log2(ahead).astype(int), w.output_size // w.horizon)


def _products(
    wanted: np.ndarray, line: np.ndarray, network: np.ndarray, bands: np.ndarray
) -> np.ndarray:
    """Of each row and band the sums of the five products that squared errors consist of,
    [B, bands, 5].
    """
    which = (bands[:, None] == np.arange(bands.max() + 1)).astype(float)
    pairs = (line, wanted), (network, wanted), (line, line), (line, network), (network, network)
    return np.stack([(one * other) @ which for one, other in pairs], axis=-1)


@dataclass(frozen=True, eq=False)
class _Weighed:
    """``products`` [stretches, bands, 5], which tell the error of any weights [bands, 2]."""

    products: np.ndarray

    @classmethod
    def of(cls, parts: list[np.ndarray], sums: list[np.ndarray]) -> Self:
        names, number = np.unique(np.concatenate(parts), return_inverse=True)
        products = np.zeros((len(names), *sums[0].shape[1:]))
        np.add.at(products, number, np.concatenate(sums))
        return cls(products)

    def better(self, clearly: float) -> np.ndarray:
        """Weights [bands, 2] of that which does better: the naive forecast or the line alone.

        The line's gain must be more than ``clearly`` times its standard error.
        """
        none = np.zeros((self.products.shape[1], 2))
        line = none + [1.0, 0.0]
        gains = -self._errors(line)
        return line if is_better(gains, clearly) else none

    def trusted(
        self, before: np.ndarray | None = None, most: float = 1.0
    ) -> tuple[np.ndarray, float]:
        """Weights of line and network in each band [bands, 2], from 0 to 1, and the trust in them.

        Least squares, as far from the weights ``before`` (default: 0) as the stretches agree that
        these are worse: not at all where the mean gain is below twice its standard error or so
        (shrinkage: James & Stein 1961).  Of few stretches more is asked, as Student's t does.
        Trust is from 0 to ``most``.
        """
        count = len(self.products)
        best = np.array([_least(*band) for band in self.products.sum(0)])
        before = np.zeros_like(best) if before is None else before
        gains = self._errors(before) - self._errors(best)  # [stretches]
        gain = gains.mean()
        if count < 2 or not gain > 0:
            return before, 0.0
        doubt = gains.var(ddof=1) / count / gain**2 * (count + 3) / (count - 1)
        trust = most * max(0.0, 1 - (2 * doubt) ** 4)
        return before + trust * (best - before), float(trust)

    def _errors(self, weights: np.ndarray) -> np.ndarray:
        """Squared error of each stretch, less that of the naive forecast."""
        a, c = weights.T
        terms = np.stack([-2 * a, -2 * c, a * a, 2 * a * c, c * c], axis=-1)
        return (self.products * terms).sum((1, 2))


def _least(ly: float, ny: float, ll: float, ln: float, nn: float) -> tuple[float, float]:
    """Weights of line and network within [0, 1] with the least squared error.

    The products are sums of line, network and what is wanted: that of the first two is ``ly``.
    """

    def within(over: float, under: float) -> float:
        return min(max(over / under, 0.0), 1.0) if under > 0 else 0.0

    inner = ll * nn - ln * ln
    edges = [(a, within(ny - a * ln, nn)) for a in (0.0, 1.0)]
    edges += [(within(ly - c * ln, ll), c) for c in (0.0, 1.0)]
    if inner > 1e-9 * ll * nn:
        a, c = (ly * nn - ny * ln) / inner, (ny * ll - ly * ln) / inner
        if 0 <= a <= 1 and 0 <= c <= 1:
            return a, c
    return min(edges, key=lambda w: w[0] * (w[0] * ll + 2 * w[1] * ln - 2 * ly)
               + w[1] * (w[1] * nn - 2 * ny))  # fmt: skip
