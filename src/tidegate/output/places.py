"""Whether an output may be written where it is asked for: looked at before the work, not after."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from stat import S_ISBLK, S_ISDIR, S_ISREG, S_ISSOCK

from tidegate.errors import InputError, spelled
from tidegate.output.writing import own_descriptor, write_partial

# Stands in pictures, reports and JSON files, so that tidegate knows its own.
MARK = "made by tidegate"
_LOOKED_AT = 4096  # bytes at either end of a file

Name = str | os.PathLike[str]


def is_marked(path: Name) -> bool:
    """Whether a file has tidegate's mark near its beginning or its end."""
    with open(path, "rb") as file:
        start = file.read(_LOOKED_AT)
        file.seek(max(file.seek(0, os.SEEK_END) - _LOOKED_AT, 0))
        return MARK.encode() in start or MARK.encode() in file.read()


def never_ours(path: Name) -> bool:  # noqa: ARG001
    """For kinds of files that carry no mark, such as CSV: each is taken for someone else's."""
    return False


def check_output(
    path: Name,
    *,
    inputs: Iterable[Name] = (),
    force: bool = False,
    ours: Callable[[Name], bool] = is_marked,
) -> None:
    """Raise InputError unless a file can and may be written at ``path``.

    It may not be one of the ``inputs``, under whatever name, nor a folder.  A regular file that is
    there and not empty must be one that is ``ours``, or be replaced by ``force``; a block device,
    which holds files, wants ``force``, too.  A few bytes are written to the folder to see that it
    can be, and removed again.
    """
    found = _found(path)
    if found is None:
        _refuse_tilde(path, path)
        _check_folder_of(path)
        return
    _refuse_inputs(found, path, inputs)
    if S_ISDIR(found.st_mode):
        raise InputError(
            "expected the name of a file to write, got a folder; name a file in it", file=path
        )
    if S_ISREG(found.st_mode):
        if own_descriptor(path) is not None:
            return
        if found.st_size and not force and not ours(path):
            raise InputError(
                "expected the name of a new file, got a file that tidegate did not write; name "
                "another one, or replace this one with "
                f"{spelled('force', True)}",
                file=path,
            )
        _check_folder_of(path)
    elif S_ISBLK(found.st_mode) and not force:
        raise InputError(
            "expected the name of a file, got a disk; name a file on it, or write over what is on "
            f"the disk with {spelled('force', True)}",
            file=path,
        )
    elif S_ISSOCK(found.st_mode) and own_descriptor(path) is None:
        raise InputError("expected the name of a file, got a socket; name another one", file=path)
    elif not os.access(path, os.W_OK):
        raise InputError(
            "expected a device or a pipe to write to, got none that lets you; name another file",
            file=path,
        )


def check_folder(folder: Path) -> None:
    """Raise InputError unless files can be written in ``folder``, which is yet to be made or is."""
    _refuse_tilde(folder / "file", folder)
    nearest = next(p for p in (folder, *folder.absolute().parents) if os.path.lexists(p))
    if not nearest.is_dir():
        raise InputError(
            f"expected a folder to write to, got the file {nearest}; name another folder",
            file=folder,
        )
    name = folder.name.encode("utf-8", "surrogateescape")
    if len(name) > 255:
        raise InputError(
            f"expected a folder's name of at most 255 bytes, got {len(name)}; name another folder",
            file=folder,
        )
    _probe(nearest, folder)


def refuse_inputs(folder: Path, names: Iterable[str], inputs: Iterable[Name]) -> None:
    """Raise InputError where one of the files ``names`` in ``folder`` is one of the ``inputs``."""
    inputs = list(inputs)
    for name in names:
        if (folder / name).exists():
            _refuse_inputs(os.stat(folder / name), folder / name, inputs)


def _refuse_inputs(found: os.stat_result, path: Name, inputs: Iterable[Name]) -> None:
    for given in inputs:
        try:
            same = os.path.samestat(found, os.stat(given))
        except (OSError, ValueError):  # who reads it says so
            continue
        if same:
            raise InputError(
                f"expected an output that is none of the files that are read, got {given}, the "
                "same file; name another one",
                file=path,
            )


def _found(path: Name) -> os.stat_result | None:
    try:
        descriptor = own_descriptor(path)
        return os.stat(path) if descriptor is None else os.fstat(descriptor)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as e:
        problem = getattr(e, "strerror", None) or str(e)
        raise InputError(
            f"expected the name of a file to write, got: {problem}; name another one", file=path
        ) from None


def _refuse_tilde(path: Name, asked_for: Name) -> None:
    """Raise InputError for ``~/name``, which nobody expanded: it would be a folder called ``~``."""
    first = Path(path).parts[:1]
    if Path(path).parts[1:] and first[0].startswith("~") and not os.path.lexists(first[0]):
        home = os.path.expanduser(asked_for)
        remedy = f"write {home}" if home != os.fspath(asked_for) else "write the folder out"
        raise InputError(
            f"expected a path, got one that begins with {first[0]}, which only a shell expands, "
            f"and only at the beginning of a word; {remedy}",
            file=asked_for,
        )


def _check_folder_of(path: Name) -> None:
    folder = Path(os.path.realpath(path)).parent
    if not folder.is_dir():
        raise InputError(
            f"expected a folder {folder} to write to, got none; make it first", file=path
        )
    _probe(folder, path)


def _probe(folder: Path, asked_for: Name) -> None:
    """Write as ``write_atomically`` will, a few bytes only."""
    try:
        write_partial(folder, bytes(_LOOKED_AT)).unlink()
    except OSError as e:
        raise InputError(
            f"expected a folder to write to, got {folder}: {e.strerror}; free some space, let "
            "yourself write there or name another place",
            file=asked_for,
        ) from e
