"""``tidegate train``: from a file to a model file, one command per task, made from its options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tidegate.cli.command import Command, Option, command
from tidegate.cli.invocation import Invocation
from tidegate.cli.options import estimator_options, source_options
from tidegate.cli.parameters import data_to_learn, json_option, like_file, output_option
from tidegate.cli.run import TrainingRun
from tidegate.data.files.reading import taken
from tidegate.tasks import TASKS, task_class

_VALIDATION = like_file("--validation", "chooses the best weights (default: a part of FILE)")
_RUN = (
    output_option(
        "model file to write (default: in this folder, named after FILE and the task); it replaces "
        "an older model, but any other file only with --force",
        "Run",
    ),
    json_option("Run"),
    Option(
        "--devices",
        metavar="N",
        type=int,
        default=1,
        help="processes that train together on this machine; for several machines, run this "
        "command under torchrun on each",
        panel="Run",
        hidden=True,
    ),
)


def train_command(task: str) -> Command:
    """``tidegate train`` for a task."""
    about = TASKS[task]

    @command(
        data_to_learn(about.source.FILE),
        *([_VALIDATION] if about.source.HAS_VALIDATION_FILE else []),
        *_RUN,
        told=source_options(about.source),
        options=estimator_options(task_class(task)),
        help=f"{about.help}\n\nExample: tidegate train {about.command} {about.example}",
    )
    @click.pass_obj
    def train(
        invocation: Invocation,
        *,
        file: Path,
        told: dict[str, Any],
        options: dict[str, Any],
        output: Path | None,
        devices: int,
        json: bool,
        validation: Path | None = None,
    ) -> None:
        source = about.source.as_in_training({}, told)

        def read() -> tuple[tuple[Any, ...], dict[str, Any]]:
            data, more = source.given_to_fit(taken(file))
            if validation is None:
                return data, more
            held_out: Any = source.read(taken(validation), learning=False)
            return (*data, held_out if len(held_out) > 1 else held_out[0]), more

        run = TrainingRun(
            task,
            file,
            options,
            validation=validation,
            output=output,
            devices=devices,
            json=json,
            invocation=invocation,
            layout=source.layout_told(),
        )
        run.go(read, source.provenance())

    return train
