"""The command line: ``tidegate train | compare | tune | evaluate | predict | generate | forecast |
detect | serve | info | inspect | explain | convert | cells | bench | sample | export``.

Exit codes: 0 done, 1 failed, 2 bad usage or input, 130 interrupted, 143 ended by SIGTERM, 141 where
nobody reads the output on.  An error is one line on stderr.
"""

from __future__ import annotations

import os
import re
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from tidegate.cli.processes import let_the_first_process_speak, process_rank
from tidegate.cli.signals import (
    OUTPUT_ERRORS,
    Signals,
    drop_stdout,
    prepare_streams,
    stdout_problem,
)
from tidegate.errors import InputError, options_as_flags
from tidegate.terminal import one_line, say

if TYPE_CHECKING:
    import click

_BROKEN_PIPE = 141

# What 'pip install tidegate[EXTRA]' adds; a command that needs one of them says so.
_EXTRAS = {
    "train": {"accelerate", "matplotlib", "polars", "rich", "tokenizers", "torch"},
    "compare": {"scipy", "sklearn"},
    "tune": {"optuna", "sqlalchemy"},
    "excel": {"fastexcel"},
    "keras": {"h5py"},
    "music": {"mido"},
    "onnx": {"onnx", "onnxruntime"},
    "serve": {"starlette", "uvicorn"},
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command, by default that of ``sys.argv``; its exit code."""
    signals = Signals()
    with signals.raised(), options_as_flags():
        prepare_streams()
        if sys.stdout is None:
            return _fail("standard output: expected an open one, got a closed one", 1)
        try:
            code = _run(list(sys.argv[1:] if arguments is None else arguments), signals)
        except KeyboardInterrupt as e:
            code = _interrupted(e, signals)
    problem = stdout_problem()
    if problem is None:
        return code
    drop_stdout()
    if isinstance(problem, BrokenPipeError):
        return _BROKEN_PIPE
    return _fail(_stdout_failed(problem), 1)


def _run(given: list[str], signals: Signals) -> int:
    import click

    from tidegate.cli.app import tree
    from tidegate.cli.invocation import Invocation

    invocation = Invocation(given, traceback=bool(os.environ.get("TIDEGATE_TRACEBACK")))
    try:
        # not its main(), which turns a KeyboardInterrupt into an error of its own
        with tree(given).make_context("tidegate", given or ["--help"], obj=invocation) as context:
            code = context.command.invoke(context)
        return code if isinstance(code, int) else 0
    except click.exceptions.Exit as e:
        return e.exit_code
    except Exception as e:
        if signals.number:  # a library made another error of it
            raise KeyboardInterrupt from e
        if isinstance(e, BrokenPipeError):
            return _BROKEN_PIPE
        problem, code = _told(e)
        if invocation.traceback:
            say("".join(traceback.format_exception(e)).rstrip(), sys.stderr)
        elif problem.startswith(f"{type(e).__name__}: "):
            problem += "; TIDEGATE_TRACEBACK=1 shows where"
        return _fail(problem, code)


def _told(error: Exception) -> tuple[str, int]:
    """What is said of an error, and the exit code."""
    import click

    if isinstance(error, InputError):
        return str(error), 2
    if isinstance(error, click.UsageError):
        return _usage_problem(error), 2
    if isinstance(error, ModuleNotFoundError):
        package = (error.name or "").split(".")[0]
        for extra, added in _EXTRAS.items():
            if package in added:
                remedy = f"install it with: pip install 'tidegate[{extra}]'"
                return f"this command needs {package}; {remedy}", 2
    if isinstance(error, OSError) and error.errno in OUTPUT_ERRORS and error.filename is None:
        return _stdout_failed(error), 1
    if _is_training_error(error):
        return str(error), 1
    return f"{type(error).__name__}: {error}", 1


def _stdout_failed(problem: OSError) -> str:
    return f"standard output: expected a place to write to, got: {problem.strerror}"


def _fail(problem: str, code: int) -> int:
    let_the_first_process_speak()
    with suppress(OSError):  # a stderr that takes nothing; the exit code still tells
        print("error:", one_line(problem), file=sys.stderr)
    return code


def _interrupted(error: KeyboardInterrupt, signals: Signals) -> int:
    """Say it in one line, which the command may have written; of several processes, the first."""
    if not process_rank():
        if sys.stderr.isatty():  # after the ^C
            print(file=sys.stderr)
        print(str(error) or "interrupted", file=sys.stderr)
    return signals.exit_code


def _is_training_error(error: Exception) -> bool:
    objective = sys.modules.get("tidegate.training.objective")  # imports torch, if not yet
    return objective is not None and isinstance(error, objective.TrainingError)


def _usage_problem(error: click.UsageError) -> str:
    """Click's words for a usage error, and the command whose help says more."""
    problem = error.format_message().rstrip(".")
    path, remedy = "tidegate", ""
    if error.ctx is not None:
        path, remedy = error.ctx.command_path, _remedy_of_stray(problem, error.ctx)
    stop = "" if problem.endswith("?") else ";"
    return f"{problem[:1].lower()}{problem[1:]}{stop}{remedy} see {path} --help"


def _remedy_of_stray(problem: str, context: click.Context) -> str:
    """What to do about a word that belongs to nothing, by the option that it was written behind."""
    found = re.search(r"unexpected extra arguments? \((\S+?)[ )]", problem)
    words = context.obj.arguments
    if found is None or found[1] not in words[1:]:
        return ""
    at = words.index(found[1], 1)
    for parameter in context.command.params:
        names = (*parameter.opts, *parameter.secondary_opts)
        if words[at - 1] in names and getattr(parameter, "is_flag", False):
            return f" {words[at - 1]} takes no value: leave it out;"
        if words[at - 2 : at - 1] and words[at - 2] in names:
            value = f"'{words[at - 1]} {found[1]}'"
            return f" a value with spaces needs quotes, as in {words[at - 2]} {value};"
    return ""
