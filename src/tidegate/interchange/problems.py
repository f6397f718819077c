"""What is wrong with a file, told with what helps."""

from __future__ import annotations

from os import PathLike

from tidegate.errors import InputError


def about_file(problem: ValueError, path: str | PathLike[str], remedy: str) -> InputError:
    """The problem as an error about the file; with the remedy, where it does not say its own."""
    if isinstance(problem, InputError) and problem.file:
        return problem
    text = str(problem)
    return InputError(text if "; " in text else f"{text}; {remedy}", file=path)
