"""Whole tasks as estimators: fit, evaluate, predict, save."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING

from tidegate.data import sequence_sources, sources, text_sources
from tidegate.data.roll_source import Rolls

if TYPE_CHECKING:
    from tidegate.data.source import Source
    from tidegate.tasks.estimator import Estimator


@dataclass(frozen=True, kw_only=True)
class Task:
    """What the command line knows about a task before it loads the task's module.

    ``example`` follows ``tidegate train COMMAND`` in its help; ``then`` is what to do next, with
    {model} and {data} for the files, and {piece} for the one that a model of music is to write.
    """

    command: str
    module: str
    estimator: str
    source: type[Source]
    help: str
    example: str
    then: str


# By the name in a model file.
TASKS = {
    "text-classifier": Task(
        command="classifier",
        module="tidegate.tasks.classifier",
        estimator="TextClassifier",
        source=text_sources.LabelledTexts,
        help="Train a classifier that tells the label of a text, or its labels where it has "
        "several.",
        example="reviews.csv --text review --label sentiment",
        then="echo 'some text' | tidegate predict {model} -",
    ),
    "text-regressor": Task(
        command="regressor",
        module="tidegate.tasks.text_regressor",
        estimator="TextRegressor",
        source=text_sources.MeasuredTexts,
        help="Train a regressor that tells a number from a text.",
        example="reviews.csv --text review --target stars",
        then="echo 'some text' | tidegate predict {model} -",
    ),
    "language-model": Task(
        command="language-model",
        module="tidegate.tasks.language_model",
        estimator="LanguageModel",
        source=sources.PlainText,
        help="Train a language model that writes text: characters, words or BPE tokens.",
        example="book.txt --max-minutes 5",
        then="tidegate generate {model} --length 500",
    ),
    "forecaster": Task(
        command="forecaster",
        module="tidegate.tasks.forecaster",
        estimator="Forecaster",
        source=sources.TimeSeries,
        help="Train a forecaster of one or several time series. Many in one table: "
        "sales.csv --time month --target sales --id shop",
        example="load.csv --time date --target OT --horizon 24",
        then="tidegate forecast {model} {data} --plot forecast.png",
    ),
    "series-classifier": Task(
        command="series-classifier",
        module="tidegate.tasks.sequence_classifier",
        estimator="SequenceClassifier",
        source=sequence_sources.LabelledSequences,
        help="Train a classifier that tells the label of a sequence of numbers.",
        example="gestures.csv --id gesture --time t --values x,y --label kind",
        then="tidegate predict {model} {data}",
    ),
    "series-regressor": Task(
        command="series-regressor",
        module="tidegate.tasks.sequence_regressor",
        estimator="SequenceRegressor",
        source=sequence_sources.MeasuredSequences,
        help="Train a regressor that tells one number from a sequence of numbers.",
        example="runs.csv --id run --time t --values speed,pulse --target score",
        then="tidegate predict {model} {data}",
    ),
    "series-tagger": Task(
        command="series-tagger",
        module="tidegate.tasks.series_tagger",
        estimator="SeriesTagger",
        source=sequence_sources.LabelledSteps,
        help="Train a tagger that tells a label of each step of numbers: activities, phases, "
        "events.",
        example="walks.csv --id walk --time t --values x,y --label activity",
        then="tidegate predict {model} {data}",
    ),
    "tagger": Task(
        command="tagger",
        module="tidegate.tasks.tagger",
        estimator="SequenceTagger",
        source=sources.TaggedTokens,
        help="Train a tagger that tells the label of each token: parts of speech, names, chunks.",
        example="train.conllu --validation dev.conllu",
        then="echo 'some words' | tidegate predict {model} -",
    ),
    "music": Task(
        command="music",
        module="tidegate.tasks.music_model",
        estimator="MusicModel",
        source=Rolls,
        help="Train a model of music, or of any steps at which several of many outputs are on: "
        "baskets, clicks, events. A table has a row for each: "
        "baskets.csv --id customer --time day --item bought",
        example="songs/ --max-minutes 10",
        then="tidegate generate {model} --length 64 -o {piece}",
    ),
    "sequence-to-sequence": Task(
        command="seq2seq",
        module="tidegate.tasks.sequence_to_sequence",
        estimator="SequenceToSequence",
        source=sources.TextPairs,
        help="Train an encoder and a decoder that answer a text with a text.",
        example="pairs.tsv --source question --target answer",
        then="echo 'some text' | tidegate predict {model} -",
    ),
    "series-to-series": Task(
        command="series-to-series",
        module="tidegate.tasks.series_to_series",
        estimator="SeriesToSeries",
        source=sequence_sources.SequencesOfBoth,
        help="Train an encoder and a decoder that answer a sequence of numbers with one of another "
        "length.",
        example="trips.csv --id trip --time t --values speed,pulse --target load",
        then="tidegate predict {model} {data}",
    ),
}


def task_class(task: str) -> type[Estimator]:
    """The estimator of a task by its name in a model file."""
    return getattr(importlib.import_module(TASKS[task].module), TASKS[task].estimator)


def load(path: str | PathLike[str]) -> Estimator:
    """Read a fitted estimator, of any task, from a model file.

    Opening a file never runs code, and needs no torch.  Raises ModelFileError for a file that is
    damaged or no model.

    >>> import numpy as np, tidegate as tg
    >>> X = np.random.default_rng(0).normal(size=(40, 30))
    >>> model = tg.SequenceRegressor(max_steps=2, verbose=0).fit(X, X.mean(axis=1))
    >>> model.save("example.safetensors")
    >>> bool((tg.load("example.safetensors").predict(X) == model.predict(X)).all())
    True
    """
    from tidegate.model.checkpoint import load_model

    model = load_model(path)
    return task_class(model.task).from_model_file(model, path)
