"""The figures: which contestants are timed in turns, on which works."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from tidegate.bench.catalogue import LIBRARIES, OURS, OURS_ON_NUMPY
from tidegate.bench.shapes import MODES, SHAPES, Shape, drawn_shapes
from tidegate.bench.timing import SHORTEST_TURN_S
from tidegate.bench.work import (
    Array,
    Work,
    adam_work,
    layer_work,
    random_lengths,
    step_work,
)

_RAGGED_SHAPES = tuple(
    Shape(*sizes)
    for sizes in ((128, 28, 28, 100), (32, 80, 128, 128), (64, 200, 128, 128), (256, 50, 256, 256))
)
_STEP_SHAPE = Shape(1, 1, 128, 128)
# Embedding 128 -> GRU 128 -> GRU 64 -> softmax 2.  The loss sees the last of 200 steps alone: the
# gradient fades on its way back until it is denormal, which costs time where it is not flushed.
_ADAM_SHAPE = Shape(64, 200, 128, 128)
_ADAM_VOCABULARY, _ADAM_SECOND_HIDDEN, _ADAM_LABELS = 10_000, 64, 2
# Beside none to four busy processes.  A turn must hold many of the system's slices, of 3 to 4 ms.
_NEIGHBOURS = range(5)
_NEIGHBOURS_SHAPE = Shape(64, 200, 128, 128)
_LONG_TURN_S = 0.7
_DRAWN_SHAPES, _RAGGED_EVERY = 60, 4
# Short, since torch.compile takes half a minute and more for tens of steps.
_LOOP_SHAPE = Shape(32, 10, 64, 64)


@dataclass(frozen=True)
class Case:
    """One row of results.  Contestants with one and the same work must agree on its results.

    ``contestants``: a label, the library and the work of each, ours first; ``seconds``: what its
    turns may take in all, ``turn_seconds`` one of them at least; ``padding``: steps of the padded
    batch for each true one; ``neighbours``: busy processes beside the turns, None where that is
    not what is measured; ``beside_product``: a large product takes turns too, which tells how near
    ours comes to what the machine can do.
    """

    figure: str
    cell: str
    shape: Shape
    mode: str
    contestants: dict[str, tuple[str, Work]]
    seconds: float = 1.5
    turn_seconds: float = SHORTEST_TURN_S
    padding: float | None = None
    neighbours: int | None = None
    beside_product: bool = False


@dataclass(frozen=True)
class Choice:
    """What was asked for; ``shapes`` empty for each figure's own, ``seed`` for those drawn."""

    cells: Sequence[str]
    shapes: Sequence[Shape]
    peers: Sequence[str]
    seed: int = 0

    def rivals(self, cell: str, mode: str, peers: Sequence[str]) -> list[str]:
        """Those of ``peers`` that were chosen and can do this."""
        return [
            name
            for name in peers
            if name in self.peers
            and cell in LIBRARIES[name].cells
            and (mode == "inference" or LIBRARIES[name].trains)
        ]


def _side_by_side(
    work: Work, rivals: Sequence[str], ours: str = OURS
) -> dict[str, tuple[str, Work]]:
    return {OURS: (ours, work)} | {name: (name, work) for name in rivals}


def layers(choice: Choice) -> Iterator[Case]:
    """Ours beside every library, on every shape."""
    peers = ("torch", "torch-flushed", "onnxruntime", "keras-jax", "keras-torch")
    for cell in choice.cells:
        for shape in choice.shapes or SHAPES:
            for mode in MODES:
                rivals = choice.rivals(cell, mode, peers)
                work = layer_work(cell, shape, mode)
                contestants = _side_by_side(work, rivals)
                yield Case(
                    "layers", cell, shape, mode, contestants, seconds=3.0, beside_product=True
                )


def numpy(choice: Choice) -> Iterator[Case]:
    """What a deployer runs: trained weights packed once, numpy in and out, on both sides."""
    for cell in choice.cells:
        for shape in choice.shapes or SHAPES:
            work = layer_work(cell, shape, "inference")
            rivals = choice.rivals(cell, "inference", ("onnxruntime",))
            contestants = _side_by_side(work, rivals, OURS_ON_NUMPY)
            if rivals:
                yield Case("numpy", cell, shape, "inference", contestants)


def reset(choice: Choice) -> Iterator[Case]:
    """The textbook's GRU, whose candidate waits for a product of its own, beside torch's."""
    for shape in choice.shapes or SHAPES if "gru" in choice.cells else ():
        for mode in MODES:
            contestants: dict[str, tuple[str, Work]] = {
                OURS: (OURS, layer_work("gru", shape, mode)),
                "reset-before": (OURS, layer_work("gru_reset_before", shape, mode)),
            }
            yield Case("reset", "gru", shape, mode, contestants, seconds=0.5)


def ragged(choice: Choice) -> Iterator[Case]:
    """Lengths uniform in 1..T, from a padded batch [T, B, I] to a padded one.

    "torch" packs and pads inside the timing, as one does who has such a batch; "torch-packed" is
    given a PackedSequence and leaves one.  "padded" is ours without the lengths.
    """
    for cell in choice.cells:
        for shape in choice.shapes or _RAGGED_SHAPES:
            lengths = random_lengths(shape)
            for mode in MODES:
                full = layer_work(cell, shape, mode)
                work = layer_work(cell, shape, mode, lengths)
                rivals = choice.rivals(cell, mode, ("torch", "torch-packed"))
                contestants = _side_by_side(work, rivals) | {"padded": (OURS, full)}
                padding = _padding(shape, lengths)
                yield Case("ragged", cell, shape, mode, contestants, padding=padding)


def step(choice: Choice) -> Iterator[Case]:
    """One step at a time, as a service or a synthesiser runs it."""
    for cell in choice.cells:
        work = step_work(cell, _STEP_SHAPE)
        rivals = choice.rivals(cell, "inference", ("torch", "onnxruntime"))
        contestants = _side_by_side(work, rivals, OURS_ON_NUMPY)
        yield Case("step", cell, _STEP_SHAPE, "inference", contestants)


def adam(choice: Choice) -> Iterator[Case]:
    """Everything a user waits for: embedding, two layers, loss, backward, optimiser."""
    peers = ("tidegate-flushed", "torch", "torch-flushed", "keras-jax", "keras-torch")
    for cell in choice.cells:
        work = adam_work(cell, _ADAM_SHAPE, _ADAM_VOCABULARY, _ADAM_SECOND_HIDDEN, _ADAM_LABELS)
        contestants = _side_by_side(work, choice.rivals(cell, "training", peers))
        yield Case("adam", cell, _ADAM_SHAPE, "training", contestants, seconds=15.0)


def loop(choice: Choice) -> Iterator[Case]:
    """What a cell of one's own costs in Python: the time steps one by one."""
    for cell in choice.cells:
        for mode in MODES:
            work = layer_work(cell, _LOOP_SHAPE, mode)
            rivals = choice.rivals(cell, mode, ("torch-loop", "torch-compiled"))
            if rivals:
                yield Case("loop", cell, _LOOP_SHAPE, mode, _side_by_side(work, rivals))


def neighbours(choice: Choice) -> Iterator[Case]:
    """A layer's training and a whole training step, beside none to four busy processes.

    torch.nn runs in a process of its own: in ours the engine keeps its threads from spinning.
    """
    for shape in choice.shapes or [_NEIGHBOURS_SHAPE] if "gru" in choice.cells else ():
        of_layer = layer_work("gru", shape, "training")
        whole_step = adam_work("gru", shape, _ADAM_VOCABULARY, _ADAM_SECOND_HIDDEN, _ADAM_LABELS)
        for mode, work in (("training", of_layer), ("adam", whole_step)):
            for count in _NEIGHBOURS:
                contestants = _side_by_side(work, choice.rivals("gru", mode, ["torch-flushed"]))
                yield Case(
                    "neighbours", "gru", shape, mode, contestants, 1.0, _LONG_TURN_S, None, count
                )


def random(choice: Choice) -> Iterator[Case]:
    """Ours on shapes that nobody chose; lengths of a ragged batch are uniform in 1..T.

    All get a padded batch; torch packs and pads it inside the timing, ONNX Runtime has lengths.
    """
    drawn = choice.shapes or list(islice(drawn_shapes(choice.seed), _DRAWN_SHAPES))
    for number, shape in enumerate(drawn, start=1):
        lengths = random_lengths(shape) if number % _RAGGED_EVERY == 0 else None
        for cell in choice.cells:
            for mode in MODES:
                rivals = choice.rivals(cell, mode, ("torch", "torch-flushed", "onnxruntime"))
                yield Case(
                    "random",
                    cell,
                    shape,
                    mode,
                    _side_by_side(layer_work(cell, shape, mode, lengths), rivals),
                    padding=None if lengths is None else _padding(shape, lengths),
                    beside_product=True,
                )


def _padding(shape: Shape, lengths: Array) -> float:
    return shape.batch * shape.steps / int(lengths.sum())


CASES: dict[str, Callable[[Choice], Iterator[Case]]] = {
    made.__name__: made
    for made in (layers, numpy, reset, ragged, step, adam, loop, neighbours, random)
}
