"""Estimators at single sequences: those that arrive piece by piece, and what gates do over one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from tidegate.errors import InputError, spelled

if TYPE_CHECKING:
    import numpy as np

    from tidegate.runtime.inspection import Inspection
    from tidegate.runtime.network import Network
    from tidegate.runtime.stream import Stream, Streams


class Streamed:
    """What an estimator with a ``runtime_`` answers while a sequence goes on."""

    runtime_: Any  # a Network
    REREADS: ClassVar[bool] = False  # whether a stream may remember all, and read it anew

    def inspect(self, x: Any) -> Inspection:
        """What every gate does while the model reads one input: ``inspect(x).gates["layer_0.z"]``,
        float32 [steps, units].

        x: one text, one sequence or one span of series, as ``predict`` reads it; a forecaster reads
        its last rows.  Gates have the names that the cell declares.  This runs the cell's equations
        on numpy, step by step, without torch.  Raises InputError as ``predict``.
        """
        from tidegate.runtime.inspection import inspected

        network = self.runtime_
        read, steps = self._read_one(x)
        return inspected(network, read, steps)

    def _read_one(self, x: Any) -> tuple[dict[str, np.ndarray], list[str]]:
        """What the network reads of one input, by series or under "", and its steps in words."""
        raise NotImplementedError

    def stream(self, batch_size: int | None = None) -> Stream:
        """A sequence that arrives piece by piece, or ``batch_size`` of them, to be answered as of
        now: ``stream.feed(piece)`` (see its class for what a piece is).

        A model of sequences of numbers that needs a sequence's end before its beginning, as it does
        by default, remembers all values and reads them anew for each answer; see its stream's
        class for what that costs.  Raises InputError, with what to train otherwise, for a model of
        texts that needs it.
        """
        network = self.runtime_
        hindrances = self._ends_first()
        if hindrances and not self.REREADS:
            reasons, remedies = zip(*hindrances, strict=True)
            raise InputError(
                "expected a model that reads a sequence as it comes, got one that "
                f"{' and '.join(reasons)}; train with {' and '.join(remedies)}"
            )
        return self._stream(network, batch_size)

    def streams(self) -> Streams:
        """Many such sequences by their ids, which come and go and are read as one batch.

        Raises InputError as ``stream``.
        """
        from tidegate.runtime.stream import Streams

        return Streams(self.stream)

    def _stream(self, network: Network, batch_size: int | None) -> Stream:
        """The task's own stream, where one can be had."""
        raise NotImplementedError

    def _ends_first(self) -> list[tuple[str, str]]:
        """What needs a sequence's end before its beginning, and the option that lets it not."""
        if not self.runtime_.architecture.bidirectional:
            return []
        reason = "also reads backwards, from the end, which a stream does not know"
        return [(reason, spelled("bidirectional", False))]
