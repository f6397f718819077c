"""Which experiment each task has."""

from __future__ import annotations

from typing import Any

from tidegate.comparison.experiments.conditioned import ConditionedModelling
from tidegate.comparison.experiments.experiment import Experiment
from tidegate.comparison.experiments.forecasts import Forecasts
from tidegate.comparison.experiments.language import LanguageModelling
from tidegate.comparison.experiments.music import Music
from tidegate.comparison.experiments.sequences import SequenceClassification, SequenceRegression
from tidegate.comparison.experiments.series_pairs import SeriesAnswers
from tidegate.comparison.experiments.tags import StepTags, Tags
from tidegate.comparison.experiments.texts import TextClassification, TextRegression
from tidegate.comparison.experiments.transduction import Transduction
from tidegate.data.text.conditions import ConditionedTexts
from tidegate.errors import InputError
from tidegate.tasks.estimator import Estimator

# By a task's name in a model file.
EXPERIMENTS: dict[str, type[Experiment]] = {
    "text-classifier": TextClassification,
    "text-regressor": TextRegression,
    "language-model": LanguageModelling,
    "forecaster": Forecasts,
    "series-classifier": SequenceClassification,
    "series-regressor": SequenceRegression,
    "series-tagger": StepTags,
    "tagger": Tags,
    "music": Music,
    "sequence-to-sequence": Transduction,
    "series-to-series": SeriesAnswers,
}


def held_back(model: Estimator, share: float) -> dict[str, Any]:
    """The options with which the task holds out a ``share`` of its data, unless they hold some."""
    return EXPERIMENTS[model.TASK].held_back(model, share)


def experiment_of(
    model: Estimator, data: tuple[Any, ...], validation: Any, test: Any
) -> Experiment:
    """The experiment on ``data``, what ``fit`` takes; ``validation`` and ``test``: such, or None.

    Raises InputError.
    """
    if test is not None and getattr(model, "test_fraction", 0):
        problem = "expected none beside test data, got both; leave out one"
        raise InputError(problem, option="test_fraction")
    kind: Any = EXPERIMENTS[model.TASK]
    if isinstance(data[0], ConditionedTexts):
        kind = ConditionedModelling
    return kind(model, *data, validation=validation, test=test)
