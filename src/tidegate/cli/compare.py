"""``tidegate compare``: cells side by side on the reader's own data, made from a task's options."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from tidegate.cells import NAMES
from tidegate.cli.command import Command, Option, command, flag
from tidegate.cli.invocation import Invocation
from tidegate.cli.options import estimator_options, source_options
from tidegate.cli.parameters import (
    data_to_learn,
    folder_to_write,
    json_option,
    like_file,
    output_option,
)
from tidegate.cli.reading import about_file, files_read
from tidegate.cli.show import print_json, said_aside
from tidegate.data.files.reading import taken
from tidegate.data.source import Source
from tidegate.errors import InputError
from tidegate.output.places import check_folder
from tidegate.tasks import TASKS, task_class
from tidegate.terminal import path_text, say

_PANEL = "Comparison"
_BY_COMMAND = {about.command: task for task, about in TASKS.items()}
_HELP = """Compare cells on your own data with each other and with simple baselines.

All runs get the same data and the same limits, such as --max-minutes. The report holds a table,
curves and advice on which cell to take."""

# Options of estimators that a comparison decides itself, or that say which cell it must be.
_DECIDED = {
    "cell",
    "run_folder",
    "resume",
    "refit",
    "sample_steps",
    "sample_length",
    "init_from",
    "reverse",
}

_HELD_OUT = (
    like_file("--validation", "chooses the best weights and cell (default: a part of FILE)"),
    like_file(
        "--test",
        "the figures of the table are measured on (default: --test-fraction of FILE; if that is 0, "
        "the part that chooses)",
    ),
)
_COMPARISON = (
    Option(
        "--task",
        metavar="NAME",
        required=True,
        help=f"{', '.join(_BY_COMMAND)}; for the options of a task, add --help after it",
        panel=_PANEL,
    ),
    Option(
        "--cells",
        metavar="NAME,...",
        default="rnn,lstm,gru",
        help=f"cells to compare, some of {', '.join(NAMES)}, or your own as path/to/file.py:name",
        panel=_PANEL,
    ),
    Option(
        "--seeds",
        metavar="N",
        type=int,
        default=3,
        help="runs of each cell, each with another seed; three or more are needed to tell cells "
        "apart",
        panel=_PANEL,
    ),
    flag(
        "--equal-parameters",
        help="give every cell about as many weights as the first one, not the same hidden sizes",
        panel=_PANEL,
    ),
    output_option(
        "folder for the report and the models (default: in this folder, named after FILE and the "
        "task); runs that are finished there are not repeated",
        _PANEL,
        folder_to_write,
    ),
    json_option(_PANEL),
)


def compare_command(arguments: Sequence[str]) -> Command:
    """``tidegate compare``, its options those of the --task in ``arguments``.

    Without one, or with one that is none, only the options that all tasks have in common.
    """
    named = _BY_COMMAND.get(_task_in(arguments) or "")
    about = TASKS[named or "text-classifier"]
    file, _, rest = about.example.partition(" ")
    files = named is not None and about.source.HAS_VALIDATION_FILE
    options = [] if named is None else estimator_options(task_class(named))

    @command(
        data_to_learn(about.source.FILE if named else "a file of the kind that --task reads"),
        *_COMPARISON,
        *(_HELD_OUT if files else ()),
        told=[] if named is None else source_options(about.source),
        options=[option for option in options if option.name not in _DECIDED],
        help=f"{_HELP}\n\nExample: tidegate compare {file} --task {about.command} {rest}",
    )
    @click.pass_obj
    def compare(
        invocation: Invocation,
        *,
        file: Path,
        task: str,
        told: dict[str, Any],
        options: dict[str, Any],
        cells: str,
        seeds: int,
        equal_parameters: bool,
        output: Path | None,
        json: bool,
        validation: Path | None = None,
        test: Path | None = None,
    ) -> None:
        if named is None:
            known = ", ".join(_BY_COMMAND)
            problem = f"expected one of {known}, got {task!r}; choose one"
            raise InputError(problem, option="task")
        line = invocation.command()
        try:
            with said_aside(json, None):
                result, folder = _compared(
                    named,
                    file,
                    source=about.source.as_in_training({}, told),
                    options=options,
                    held_out=(validation, test),
                    output=output,
                    cells=[cell.strip() for cell in cells.split(",") if cell.strip()],
                    seeds=seeds,
                    equal_parameters=equal_parameters,
                    command=line,
                )
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"interrupted; go on with: {line}") from None
        report = folder / "report.html"
        if json:
            print_json(result.to_json() | {"report": str(report)})
        else:
            say(f"\n{result}\n\nreport: {report}")
            say(f"best model of the advised cell: {result.best.path}")

    if named is None:  # options of a task are unknown as long as the task is: say that alone
        compare.context_settings = {"ignore_unknown_options": True, "allow_extra_args": True}
    return compare


def _compared(
    task: str,
    file: Path,
    *,
    source: Source,
    options: dict[str, Any],
    held_out: tuple[Path | None, Path | None],
    output: Path | None,
    cells: Sequence[str],
    **how: Any,
) -> tuple[Any, Path]:
    """The comparison and its folder.  Raises InputError, TrainingError."""
    from tidegate.comparison.compare import compare, for_cells
    from tidegate.tasks.estimator import default_model_path

    folder = output or Path(f"{default_model_path(task, file).stem}-comparison")
    if not folder.parent.is_dir():
        problem = f"expected a folder {folder.parent} to write to, got none; make it first"
        raise InputError(problem, file=folder)
    check_folder(folder)
    model = task_class(task)(**options)
    if cells:
        for_cells(model, cells).check()  # before a long file is read
    parts = [None if p is None else source.read(taken(p), learning=False) for p in held_out]
    validation, test = (p[0] if p is not None and len(p) == 1 else p for p in parts)
    data, more = source.given_to_fit(taken(file))
    with about_file(file):
        result = compare(
            model,
            *data,
            validation=validation,
            test=test,
            folder=folder,
            inputs=files_read(options, file, *held_out),
            provenance={"data": path_text(file), **source.provenance()},
            cells=cells,
            **more,
            **how,
        )
    return result, folder


def _task_in(arguments: Sequence[str]) -> str | None:
    """What stands after --task."""
    for argument, following in itertools.zip_longest(arguments, arguments[1:]):
        if argument == "--task":
            return following
        if argument.startswith("--task="):
            return argument.removeprefix("--task=")
    return None
