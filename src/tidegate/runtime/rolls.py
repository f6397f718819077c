"""What a network expects of rolls, step by step, and how good that is.

Each step is expected from the steps before it alone; the first one from nothing, which the network
reads as a step at which no output is on, in a state of zeros (`repeats.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from tidegate.data.sequences.sequences import pad_sequences
from tidegate.runtime.batches import Run
from tidegate.runtime.network import Network
from tidegate.runtime.repeats import Reading

_STEPS = 50_000  # of a batch, padding included


def outputs_by_step(run: Run, read: Sequence[np.ndarray], width: int) -> list[np.ndarray]:
    """The network's outputs at each step of sequences [T, I], float32 [T, ``width``] each.

    Sequences of like lengths are run together; what one is given does not depend on the others.
    """
    found = [np.empty((len(steps), width), np.float32) for steps in read]
    order = np.argsort([len(steps) for steps in read], kind="stable")[::-1]
    while len(order):
        rows, order = np.split(order, [max(1, _STEPS // max(1, len(read[order[0]])))])
        outputs = run(*pad_sequences([read[i] for i in rows]))
        for column, i in enumerate(rows):
            found[i][:] = outputs[: len(found[i]), column]
    return found


def probabilities(outputs: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """How likely each output is on, float64, of logits of any shape."""
    scaled = outputs.astype(np.float64) / temperature
    return np.exp(-np.logaddexp(0.0, -scaled))


def nats_by_step(outputs: np.ndarray, roll: np.ndarray) -> np.ndarray:
    """-log p of each step of a roll [T, O], float64 [T], outputs being independent within a step.

    That is the sum of the outputs' binary cross-entropies, in nats.
    """
    logits = outputs.astype(np.float64)
    return (np.logaddexp(0.0, logits) - logits * roll).sum(1)


class RollsAndConditions(NamedTuple):
    """Rolls uint8 [T, O], and what each is to be, float32 [N, C], of which C may be 0."""

    rolls: list[np.ndarray]
    conditions: np.ndarray


class Hits(NamedTuple):
    """How many outputs were rightly, wrongly, and not expected to be on."""

    right: int
    wrong: int
    missed: int

    @classmethod
    def of(cls, expected: Sequence[np.ndarray], rolls: Sequence[np.ndarray]) -> Hits:
        """Those of all steps; what is expected is a bool [T, O] for each roll."""
        pairs = list(zip(expected, rolls, strict=True))
        right = sum(int((e & (r > 0)).sum()) for e, r in pairs)
        wrong = sum(int((e & (r == 0)).sum()) for e, r in pairs)
        missed = sum(int((~e & (r > 0)).sum()) for e, r in pairs)
        return cls(right, wrong, missed)

    @property
    def accuracy(self) -> float:
        """TP / (TP + FP + FN); NaN where nothing was on or expected (Bay, Ehmann & Downie 2009)."""
        count = sum(self)
        return self.right / count if count else float("nan")


def roll_figures(
    outputs: Sequence[np.ndarray], rolls: Sequence[np.ndarray]
) -> dict[str, float | int]:
    """``nats_per_step``, a mean over all steps of all rolls, ``frame_accuracy``, ``frames``.

    An output is expected where it is likelier on than off (Boulanger-Lewandowski et al. 2012,
    arXiv:1206.6392, section 5).
    """
    steps = sum(map(len, rolls))
    nats = sum(float(nats_by_step(o, r).sum()) for o, r in zip(outputs, rolls, strict=True))
    accuracy = Hits.of([o > 0 for o in outputs], rolls).accuracy
    return {"nats_per_step": nats / steps, "frame_accuracy": accuracy, "frames": steps}


def played(
    network: Network,
    reading: Reading,
    begun: np.ndarray,
    condition: np.ndarray,
    rng: np.random.Generator,
    *,
    temperature: float = 1.0,
    greedy: bool = False,
) -> Iterator[np.ndarray]:
    """The steps that follow those of ``begun`` [T, O] of a condition [C], without end, uint8 [O].

    Each is drawn from what the network expects, and read by it before the next one; with ``greedy``
    an output is on where it is likelier on than off.
    """
    whole = np.concatenate([begun, np.zeros_like(begun, shape=(1, begun.shape[1]))])
    features, state = network.features(reading.all_before(whole, condition)[:, None])
    past = reading.past(1)
    for step in begun:
        reading.after(step[None], past)
    latest = features[-1]
    while True:
        likely = probabilities(network.output(latest)[0], temperature)
        step = (likely > (0.5 if greedy else rng.random(len(likely)))).astype(np.uint8)
        yield step
        read = reading.values(reading.after(step[None], past), condition)
        latest = network.step(read, state)
