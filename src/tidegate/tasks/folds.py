"""Few examples: all are learned from, and folds of them say how sure to be.

A tenth of a few examples is too few to choose weights by.  So each fifth of them is predicted by a
network that learned from the others alone; these predictions are what the figures are of, and give
the temperature by which the outputs of the kept network, which learned from all, are divided (Guo
et al. 2017, On calibration of modern neural networks, arXiv:1706.04599).  The division is done in
the dense layer's weights, so that nothing which reads a model file need know of it.  Where no
limit is given, they choose the length of training, too: few examples are soon learned by heart.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tidegate.baselines.baseline import Answered, Baseline
from tidegate.tasks.kinds.kind import FEW, FOLDS, Kind
from tidegate.training.clock import counting_from

if TYPE_CHECKING:
    from tidegate.nn.network import SequenceNetwork

__all__ = [
    "FEW",
    "FOLDS",
    "Judged",
    "believe",
    "figures_of_folds",
    "judged_by_folds",
    "trained_for",
]

_LENGTHS = (33, 100, 300)  # steps
_PARTS = FOLDS + 2  # of the minutes: one for each fold, and two for the network that is kept
_LEAST = 0.25  # of its part, for a fold whose predecessors took longer than theirs
_TEMPERATURES = np.geomspace(0.2, 50, 400)


def temperature_of(kind: Kind, outputs: np.ndarray, answers: np.ndarray) -> float:
    """What to divide outputs [N, O] by, for the least loss; of a number this draws to the mean."""
    return float(min(_TEMPERATURES, key=lambda t: kind.hedged_loss(outputs / t, answers)))


class Judged(NamedTuple):
    """Training of ``steps`` steps (None: as the options say), judged by folds.

    ``outputs`` [N, O]: for each input of a network that learned from other folds, divided by
    ``temperature``, which suits them.
    """

    steps: int | None
    outputs: np.ndarray
    temperature: float


def judged_by_folds(
    model: Any, inputs: list[Any], answers: np.ndarray, weights: np.ndarray, folds: np.ndarray
) -> Judged:
    """The length of training that folds find best: longer and longer ones while that helps.

    ``model`` is an estimator that knows its ``kind_`` of answers; ``weights`` [N]: how much each
    counts.
    """
    best, least = None, np.inf
    for steps in _LENGTHS if model.is_unlimited else (None,):
        found = _out_of_fold(model, inputs, answers, weights, folds, steps)
        temperature = temperature_of(model.kind_, found, answers)
        outputs = found / temperature
        loss = model.kind_.losses(outputs, answers).mean()
        if best is not None and loss >= least:
            break
        best, least = Judged(steps, outputs, temperature), loss
    assert best is not None
    return best


@contextmanager
def trained_for(model: Any, judged: Judged | None) -> Iterator[None]:
    """Inside, ``model`` is trained for so many steps as were found best, if any were.

    Of a limited time it gets what a fold had at least: the figures of folds are to be its own.
    """
    given = model.max_steps
    if judged is not None and judged.steps is not None:
        model.max_steps = judged.steps
    if judged is not None and model.max_minutes is not None:
        model._preparation.leave(60 * model.max_minutes / _PARTS)
    try:
        yield
    finally:
        model.max_steps = given


def _out_of_fold(
    model: Any,
    inputs: list[Any],
    answers: np.ndarray,
    weights: np.ndarray,
    folds: np.ndarray,
    steps: int | None,
) -> np.ndarray:
    options = model.get_params() | {
        "validation_fraction": 0.0,
        "test_fraction": 0.0,
        "baseline": False,
        "verbose": 0,
        "run_folder": None,
        "resume": False,
        "max_steps": model.max_steps if steps is None else steps,
    }
    outputs = np.empty((len(inputs), model.kind_.outputs))
    for fold in range(FOLDS):
        rest, own = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        other = type(model)(**options | {"max_minutes": _minutes_of(model, fold)})
        with counting_from(time.monotonic()):
            given = model.kind_.given(answers[rest])
            other.fit([inputs[i] for i in rest], given, sample_weight=weights[rest])
        found = other._outputs([inputs[i] for i in own])
        outputs[own] = model.kind_.translated(found, other.kind_)
    return outputs


def _minutes_of(model: Any, fold: int) -> float | None:
    """What a fold may take of the minutes that those before it have left."""
    if model.max_minutes is None:
        return None
    spent = (time.monotonic() - model._preparation.began) / 60
    least = _LEAST * model.max_minutes / _PARTS
    return float(max((model.max_minutes - spent) / (_PARTS - fold), least))


def believe(model: Any, judged: Judged, answers: np.ndarray) -> None:
    """Give a fitted estimator the temperature and the figures that folds have found."""
    network = model.network_
    cool(network, judged.temperature)
    model.network_ = network
    model.kind_.settle(judged.outputs, answers)
    figures = model.kind_.figures(judged.outputs, answers)
    model.metrics_ = {name: figures[name] for name in model.kind_.FIGURES}
    model.provenance_ |= {
        "validation": f"{FOLDS} folds of the training {model.INPUTS}",
        f"validation_{model.INPUTS}": len(answers),
        "temperature": round(judged.temperature, 3),
    }


def cool(network: SequenceNetwork, temperature: float) -> None:
    """Divide the outputs of ``network`` by ``temperature``, in its weights."""
    import torch

    with torch.no_grad():
        network.dense.weight.div_(temperature)
        network.dense.bias.div_(temperature)


def figures_of_folds(
    fit: Callable[[Answered], Baseline], part: Answered, folds: np.ndarray
) -> dict[str, float]:
    """Figures of a baseline on ``part``, each fold predicted by what learned from the others."""
    sums: dict[str, Any] = {}
    for fold in range(FOLDS):
        inside = folds == fold
        rest, own = (part.rows(np.flatnonzero(which)) for which in (~inside, inside))
        for name, value in fit(rest).figures(own).items():
            sums[name] = sums.get(name, 0.0) + value * inside.mean()
    if "r2" in sums:  # of all folds together
        sums["r2"] = 1 - sums["mse"] / float(part.answers.var())
    return sums
