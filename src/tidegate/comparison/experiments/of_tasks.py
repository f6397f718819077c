"""Which experiment each task has."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import signature
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
    model: Estimator, data: tuple[Any, ...], validation: Any, test: Any, **told: Any
) -> Experiment:
    """The experiment on what ``fit`` takes: ``data`` in their order, and by name what is ``told``.

    ``validation`` and ``test``: such data, or None.  Raises InputError, and TypeError as ``fit``
    does where there is something that it does not take.
    """
    data, told, validation = _as_fit_takes_it(model, data, told, validation)
    if test is not None and getattr(model, "test_fraction", 0):
        problem = "expected none beside test data, got both; leave out one"
        raise InputError(problem, option="test_fraction")
    kind: Any = EXPERIMENTS[model.TASK]
    if kind is LanguageModelling:
        (text,), conditions = data, told.pop("conditions", None)
        data = (text if conditions is None else ConditionedTexts.of(text, conditions),)
        kind = ConditionedModelling if isinstance(data[0], ConditionedTexts) else kind
    return kind(model, *data, validation=validation, test=test, **told)


def _as_fit_takes_it(
    model: Estimator, data: tuple[Any, ...], told: Mapping[str, Any], validation: Any
) -> tuple[tuple[Any, ...], dict[str, Any], Any]:
    """What comes in an order, what by name, and the validation data, wherever they were given."""
    fit = signature(type(model).fit)  # pyright: ignore[reportAttributeAccessIssue]
    name = type(model).__name__
    if unknown := [one for one in told if one not in fit.parameters]:
        known = ", ".join(one for one in fit.parameters if one != "self")
        raise TypeError(
            f"unexpected keyword argument {unknown[0]!r}; beside what is named above, expected "
            f"what {name}.fit takes: {known}"
        )
    apart = "validation" in fit.parameters and validation is not None
    try:
        bound = fit.bind(model, *data, **told, **({"validation": validation} if apart else {}))
    except TypeError as e:
        raise TypeError(f"expected what {name}.fit takes: {e}") from None
    validation = bound.arguments.pop("validation", validation)
    return bound.args[1:], bound.kwargs, validation
