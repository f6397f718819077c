"""Exploding and vanishing gradients, seen while a network trains: by layer, and by distance.

By layer: the gradient's length over the weights of each, before it is clipped.  By distance: how
much of it is left so many steps before the last one (training/gradient_reach.py).  Hochreiter 1991;
Bengio, Simard & Frasconi 1994; Pascanu, Mikolov & Bengio 2013, arXiv:1211.5063.
"""

from __future__ import annotations

import copy
import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from tidegate.output.pictures import image_of, new_figure
from tidegate.output.writing import write_atomically
from tidegate.training.gradient_reach import FADED, gradient_reach
from tidegate.training.objective import Objective

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Names of what it writes into the run folder.
TABLE, PICTURE = "gradients.csv", "gradients.png"

_MOST_CURVES = 6  # evaluations whose gradients are drawn by distance
_FLOOR = 1e-12  # of what is drawn
_STEP, _MEAN, _LARGEST, _LEFT = "step", "mean ", "largest ", "left after "


class GradientWatch:
    """Looks at the gradients of a run of ``objective``; ``rows``: one for each evaluation.

    A row: the step; of each layer the mean and the largest length since the last evaluation; and
    what is left at distances of 1, 2, 4, ... steps, of 1 at the last step.  With a ``folder`` they
    stand there as a table and a picture; ``begun``: the step that a resumed run stands at.
    """

    def __init__(
        self,
        objective: Objective,
        parameters: Sequence[tuple[str, nn.Parameter]],
        folder: Path | None,
        begun: int,
    ) -> None:
        self._objective, self._folder = objective, folder
        self._layers: dict[str, list[nn.Parameter]] = {}
        for name, parameter in parameters:
            if parameter.requires_grad:
                self._layers.setdefault(name.rpartition(".")[0] or name, []).append(parameter)
        self._since: list[Tensor] = []  # norms of each layer, since the last evaluation
        self.rows = [] if folder is None else [*_rows_before(folder / TABLE, begun)]

    def stepped(self) -> None:
        """A gradient is in the weights."""
        norms = []
        for parameters in self._layers.values():
            found = [p.grad.detach() for p in parameters if p.grad is not None]
            own = [torch.linalg.vector_norm(one).cpu() for one in found] or [torch.zeros(())]
            norms.append(torch.linalg.vector_norm(torch.stack(own)))
        self._since.append(torch.stack(norms))

    def evaluated(self, step: int) -> str:
        """An evaluation is due at this step: add a row, write it, and say what it says."""
        row: dict[str, float] = {_STEP: step}
        if self._since:
            norms = torch.stack(self._since).double()
            for k, name in enumerate(self._layers):
                row[_MEAN + name] = float(norms[:, k].mean())
                row[_LARGEST + name] = float(norms[:, k].max())
        self._since = []
        reach = self._reach()
        for distance in _distances(len(reach)):
            row[f"{_LEFT}{distance}"] = float(reach[distance])
        self.rows.append(row)
        if self._folder is not None:
            self._write(self._folder)
        return _told(row, reach)

    def _reach(self) -> np.ndarray:
        """What is left at each distance; nothing of a task whose answers have no last step."""
        batch = self._objective.last_answers()
        if batch is None:
            return np.zeros(0)
        network: Any = copy.deepcopy(self._objective.network).cpu()
        return gradient_reach(network, *batch)

    def _write(self, folder: Path) -> None:
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_atomically(folder / TABLE, text.getvalue().encode())
        figure = draw_gradients(self.rows)[0].figure
        write_atomically(folder / PICTURE, image_of(figure))


def draw_gradients(rows: Sequence[dict[str, float]], *, shown: bool = False) -> list[Axes]:
    """Gradients by layer over the steps, and what is left by distance.  ``shown``: by pyplot."""
    figure = new_figure((7, 6.4), shown=shown)
    above, below = figure.subplots(2, 1)
    steps = [row[_STEP] for row in rows]
    names = dict.fromkeys(n for row in rows for n in row if n.startswith(_MEAN))
    for name in names:
        layer = name.removeprefix(_MEAN)
        means, largest = (
            np.maximum([row.get(part + layer, np.nan) for row in rows], _FLOOR)
            for part in (_MEAN, _LARGEST)
        )
        (line,) = above.plot(steps, means, ".-", label=layer)
        above.fill_between(steps, means, largest, color=line.get_color(), alpha=0.15, linewidth=0)
    above.set(yscale="log", xlabel="optimiser step", ylabel="length of the gradient")
    if names:
        title = "mean since the last evaluation, up to the largest"
        above.legend(frameon=False, fontsize="small", title=title, title_fontsize="small")
    told = [row for row in rows if any(n.startswith(_LEFT) for n in row)]
    chosen = np.unique(np.linspace(0, len(told) - 1, _MOST_CURVES).astype(int)) if told else []
    for rank, k in enumerate(chosen):
        left = {int(n.removeprefix(_LEFT)): v for n, v in told[k].items() if n.startswith(_LEFT)}
        values = np.maximum(list(left.values()), _FLOOR)
        colour = (0.1, 0.3, 0.6, 0.25 + 0.75 * (rank + 1) / len(chosen))
        label = f"step {told[k][_STEP]:.0f}"
        below.plot(list(left), values, ".-", color=colour, label=label)
    if told:
        below.axhline(FADED, color="0.5", linewidth=0.8)
        below.legend(frameon=False, fontsize="small")
        below.set(yscale="log", xlabel="recurrent steps before the last")
        below.set_ylabel("part of the gradient that is left")
    else:
        about = "answers of this task have no last step to look back from"
        below.text(0.5, 0.5, about, ha="center", transform=below.transAxes)
    for axes in (above, below):
        axes.spines[["top", "right"]].set_visible(False)
    return [above, below]


def _distances(count: int) -> list[int]:
    """0, 1, 2, 4, ... and the last one, below ``count``."""
    doubled = [0, *(2**k for k in range(31))]
    return sorted({d for d in doubled if d < count} | ({count - 1} if count else set()))


def _told(row: dict[str, float], reach: np.ndarray) -> str:
    layers = [
        f"{name.removeprefix(_MEAN)} {value:.2g} (up to {row[_LARGEST + name[len(_MEAN) :]]:.2g})"
        for name, value in row.items()
        if name.startswith(_MEAN)
    ]
    faded = np.flatnonzero(reach < FADED)
    if len(faded):
        layers.append(f"less than a thousandth is left {faded[0]} steps before the last")
    elif len(reach) > 1:
        layers.append(f"{reach[-1]:.2g} of it is left {len(reach) - 1} steps before the last")
    return f"gradients at step {row[_STEP]:.0f}: {', '.join(layers)}"


def _rows_before(path: Path, step: int) -> Iterator[dict[str, float]]:
    """The rows of a table up to a step: later ones a resumed run comes by again."""
    if not step or not path.exists():
        return
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if float(row[_STEP]) <= step:
                yield {name: float(value) for name, value in row.items() if value}
