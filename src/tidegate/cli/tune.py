"""``tidegate tune``: a task's options searched on the reader's own data, made from its options."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from tidegate.cli.command import Command, command
from tidegate.cli.invocation import Invocation
from tidegate.cli.options import estimator_options, option_value, source_options
from tidegate.cli.parameters import data_to_learn
from tidegate.cli.reading import about_file, files_read
from tidegate.cli.retyped import as_typed, typed_ones
from tidegate.cli.search_folder import (
    PICTURE,
    STUDY,
    WINNER,
    check_search_folder,
    sqlite_url,
)
from tidegate.cli.search_options import HELD_OUT, search_options
from tidegate.cli.show import print_json, said_aside
from tidegate.data.files.reading import taken
from tidegate.data.source import Source
from tidegate.errors import InputError, shown, spelled
from tidegate.output.writing import write_atomically
from tidegate.tasks import TASKS, task_class
from tidegate.terminal import path_text, quoted_path, say
from tidegate.training.clock import counting_from
from tidegate.training.option_values import check_value

_HELP = """Search the options of a {what} on your own data.

Trials train with other options than the defaults: learning rate, sizes, cell and more
(--show-space). Those that are behind are stopped. The last part of the time goes to the gain:
defaults and winner are trained anew and measured on a part of FILE that the search never saw.
It ends with the command that trains the winner."""

# Options of estimators that a search decides itself.
_DECIDED = {
    "run_folder",
    "resume",
    "refit",
    "baseline",
    "max_minutes",
    "checkpoint_seconds",
    "sample_steps",
    "sample_length",
}
_NOT_FOR_TRAINING = {"force", "test_fraction", "verbose"}  # they are for the search


def tune_command(task: str, arguments: Sequence[str]) -> Command:
    """``tidegate tune`` for a task; ``arguments``: what was typed."""
    about = TASKS[task]
    estimator = task_class(task)
    only_shown = "--show-space" in arguments
    file_argument = data_to_learn(about.source.FILE)
    file_argument.required = not only_shown
    of_source = source_options(about.source)
    for option in of_source:
        option.required = option.required and not only_shown
    listed = [o for o in estimator_options(estimator) if o.name not in _DECIDED]
    what = about.command.replace("-", " ")

    @command(
        file_argument,
        *(HELD_OUT if about.source.HAS_VALIDATION_FILE else ()),
        *search_options(),
        told=of_source,
        options=listed,
        help=f"{_HELP.format(what=what)}\n\nExample: tidegate tune {about.command} "
        f"{_with_minutes(about.example)}",
    )
    @click.pass_obj
    def tune(
        invocation: Invocation,
        *,
        file: Path,
        told: dict[str, Any],
        options: dict[str, Any],
        max_minutes: float | None,
        trials: int | None,
        trial_minutes: float | None,
        fix: tuple[str, ...],
        space: tuple[str, ...],
        show_space: bool,
        seeds: int,
        pruner: str,
        storage: str | None,
        study: str | None,
        resume: bool,
        output: Path | None,
        json: bool,
        validation: Path | None = None,
        test: Path | None = None,
    ) -> None:
        from tidegate.tuning.space import from_text, space_of

        began = time.monotonic()  # reading the file counts towards the minutes, too
        if max_minutes is None and trials is None and not show_space:
            raise InputError(
                f"expected {spelled('max_minutes')} or {spelled('trials')}, got neither; say how "
                "long to search"
            )
        check_value("max_minutes", max_minutes, float | None, {"bounds": {"above": 0}})
        given = typed_ones(options) | _fixed(estimator, fix)
        model: Any = estimator(**{**options, **given, "max_minutes": trial_minutes})
        model.check()
        narrowed = from_text(space, model)
        found = space_of(model, list(given), narrowed)
        if show_space:
            if json:
                print_json({"task": task, "space": found.to_json()})
            else:
                say(str(found))
            return
        told_of_source = {n: v for n, v in typed_ones(told).items() if n not in options}

        def training_line(searched: Mapping[str, Any]) -> str:
            validated = {} if validation is None else {"validation": validation}
            kept = {n: v for n, v in given.items() if n not in _NOT_FOR_TRAINING}
            return " ".join(
                ["tidegate", "train", about.command, quoted_path(file)]
                + [as_typed(n, v) for n, v in (told_of_source | validated).items()]
                + [as_typed(n, v) for n, v in {**kept, **searched}.items()]
            )

        with said_aside(json, None), counting_from(began):
            result, folder = _tuned(
                task,
                file,
                model,
                source=about.source.as_in_training({}, told),
                held_out=(validation, test),
                output=output,
                invocation=invocation,
                minutes=max_minutes,
                trials=trials,
                fix=list(given),
                space=narrowed,
                seeds=seeds,
                pruner=pruner,
                storage=storage,
                study=study,
                resume=resume,
                command=training_line,
            )
        if json:
            model_file = None if result.model is None else str(folder / WINNER)
            places = {"picture": str(folder / PICTURE), "model": model_file}
            print_json(result.to_json() | places)
        else:
            say(f"\n{result}\n\nwhat mattered: {folder / PICTURE}")
            if result.model is not None:
                say(f"the winner as it was measured: {folder / WINNER}")

    return tune


def _tuned(
    task: str,
    file: Path,
    model: Any,
    *,
    source: Source,
    held_out: tuple[Path | None, Path | None],
    output: Path | None,
    invocation: Invocation,
    storage: str | None,
    study: str | None,
    **how: Any,
) -> tuple[Any, Path]:
    """The result and its folder.  Raises InputError, TrainingError, KeyboardInterrupt."""
    from tidegate.tasks.estimator import default_model_path
    from tidegate.tuning.tune import SearchInterrupted, tune

    stem = default_model_path(task, file).stem
    folder = output or Path(f"{stem}-tuning")
    check_search_folder(folder, files_read(model.get_params(), file, *held_out), force=model.force)
    parts = [None if p is None else source.read(taken(p), learning=False) for p in held_out]
    validation, test = (p[0] if p is not None and len(p) == 1 else p for p in parts)
    data, more = source.given_to_fit(taken(file))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with about_file(file):
            result = tune(
                model,
                *data,
                validation=validation,
                test=test,
                storage=storage or sqlite_url(folder / STUDY),
                study=study or stem,
                **more,
                **how,
            )
    except SearchInterrupted as e:
        if e.result is None:
            raise KeyboardInterrupt("interrupted before anything was saved") from None
        say(f"\n{e.result}")
        raise KeyboardInterrupt(f"interrupted; go on with: {invocation.command('--resume')}") from e
    write_atomically(folder / PICTURE, result.picture)
    if result.model is not None:
        result.model.provenance_ |= {"data": path_text(file), **source.provenance()}
        result.model.save(folder / WINNER, force=model.force)
    return result, folder


def _fixed(estimator: type, texts: Sequence[str]) -> dict[str, Any]:
    """What ``--fix OPTION=VALUE`` says.  Raises InputError."""
    known = [f.name for f in fields(estimator) if f.name not in _DECIDED]
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        name = name.strip().removeprefix("--").replace("-", "_")
        if not equals:
            problem = f"expected OPTION=VALUE, got {shown(text)}; write it so, such as cell=lstm"
            raise InputError(problem, option="fix")
        if name not in known:
            raise InputError(
                f"expected an option of the network or its training, got {shown(name)}; see "
                "--help-all, and write it without dashes",
                option="fix",
            )
        found[name] = option_value(estimator, name, value.strip())
    return found


def _with_minutes(example: str) -> str:
    return example.replace(" --max-minutes 5", "") + " --max-minutes 30"
