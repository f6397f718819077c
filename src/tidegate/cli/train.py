"""``tidegate train``: from a file to a model file, one command per task, made from its options."""

# Annotations are evaluated where they stand, since one of them is the task's own: no __future__.

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from tidegate.cli.options import estimator_options, source_options, with_options
from tidegate.cli.reading import for_programs, like_file, output_option
from tidegate.cli.run import TrainingRun
from tidegate.data.files.reading import taken
from tidegate.tasks import TASKS, task_class

Output = Annotated[
    Path | None,
    output_option(
        "model file to write (default: in this folder, named after FILE and the task); it replaces "
        "an older model, but any other file only with --force",
        "Run",
    ),
]
Json = Annotated[bool, for_programs("Run")]
Devices = Annotated[
    int,
    typer.Option(
        metavar="N",
        help="processes that train together on this machine; for several machines, run this "
        "command under torchrun on each",
        rich_help_panel="Run",
        hidden=True,
    ),
]
Validation = Annotated[Path | None, like_file("chooses the best weights (default: a part of FILE)")]


def train_command(task: str) -> Callable[..., None]:
    """The function behind ``tidegate train`` for a task, its parameters the task's options."""
    about = TASKS[task]

    def train(
        ctx: typer.Context,
        file: Annotated[
            Path, typer.Argument(metavar="FILE", help=f"{about.source.FILE}; - is standard input")
        ],
        told: dict[str, Any],
        options: dict[str, Any],
        validation: Validation = None,
        output: Output = None,
        devices: Devices = 1,
        json: Json = False,
    ) -> None:
        source = about.source.as_in_training({}, told)

        def read() -> tuple[Any, ...]:
            data = source.read(taken(file), learning=True)
            if validation is None:
                return data
            held_out: Any = source.read(taken(validation), learning=False)
            return (*data, held_out if len(held_out) > 1 else held_out[0])

        run = TrainingRun(
            task,
            file,
            options,
            validation=validation,
            output=output,
            devices=devices,
            json=json,
            invocation=ctx.obj,
        )
        run.go(read, source.provenance())

    train.__doc__ = f"{about.help}\n\nExample: tidegate train {about.command} {about.example}"
    return with_options(
        train,
        {"told": source_options(about.source), "options": estimator_options(task_class(task))},
        leave_out=() if about.source.HAS_VALIDATION_FILE else ("validation",),
    )
