"""Nodes from rows as they were measured to what a network reads, and from its outputs to answers.

In float64, as ``data/sequences/inputs.py`` and ``data/series/windowing.py`` compute it: of large
numbers that differ by little, float32 would keep nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import log
from typing import Any, Protocol

import numpy as np

from tidegate.data.sequences.evidence import SequenceEvidence
from tidegate.data.sequences.inputs import FLAT, SequenceInputs
from tidegate.data.sequences.reading import SequenceReading
from tidegate.data.series.scaling import Scaler
from tidegate.data.series.windowing import Windowing
from tidegate.data.series.windows import FLAT_CONTEXT, Rows, Windows
from tidegate.onnx.evidence import evidence_of
from tidegate.onnx.graph import Graph, axes, cast, highest_of, size_of, summed, whole
from tidegate.runtime.batches import outputs_of, step_outputs
from tidegate.runtime.network import Network

_MOST_STEPS = 2000  # of a random sequence
ROWS = "rows"
LENGTHS = "sequence_lens"
Tensor = tuple[str, Any, list[int | str]]  # name, type, shape


class Reading(Protocol):
    """What stands before and behind a network of numbers."""

    @property
    def inputs(self) -> list[Tensor]: ...

    def read(self, graph: Graph) -> tuple[str, str]:
        """What the network reads, float32 [T, B, I], and the lengths, int32 [B]."""
        ...

    def answered(self, graph: Graph, output: str) -> tuple[str, Any, list[int | str]]:
        """The answer of outputs [B, O], its type and its shape."""
        ...

    def examples(self, rng: np.random.Generator) -> Iterator[dict[str, np.ndarray]]:
        """Random batches of the inputs."""
        ...

    def expected(self, network: Network, feed: dict[str, np.ndarray]) -> np.ndarray:
        """What the answer must be; where there is one to each step, of those that there are."""
        ...

    @property
    def unit(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and scale of answers, in which they are compared."""
        ...


@dataclass(frozen=True)
class SequenceRows:
    """Sequences [batch, time, C], ended by the lengths; ``target`` scales the number told."""

    reading: SequenceReading
    target: Scaler | None

    @property
    def inputs(self) -> list[Tensor]:
        shape = ["batch", "time", self.reading.inputs.channels]
        return [(ROWS, np.float64, shape), (LENGTHS, np.int32, ["batch"])]

    def read(self, graph: Graph) -> tuple[str, str]:
        inputs, counts = self.reading.inputs, cast(graph, LENGTHS, np.int64)
        values, beside = self._whole(graph, counts)
        segment, one = whole(graph, inputs.segment), whole(graph, 1)
        # the last segment is filled up with the last value
        last = graph.node("Max", graph.node("Sub", counts, one), whole(graph, 0))
        steps = _segments_of(graph, size_of(graph, values, 1), segment)
        places = graph.node("Range", whole(graph, 0), graph.node("Mul", steps, segment), one)
        places = graph.node("Min", places, graph.node("Unsqueeze", last, axes(graph, 1)))
        places = graph.node("Unsqueeze", places, axes(graph, 2))
        values = graph.node("GatherND", values, places, batch_dims=1)
        shape = axes(graph, 0, -1, inputs.segment * inputs.columns)
        values = graph.node("Reshape", values, shape)
        if beside:
            told = beside[0] if len(beside) == 1 else graph.node("Concat", *beside, axis=2)
            width = self.reading.input_size - inputs.segment * inputs.columns
            rows = _shape(graph, size_of(graph, values, 0), steps, axes(graph, width))
            values = graph.node("Concat", values, graph.node("Expand", told, rows), axis=2)
        values = graph.node("Transpose", cast(graph, values, np.float32), perm=[1, 0, 2])
        return values, cast(graph, _segments_of(graph, counts, segment), np.int32)

    def _whole(self, graph: Graph, counts: str) -> tuple[str, list[str]]:
        """Values [B, T, C] of every step, and what is beside all of them, [B, 1, ...] each."""
        inputs, evidence = self.reading.inputs, self.reading.evidence
        values = _filled(graph, _scaled(graph, ROWS, inputs.scaler))
        if not inputs.own_scale and evidence is None:
            return self._with_times(graph, values, values, counts), []
        shape, mean, magnitude = _own_scale(graph, values, counts)
        beside = [mean, magnitude] if inputs.own_scale else []
        if evidence is not None:
            told = evidence_of(graph, evidence, shape, values, magnitude, counts)
            beside.append(graph.node("Unsqueeze", told, axes(graph, 1)))
        shape = shape if inputs.own_scale else values
        return self._with_times(graph, shape, values, counts), beside

    def _with_times(self, graph: Graph, shape: str, values: str, counts: str) -> str:
        """``shape`` with elapsed times as they stand in ``values``, and as they follow."""
        inputs = self.reading.inputs
        if not inputs.elapsed:
            return shape
        ends = np.iinfo(np.int64).max
        last = graph.node("Slice", values, axes(graph, -1), axes(graph, ends), axes(graph, 2))
        parts = [last]
        if inputs.channels > 1:
            others = axes(graph, 0), axes(graph, -1), axes(graph, 2)
            parts.insert(0, graph.node("Slice", shape, *others))
        if inputs.elapsed == 2:
            later = graph.node("Slice", last, axes(graph, 1), axes(graph, ends), axes(graph, 1))
            one = graph.node("Slice", last, axes(graph, 0), axes(graph, 1), axes(graph, 1))
            later = graph.node("Concat", later, one, axis=1)
            follows = graph.node(
                "Sub", graph.node("Unsqueeze", counts, axes(graph, 1)), whole(graph, 1)
            )
            numbers = graph.node(
                "Range", whole(graph, 0), size_of(graph, values, 1), whole(graph, 1)
            )
            follows = graph.node("Unsqueeze", graph.node("Less", numbers, follows), axes(graph, 2))
            parts.append(graph.node("Where", follows, later, graph.constant(np.zeros(()))))
        return parts[0] if len(parts) == 1 else graph.node("Concat", *parts, axis=2)

    def answered(self, graph: Graph, output: str) -> tuple[str, Any, list[int | str]]:
        if self.target is None:
            return output, np.float32, []
        return _unscaled(graph, cast(graph, output, np.float64), self.target), np.float64, []

    def examples(self, rng: np.random.Generator) -> Iterator[dict[str, np.ndarray]]:
        """Short ones, one of no steps among them; with evidence one of more than its kernels span.

        A row stands beside others, and beyond its length there may be anything.
        """
        of, evidence = self.reading.inputs.scaler, self.reading.evidence
        more = [] if evidence is None else [[min(_MOST_STEPS, evidence.length * 3 // 2), 3]]
        for lengths in ([37, 1, 20, 5, 0], *more):
            rows = rng.standard_normal((len(lengths), max(lengths), len(of.mean)))
            rows[rng.random(rows.shape) < 0.1] = np.nan
            yield {ROWS: rows * of.scale + of.mean, LENGTHS: np.array(lengths, np.int32)}

    def expected(self, network: Network, feed: dict[str, np.ndarray]) -> np.ndarray:
        pairs = zip(feed[ROWS], feed[LENGTHS], strict=True)
        read = self.reading.of([self.reading.inputs.filled(rows[:n]) for rows, n in pairs])
        width = network.architecture.output_size
        if network.architecture.readout == "every":
            return np.concatenate(step_outputs(network, read, width))
        outputs = outputs_of(network, read, width)
        return outputs if self.target is None else self.target.inverse(outputs.astype(np.float64))

    @property
    def unit(self) -> tuple[np.ndarray, np.ndarray]:
        if self.target is None:
            return np.zeros(1), np.ones(1)
        return self.target.mean, self.target.scale


@dataclass(frozen=True)
class WindowRows:
    """The last ``context`` rows of series [batch, time, C + K], of which K are covariates."""

    windowing: Windowing

    @property
    def inputs(self) -> list[Tensor]:
        columns = len(self.windowing.names) + len(self.windowing.covariate_names)
        return [(ROWS, np.float64, ["batch", "time", columns])]

    def read(self, graph: Graph) -> tuple[str, str]:
        w = self.windowing
        series = len(w.names)
        past = self._past(graph)
        anchor, scale, _ = self._measures(graph, past)
        if anchor is not None:
            past = graph.node("Sub", past, anchor)
        if scale is not None:
            past = graph.node("Div", past, scale)
        columns = self._columns(graph, past, series if w.joint else 1)
        if w.covariate_scaler is not None:
            known = self._scaled_part(graph, series, series + len(w.covariate_names))
            known = self._columns(graph, known, len(w.covariate_names))
            if not w.joint:  # each series reads them
                known = graph.node("Unsqueeze", known, axes(graph, 1))
                shape = axes(graph, 1, series, 1, 1)
                known = graph.node("Expand", known, shape)
                shape = axes(graph, -1, len(w.covariate_names), w.context)
                known = graph.node("Reshape", known, shape)
            columns = graph.node("Concat", columns, known, axis=1)
        count = w.input_size // w.segment
        steps = w.context // w.segment
        values = graph.node("Reshape", columns, axes(graph, -1, count, steps, w.segment))
        values = graph.node("Transpose", values, perm=[2, 0, 1, 3])
        values = graph.node("Reshape", values, axes(graph, steps, -1, w.input_size))
        rows = _shape(graph, size_of(graph, values, 1))
        lengths = graph.node("Expand", graph.constant(np.array([steps], np.int32)), rows)
        return values, lengths

    def answered(self, graph: Graph, output: str) -> tuple[str, Any, list[int | str]]:
        w = self.windowing
        ahead = cast(graph, output, np.float64)
        ahead = graph.node("Reshape", ahead, axes(graph, -1, len(w.names), w.horizon))
        ahead = graph.node("Transpose", ahead, perm=[0, 2, 1])
        anchor, _, deviation = self._measures(graph, self._past(graph))
        if deviation is not None:
            ahead = graph.node("Mul", ahead, deviation)
        if anchor is not None:
            ahead = graph.node("Add", ahead, anchor)
        shape: list[int | str] = [w.horizon, len(w.names)]
        return _unscaled(graph, ahead, w.scaler), np.float64, shape

    def _measures(self, graph: Graph, past: str) -> tuple[str | None, str | None, str | None]:
        """What is taken off the past [B, context, C] and divided by, and that by which outputs are
        multiplied, [B, 1, C] each: 1 and 0 of a past that never changes.
        """
        w = self.windowing
        if not w.own_scale:
            return (self._last(graph, past) if w.anchored else None), None, None
        last = self._last(graph, past)
        moved, count = graph.node("Sub", past, last), graph.constant(np.array(float(w.context)))
        mean = graph.node("Div", summed(graph, moved, 1, keep=True), count)
        left = graph.node("Sub", moved, mean)
        power = summed(graph, graph.node("Mul", left, left), 1, keep=True)
        deviation = graph.node("Sqrt", graph.node("Div", power, count))
        largest = highest_of(graph, graph.node("Abs", past), 1)
        least = graph.node("Mul", largest, graph.constant(np.array(FLAT_CONTEXT)))
        moves = graph.node("Greater", deviation, graph.node("Unsqueeze", least, axes(graph, 1)))
        one, zero = graph.constant(np.ones(())), graph.constant(np.zeros(()))
        anchor = last if w.anchored else graph.node("Add", last, mean)
        scale, factor = (graph.node("Where", moves, deviation, other) for other in (one, zero))
        return anchor, scale, factor

    def _past(self, graph: Graph) -> str:
        return self._scaled_part(graph, 0, len(self.windowing.names))

    def _scaled_part(self, graph: Graph, first: int, end: int) -> str:
        """Columns of the last rows, scaled, [B, context, C]."""
        w = self.windowing
        scaler = w.scaler if first == 0 else w.covariate_scaler
        assert scaler is not None
        ends = axes(graph, np.iinfo(np.int64).max, end)
        part = graph.node("Slice", ROWS, axes(graph, -w.context, first), ends, axes(graph, 1, 2))
        return _scaled(graph, part, scaler)

    def _last(self, graph: Graph, past: str) -> str:
        ends = axes(graph, np.iinfo(np.int64).max)
        return graph.node("Slice", past, axes(graph, -1), ends, axes(graph, 1))

    def _columns(self, graph: Graph, values: str, count: int) -> str:
        """Values [B, context, C] as float32 [B * C / count, count, context]."""
        columns = graph.node("Transpose", cast(graph, values, np.float32), perm=[0, 2, 1])
        return graph.node("Reshape", columns, axes(graph, -1, count, self.windowing.context))

    def examples(self, rng: np.random.Generator) -> Iterator[dict[str, np.ndarray]]:
        w = self.windowing
        scalers = [w.scaler] if w.covariate_scaler is None else [w.scaler, w.covariate_scaler]
        mean, scale = (np.concatenate([getattr(s, n) for s in scalers]) for n in ("mean", "scale"))
        rows = rng.standard_normal((3, w.context + 2, len(mean))) * scale + mean
        if w.own_scale:
            rows[0] = rows[0, :1]  # of no scale
        yield {ROWS: rows}

    def expected(self, network: Network, feed: dict[str, np.ndarray]) -> np.ndarray:
        w, found = self.windowing, []
        for rows in feed[ROWS]:
            parts = Rows(rows[:, : len(w.names)], rows[:, len(w.names) :])
            windows = Windows(w, parts, np.array([len(rows) - w.context]))
            outputs = network(windows.inputs(np.arange(w.rows_per_window)))
            found.append(windows.forecasts(outputs))
        return np.concatenate(found)

    @property
    def unit(self) -> tuple[np.ndarray, np.ndarray]:
        return self.windowing.scaler.mean, self.windowing.scaler.scale


def _scaled(graph: Graph, values: str, scaler: Scaler) -> str:
    moved = graph.node("Sub", values, graph.constant(scaler.mean))
    return graph.node("Div", moved, graph.constant(scaler.scale))


def _unscaled(graph: Graph, values: str, scaler: Scaler) -> str:
    larger = graph.node("Mul", values, graph.constant(scaler.scale))
    return graph.node("Add", larger, graph.constant(scaler.mean))


def _filled(graph: Graph, values: str) -> str:
    """Values [B, T, C] with each NaN replaced by the last known one, or by 0 before the first."""

    def body(inner: Any, before: list[str], given: list[str]) -> tuple[list[str], list[str]]:
        known = inner.node("Equal", given[0], given[0])
        value = inner.node("Where", known, given[0], before[0])
        return [value], [value]

    time_first = graph.node("Transpose", values, perm=[1, 0, 2])
    shape = graph.node("Slice", graph.node("Shape", time_first), axes(graph, 1), axes(graph, 3))
    start = graph.node("Expand", graph.constant(np.zeros((1, 1))), shape)
    _, filled = graph.scan(body, [start], [time_first], reverse=False)
    return graph.node("Transpose", filled, perm=[1, 0, 2])


def _own_scale(graph: Graph, values: str, counts: str) -> tuple[str, str, str]:
    """Values [B, T, C] in deviations of their own sequence; its mean and magnitude [B, 1, C]."""
    numbers = graph.node("Range", whole(graph, 0), size_of(graph, values, 1), whole(graph, 1))
    inside = graph.node("Less", numbers, graph.node("Unsqueeze", counts, axes(graph, 1)))
    inside = graph.node("Unsqueeze", inside, axes(graph, 2))
    count = cast(graph, graph.node("Max", counts, whole(graph, 1)), np.float64)
    count = graph.node("Unsqueeze", count, axes(graph, 1, 2))
    zero = graph.constant(np.zeros(()))

    def average(of: str) -> str:
        total = summed(graph, graph.node("Where", inside, of, zero), 1, keep=True)
        return graph.node("Div", total, count)

    mean = average(values)
    moved = graph.node("Sub", values, mean)
    deviation = graph.node("Sqrt", average(graph.node("Mul", moved, moved)))
    moves = graph.node("Greater", deviation, graph.constant(np.array(FLAT)))
    shape = graph.node("Where", moves, graph.node("Div", moved, deviation), zero)
    magnitude = graph.node("Log", graph.node("Add", deviation, graph.constant(np.array(FLAT))))
    magnitude = graph.node("Div", magnitude, graph.constant(np.array(log(10))))
    return shape, mean, magnitude


def _shape(graph: Graph, *sizes: str) -> str:
    """Sizes, scalars or lists of one, as a shape."""
    return graph.node("Concat", *(graph.node("Reshape", s, axes(graph, 1)) for s in sizes), axis=0)


def _segments_of(graph: Graph, counts: str, segment: str) -> str:
    """How many segments so many steps take."""
    more = graph.node("Add", counts, graph.node("Sub", segment, whole(graph, 1)))
    return graph.node("Div", more, segment)


def reading_of(
    inputs: SequenceInputs | Windowing, evidence: SequenceEvidence | None, target: Scaler | None
) -> Reading:
    """What stands before and behind the network of a task on numbers.  Raises InputError."""
    if isinstance(inputs, SequenceInputs):
        return SequenceRows(SequenceReading(inputs, evidence), target)
    inputs.need_past_alone()
    return WindowRows(inputs)


def compared(reading: Reading, values: Sequence[Any] | np.ndarray) -> np.ndarray:
    """Answers in units of their scale."""
    mean, scale = reading.unit
    return (np.asarray(values) - mean) / scale
