"""Our engine on numpy arrays, weights packed once: what runs where there is no torch."""

from __future__ import annotations

from tidegate.bench.work import Array, LayerWork, Prepared, StepWork, Work, stream
from tidegate.engine import EngineLayer


def prepare(work: Work) -> Prepared:
    """A layer over a batch, or a stream of steps."""
    match work:
        case LayerWork(grad=None):
            layer = EngineLayer(work.cell, work.weights)

            def infer() -> Array:
                return layer.forward(work.x, lengths=work.lengths)[0]

            return Prepared(infer, lambda: {"y": infer()})
        case StepWork():
            layer = EngineLayer(work.cell, work.weights)
            return stream(
                lambda: layer.initial_state(len(work.x)),
                lambda state: (layer.step(work.x, state), state),  # in place
            )
    raise TypeError(f"the engine alone only infers, got {type(work).__name__}")
