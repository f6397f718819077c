"""``tidegate evaluate``: how good a model is on data it has not seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tidegate.cli.command import Option, command, flag
from tidegate.cli.options import later_options
from tidegate.cli.parameters import FORCE, JSON, MODEL, data_to_ask_about, written_beside
from tidegate.cli.reading import about_file, refuse, source_for
from tidegate.cli.show import (
    accuracy_interval,
    accuracy_told,
    beside_baselines,
    noted,
    print_json,
    print_table,
)
from tidegate.data.files.items import label_text
from tidegate.data.files.reading import File, taken
from tidegate.data.source import PredictableSource
from tidegate.tasks import TASKS

if TYPE_CHECKING:
    from tidegate.tasks.classification import Classifier


class Asked(NamedTuple):
    """What the command was given beside a model and its data."""

    source: Any
    file: File
    start: str | None
    end: str | None
    plot: Path | None
    adapt: bool | None
    force: bool
    json: bool


class Measure(NamedTuple):
    """How a task's models are measured, and which of the options fit that some tasks have.

    ``figures(fitted, data, asked)``: the figures to print by name.
    """

    figures: Callable[[Any, Any, Asked], dict[str, Any]]
    options: frozenset[str] = frozenset()


@command(
    MODEL,
    data_to_ask_about(),
    Option(
        "--start",
        metavar="WHEN",
        help="forecaster: time of the first row to forecast (default: the first row that training "
        "did not use)",
    ),
    Option(
        "--end",
        metavar="WHEN",
        help="forecaster: time at which to stop (default: the last row)",
    ),
    written_beside(
        "--plot",
        "picture to draw, .png or .svg. forecaster: the last forecasts; classifiers: which labels "
        "are taken for which, and how often they are right by their probability",
    ),
    flag(
        "--adapt",
        default=None,
        help="language model: go on learning from the text, each part of it after it was predicted "
        "(dynamic evaluation); takes about as long as training on it with --batch-size 1",
    ),
    FORCE,
    JSON,
    told=later_options(*(task.source for task in TASKS.values())),
)
def evaluate(
    model: Path,
    file: str,
    told: dict[str, Any],
    start: str | None,
    end: str | None,
    plot: Path | None,
    adapt: bool | None,
    force: bool,
    json: bool,
) -> None:
    """Measure how good a model is on data that it has not seen.

    Example: tidegate evaluate reviews-text-classifier.safetensors test.csv
    """
    from tidegate.tasks import load

    if plot is not None:
        from tidegate.output.pictures import check_plot_path

        check_plot_path(plot, inputs=(model, file), force=force)
    fitted: Any = load(model)
    source, measure = source_for(fitted, told), MEASURES[fitted.TASK]
    given = {"start": start, "end": end, "plot": plot, "adapt": adapt or None}
    refuse(fitted, {name: v for name, v in given.items() if name not in measure.options})
    read = taken(file)
    data = source.read(read, learning=False)
    asked = Asked(source, read, start, end, plot, adapt, force, json)
    with about_file(read):
        figures = measure.figures(fitted, data, asked)
    if json:
        print_json(figures | noted(figures))
    else:
        print_table("", beside_baselines(figures))


def _plain(fitted: Any, data: Any, asked: Asked) -> dict[str, Any]:  # noqa: ARG001
    return fitted.evaluate(*data)


def _text(fitted: Any, data: Any, asked: Asked) -> dict[str, Any]:
    return fitted.evaluate(*data, adapt=bool(asked.adapt))


def _forecasts(fitted: Any, data: Any, asked: Asked) -> dict[str, Any]:
    figures = fitted.evaluate(*data, asked.start, asked.end)
    if asked.plot is not None:
        from tidegate.tasks.forecast_plot import plot_backtest

        backtest = fitted.backtest(*data, asked.start, asked.end)
        plot_backtest(asked.plot, backtest, force=asked.force)
    return figures


def _labels(fitted: Classifier, data: Any, asked: Asked) -> dict[str, Any]:
    inputs, labels = data
    labels = _known_labels(fitted, asked.source, asked.file, labels)
    judged = None if asked.plot is None else fitted.judged(inputs, labels)  # may refuse
    figures: dict[str, Any] = fitted.evaluate(inputs, labels)
    matrix = fitted.confusion_matrix(inputs, labels)
    if asked.plot is not None and judged is not None:
        from tidegate.tasks.label_plot import plot_labels

        plot_labels(asked.plot, matrix, fitted.classes_.tolist(), *judged, force=asked.force)
    if matrix.ndim == 3:
        return _label_sets(fitted, figures, matrix, asked)
    if asked.json:
        figures |= accuracy_interval(figures, figures["n"])
        return {**figures, "labels": fitted.classes_.tolist(), "confusion": matrix.tolist()}
    if len(fitted.classes_) <= 12:
        rows = {
            str(true): ", ".join(f"{p} {n}" for p, n in zip(fitted.classes_, row, strict=True))
            for true, row in zip(fitted.classes_, matrix, strict=True)
        }
        print_table("true label: how often each label was predicted", rows)
    return accuracy_told(figures, figures["n"], fitted.INPUTS)


def _label_sets(fitted: Any, figures: dict[str, Any], matrix: Any, asked: Asked) -> dict[str, Any]:
    """Of texts with several labels each: of every label, how it is told."""
    table = {}
    for label, threshold, (negative, positive) in zip(
        fitted.classes_.tolist(), fitted.thresholds_.tolist(), matrix.tolist(), strict=True
    ):
        right, named, held = positive[1], negative[1] + positive[1], sum(positive)
        table[str(label)] = {
            "precision": right / named if named else float("nan"),
            "recall": right / held if held else float("nan"),
            "f1": 2 * right / (named + held) if named + held else float("nan"),
            "n": held,
            "threshold": threshold,
        }
    if asked.json:
        return {**figures, "labels": table}
    print_table("label: precision, recall, F1, how many there are, threshold", {
        name: f"{row['precision']:.4f}  {row['recall']:.4f}  {row['f1']:.4f}  {row['n']}  "
        f"{row['threshold']:.3f}"
        for name, row in table.items()
    })  # fmt: skip
    return figures


def _tags(fitted: Any, data: Any, asked: Asked) -> dict[str, Any]:
    inputs, labels = data
    of_type = {label_text(str(label)): label for label in fitted.classes_.tolist()}
    labels = [[of_type.get(str(label), label) for label in of_one] for of_one in labels]
    figures, table = fitted.evaluate(inputs, labels), fitted.table(inputs, labels)
    if asked.json:
        return {**figures, **accuracy_interval(figures, figures["n"]), "labels": table}
    print_table("label: precision, recall, F1, how many there are", {
        name: f"{row['precision']:.4f}  {row['recall']:.4f}  {row['f1']:.4f}  {row['n']}"
        for name, row in table.items()
    })  # fmt: skip
    return accuracy_told(figures, figures["n"], fitted.INPUTS)


def _known_labels(
    fitted: Classifier, source: PredictableSource, file: File, labels: Sequence[Any]
) -> list[Any]:
    """The labels, or lists of them, that a file's cells stand for, of the type as in training."""
    known = {label_text(str(label)): label for label in fitted.classes_.tolist()}
    for row, told in enumerate(labels):
        for label in told if isinstance(told, list) else [told]:
            if label in known:
                continue
            shown = ", ".join(sorted(known)[:10])
            problem = f"expected a label of the training {fitted.INPUTS} ({shown}), got {label!r}"
            raise source.error_at(file, row, f"{problem}; mend it, or train with it")
    return [
        [known[label] for label in told] if isinstance(told, list) else known[told]
        for told in labels
    ]


# By a task's name in a model file.
MEASURES = {
    "text-classifier": Measure(_labels, frozenset({"plot"})),
    "series-classifier": Measure(_labels, frozenset({"plot"})),
    "text-regressor": Measure(_plain),
    "series-regressor": Measure(_plain),
    "language-model": Measure(_text, frozenset({"adapt"})),
    "series-tagger": Measure(_tags),
    "tagger": Measure(_tags),
    "music": Measure(_plain),
    "sequence-to-sequence": Measure(_plain),
    "series-to-series": Measure(_plain),
    "forecaster": Measure(_forecasts, frozenset({"start", "end", "plot"})),
}
