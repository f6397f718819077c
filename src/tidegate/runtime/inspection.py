"""The gates of a network over the steps of one sequence, by the text-book pass on numpy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from tidegate.cells import Cell
from tidegate.equations import bptt, expr
from tidegate.errors import InputError
from tidegate.output.html_tables import html_table
from tidegate.runtime.network import Network

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_NEAR = 0.1  # of a gate's range: Karpathy, Johnson and Fei-Fei 2015, arXiv:1506.02078, section 4.2
_STEPS = 64  # whose values are held at a time; each step holds all of its equations' values
_LARGEST = 2**28  # values of all gates together, which take a GiB
_UNBOUNDED = (-np.inf, np.inf)


@dataclass(frozen=True, eq=False)
class GateValues:
    """One gate of a layer in one direction: ``values`` float32 [T, H], at the steps in their order.

    ``series``: which of several series that the network reads each by itself; else "".  ``layer``
    counts from 0.  ``gate`` and ``meaning`` are the cell's own.  ``bounds``: between which all
    values lie, as the equations say; infinite where they say none.  ``keeps``: whether it keeps
    what a state held, as the cell declares.
    """

    series: str
    layer: int
    backward: bool
    gate: str
    meaning: str
    bounds: tuple[float, float]
    values: np.ndarray
    keeps: bool = False

    @property
    def name(self) -> str:
        """``layer_0.z``; ``layer_0.z_reverse`` in the backward direction."""
        name = f"layer_{self.layer}.{self.gate}{'_reverse' if self.backward else ''}"
        return f"{self.series}.{name}" if self.series else name

    @property
    def mean(self) -> float:
        """Over all steps and units; NaN where there is no step."""
        return float(self.values.mean(dtype=np.float64)) if self.values.size else float("nan")

    @property
    def time_scales(self) -> np.ndarray:
        """1 / (1 - mean) of each unit over the steps, float64 [H], in steps; infinite at 1.

        How long what a state holds would last if a gate that keeps it stayed so: after so many
        steps about a share of 1/e of it is left (Tallec & Ollivier 2018, arXiv:1804.11188).
        """
        with np.errstate(divide="ignore"):
            return 1 / np.maximum(1 - self.values.mean(0, dtype=np.float64), 0)

    @property
    def saturated_by_step(self) -> tuple[np.ndarray, np.ndarray] | None:
        """``saturated`` at each step, over the units, float64 [T] each."""
        near = self._near()
        return None if near is None else (near[0].mean(1), near[1].mean(1))

    @property
    def saturated(self) -> tuple[float, float] | None:
        """The shares of values within a tenth of the range from the lower bound and the upper.

        None where there is no such bound, or no step.
        """
        near = self._near()
        return None if near is None else (float(near[0].mean()), float(near[1].mean()))

    def _near(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Which values are within a tenth of the range from the lower bound and the upper."""
        low, high = self.bounds
        if not np.isfinite(self.bounds).all() or not self.values.size:
            return None
        near = _NEAR * (high - low)
        return self.values < low + near, self.values > high - near


@dataclass(frozen=True, eq=False)
class Inspection:
    """The gates of a model while it reads one sequence.  ``steps``: what it reads at each step."""

    steps: tuple[str, ...]
    watched: tuple[GateValues, ...]

    @cached_property
    def gates(self) -> dict[str, np.ndarray]:
        """The values of every gate, float32 [T, H], by its name: ``layer_0.z``."""
        return {one.name: one.values for one in self.watched}

    def plot(self) -> list[Axes]:
        """Draw each gate's units over the steps, a panel for each; a notebook shows the picture.

        Raises InputError where there is no matplotlib.
        """
        from tidegate.runtime.gates_plot import draw_gates

        return draw_gates(self, shown=True)

    def _repr_html_(self) -> str:
        """What a notebook shows: a row for each gate."""
        rows = []
        for one in self.watched:
            near = one.saturated
            shares = ["", ""] if near is None else [f"{share:.0%}" for share in near]
            scale = one.time_scales if one.keeps and one.values.size else ()
            told = f"{np.median(scale):.3g}" if len(scale) else ""
            rows.append([one.name, one.meaning, f"{one.mean:.3f}", *shares, told])
        head = ["", "", "mean", "closed", "open", "median time-scale (steps)"]
        return html_table(head, rows, f"gates over {len(self.steps)} steps")

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} of {len(self.steps)} steps"]
        for one in self.watched:
            near = one.saturated
            told = "" if near is None else f", {near[0]:.0%} near {one.bounds[0]:g}, "
            told += "" if near is None else f"{near[1]:.0%} near {one.bounds[1]:g}"
            lines.append(f"{one.name} ({one.meaning}): mean {one.mean:.3f}{told}")
        return "\n  ".join(lines)


def inspected(network: Network, read: Mapping[str, np.ndarray], steps: Sequence[str]) -> Inspection:
    """The gates while ``network`` reads a sequence, [T] or [T, I], of each series in ``read``.

    Raises InputError for so many steps that the values would fill the memory.
    """
    a = network.architecture
    gates = [len(cell.trace.gates) for cell in a.layer_cells]
    per_step = sum(n * hidden for n, hidden in zip(gates, a.hidden_sizes, strict=True))
    per_step *= a.directions * len(read)
    if len(steps) * per_step > _LARGEST:
        most = _LARGEST // per_step
        problem = f"expected at most {most} steps, whose gates fill a GiB, got {len(steps)}"
        raise InputError(f"{problem}; give a part of it")
    watched = [
        one for series, sequence in read.items() for one in _gates(network, series, sequence)
    ]
    return Inspection(tuple(steps), tuple(watched))


@np.errstate(over="ignore", invalid="ignore")
def _gates(network: Network, series: str, sequence: np.ndarray) -> list[GateValues]:
    a, found = network.architecture, []
    x = network.embedded(sequence[:, None])
    condition = sequence["condition"][:1] if a.condition_size and len(sequence) else None
    begun = network.initial_state(1, condition)
    for k, (cell, sizes) in enumerate(zip(a.answering_cells, a.layer_sizes(), strict=True)):
        x = network.between.normalised(k, x)
        entering = network.between.read(k, x)
        outputs = []
        for backward, weights in enumerate(network.layer_weights(k)):
            turn = slice(None, None, -1 if backward else 1)
            state = begun[k * a.directions + backward]
            y, gates = _unrolled(cell, entering[turn], weights, state, sizes["H"])
            outputs.append(y[turn])
            for gate, values in gates.items():
                about = cell.gates.get(gate)
                found.append(
                    GateValues(
                        series, k, backward == 1, gate, about.meaning if about else "",
                        _bounds(cell.trace.gates[gate]), values[turn],
                        bool(about and about.role == "keeps"),
                    )
                )  # fmt: skip
        x = np.concatenate(network.between.added(k, x, outputs), axis=-1)
    return found


def _unrolled(
    cell: Cell,
    x: np.ndarray,
    weights: Mapping[str, np.ndarray],
    state: tuple[np.ndarray, ...],
    hidden: int,
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Outputs [T, 1, W] of x [T, 1, I] from a ``state`` on, and each gate's values [T, H]."""
    y = np.zeros((len(x), 1, state[0].shape[1]), np.float32)
    gates = {gate: np.zeros((len(x), hidden), np.float32) for gate in cell.trace.gates}
    for t in range(0, len(x), _STEPS):
        run = bptt.forward(cell, x[t : t + _STEPS], state, weights)
        state, y[t : t + _STEPS] = run.state, run.y
        for gate, values in run.gates(cell).items():
            gates[gate][t : t + _STEPS] = values[:, 0]
    return y, gates


def _bounds(node: expr.Expr) -> tuple[float, float]:
    """Between which a value lies, as far as its own equation says: of a sigmoid 0 and 1."""
    match node:
        case expr.Constant(value):
            return value, value
        case expr.Unary("sigmoid", _):
            return 0.0, 1.0
        case expr.Unary("tanh" | "erf", _):
            return -1.0, 1.0
        case expr.Unary("relu", a):
            low, high = _bounds(a)
            return max(low, 0.0), max(high, 0.0)
        case expr.Unary("exp", a):
            low, high = np.exp(_bounds(a))
            return float(low), float(high)
        case expr.Binary("mul", expr.Constant(factor), a) if factor:
            ends = sorted(factor * end for end in _bounds(a))
            return ends[0], ends[1]
        case expr.Binary("sub", a, b):
            (low, high), (least, most) = _bounds(a), _bounds(b)
            return low - most, high - least
        case expr.Binary("minimum" | "maximum" as op, a, b):
            pick = min if op == "minimum" else max
            (low, high), (least, most) = _bounds(a), _bounds(b)
            return pick(low, least), pick(high, most)
    return _UNBOUNDED
