"""How far a forecast trusts what was learned: naive forecast, straight line and network in one.

The forecast is naive + a (line - naive) + c network, with weights a and c from 0 to 1 that unseen
windows choose, in closed form.  All three are sums of the inputs or of the network's last features,
so the weights of the trained network take a and c in, and nothing else need know of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from tidegate.data.series.line import Fold, Line, designs
from tidegate.data.series.windowing import Windowing, Windows
from tidegate.runtime.batches import Run
from tidegate.runtime.network import Network

if TYPE_CHECKING:
    from tidegate.nn.network import SequenceNetwork

_STRETCHES = 4  # of a part at least, though they be shorter than a horizon


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


@dataclass(frozen=True, eq=False)
class Blend:
    """``repeated`` [O]: which input of the line the naive forecast repeats as each output.

    ``season``: rows after which it repeats them, 0 for the last value.  ``line`` and ``network``
    [O]: their weights, a and c.
    """

    season: int
    repeated: np.ndarray
    line: np.ndarray
    network: np.ndarray

    @classmethod
    def of(cls, trained: Run, line: Line, folds: Sequence[Fold], w: Windowing) -> Self:
        """Weights of what ``trained`` puts out and of its ``line``.

        They are chosen on the windows that the lines of ``folds`` have not seen; the first fold's
        are those that the network has not seen either.
        """
        steps = line.weights.shape[1] // w.input_size
        bands = _bands(w)
        choices = _repetitions(w, steps)
        wrong = [
            sum(_squared(f.unseen, steps, columns) for f in folds) for columns in choices.values()
        ]
        season = list(choices)[int(np.argmin(wrong))]
        repeated = choices[season]
        sums = []
        for fold in folds:
            for rows, x, y in designs(fold.unseen, steps):
                naive = x[:, repeated]
                sums.append(_products(fold.unseen, rows, fold.line(x) - naive, y - naive, bands))
        of_line = _kept(sums, bands)[bands]
        sums = []
        for rows, x, y in designs(folds[0].unseen, steps):
            naive, straight = x[:, repeated], line(x)
            learned = trained(folds[0].unseen.inputs(rows), None) - straight
            left = y - naive - of_line * (straight - naive)
            sums.append(_products(folds[0].unseen, rows, learned, left, bands))
        return cls(season, repeated, of_line, _kept(sums, bands)[bands])

    def applied(self, trained: Network, line: Line) -> Network:
        """The trained network with the weights taken in."""
        a, c = self.line[:, None], self.network[:, None]
        weights = a * line.weights
        weights[np.arange(len(weights)), self.repeated] += 1 - self.line
        tensors = dict(trained.tensors)
        bias = tensors["dense.bias"].astype(np.float64) - line.intercept
        tensors["dense.weight"] = c * tensors["dense.weight"]
        tensors["dense.bias"] = self.line * line.intercept + self.network * bias
        tensors["linear.weight"] = weights
        return Network(trained.architecture, tensors, trained.weights)

    def told(self) -> dict[str, Any]:
        """For the provenance: what the naive forecast repeats, and mean weights."""
        return {
            "naive_season": self.season,
            "line_weight": round(float(self.line.mean()), 4),
            "network_weight": round(float(self.network.mean()), 4),
        }


def _bands(w: Windowing) -> np.ndarray:
    """A number for each output [O], the same for rows ahead from one power of two to the next."""
    ahead = np.arange(1, w.horizon + 1)
    return np.tile(np.log2(ahead).astype(int), w.output_size // w.horizon)


def _repetitions(w: Windowing, steps: int) -> dict[int, np.ndarray]:
    """What each naive forecast repeats, [O] columns of the line's inputs, by its season."""
    unread = (w.context // w.segment - steps) * w.input_size
    found = {}
    for season in (0, w.season):
        if season > steps * w.segment:
            continue
        rows = w.context - max(season, 1) + np.arange(w.horizon) % max(season, 1)
        found[season] = w.places(rows).ravel() - unread
    return found


def _squared(part: Windows, steps: int, columns: np.ndarray) -> float:
    return sum(float(np.sum((y - x[:, columns]) ** 2)) for _, x, y in designs(part, steps))


def _products(
    part: Windows, rows: np.ndarray, learned: np.ndarray, wanted: np.ndarray, bands: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Stretches [B] of the rows, and sums of products [B, bands, 2]: learned with wanted and self.

    A stretch is a series' windows of one horizon: their errors are of one kind.
    """
    w = part.windowing
    window, series = np.divmod(rows, w.rows_per_window)
    length = int(np.clip(len(part.starts) // _STRETCHES, 1, w.horizon))
    stretch = (part.starts[window] // length) * w.rows_per_window + series
    which = (bands[:, None] == np.arange(bands.max() + 1)).astype(float)
    return stretch, np.stack([(learned * wanted) @ which, (learned * learned) @ which], axis=-1)


def _kept(sums: list[tuple[np.ndarray, np.ndarray]], bands: np.ndarray) -> np.ndarray:
    """The weight of each band, from 0 to 1: least squares, shrunk by how unsure it is.

    What stretches disagree on is taken for chance (James & Stein 1961, positive part).
    """
    names, number = np.unique(np.concatenate([s for s, _ in sums]), return_inverse=True)
    products = np.zeros((len(names), bands.max() + 1, 2))
    np.add.at(products, number, np.concatenate([p for _, p in sums]))
    count = len(products)
    both, own = products.sum(0).T
    weight = np.divide(both, own, out=np.zeros_like(own), where=own > 0).clip(0, 1)
    gains = products @ [2.0, 0.0] * weight - products @ [0.0, 1.0] * weight**2
    gains = gains.sum(1)  # what each stretch's squared error falls by
    gain = gains.mean()
    if count < 2 or not gain > 0:
        return np.zeros(len(own))
    doubt = gains.var(ddof=1) / count / gain**2 * (count + 3) / (count - 1)
    return weight * max(0.0, 1 - (2 * doubt) ** 2)
