"""How much what a network says hangs on each step that it has read.

The length of the gradient of an output with respect to what is read at each step, as Madsen 2019,
"Visualizing memorization in RNNs", Distill, doi:10.23915/distill.00016, draws it for the logit of a
language model's next token.  By the cell's equations on numpy, there and back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np

from tidegate.equations import bptt
from tidegate.runtime.network import Network, State

FOLLOWED: Final = 200  # steps that the gradient is followed back through, at the least
_MOST_TOLD: Final = 3
_MOST_FINAL: Final = 8
_MOST_STEPS: Final = 256
_VALUES: Final = 1 << 25  # of all steps and rows at a time, which take 128 MiB


class Question(NamedTuple):
    """What is asked of a network: of its first ``length`` steps that ``column`` of its outputs
    which it puts out at ``step``; or, of a network that puts out once, after all of them.

    ``name``: what the output stands for; ``at``: the step that it is about, or None of the whole
    sequence; ``series``: which of those read is meant, or "".
    """

    length: int
    step: int
    column: int
    name: str
    at: int | None = None
    series: str = ""


@dataclass(frozen=True, eq=False, repr=False)
class Connectivity:
    """How much answers hang on steps: ``lengths`` float64 [questions, steps] of gradients.

    0 for what is not read.  ``scores`` float64 [questions]: the outputs themselves.  ``steps``:
    what is read at each, in words.
    """

    steps: tuple[str, ...]
    questions: tuple[Question, ...]
    lengths: np.ndarray
    scores: np.ndarray

    def __repr__(self) -> str:
        """Of the answers to the whole: the three steps that each hangs on most."""
        lines = [f"{type(self).__name__} of {len(self.questions)} answers, {len(self.steps)} steps"]
        for one, lengths in zip(self.questions, self.lengths, strict=True):
            if one.at is None:
                most = np.argsort(-lengths, kind="stable")[:_MOST_TOLD].tolist()
                steps = ", ".join(f"{self.steps[k]} (step {k})" for k in most)
                lines.append(f"{one.name}: hangs most on {steps}")
        return "\n  ".join(lines)


def questions_of(
    network: Network, read: Mapping[str, np.ndarray], names: Sequence[str], *, by_step: bool = True
) -> list[Question]:
    """What one would ask of a network that reads these sequences.

    Of one that puts out at every step: the greatest output there.  Of another: each output, the
    greatest one first, eight at most; and with ``by_step`` the greatest one again, had the sequence
    ended at each of the last 256 steps.  ``names``: those of the outputs.
    """
    found, a = [], network.architecture
    for series, sequence in read.items():
        T, title = len(sequence), f"{series} ".lstrip()  # noqa: N806
        if not T:
            continue
        outputs = network(sequence[:, None])
        if a.readout == "every":
            for t, column in enumerate(outputs[:, 0].argmax(-1).tolist()):
                length = T if a.bidirectional else t + 1
                found.append(Question(length, t, column, title + names[int(column)], t, series))
            continue
        order = np.argsort(-outputs[0], kind="stable") if by_step else np.arange(a.output_size)
        for column in order[:_MOST_FINAL].tolist():
            found.append(Question(T, T - 1, column, title + names[int(column)], None, series))
        if by_step:
            column = int(order[0])
            for t in range(max(0, T - _MOST_STEPS), T):
                found.append(Question(t + 1, t, column, title + names[int(column)], t, series))
    return found


def connected(
    network: Network,
    read: Mapping[str, np.ndarray],
    steps: Sequence[str],
    questions: Sequence[Question],
    width: int | None = None,
) -> Connectivity:
    """The answers to ``questions`` of sequences, [T] or [T, I], by their series.

    ``width``: how many of the I numbers are read at the step itself; None: all.
    """
    lengths = np.zeros((len(questions), len(steps)))
    scores = np.zeros(len(questions))
    for series, sequence in read.items():
        rows = [k for k, one in enumerate(questions) if one.series == series]
        asked = [questions[k] for k in rows]
        if asked:
            lengths[rows], scores[rows] = gradient_lengths(network, sequence, asked, width=width)
    return Connectivity(tuple(steps), tuple(questions), lengths, scores)


def connectivity(network: Network, tokens: np.ndarray) -> np.ndarray:
    """The connectivity of the last of ``tokens`` [T] with each before it, float64 [T - 1].

    Of the last 200 at most, which end the result.  For a language model's network in one direction,
    without conditions.
    """
    before, read = np.split(tokens[:-1], [max(0, len(tokens) - 1 - FOLLOWED)])
    state = None
    if len(before):
        _, state = network.features(before[:, None], None, None)
    asked = Question(len(read), len(read) - 1, int(tokens[-1]), "")
    return gradient_lengths(network, read, [asked], state)[0][0]


@np.errstate(over="ignore", invalid="ignore")
def gradient_lengths(
    network: Network,
    sequence: np.ndarray,
    questions: Sequence[Question],
    state: State | None = None,
    width: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """‖d output / d what is read at a step‖, [questions, T], and the outputs [questions].

    sequence: [T] or [T, I], as the network reads it; it begins with ``state``, of one row (None:
    with that of a sequence).  Of tokens the gradient is by their vectors, of numbers by the first
    ``width`` of a step.  Of a network that puts out at every step, and reads in one direction, a
    long sequence is followed back through the last 200 to 400 steps before each, 0 beyond them:
    all steps before all others are too many.
    """
    lengths = np.zeros((len(questions), len(sequence)))
    scores = np.zeros(len(questions))
    if not len(sequence):
        return lengths, scores
    a = network.architecture
    if a.readout == "every" and not a.bidirectional and len(sequence) > 2 * FOLLOWED:
        return _by_windows(network, sequence, questions, state, width)
    x = network.embedded(sequence[:, None])  # [T, 1, I]
    if state is None:
        condition = sequence["condition"][:1] if a.condition_size else None
        state = network.initial_state(1, condition)
    nodes = [len(cell.trace.nodes) for cell in a.answering_cells]
    per_row = a.directions * sum(n * h for n, h in zip(nodes, a.hidden_sizes, strict=True))
    asked = np.array([one.length for one in questions])
    order = np.argsort(asked, kind="stable")  # alike ones together
    while len(order):
        # all rows of a batch take as many steps as its last, which is the longest
        values = per_row * asked[order] * np.arange(1, len(order) + 1)
        most = max(1, int(np.count_nonzero(values <= _VALUES)))
        rows, order = order[:most], order[most:]
        several = [questions[k] for k in rows]
        longest = max(one.length for one in several)
        run = _Run(network, x[:longest].repeat(len(rows), 1), several, state)
        gradient, scores[rows] = run.gradient()
        seen = gradient[..., :width].astype(np.float64)
        lengths[rows, :longest] = np.linalg.norm(seen, axis=-1).T
    if a.linear_steps and a.input_size is None:  # no step alone says what the words add up to
        line = network.tensors["linear.weight"][[one.column for one in questions]]
        scores += (line * sequence["evidence"][asked - 1]).sum(-1)
    return lengths, scores


def _by_windows(
    network: Network,
    sequence: np.ndarray,
    questions: Sequence[Question],
    state: State | None,
    width: int | None,
) -> tuple[np.ndarray, np.ndarray]:
    """`gradient_lengths` of the questions about 200 steps at a time, from 200 steps before them."""
    lengths, scores = np.zeros((len(questions), len(sequence))), np.zeros(len(questions))
    begin = 0
    for first in range(0, len(sequence), FOLLOWED):
        before, begin = begin, max(0, first - FOLLOWED)
        if begin > before:
            _, state = network.features(sequence[before:begin, None], None, state)
        end = min(first + FOLLOWED, len(sequence))
        rows = [k for k, one in enumerate(questions) if first < one.length <= end]
        asked = [questions[k] for k in rows]
        asked = [q._replace(length=q.length - begin, step=q.step - begin) for q in asked]
        found = gradient_lengths(network, sequence[begin:end], asked, state, width)
        lengths[rows, begin:end], scores[rows] = found
    return lengths, scores


class _Run:
    """A batch of a question each, there and back; a row's steps after its length count nothing."""

    def __init__(
        self, network: Network, x: np.ndarray, questions: Sequence[Question], state: State
    ) -> None:
        a = network.architecture
        self.network, self.x, self.cells = network, x, a.answering_cells
        self.lengths = np.array([one.length for one in questions])
        self.steps = np.array([one.step for one in questions])
        self.columns = np.array([one.column for one in questions])
        self.rows, count = np.arange(len(questions)), len(questions)
        self.inside = np.arange(len(x))[:, None] < self.lengths  # [T, B]
        # each row's true steps the other way around, for those that are read backwards
        t = np.arange(len(x))[:, None]
        self.turn = np.where(self.inside, self.lengths - 1 - t, t)
        self.state = [tuple(s.repeat(count, 0) for s in one) for one in state]
        self.passes: list[list[bptt.Unrolled]] = []
        self.entering: list[np.ndarray] = []  # what each layer and its shortcut are given
        for k, cell in enumerate(self.cells):
            x = network.between.normalised(k, x)
            entering = network.between.read(k, x)
            self.entering.append(x)
            self.passes.append([])
            outputs = []
            for backward, weights in enumerate(network.layer_weights(k)):
                begun = self.state[k * a.directions + backward]
                read = self._turned(entering) if backward else entering
                run = bptt.forward(cell, read, begun, weights)
                self.passes[-1].append(run)
                outputs.append(self._turned(run.y) if backward else run.y)
            outputs = network.between.added(k, x, outputs)
            self.outputs = [np.where(self.inside[..., None], y, 0) for y in outputs]
            x = np.concatenate(self.outputs, axis=-1)

    def _turned(self, values: np.ndarray) -> np.ndarray:
        return values[self.turn, self.rows]

    def gradient(self) -> tuple[np.ndarray, np.ndarray]:
        """By what is read at each step, [T, B, I], and the outputs themselves [B]."""
        network, a = self.network, self.network.architecture
        by_output = network.output_weight[self.columns]  # [B, F]
        features, by_steps = self._features(by_output)
        scores = (features * by_output).sum(-1) + network.output_bias[self.columns]
        for k in reversed(range(len(self.passes))):
            width = by_steps.shape[-1] // len(self.passes[k])
            total: Any = 0.0
            by_steps = np.where(self.inside[..., None], by_steps, 0)
            for d, (run, weights) in enumerate(
                zip(self.passes[k], network.layer_weights(k), strict=True)
            ):
                own = by_steps[..., d * width : (d + 1) * width]
                ends = tuple(np.zeros_like(s) for s in run.state)
                own = self._turned(own) if d else own
                by_input, _, _ = bptt.backward(self.cells[k], run, weights, own, ends)
                total = total + (self._turned(by_input) if d else by_input)
            total = network.between.read_back(k, self.entering[k], total)
            if network.between.has_shortcut(k):
                matrix = network.between.shortcut(k)
                total = total + (by_steps if matrix is None else by_steps @ matrix)
            by_steps = total
            if k > 0 and a.batch_norm:
                by_steps = by_steps * network.between.batch_norms[k - 1][0]
        if a.linear_steps and a.input_size is not None:
            of_columns = network.tensors["linear.weight"][self.columns]  # [B, steps * I]
            of_columns = of_columns.reshape(len(self.rows), a.linear_steps, -1)
            for back in range(1, a.linear_steps + 1):
                t = self.lengths - back
                known = t >= 0
                by_steps[t[known], self.rows[known]] += of_columns[known, -back]
                scores[known] += (
                    of_columns[known, -back] * self.x[t[known], self.rows[known]]
                ).sum(-1)
        return by_steps, scores

    def _features(self, by_features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What the dense layer sees [B, F], and the gradient by the last layer's outputs."""
        directions = len(self.outputs)
        by_steps = np.zeros((*self.x.shape[:2], sum(y.shape[-1] for y in self.outputs)), np.float32)
        if self.network.architecture.readout == "every":
            by_steps[self.steps, self.rows] = by_features
            return np.concatenate([y[self.steps, self.rows] for y in self.outputs], -1), by_steps
        parts, read, at = self.network.architecture.readout.split("+"), [], 0
        for part in parts:
            begin = 0
            for d, y in enumerate(self.outputs):
                width = y.shape[-1]
                into = by_steps[..., begin : begin + width]
                seen, of = by_features[:, at : at + width], np.arange(width)
                if part == "last":
                    t = np.zeros_like(self.lengths) if d else self.lengths - 1
                    read.append(y[t, self.rows])
                    into[t, self.rows] += seen
                elif part == "mean":
                    read.append(y.sum(0) / self.lengths[:, None])
                    into += seen / self.lengths[:, None]
                else:
                    highest = np.where(self.inside[..., None], y, -np.inf).argmax(0)  # [B, H]
                    places = highest, self.rows[:, None], of
                    read.append(y[places])
                    into[places] += seen
                at, begin = at + width, begin + width
        assert at == by_features.shape[1], (at, directions)
        return np.concatenate(read, -1), by_steps
