"""What the commands read: the options that say how, and errors that say which file."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidegate.cli.options import later_options, parsed_for, with_options
from tidegate.data.files.reading import File
from tidegate.data.source import Source
from tidegate.errors import InputError
from tidegate.tasks import TASKS

# Beside evaluate and info, which take every model.
_USES = {
    "text-classifier": ("predict",),
    "language-model": ("generate",),
    "forecaster": ("forecast",),
    "series-classifier": ("predict",),
    "series-regressor": ("predict",),
}

if TYPE_CHECKING:
    from tidegate.tasks.estimator import Estimator


def model_file(text: str) -> Path:
    """The path of a model.  Raises BadParameter for ``-``, since a model is read from a file."""
    if text == "-":
        problem = "expected a model file, got standard input (-); write it to a file and name that"
        raise typer.BadParameter(problem)
    return Path(text)


Model = Annotated[
    Path,
    typer.Argument(
        metavar="MODEL", parser=model_file, help="a model file that tidegate train wrote"
    ),
]


def for_programs(panel: str | None = None) -> Any:
    """The option of each command that prints a result."""
    about = "print one JSON object and nothing else, for programs"
    return typer.Option("--json", metavar="", help=about, rich_help_panel=panel)


def like_file(what: str) -> Any:
    """An option that names a file of the same kind as FILE."""
    help = f"a file like FILE that {what}"
    return typer.Option(metavar="PATH", help=help, rich_help_panel="Data")


Json = Annotated[bool, for_programs()]
Force = Annotated[
    bool,
    typer.Option(metavar="", show_default=False, help="replace a file that tidegate did not write"),
]


def file_to_write(text: str) -> Path:
    """The path of an output that is no text.

    Raises BadParameter for ``-``, and where the text can only name a folder.
    """
    if text == "-":
        problem = "expected the name of a file, got standard output (-), which is for text"
        raise typer.BadParameter(f"{problem}; name a file")
    return text_to_write(text)


def text_to_write(text: str) -> Path:
    """The path of an output; ``-`` is standard output.

    Raises BadParameter where the text can only name a folder.
    """
    if not text or text.endswith("/"):
        got = f"the folder {text}" if text else "none"
        raise typer.BadParameter(f"expected the name of a file, got {got}; name a file")
    return Path("/dev/stdout" if text == "-" else text)


def folder_to_write(text: str) -> Path:
    """The path of a folder.  Raises BadParameter for ``-``, which is none."""
    if text in ("", "-"):
        got = "standard output (-)" if text else "none"
        raise typer.BadParameter(f"expected the name of a folder, got {got}; name a folder")
    return Path(text)


def output_option(
    help: str, panel: str | None = None, *, parser: Callable[[str], Path] = file_to_write
) -> Any:
    """The option that names what to write."""
    return typer.Option(
        *("--output", "-o"), metavar="PATH", parser=parser, help=help, rich_help_panel=panel
    )


def telling(*sources: type[Source]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A command that is given ``told``: what the sources' options say, None where not given."""
    told = later_options(*sources)
    return lambda run: with_options(run, {"told": told})


def load_one_of(tasks: Collection[str], path: Path) -> Any:
    """The fitted model in a file, of one of ``tasks``.  Raises InputError."""
    from tidegate.tasks import load

    fitted = load(path)
    if fitted.TASK not in tasks:
        problem = f"expected a model of {', '.join(tasks)}, got a {fitted.TASK}"
        uses = " or ".join(_USES[fitted.TASK])
        raise InputError(f"{problem}; use it with tidegate {uses}, or name another", file=path)
    return fitted


def source_for(fitted: Estimator, told: dict[str, Any]) -> Any:
    """How a FILE for ``fitted`` is read: as told, else as in training.

    Raises InputError for an option that is another task's.
    """
    source = TASKS[fitted.TASK].source
    own = {f.name for f in fields(source)}
    refuse(fitted, {name: value for name, value in told.items() if name not in own})
    return source.as_in_training(fitted.provenance_, parsed_for(source, told))


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
