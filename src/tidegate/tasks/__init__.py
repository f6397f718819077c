"""Whole tasks as estimators: fit, evaluate, predict, save."""

from __future__ import annotations

import importlib
from os import PathLike
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tidegate.tasks.estimator import Estimator

# Name in a model file -> (name on the command line, module, class).
TASKS = {
    "text-classifier": ("classifier", "tidegate.tasks.classifier", "TextClassifier"),
    "language-model": ("language-model", "tidegate.tasks.language_model", "LanguageModel"),
    "forecaster": ("forecaster", "tidegate.tasks.forecaster", "Forecaster"),
}


def task_class(task: str) -> type[Estimator]:
    """The estimator of a task by its name in a model file."""
    _, module, name = TASKS[task]
    return getattr(importlib.import_module(module), name)


def load(path: str | PathLike[str]) -> Estimator:
    """The fitted estimator in a model file, whichever task it is of.  Raises ModelFileError."""
    from tidegate.checkpoint import load_model

    model = load_model(path)
    return task_class(model.task).from_model_file(model, path)
