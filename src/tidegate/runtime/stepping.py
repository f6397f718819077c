"""A network that reads on: its layers' states, and what its readout has gathered so far."""

from __future__ import annotations

import numpy as np

from tidegate.data.series.scaling import FARTHEST, Scaler
from tidegate.engine import threads_worth
from tidegate.runtime.network import Network
from tidegate.runtime.probabilities import log_softmax
from tidegate.runtime.products import Array
from tidegate.runtime.readouts import ends_of

Arrays = dict[str, np.ndarray]  # of a stream's rows, [B, ...] each


class Stepping:
    """``batch_size`` sequences that a network in one direction reads step by step.

    ``arrays``: all that is remembered of them, by name, [B, ...] each: the states of every layer,
    as ``recurrent.0.h``; ``steps`` int64, how many were read; and of the readout the sum of the
    last layer's outputs, ``readout.mean`` float64, and the largest, ``readout.max``; where these
    are more than its state also the last ones, ``readout.last``.  With a ``scaler`` also ``last``
    float64, the last values that were read, scaled.
    """

    def __init__(self, network: Network, batch_size: int, scaler: Scaler | None = None) -> None:
        a = network.architecture
        assert not a.bidirectional  # the other direction begins at the end
        self._network = network
        self._state = network.initial_state(batch_size)
        self.arrays: Arrays = {
            f"recurrent.{k}.{name}": array
            for k, (names, layer) in enumerate(zip(network.state_names, self._state, strict=True))
            for name, array in zip(names, layer, strict=True)
        }
        self._output = self._state[-1][0]
        if a.has_shortcuts:
            self._output = self.arrays["readout.last"] = np.zeros_like(self._output)
        self._steps = self.arrays["steps"] = np.zeros(batch_size, np.int64)
        self._parts = ["last"] if a.readout == "every" else a.readout.split("+")
        self._sum = self._highest = last = None
        if "mean" in self._parts:
            self._sum = self.arrays["readout.mean"] = np.zeros(self._output.shape, np.float64)
        if "max" in self._parts:
            lowest = np.full(self._output.shape, -np.inf, np.float32)
            self._highest = self.arrays["readout.max"] = lowest
        if scaler is not None:
            last = self.arrays["last"] = np.zeros((batch_size, len(scaler.mean)))
        self._packed = network.packs_outputs
        self._outputs = batch_size, network.architecture.output_size
        self._threads = batch_size * network.architecture.parameter_count()
        self._reading = network.reading(
            self._state,
            readout=self._parts,
            steps=self._steps,
            sum=self._sum,
            highest=self._highest,
            mean=None if scaler is None else np.ascontiguousarray(scaler.mean),
            scale=None if scaler is None else np.ascontiguousarray(scaler.scale),
            last=last,
        )

    def step_scaled(self, values: np.ndarray) -> bool:
        """One more step of values float64 [B, I] in units of the data, by the ``scaler``.

        False, and nothing is read, where one is missing or too far, or there is no engine for it.
        """
        if self._reading is None:
            return False
        with self._network.stepping:
            return self._reading.step_scaled(values, FARTHEST)

    def probabilities_after(self, values: np.ndarray) -> np.ndarray | None:
        """The same step and the ``probabilities`` after it; None where ``step_scaled`` is False."""
        if self._reading is None or not self._packed:
            return self.probabilities() if self.step_scaled(values) else None
        out = np.empty(self._outputs)
        with self._network.stepping:
            return out if self._reading.step_scaled(values, FARTHEST, out) else None

    def step(self, inputs: np.ndarray) -> None:
        """One more step of all rows: inputs [B, ...] as ``Network.step`` takes them."""
        if self._reading is not None:
            x = np.ascontiguousarray(self._network.embedded(inputs))
            with self._network.stepping:
                self._reading.step(x)
            return
        self._output[:] = self._network.step(inputs, self._state)
        self._steps += 1
        if self._sum is not None:
            self._sum += self._output
        if self._highest is not None:
            np.maximum(self._highest, self._output, out=self._highest)

    def read(self, inputs: np.ndarray, lengths: np.ndarray | None = None) -> None:
        """More steps: inputs [T, B, ...] and lengths [B] as ``Network`` takes them."""
        if lengths is None and len(inputs) == 1 and threads_worth(self._threads) == 1:
            self.step(inputs[0])
            return
        (y,), final = self._network.run(inputs, lengths, self._state)
        for own, after in zip(self._state, final, strict=True):
            for array, new in zip(own, after, strict=True):
                array[:] = new
        if self._network.architecture.has_shortcuts:
            read = np.flatnonzero(np.full(len(self._steps), len(y)) if lengths is None else lengths)
            (last,) = ends_of([y], lengths)
            self._output[read] = last[read]
        self._steps += len(inputs) if lengths is None else lengths
        if self._sum is not None:  # the outputs of steps outside are zero
            self._sum += y.sum(0, dtype=np.float64)
        if self._highest is not None:
            if lengths is not None:
                y[np.arange(len(y))[:, None] >= lengths] = -np.inf
            np.maximum(self._highest, y.max(0), out=self._highest)

    def copy(self) -> Stepping:
        """One that reads on by itself."""
        other = Stepping(self._network, len(self._steps))
        for name, array in other.arrays.items():
            array[:] = self.arrays[name]
        return other

    def features(self) -> Array:
        """What the dense layer sees if the sequences end here, [B, F]."""
        parts = [self._part(part) for part in self._parts]
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)

    def outputs(self) -> Array:
        """The network's outputs if the sequences end here, [B, O]."""
        return self._network.output(self.features())

    def probabilities(self) -> np.ndarray:
        """Their softmax, float64 [B, O]."""
        if self._reading is None or not self._packed:
            return np.exp(log_softmax(self.outputs()).astype(np.float64))
        out = np.empty(self._outputs)
        self._reading.probabilities(out)
        return out

    def _part(self, part: str) -> Array:
        if part == "mean":
            assert self._sum is not None
            return (self._sum / np.maximum(self._steps, 1)[:, None]).astype(np.float32)
        if part == "max":
            assert self._highest is not None
            return np.where(self._steps[:, None] > 0, self._highest, np.float32(0))
        return self._output
