"""What the minutes of a run are spent on: steps, evaluations, and what must come at its end."""

from __future__ import annotations

import math
from collections import deque
from statistics import median

_EVALUATION = 0.6  # what reading a unit to evaluate costs at most, in units that are learned from
_ONE_EVALUATION = 0.05  # of the minutes, at most
_EVALUATING = 0.1  # of the time since the last evaluation, at most
_SAMPLING = 0.05  # of the time so far, at most
_CLOSING = 0.05  # of the minutes, for what is done once, such as the curve ...
_CLOSING_S = 1.5  # ... but no more than this
_MOST_CLOSING = 0.25  # of the minutes, however slow the machine is
_WRITTEN = 24  # bytes for each weight: a training state and a model file ...
_WRITING_S = 1e-8  # ... each byte of which takes so long to gather, digest and write
_CAUTION = 1.25  # another program may begin to work while the last evaluation goes on
_STEPS = 4  # after which the pace is known, the first step aside, which is slower
_PACE_STEPS = 15  # the last ones, whose median is the pace
_LEAST_READ = 30  # steps' worth of units that an evaluation may read however short the run is
_MANY_STEPS = 300  # fewer rarely teach a network from random weights
_MOST_READ = 0.3  # of the units that a run of so many steps learns from


class Budget:
    """The time of a run that may take ``total_s`` seconds (None: any time), as it is measured.

    ``validation``, ``tested``: units that are evaluated, and that are tested after the training,
    in units of a step.  ``weights``: how many there are to write.  ``refit``: steps from all data
    for each before.  All seconds are those of one clock that begins with the training.
    """

    def __init__(
        self, total_s: float | None, validation: float, tested: float, weights: int, refit: float
    ) -> None:
        self._refit = refit
        self.total_s, self._tested, self._whole = total_s, tested, validation
        self._share, self._planned = 1.0, False
        self._evaluation = _EVALUATION  # steps that evaluating a step's units takes
        self._durations: deque[float] = deque(maxlen=_PACE_STEPS)
        self._steps = 0
        self._evaluation_ended = 0.0
        self.saving_s = _WRITING_S * _WRITTEN * weights
        self.slowness = 1.0  # seconds on the clock for each of the processor: others work, too

    def stepped(self, seconds: float) -> None:
        """A step took ``seconds``."""
        if self._steps == 1:
            self._durations.clear()  # the first one also loads and allocates
        self._steps += 1
        self._durations.append(seconds)

    def evaluated(self, seconds: float, now: float) -> None:
        """An evaluation took ``seconds``."""
        self._evaluation_ended = now
        if self.step_s and (units := self._share * self._whole):
            self._evaluation = seconds / self.step_s / units

    @property
    def step_s(self) -> float:
        """Seconds of a step, lately; 0 before the first one."""
        return median(self._durations) if self._durations else 0.0

    @property
    def known(self) -> bool:
        """Whether the pace is."""
        return self._steps >= _STEPS

    def evaluation_s(self) -> float:
        """Seconds that an evaluation will take."""
        return self._evaluation * self._share * self._whole * self.step_s

    def closing_s(self) -> float:
        """Seconds to set aside for what comes after the last step."""
        assert self.total_s is not None
        evaluation_s = self.evaluation_s()
        if not self._planned:  # what cannot be afforded will not be evaluated
            evaluation_s = min(evaluation_s, _ONE_EVALUATION * self.total_s)
        once_s = self.saving_s + min(_CLOSING_S, _CLOSING * self.total_s)
        once_s = min(self.slowness * once_s, _MOST_CLOSING * self.total_s)
        return _CAUTION * (evaluation_s + self._tested_s()) + once_s

    def _tested_s(self) -> float:
        return self._evaluation * self._tested * self.step_s

    def used(self, seconds: float) -> float:
        """What fraction of the time for steps has gone after ``seconds``."""
        assert self.total_s is not None
        for_steps = (self.total_s - self.closing_s()) / (1 + self._refit)
        return seconds / for_steps if for_steps > 0 else math.inf

    def steps_left(self, seconds: float) -> float:
        """Steps for which there is time after the last evaluation, which ended at ``seconds``."""
        if self.total_s is None or not self.step_s:
            return math.inf
        ahead = self._tested_s() + self.slowness * self.saving_s
        return max(0.0, self.total_s - seconds - _CAUTION * ahead) / self.step_s

    def steps_bought(self) -> float:
        """Steps that the whole time is enough for, with evaluations between them."""
        assert self.total_s is not None
        for_steps = max(0.0, self.total_s - self.closing_s()) / (1 + _EVALUATING + self._refit)
        return for_steps / self.step_s if self.step_s else math.inf

    def may_evaluate(self, now: float) -> bool:
        """Whether evaluating stays the lesser part of the work if it is done now."""
        return self.evaluation_s() <= _EVALUATING * (now - self._evaluation_ended)

    def may_sample(self, now: float, sampled_s: float) -> bool:
        """Whether there is time for a sample, after ``sampled_s`` seconds of samples."""
        return self.total_s is None or sampled_s <= _SAMPLING * now

    def affordable_share(self, steps: int | None) -> float:
        """Of the validation part: what a run of so many steps (None: any) evaluates at a time."""
        units = self._whole if steps is None else max(_LEAST_READ, _MOST_READ * steps)
        if self.total_s is not None and self.step_s:
            seconds = _ONE_EVALUATION * self.total_s
            units = min(units, seconds / (self._evaluation * self.step_s))
        return min(1.0, max(1.0, units) / max(self._whole, 1.0))

    def evaluate_share(self, share: float) -> None:
        """From now on that share of the validation part is evaluated."""
        self._share, self._planned = share, True


def bought(minutes: float, steps: float, passes: float) -> str:
    """What to say of the steps that the minutes of a run are enough for."""
    amount = f"{passes:.2g} of a pass" if passes < 1 else f"{_short(passes)} passes"
    told = (
        f"{minutes:g} minutes buy about {_short(steps)} steps at this speed, {amount} over the "
        "training data"
    )
    if passes >= 1 and steps >= _MANY_STEPS:
        return told
    return f"{told}; give more minutes, or train a smaller network"


def _short(number: float) -> str:
    """To two digits."""
    digits = max(0, math.floor(math.log10(max(number, 1))) - 1)
    return f"{round(number / 10**digits) * 10**digits:,.0f}"
