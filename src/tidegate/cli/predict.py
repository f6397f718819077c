"""``tidegate predict``: a label, a number or a text for each input in a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from tidegate.cli.command import Option, command
from tidegate.cli.options import later_options
from tidegate.cli.parameters import FORCE, JSON, MODEL, inputs_to_ask_about, written_beside
from tidegate.cli.reading import about_file, load_for, names_a_column, refuse, source_for
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


def _texts(fitted: Any, inputs: Any, **choice: Any) -> list[Answer]:
    answers = fitted.predict(inputs, **choice)
    return [Answer([printable(text)], {"answer": text}) for text in answers]


# How a task answers; a task that is not here has no answer to each input.
ANSWERS: dict[str, Callable[..., list[Answer]]] = {
    "text-classifier": _labels,
    "series-classifier": _labels,
    "series-regressor": _numbers,
    "sequence-to-sequence": _texts,
}


@command(
    MODEL,
    inputs_to_ask_about(": lines of text, or a table whose column --text or --source names"),
    Option(
        "--beam",
        metavar="N",
        type=int,
        help="sequence-to-sequence: answers that are followed at a time (default: as in training)",
    ),
    Option(
        "--length-penalty",
        metavar="X",
        type=float,
        help="sequence-to-sequence: how much longer answers are preferred (default: as in "
        "training)",
    ),
    written_beside(
        "--plot",
        "sequence-to-sequence: picture of what the first answers looked at, .png or .svg",
    ),
    FORCE,
    JSON,
    told=later_options(*(TASKS[task].source for task in ANSWERS)),
)
def predict(
    model: Path,
    file: str,
    told: dict[str, Any],
    beam: int | None,
    length_penalty: float | None,
    plot: Path | None,
    force: bool,
    json: bool,
) -> None:
    """Predict the label, the number or the answer of each text or sequence in a file.

    A label is followed by its probability, from 0 to 1.

    Example: echo 'not bad at all' | tidegate predict reviews-text-classifier.safetensors -
    """
    if plot is not None:
        from tidegate.tasks.forecast_plot import check_plot_path

        check_plot_path(plot, inputs=(model, file), force=force)
    fitted = load_for("predict", model)
    choice = {"beam": beam, "length_penalty": length_penalty}
    if ANSWERS[fitted.TASK] is not _texts:
        refuse(fitted, {**choice, "plot": plot})
        choice = {}
    source, read = source_for(fitted, told), taken(file)
    inputs, names = source.read_inputs(read, table=names_a_column(told))
    with about_file(read):
        answers = ANSWERS[fitted.TASK](fitted, inputs, **choice)
        if plot is not None:
            from tidegate.tasks.attention_plot import MOST_PANELS, plot_attention

            attended = [fitted.attend(text, **choice) for text in inputs[:MOST_PANELS]]
            plot_attention(plot, attended, force=force)
    if json:
        named = zip(names, answers, strict=True)
        print_json({"predictions": [{**answer.values, "input": name} for name, answer in named]})
        return
    for name, answer in zip(names, answers, strict=True):
        print("\t".join([*answer.columns, printable(name)]))
