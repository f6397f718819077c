"""What equations cannot say, refused with the file and line of the statement and a way out."""

from __future__ import annotations

import dis
import linecache
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple, TypeVar

Kind = TypeVar("Kind", bound=Exception)

_PACKAGE = __name__.rpartition(".")[0]
_TRACED: ContextVar[str] = ContextVar("the cell whose equations are traced now", default="")


class Line(NamedTuple):
    """A line of somebody's file."""

    file: str
    number: int


@contextmanager
def tracing(cell: str) -> Iterator[None]:
    """While the equations of ``cell`` are called on symbols."""
    token = _TRACED.set(cell)
    try:
        yield
    finally:
        _TRACED.reset(token)


def is_tracing() -> bool:
    """Whether equations are called on symbols now."""
    return _TRACED.get() != ""


def statement() -> Line | None:
    """The line of a cell's equations, or of what they call, that runs now; None outside them."""
    if not is_tracing():
        return None
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(_PACKAGE):
        frame = frame.f_back
    return Line(frame.f_code.co_filename, frame.f_lineno)


def refusal(
    problem: str,
    cell: str,
    line: Line | None,
    kind: Callable[[str], Kind] = ValueError,
) -> Kind:
    """The error that says what, of which cell and where."""
    where = f"{_shown(line)}: " if line else ""
    return kind(f"{where}{cell}: {problem}" if cell else f"{where}{problem}")


def _shown(line: Line) -> str:
    """File and line; of a notebook's cell, whose file nobody knows, the statement itself."""
    statement = linecache.getline(line.file, line.number).strip()
    if statement and not os.path.exists(line.file):
        return f"line {line.number}, {statement}"
    return f"{line.file}:{line.number}"


def refusal_here(problem: str, kind: Callable[[str], Kind] = ValueError) -> Kind:
    """The error that says what, of the cell that is traced now and at the line that runs."""
    return refusal(problem, _TRACED.get(), statement(), kind)


def first_line(equations: Any) -> Line | None:
    """Where a function begins, with its decorators; None for what is no function of Python."""
    code = getattr(equations, "__code__", None)
    return None if code is None else Line(code.co_filename, code.co_firstlineno)


def last_line(equations: Any) -> Line | None:
    """Where a function returns last; None for what is no function of Python."""
    code = getattr(equations, "__code__", None)
    if code is None:
        return None
    returns = (i for i in dis.get_instructions(code) if i.opname.startswith("RETURN"))
    lines = [i.positions.lineno for i in returns if i.positions and i.positions.lineno]
    return Line(code.co_filename, lines[-1] if lines else code.co_firstlineno)
