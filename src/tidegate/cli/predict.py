"""``tidegate predict``: a label, a number or a text for each input, or a label for each step."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from tidegate.cli.command import Option, command, flag
from tidegate.cli.options import later_options
from tidegate.cli.parameters import FORCE, JSON, MODEL, inputs_to_ask_about, written_beside
from tidegate.cli.reading import (
    about_file,
    file_or_text,
    load_for,
    names_a_column,
    refuse,
    source_for,
)
from tidegate.cli.show import print_json
from tidegate.data.files.reading import File
from tidegate.tasks import TASKS
from tidegate.terminal import printable


class Answer(NamedTuple):
    """What a model says of one input: ``lines`` for people, ``values`` for programs."""

    lines: list[str]
    values: dict[str, Any]


def _labels(fitted: Any, inputs: Any, names: list[str]) -> list[Answer]:
    labels = fitted.classes_.tolist()
    told = fitted.predict(inputs)
    if isinstance(told, list):
        return _label_sets(fitted, told, fitted.predict_proba(inputs), names)
    answers = []
    for name, probabilities in zip(names, fitted.predict_proba(inputs), strict=True):
        label, by_label = labels[probabilities.argmax()], probabilities.tolist()
        values = {"label": label, "probabilities": dict(zip(labels, by_label, strict=True))}
        columns = [printable(str(label)), f"{max(by_label):.3f}", printable(name)]
        answers.append(Answer(["\t".join(columns)], values))
    return answers


def _label_sets(fitted: Any, told: Any, sure: Any, names: list[str]) -> list[Answer]:
    """The labels of each text, and the least of their probabilities; - where there is none."""
    labels, answers = fitted.classes_.tolist(), []
    for name, own, probabilities in zip(names, told, sure.tolist(), strict=True):
        by_label = dict(zip(labels, probabilities, strict=True))
        shown = "; ".join(str(label) for label in own) or "-"
        least = f"{min(by_label[label] for label in own):.3f}" if own else "-"
        columns = [printable(shown), least, printable(name)]
        answers.append(Answer(["\t".join(columns)], {"labels": own, "probabilities": by_label}))
    return answers


def _numbers(fitted: Any, inputs: Any, names: list[str]) -> list[Answer]:
    return [
        Answer([f"{value}\t{printable(name)}"], {"value": value})
        for name, value in zip(names, fitted.predict(inputs).tolist(), strict=True)
    ]


def _tags(fitted: Any, inputs: Any, names: list[str]) -> list[Answer]:  # noqa: ARG001
    """A line for each token, as CoNLL has it, and a blank one behind each sentence."""
    places = {label: i for i, label in enumerate(fitted.classes_.tolist())}
    answers = []
    read = zip(inputs, fitted.predict(inputs), fitted.predict_proba(inputs), strict=True)
    for tokens, labels, probabilities in read:
        sure = [float(p[places[label]]) for p, label in zip(probabilities, labels, strict=True)]
        lines = [
            f"{printable(token)}\t{printable(str(label))}\t{p:.3f}"
            for token, label, p in zip(tokens, labels, sure, strict=True)
        ]
        values = {"tokens": tokens, "labels": labels, "probabilities": sure}
        answers.append(Answer([*lines, ""], values))
    return answers


def _steps(fitted: Any, inputs: Any, names: list[str], *, source: Any, file: File) -> list[Answer]:
    """CSV: a line for each step, with its sequence's id and its time, or its number from 0."""
    places = {label: i for i, label in enumerate(fitted.classes_.tolist())}
    heading = [getattr(source, "id", None) or "id", getattr(source, "time", None) or "step"]
    lines, answers = [_csv([*heading, "label", "probability"])], []
    read = zip(
        names, source.times(file), fitted.predict(inputs), fitted.predict_proba(inputs), strict=True
    )
    for name, times, labels, probabilities in read:
        sure = [float(p[places[label]]) for p, label in zip(probabilities, labels, strict=True)]
        lines += [
            _csv([name, time, str(label), f"{p:.3f}"])
            for time, label, p in zip(times, labels, sure, strict=True)
        ]
        values = {"times": times, "labels": labels, "probabilities": sure}
        answers.append(Answer(lines, values))
        lines = []
    return answers


def _series(fitted: Any, inputs: Any, names: list[str], *, source: Any) -> list[Answer]:
    """CSV: a line for each step of an answer, with its sequence's id and its number from 0."""
    outputs = len(fitted.target_.mean)
    columns = list(source.target) or [f"y{k}" for k in range(1, outputs + 1)]
    lines, answers = [_csv([source.id or "id", "step", *columns])], []
    for name, steps in zip(names, fitted.predict(inputs), strict=True):
        values = steps.tolist()
        lines += [_csv([name, str(k), *map(repr, row)]) for k, row in enumerate(values)]
        answers.append(Answer(lines, {"answer": values}))
        lines = []
    return answers


def _csv(cells: list[str]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="").writerow([printable(cell) for cell in cells])
    return out.getvalue()


def _texts(fitted: Any, inputs: Any, names: list[str], **choice: Any) -> list[Answer]:
    return [
        Answer([f"{printable(text)}\t{printable(name)}"], {"answer": text})
        for name, text in zip(names, fitted.predict(inputs, **choice), strict=True)
    ]


# How a task answers; a task that is not here has no answer to each input.
ANSWERS: dict[str, Callable[..., list[Answer]]] = {
    "text-classifier": _labels,
    "series-classifier": _labels,
    "text-regressor": _numbers,
    "series-regressor": _numbers,
    "series-tagger": _steps,
    "tagger": _tags,
    "sequence-to-sequence": _texts,
    "series-to-series": _series,
}


@command(
    MODEL,
    inputs_to_ask_about(
        ": lines of text, or a table whose column --text or --source names", text=True
    ),
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
    flag("--jsonl", help="print a JSON object for each input, on a line of its own"),
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
    jsonl: bool,
) -> None:
    """Predict the label, the number or the answer of each text or sequence in a file, or the label
    of each token or step.

    A label is followed by its probability, from 0 to 1.  Labels of steps are told as CSV, with the
    id and the time of each, and so are answers that are sequences, step by step.

    Example: echo 'not bad at all' | tidegate predict reviews-text-classifier.safetensors -
    """
    if plot is not None:
        from tidegate.output.pictures import check_plot_path

        check_plot_path(plot, inputs=(model, file), force=force)
    fitted = load_for("predict", model)
    choice: dict[str, Any] = {"beam": beam, "length_penalty": length_penalty}
    if ANSWERS[fitted.TASK] is not _texts:
        refuse(fitted, {**choice, "plot": plot})
        choice = {}
    source = source_for(fitted, told)
    read = file_or_text(file, source)
    if ANSWERS[fitted.TASK] is _steps:
        choice = {"source": source, "file": read}
    if ANSWERS[fitted.TASK] is _series:
        choice = {"source": source}
    inputs, names = source.read_inputs(read, table=names_a_column(told))
    with about_file(read):
        answers = ANSWERS[fitted.TASK](fitted, inputs, names, **choice)
        if plot is not None:
            from tidegate.tasks.attention_plot import MOST_PANELS, plot_attention

            attended = [fitted.attend(text, **choice) for text in inputs[:MOST_PANELS]]
            plot_attention(plot, attended, force=force)
    told_of = [{**a.values, "input": name} for name, a in zip(names, answers, strict=True)]
    if json:
        print_json({"predictions": told_of})
    elif jsonl:
        for one in told_of:
            print_json(one)
    else:
        for answer in answers:
            print("\n".join(answer.lines))
