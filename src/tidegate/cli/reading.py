"""What the commands read: models and data, and errors that say which file."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tidegate.cli.options import parsed_for
from tidegate.data.files.reading import File, Taken, taken
from tidegate.data.source import PredictableSource, Source
from tidegate.errors import InputError
from tidegate.tasks import TASKS

if TYPE_CHECKING:
    from tidegate.tasks.estimator import Estimator

THE_TEXT = "the text"  # what errors call it, where a command was given one instead of a file


def load_for(command: str, path: Path) -> Any:
    """The fitted model in a file, of a task that ``command`` asks.  Raises InputError."""
    from tidegate.tasks import load

    fitted = load(path)
    if _use(fitted.TASK) != command:
        wanted = ", ".join(task for task in TASKS if _use(task) == command)
        problem = f"expected a model of {wanted}, got a {fitted.TASK}"
        remedy = f"use it with tidegate {_use(fitted.TASK)}, or name another"
        raise InputError(f"{problem}; {remedy}", file=path)
    return fitted


def _use(task: str) -> str:
    """The command that asks the models of a task, beside evaluate and info, which take all."""
    return re.findall(r"tidegate (\w+)", TASKS[task].then)[0]


def source_for(fitted: Estimator, told: dict[str, Any]) -> Any:
    """How a FILE for ``fitted`` is read: as told, else as in training.

    Raises InputError for an option that is another task's.
    """
    source = TASKS[fitted.TASK].source
    own = {f.name for f in fields(source)}
    refuse(fitted, {name: value for name, value in told.items() if name not in own})
    return source.as_in_training(fitted.provenance_, parsed_for(source, told))


def file_or_text(given: str, source: Source) -> File:
    """What a command is asked about: a file or standard input, or the text itself.

    A text is what no file has for its name, where models read texts; but what looks like a file's
    name is one, so that a mistake in it is told.
    """
    like_a_name = not given.strip() or re.fullmatch(r"\S*([/\\]\S*|\.\w{1,8})", given)
    if given == "-" or not source.READS_TEXT or like_a_name or os.path.exists(given):
        return taken(given)
    if isinstance(source, PredictableSource):  # which reads an input in each line
        given = " ".join(given.splitlines())
    return Taken(THE_TEXT, given.encode(errors="surrogateescape"))


def names_a_column(told: Mapping[str, Any]) -> bool:
    """Whether a column of texts was named, so that what comes in is a table, not lines."""
    return any(told.get(name) is not None for name in ("text", "source"))


def refuse(fitted: Estimator, options: dict[str, Any]) -> None:
    """Raise InputError for an option that was given, since it is another task's."""
    for name, value in options.items():
        if value is not None:
            problem = f"expected none for a {fitted.TASK}, got {value}; leave it out"
            raise InputError(problem, option=name)


def files_read(options: Mapping[str, Any], *files: Path | None) -> list[Path]:
    """Every file that a training reads: ``files``, and those that its ``options`` name."""
    started_from = options.get("init_from") or ()
    if not isinstance(started_from, tuple):
        started_from = (started_from,)
    given = [*files, *started_from, options.get("embeddings")]
    return [Path(one) for one in given if one is not None]


@contextlib.contextmanager
def about_file(file: File | Path) -> Iterator[None]:
    """Name ``file`` in an InputError that names none, unless it is about an option."""
    try:
        yield
    except InputError as e:
        if e.file is not None or str(e).startswith("option"):
            raise
        raise InputError(str(e), file=file) from e
