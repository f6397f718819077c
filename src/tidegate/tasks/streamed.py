"""Estimators at single sequences: those that arrive piece by piece, and what gates do over one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from tidegate.errors import InputError, spelled

if TYPE_CHECKING:
    import numpy as np

    from tidegate.runtime.connectivity import Connectivity, Question
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

    def connectivity(self, x: Any) -> Connectivity:
        """How much the model's answers to one input hang on each step that it reads.

        x: as ``inspect`` takes it.  ``connectivity(x).lengths``, float64 [questions, steps], are
        the lengths of the gradients of answers with respect to what is read at each step (Madsen
        2019, doi:10.23915/distill.00016); ``questions`` says which: of a language model each
        token that comes, of a tagger each step's label, of others each output, and the likeliest
        one had the input ended at each step.  What counted evidence and n-grams add to answers is
        left out.  Raises InputError as ``inspect``, and for a model of an encoder and a decoder.
        """
        from tidegate.runtime.connectivity import connected

        read, steps = self._read_one(x)
        questions = self._questions(read, steps)
        return connected(self.runtime_, read, steps, questions, self._width_of_step())

    def _questions(self, read: dict[str, np.ndarray], steps: list[str]) -> list[Question]:  # noqa: ARG002
        """Which answers are looked at."""
        from tidegate.runtime.connectivity import questions_of

        return questions_of(self.runtime_, read, self._output_names())

    def _output_names(self) -> list[str]:
        """What each output of the network stands for."""
        count, labels = self.runtime_.architecture.output_size, getattr(self, "classes_", ())
        if len(labels) == count:
            return [str(label) for label in labels]
        return ["the number"] if count == 1 else [f"output {k + 1}" for k in range(count)]

    def _width_of_step(self) -> int | None:
        """How many of the numbers that are read at a step are of that step; None: all."""
        return None

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
