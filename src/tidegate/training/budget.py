"""What the minutes of a run are spent on: steps, evaluations, and what must come at its end."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from statistics import median

_EVALUATION = 0.5  # what reading a unit to evaluate costs, in units that are learned from; a guess
_ONE_EVALUATION = 0.05  # of the minutes, at most
_EVALUATING = 0.1  # of the time since the last evaluation, at most
_UNMEASURED = 0.15  # of the minutes: most that is set aside for reading before any was timed
_TIME_ONE = 0.2  # of the minutes: then an evaluation is timed, if none has been
_SAMPLING = 0.05  # of the time so far, at most
_ENDING_S = 0.3  # seconds of the processor for what is done once, of any network ...
_DRAWING_S = 1.2  # ... and for the curve in a run folder
_MOST_ENDING = 0.2  # of the minutes, however slow the machine is
_WRITTEN = 24  # bytes for each weight: a training state and a model file ...
_WRITING_S = 1e-8  # ... each byte of which takes so long to gather, digest and write
_CAUTION = 0.1  # of what reading takes: another program may begin to work while it goes on ...
_MOST_CAUTION_S = 2.0  # ... but to end early is no better than to end late
_STEPS = 4  # after which the pace is known, the first step aside, which is slower
_PACE_STEPS = 15  # the last ones, whose median is the pace
_SURE = 0.25  # of the time for steps: then it shows whether a pass will be made
_LEAST_REFIT = 0.5  # of the steps wanted from all data: fewer teach nothing new
_LEAST_READ = 30  # steps' worth of units that an evaluation may read however short the run is
_WORTH_A_WORD = 0.1  # of the minutes: so long a preparation is told
_MANY_STEPS = 300  # fewer rarely teach a network from random weights
_MOST_READ = 0.3  # of the units that a run of so many steps learns from

REFIT = 0.2  # of the best weights' steps: in so many more all data are learned from


@dataclass(frozen=True, kw_only=True)
class Closing:
    """What a task does once the last step is made, for which minutes must be left.

    ``tested``: units of a test part, read once; ``again``: how often what is evaluated of the
    validation part is read once more; ``seconds``: what else takes so long, and ``refit_s`` where
    all data are learned from.
    """

    tested: float = 0
    again: float = 0
    seconds: float = 0
    refit_s: float = 0


class Budget:
    """The time of a run that may take ``total_s`` seconds (None: any time), as it is measured.

    ``validation`` units are evaluated; these, and those of ``closing``, are in units of a step.
    ``ending_s``: seconds of the processor for what comes once, at the end.  ``refit``: steps from
    all data for each before; they are made once a pass of ``epoch`` steps is, of which ``done``
    are behind.  All seconds but those are of one clock that begins with the training.
    """

    def __init__(
        self,
        total_s: float | None,
        validation: float,
        closing: Closing,
        *,
        ending_s: float = 0.0,
        refit: float = 0.0,
        epoch: int = 1,
        done: int = 0,
    ) -> None:
        self.total_s, self._closing, self._whole = total_s, closing, validation
        self.refit = self._kept_for_refit = refit
        self._epoch, self._done = epoch, done
        self._share, self._planned = 1.0, False
        self._evaluation, self._measured = _EVALUATION, False  # steps, for a step's units
        self._durations: deque[float] = deque(maxlen=_PACE_STEPS)
        self._steps = 0
        self._evaluation_ended = 0.0
        self._ending_s = ending_s
        self.saving_s = 0.0  # what the last save took
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
            self._evaluation, self._measured = seconds / self.step_s / units, True

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

    def closing_s(self, evaluations: int = 1) -> float:
        """Seconds to set aside for what comes after the last step, refit aside.

        ``evaluations``: how many are still to come.
        """
        assert self.total_s is not None
        evaluation_s = self.evaluation_s()
        if not self._planned:  # what cannot be afforded will not be evaluated
            evaluation_s = min(evaluation_s, _ONE_EVALUATION * self.total_s)
        tested_s = self._evaluation * self._closing.tested * self.step_s
        reading_s = (evaluations + self._closing.again) * evaluation_s + tested_s
        if not self._measured:
            reading_s = min(reading_s, _UNMEASURED * self.total_s)
        ending_s = self.slowness * (self._ending_s + self.saving_s)
        ending_s = min(ending_s, _MOST_ENDING * self.total_s)
        caution_s = min(_CAUTION * reading_s, _MOST_CAUTION_S)
        told_s = self._closing.seconds
        if self._kept_for_refit:
            told_s += self._closing.refit_s
        return reading_s + caution_s + ending_s + told_s

    def used(self, seconds: float) -> float:
        """What fraction of the time for steps has gone after ``seconds``."""
        for_steps = self._for_steps(seconds)
        if self._kept_for_refit and self.known and self.step_s and seconds > _SURE * for_steps:
            ahead = (for_steps - seconds) / self.step_s
            if self._done + self._steps + ahead < self._epoch:
                self._kept_for_refit = 0.0
                for_steps = self._for_steps(seconds)
        return seconds / for_steps if for_steps > 0 else math.inf

    def _for_steps(self, seconds: float) -> float:
        """Seconds until the last evaluation, so that steps from all data have time after it."""
        assert self.total_s is not None
        made = min(1.0, self._steps * self.step_s / seconds) if seconds > 0 else 1.0
        return (self.total_s - self.closing_s()) / (1 + self._kept_for_refit * made)

    def steps_left(self, seconds: float) -> float:
        """Steps for which there is time after the last evaluation, which ended at ``seconds``."""
        if self.total_s is None or not self.step_s:
            return math.inf
        return max(0.0, self.total_s - seconds - self.closing_s(0)) / self.step_s

    def refits(self, seconds: float, steps: float) -> bool:
        """Whether there is time for so many ``steps`` from all data, or for most of them."""
        return self.steps_left(seconds) >= _LEAST_REFIT * steps

    def steps_bought(self) -> float:
        """Steps that the whole time is enough for, with evaluations between them."""
        assert self.total_s is not None
        for_steps = max(0.0, self.total_s - self.closing_s())
        for_steps /= 1 + _EVALUATING + self._kept_for_refit
        return for_steps / self.step_s if self.step_s else math.inf

    def may_evaluate(self, now: float) -> bool:
        """Whether evaluating stays the lesser part of the work if it is done now."""
        return self.evaluation_s() <= _EVALUATING * (now - self._evaluation_ended)

    def must_evaluate(self, now: float) -> bool:
        """Whether it is time to learn what evaluating takes, which the end depends on."""
        if self.total_s is None or self._measured or not self._planned:
            return False
        return now >= _TIME_ONE * self.total_s

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


def ending_s(weights: int, *, draws: bool) -> float:
    """Seconds of the processor for writing so many weights, and with a run folder a curve."""
    return _WRITING_S * _WRITTEN * weights + _ENDING_S + draws * _DRAWING_S


def bought(minutes: float, prepared_s: float, steps: float, passes: float) -> str:
    """What to say of the steps that the minutes of a run are enough for.

    ``prepared_s``: seconds of them that went by before the first step.
    """
    amount = f"{passes:.2g} of a pass" if passes < 1 else f"{_short(passes)} passes"
    gone = ""
    if prepared_s > _WORTH_A_WORD * 60 * minutes:
        gone = f", of which preparing took {prepared_s:.0f} s,"
    told = (
        f"{minutes:g} minutes{gone} buy about {_short(steps)} steps at this speed, {amount} over "
        "the training data"
    )
    if passes >= 1 and steps >= _MANY_STEPS:
        return told
    return f"{told}; give more minutes, or train a smaller network"


def _short(number: float) -> str:
    """To two digits."""
    digits = max(0, math.floor(math.log10(max(number, 1))) - 1)
    return f"{round(number / 10**digits) * 10**digits:,.0f}"
