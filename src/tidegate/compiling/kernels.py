"""The engine's kernels of a reader's own cell, made at its first use."""

from __future__ import annotations

import re
import sys
import warnings
from hashlib import sha256
from threading import Lock

from tidegate.cells import CELLS, Cell
from tidegate.compiling.compiler import (
    CannotCompileError,
    compile_library,
    find_compiler,
    find_headers,
    flags_for,
)
from tidegate.compiling.kept import kept
from tidegate.engine import compiled
from tidegate.export.cpp import write_library

_making = Lock()
_reasons: dict[tuple[str, str], str | None] = {}  # by key and instruction set


def reason_against_kernels(cell: Cell) -> str | None:
    """Why the engine cannot run ``cell``; None where it can.

    A reader's own cell is compiled at the first call for the instruction set in use, or read from
    where it was kept; where it cannot be, a warning says so once.
    """
    if cell.key == cell.name:
        known = CELLS.get(cell.name) is cell and compiled.has_cell(cell.name)
        return None if known else f"the engine has no kernel for {cell.name}"
    wanted = cell.key, compiled.isa()
    if wanted not in _reasons:
        with _making:
            if wanted not in _reasons:
                _reasons[wanted] = _load(cell, wanted[1])
    return _reasons[wanted]


def _load(cell: Cell, isa: str) -> str | None:
    try:
        compiler, flags, headers = find_compiler(), flags_for(isa), find_headers()
        source = write_library(cell)
        parts = (source, compiled.own_cell_headers, *compiler.command, compiler.version, *flags)
        digest = sha256("\0".join(parts).encode()).hexdigest()

        def make() -> bytes:
            print(
                f"tidegate: compiling the cell {cell.name} for {isa}, once; this takes seconds",
                file=sys.stderr, flush=True,
            )  # fmt: skip
            return compile_library(source, compiler, flags, headers)

        path = kept(f"{re.sub('[^a-z0-9]', '_', cell.name.lower())[:40]}-{digest[:32]}.so", make)
        try:
            compiled.load_cell(str(path), isa)
        except RuntimeError as e:
            raise CannotCompileError(
                f"{e}; name a folder that programs may run from in the environment variable "
                "TIDEGATE_CACHE"
            ) from e
    except (CannotCompileError, OSError) as error:
        e = f"{error}; free some space" if isinstance(error, OSError) else error
        reason = f"the engine has no kernel for {cell.name}: {e}"
        warnings.warn(
            f"the cell {cell.name} runs step by step, which is slow: {e}", RuntimeWarning,
            stacklevel=2,
        )  # fmt: skip
        return reason
    return None
