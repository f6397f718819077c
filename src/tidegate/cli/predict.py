"""``tidegate predict``: a label or a number for each input in a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from tidegate.cli.command import command
from tidegate.cli.options import later_options
from tidegate.cli.parameters import JSON, MODEL, inputs_to_ask_about
from tidegate.cli.reading import about_file, load_for, names_a_column, source_for
from tidegate.cli.show import print_json
from tidegate.data.files.reading import taken
from tidegate.tasks import TASKS
from tidegate.terminal import printable


class Answer(NamedTuple):
    """What a model says of one input: ``columns`` of a line for people, ``values`` for programs."""

    columns: list[str]
    values: dict[str, Any]


def _labels(fitted: Any, inputs: Any) -> list[Answer]:
    labels = fitted.classes_.tolist()
    answers = []
    for probabilities in fitted.predict_proba(inputs):
        label, by_label = labels[probabilities.argmax()], probabilities.tolist()
        values = {"label": label, "probabilities": dict(zip(labels, by_label, strict=True))}
        answers.append(Answer([printable(str(label)), f"{max(by_label):.3f}"], values))
    return answers


def _numbers(fitted: Any, inputs: Any) -> list[Answer]:
    return [Answer([str(value)], {"value": value}) for value in fitted.predict(inputs).tolist()]


def _texts(fitted: Any, inputs: Any) -> list[Answer]:
    return [Answer([printable(text)], {"answer": text}) for text in fitted.predict(inputs)]


# How a task answers; a task that is not here has no answer to each input.
ANSWERS: dict[str, Callable[[Any, Any], list[Answer]]] = {
    "text-classifier": _labels,
    "series-classifier": _labels,
    "series-regressor": _numbers,
    "sequence-to-sequence": _texts,
}


@command(
    MODEL,
    inputs_to_ask_about(": lines of text, or a table whose column --text or --source names"),
    JSON,
    told=later_options(*(TASKS[task].source for task in ANSWERS)),
)
def predict(model: Path, file: str, told: dict[str, Any], json: bool) -> None:
    """Predict the label or the number of each text or sequence in a file.

    A label is followed by its probability, from 0 to 1.

    Example: echo 'not bad at all' | tidegate predict reviews-text-classifier.safetensors -
    """
    fitted = load_for("predict", model)
    source, read = source_for(fitted, told), taken(file)
    inputs, names = source.read_inputs(read, table=names_a_column(told))
    with about_file(read):
        answers = ANSWERS[fitted.TASK](fitted, inputs)
    if json:
        named = zip(names, answers, strict=True)
        print_json({"predictions": [{**answer.values, "input": name} for name, answer in named]})
        return
    for name, answer in zip(names, answers, strict=True):
        print("\t".join([*answer.columns, printable(name)]))
