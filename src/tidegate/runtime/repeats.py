"""What a roll says of itself: what followed the last time that its end was heard.

Tunes and habits come again.  The end of what was read is looked for in what was read before it, and
the step that followed the longest earlier repetition is read beside the last step.  This is the
context of a variable-length model, such as PPM* (Cleary, Teahan & Witten 1995); the network learns
how far to trust it.
"""

from __future__ import annotations

import numpy as np

REMEMBERED = 1024  # steps that are looked through
LONG, SHORT = 16, 4  # lengths of repetitions, beyond which more says no more
_BITS = 63  # outputs in a whole number of 64 bits


class Reading:
    """What the network reads of rolls of ``outputs`` outputs: ``width`` numbers before each step.

    Before a step it reads the last one: which outputs were on.  With ``repeats`` also those of the
    step that followed the longest earlier repetition, and two numbers from 0 to 1 that tell how
    long that is.  Before the first step all are zero.  Last come the ``conditions`` numbers that
    say what the whole roll is to be.
    """

    def __init__(self, outputs: int, *, repeats: bool, conditions: int = 0) -> None:
        self.outputs, self.repeats, self.conditions = outputs, repeats, conditions
        self.width = (2 * outputs + 2 if repeats else outputs) + conditions

    def before(self, roll: np.ndarray) -> np.ndarray:
        """What is read before each step of a roll uint8 [T, O], in a short form: uint8 [T, ...].

        Its first columns, a multiple of O, are outputs.
        """
        last = np.zeros_like(roll)
        last[1:] = roll[:-1]
        if not self.repeats:
            return last
        told = np.zeros((len(roll), self.outputs + 1), np.uint8)
        if len(roll) > REMEMBERED:
            past = Past(1, self.outputs)
            for t in range(len(roll) - 1):
                told[t + 1] = past.push(roll[t : t + 1])[0]
        else:
            lengths, followers = _repetitions(roll)
            found = np.flatnonzero(lengths[:-1])
            told[found + 1, :-1] = roll[followers[found]]
            told[1:, -1] = np.minimum(lengths[:-1], 255)
        return np.concatenate([last, told], axis=1)

    def past(self, rows: int) -> Past | None:
        """What `after` remembers of so many rolls; None where nothing is."""
        return Past(rows, self.outputs) if self.repeats else None

    def after(
        self, steps: np.ndarray, past: Past | None, rows: np.ndarray | None = None
    ) -> np.ndarray:
        """What is read after one more step, uint8 [B, O], of the ``rows`` that ``past`` remembers
        (numbers; None: all), in the short form.
        """
        return steps if past is None else np.concatenate([steps, past.push(steps, rows)], axis=1)

    def values(self, short: np.ndarray, condition: np.ndarray) -> np.ndarray:
        """What ``before`` gave, beside a condition float32 [..., C], float32 [..., width]."""
        values = np.empty((*short.shape[:-1], self.width), np.float32)
        own = self.width - self.conditions
        values[..., own:] = condition
        if not self.repeats:
            values[..., :own] = short
            return values
        values[..., : own - 1] = short
        length = short[..., -1].astype(np.float32)
        values[..., own - 2] = np.minimum(length, LONG) / LONG
        values[..., own - 1] = np.minimum(length, SHORT) / SHORT
        return values

    def all_before(self, roll: np.ndarray, condition: np.ndarray) -> np.ndarray:
        """What is read before each step of a roll of a condition [C], float32 [T, width]."""
        return self.values(self.before(roll), condition)


def _repetitions(roll: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each step of a roll of up to REMEMBERED steps, what `Past.push` tells: how long the
    repetition is that ends there, 0 for none, and which step followed the earlier one.
    """
    _, kinds = np.unique(roll, axis=0, return_inverse=True)
    kinds = kinds.ravel()
    lengths, followers = np.zeros((2, len(roll)), np.int64)
    runs, longer = np.zeros((2, len(roll) + 1), np.int64)  # at s + 1 that of step s; at 0 none
    for t in range(1, len(roll)):
        np.add(runs[:t], 1, out=longer[:t])
        longer[:t] *= kinds[:t] == kinds[t]
        latest = t - 1 - int(longer[:t][::-1].argmax())
        lengths[t], followers[t] = longer[latest], latest + 1
        runs[1 : t + 1] = longer[:t]
    return lengths, followers


class Past:
    """The last steps of some rolls side by side, and how long a repetition ends at each of them.

    ``arrays``: ``past`` int64 [B, N, words], the last N steps in a ring; ``past.runs`` int64
    [B, N]: how many steps up to that one equal the roll's last steps; ``past.steps`` int64 [B],
    those that were read.
    """

    def __init__(self, rows: int, outputs: int) -> None:
        self._outputs = outputs
        words = -(-outputs // _BITS)
        self._weights = np.zeros((outputs, words), np.int64)
        places = np.arange(outputs)
        self._weights[places, places // _BITS] = np.int64(1) << (places % _BITS)
        self._past = np.zeros((rows, REMEMBERED, words), np.int64)
        self._runs = np.zeros((rows, REMEMBERED), np.int64)
        self._steps = np.zeros(rows, np.int64)

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        return {"past": self._past, "past.runs": self._runs, "past.steps": self._steps}

    @staticmethod
    def check(arrays: dict[str, np.ndarray]) -> None:
        """Raise ValueError for values of ``arrays`` that no past has."""
        for name in ("past", "past.runs", "past.steps"):
            if (arrays[name] < 0).any():
                raise ValueError(f"{name}: expected numbers from 0, got one below")

    def push(self, steps: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
        """One more step of each of the ``rows`` (numbers; None: all), uint8 [B, O]; uint8
        [B, O + 1]: which outputs were on after the longest earlier repetition of each roll's end,
        and how long that was, 0 for none; the latest of several.
        """
        told = np.zeros((len(steps), self._outputs + 1), np.uint8)
        keys = steps.astype(np.int64) @ self._weights
        for k, row in enumerate(range(len(steps)) if rows is None else rows.tolist()):
            length, follower = self._push(row, keys[k])
            if length:
                bits = follower[np.arange(self._outputs) // _BITS]
                told[k, :-1] = bits >> (np.arange(self._outputs) % _BITS) & 1
                told[k, -1] = min(length, 255)
        return told

    def _push(self, row: int, key: np.ndarray) -> tuple[int, np.ndarray]:
        past, runs, count = self._past[row], self._runs[row], int(self._steps[row])
        place, known = count % REMEMBERED, min(count, REMEMBERED)
        equal = (past[:known] == key).all(1)
        if known < REMEMBERED:
            longer = np.zeros(known, np.int64)
            longer[1:] = runs[: known - 1] if known else 0
        else:
            longer = np.roll(runs, 1)
        runs[:known] = np.where(equal, longer + 1, 0)
        past[place], best = key, 0
        if known:
            # the latest of the longest: ages of ring places, from the last step on
            turned = np.roll(runs[:known], -place) if known == REMEMBERED else runs[:known]
            at = known - 1 - int(turned[::-1].argmax())
            best = int(turned[at])
            found = (at + place) % REMEMBERED if known == REMEMBERED else at
        runs[place] = 0
        self._steps[row] = count + 1
        return best, past[(found + 1) % REMEMBERED] if best else key
