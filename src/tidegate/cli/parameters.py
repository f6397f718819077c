"""Parameters that several commands share: each is declared once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from tidegate.cli.command import Argument, Option, flag


def model_file(text: str) -> Path:
    """The path of a model.  Raises BadParameter for ``-``, since a model is read from a file."""
    if text == "-":
        problem = "expected a model file, got standard input (-); write it to a file and name that"
        raise click.BadParameter(problem)
    return Path(text)


def file_to_write(text: str) -> Path:
    """The path of an output that is no text.

    Raises BadParameter for ``-``, and where the text can only name a folder.
    """
    if text == "-":
        problem = "expected the name of a file, got standard output (-), which is for text"
        raise click.BadParameter(f"{problem}; name a file")
    return text_to_write(text)


def text_to_write(text: str) -> Path:
    """The path of an output; ``-`` is standard output.

    Raises BadParameter where the text can only name a folder.
    """
    if not text or text.endswith("/"):
        got = f"the folder {text}" if text else "none"
        raise click.BadParameter(f"expected the name of a file, got {got}; name a file")
    return Path("/dev/stdout" if text == "-" else text)


def folder_to_write(text: str) -> Path:
    """The path of a folder.  Raises BadParameter for ``-``, which is none."""
    if text in ("", "-"):
        got = "standard output (-)" if text else "none"
        raise click.BadParameter(f"expected the name of a folder, got {got}; name a folder")
    return Path(text)


MODEL = Argument("model", "MODEL", "a model file that tidegate train wrote", model_file)
FORCE = flag("--force", help="replace a file that tidegate did not write")


def json_option(panel: str = "Options") -> Option:
    """The option of each command that prints a result."""
    about = "print one JSON object and nothing else, for programs"
    return Option("--json", is_flag=True, panel=panel, help=about)


JSON = json_option()


def data_to_learn(what: str) -> Argument:
    """The FILE of a command that trains."""
    return Argument("file", "FILE", f"{what}; - is standard input", Path)


def data_to_ask_about(more: str = "") -> Argument:
    """The FILE of a command that asks a trained model."""
    help = f"a file like the one in training{more}; - is standard input"
    return Argument("file", "FILE", help)


def inputs_to_ask_about(standard_input: str = "", *, text: bool = False) -> Argument:
    """The FILE of a command that reads inputs without answers, and may say more of ``-``.

    ``text``: it may also be a text, as `cli.reading.file_or_text` takes it.
    """
    help = (
        "a file like the one in training; it needs no answers. Texts may also be the lines of a "
        f".txt file. - is standard input{standard_input}"
    )
    if text:
        return Argument("file", "FILE|-|TEXT", f"{help}. Of a model of texts also a text itself")
    return Argument("file", "FILE|-", help)


def like_file(name: str, what: str) -> Option:
    """An option that names a file of the same kind as FILE."""
    help = f"a file like FILE that {what}"
    return Option(name, metavar="PATH", type=Path, panel="Data", help=help)


def output_option(
    help: str, panel: str = "Options", type: Callable[[str], Path] = file_to_write
) -> Option:
    """The option that names what to write."""
    return Option("--output", "-o", metavar="PATH", type=type, panel=panel, help=help)


def written_beside(name: str, help: str) -> Option:
    """An option that names a second file to write."""
    return Option(name, metavar="PATH", type=file_to_write, help=help)
