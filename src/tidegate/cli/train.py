"""``tidegate train``: from a file to a model file.  Each task's own options are added to these."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from tidegate.cli.reading import column_names
from tidegate.cli.run import TrainingRun

_TABLE = "CSV, TSV, JSONL or Parquet; the first three also gzipped"


def _data(help: str, metavar: str | None = "COLUMN", *names: str) -> Any:
    return typer.Option(*names, metavar=metavar, help=help, rich_help_panel="Data")


Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="PATH",
        help="the model file (default: in this folder, named after FILE and the task)",
        rich_help_panel="Run",
    ),
]
Json = Annotated[
    bool,
    typer.Option("--json", help="print one JSON object and nothing else", rich_help_panel="Run"),
]
Devices = Annotated[
    int,
    typer.Option(
        metavar="N",
        help="processes that train together on this machine (on several machines: this same "
        "command under torchrun on each)",
        rich_help_panel="Run",
    ),
]
Validation = Annotated[
    Path | None, _data("like FILE, to choose the best weights by (default: a part of it)", "PATH")
]


def train_classifier(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help=_TABLE)],
    text: Annotated[str, _data("column of the texts")],
    label: Annotated[str, _data("column of the labels")],
    options: dict[str, Any],
    validation: Validation = None,
    output: Output = None,
    devices: Devices = 1,
    json: Json = False,
) -> None:
    """Train a classifier of texts, with any number of labels.

    Example: tidegate train classifier reviews.csv --text review --label sentiment
    """

    def read() -> tuple[Any, ...]:
        from tidegate.data.tables import read_labelled_texts

        texts, labels = read_labelled_texts(file, text, label)
        held_out = None
        if validation is not None:
            held_out = read_labelled_texts(validation, text, label, allow_one_class=True)
        return texts, labels, held_out

    run = TrainingRun(
        "text-classifier",
        file,
        options,
        output=output,
        devices=devices,
        json=json,
        arguments=ctx.obj.arguments,
    )
    run.go(read, {"text_column": text, "label_column": label})


def train_language_model(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="text in UTF-8, also gzipped")],
    options: dict[str, Any],
    validation: Validation = None,
    output: Output = None,
    devices: Devices = 1,
    json: Json = False,
) -> None:
    """Train a language model of characters, words or BPE tokens.

    Example: tidegate train language-model book.txt --max-minutes 5
    """

    def read() -> tuple[Any, ...]:
        from tidegate.data.text import read_text

        text = read_text(file)
        held_out = None if validation is None else read_text(validation)
        return text, held_out

    run = TrainingRun(
        "language-model",
        file,
        options,
        output=output,
        devices=devices,
        json=json,
        arguments=ctx.obj.arguments,
    )
    run.go(read, {})


def train_forecaster(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help=_TABLE)],
    time: Annotated[str, _data("column of the moments, one row each, evenly spaced")],
    target: Annotated[list[str], _data("columns to forecast: OT or HULL,OT", "COLUMN,...")],
    options: dict[str, Any],
    covariate: Annotated[
        list[str] | None, _data("columns known up to the present that help", "COLUMN,...")
    ] = None,
    fill_gaps: Annotated[
        bool, _data("carry the last value over missing rows and values", None, "--fill-gaps")
    ] = False,
    output: Output = None,
    devices: Devices = 1,
    json: Json = False,
) -> None:
    """Train a forecaster of one or several series.

    Example: tidegate train forecaster load.csv --time date --target OT --horizon 24
    """

    def read() -> tuple[Any, ...]:
        from tidegate.data.tables import read_series

        columns = column_names(target), column_names(covariate or [])
        return (read_series(file, time, *columns, fill_gaps=fill_gaps),)

    run = TrainingRun(
        "forecaster",
        file,
        options,
        output=output,
        devices=devices,
        json=json,
        arguments=ctx.obj.arguments,
    )
    run.go(read, {"time_column": time})


COMMANDS: dict[str, Callable[..., None]] = {
    "text-classifier": train_classifier,
    "language-model": train_language_model,
    "forecaster": train_forecaster,
}
