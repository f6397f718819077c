"""The folder that ``tidegate tune`` writes: what is in it, and what may be replaced there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tidegate.errors import InputError, spelled
from tidegate.output.places import check_folder, check_output, refuse_inputs

PICTURE, STUDY, WINNER = "importances.png", "study.db", "winner.safetensors"


def check_search_folder(folder: Path, inputs: Sequence[Path], *, force: bool) -> None:
    """Raise InputError where ``folder`` cannot be written, or would cost somebody a file."""
    from tidegate.model.checkpoint import is_model_file

    check_folder(folder)
    refuse_inputs(folder, (PICTURE, STUDY, WINNER), inputs)
    for name, ours in ((WINNER, is_model_file), (STUDY, _is_sqlite)):
        _check_output_in(folder, name, force=force, ours=ours)
    _check_output_in(folder, PICTURE, force=force)


def sqlite_url(path: Path) -> str:
    """The URL of a file.  Raises InputError for a name that no URL can hold."""
    if any(character in str(path) for character in "?#%"):
        raise InputError(
            "expected a folder whose name a URL can hold, got one with ?, # or %; name another "
            f"with -o, or give {spelled('storage')}",
            file=path.parent,
        )
    return f"sqlite:///{path}"


def _check_output_in(folder: Path, name: str, **about: Any) -> None:
    """Raise InputError where ``folder`` holds a file of this name that is somebody else's."""
    if (folder / name).exists():
        check_output(folder / name, **about)


def _is_sqlite(path: Any) -> bool:
    with open(path, "rb") as file:
        return file.read(15) == b"SQLite format 3"
