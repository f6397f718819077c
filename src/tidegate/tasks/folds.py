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

from tidegate.baselines.baseline import Answered, Labelling
from tidegate.tasks.label_figures import label_figures
from tidegate.training.clock import counting_from

if TYPE_CHECKING:
    from tidegate.nn.network import SequenceNetwork

FEW = 400  # examples; of more, a tenth is enough to choose by
FOLDS = 5

_LENGTHS = (33, 100, 300)  # steps
_FIGURES = ("accuracy", "cross_entropy", "calibration_error")
_TEMPERATURES = np.geomspace(0.2, 50, 400)


def folds_of(answers: np.ndarray, seed: int) -> np.ndarray | None:
    """Of each of N examples its fold, [N], each label in all folds alike.

    None where there are many examples, or too few of a label for each fold to have one.
    """
    _, counts = np.unique(answers, return_counts=True)
    if len(answers) >= FEW or counts.min() < FOLDS:
        return None
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(answers))
    order = order[np.argsort(answers[order], kind="stable")]
    folds = np.empty(len(answers), np.int64)
    folds[order] = np.arange(len(answers)) % FOLDS
    return folds


def temperature_of(log_p: np.ndarray, truth: np.ndarray) -> float:
    """What to divide the logarithms of probabilities [N, L] by, for the least cross-entropy.

    The right label's probability is aimed at a little below 1, as after one more example that is
    not of any label (Platt 1999): else there is no end where all are told right.
    """
    n = len(log_p)
    rows = np.arange(n)

    def cross_entropy(temperature: float) -> float:
        found = divided(log_p, temperature)
        return float(-(n * found[rows, truth] + found.mean(1)).sum()) / (n * (n + 1))

    return float(min(_TEMPERATURES, key=cross_entropy))


def divided(log_p: np.ndarray, temperature: float) -> np.ndarray:
    """Log-probabilities of outputs that are divided by ``temperature``, [N, L]."""
    outputs = log_p / temperature
    return outputs - np.logaddexp.reduce(outputs, axis=1, keepdims=True)


class Judged(NamedTuple):
    """Training of ``steps`` steps (None: as the options say), judged by folds.

    ``log_p`` [N, L]: of each input by a network that learned from other folds, divided by
    ``temperature``, which suits them.
    """

    steps: int | None
    log_p: np.ndarray
    temperature: float


def judged_by_folds(
    model: Any, inputs: list[Any], answers: np.ndarray, weights: np.ndarray, folds: np.ndarray
) -> Judged:
    """The length of training that folds find best: longer and longer ones while that helps.

    ``model`` is a classifier that knows its labels, of which ``answers`` [N] are the places;
    ``weights`` [N]: how much each counts.
    """
    best, least = None, np.inf
    for steps in _LENGTHS if model.is_unlimited else (None,):
        found = _out_of_fold(model, inputs, answers, weights, folds, steps)
        temperature = temperature_of(found, answers)
        log_p = divided(found, temperature)
        entropy = -log_p[np.arange(len(answers)), answers].mean()
        if best is not None and entropy >= least:
            break
        best, least = Judged(steps, log_p, temperature), entropy
    assert best is not None
    return best


@contextmanager
def trained_for(model: Any, judged: Judged | None) -> Iterator[None]:
    """Inside, ``model`` is trained for so many steps as were found best, if any were."""
    given = model.max_steps
    if judged is not None and judged.steps is not None:
        model.max_steps = judged.steps
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
    minutes = model.max_minutes
    options = model.get_params() | {
        "validation_fraction": 0.0,
        "test_fraction": 0.0,
        "baseline": False,
        "verbose": 0,
        "run_folder": None,
        "resume": False,
        "max_minutes": None if minutes is None else minutes / (FOLDS + 2),
        "max_steps": model.max_steps if steps is None else steps,
    }
    log_p = np.empty((len(inputs), len(model.classes_)))
    for fold in range(FOLDS):
        rest, own = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        other = type(model)(**options)
        with counting_from(time.monotonic()):
            labels = model.classes_[answers[rest]]
            other.fit([inputs[i] for i in rest], labels, sample_weight=weights[rest])
        log_p[own] = other.predict_log_proba([inputs[i] for i in own])
    return log_p


def believe(model: Any, judged: Judged, answers: np.ndarray) -> None:
    """Give a fitted classifier the temperature and the figures that folds have found."""
    network = model.network_
    cool(network, judged.temperature)
    model.network_ = network
    figures = label_figures(judged.log_p.astype(np.float32), answers)
    model.metrics_ = {name: figures[name] for name in _FIGURES}
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
    fit: Callable[[Answered], Labelling], part: Answered, folds: np.ndarray
) -> dict[str, float]:
    """Figures of a baseline on ``part``, each fold predicted by what learned from the others."""
    sums: dict[str, Any] = {}
    for fold in range(FOLDS):
        inside = folds == fold
        rest, own = (part.rows(np.flatnonzero(which)) for which in (~inside, inside))
        for name, value in fit(rest).figures(own).items():
            sums[name] = sums.get(name, 0.0) + value * inside.mean()
    return sums
