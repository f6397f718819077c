"""The command line: ``tidegate train | compare | evaluate | predict | generate | forecast | info |
bench``.

Exit codes: 0 done, 1 failed, 2 bad usage or input, 130 interrupted.  An error is one line on
stderr.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence

from tidegate.cli.processes import let_the_first_process_speak
from tidegate.errors import InputError

# What 'pip install tidegate[EXTRA]' adds; a command that needs one of them says so.
_EXTRAS = {
    "train": {"accelerate", "matplotlib", "polars", "tokenizers", "torch", "torchmetrics"},
    "compare": {"scipy", "sklearn"},
    "excel": {"fastexcel"},
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command, by default that of ``sys.argv``; its exit code."""
    import typer

    from tidegate.cli.app import Invocation, command

    given = list(sys.argv[1:] if arguments is None else arguments)
    invocation = Invocation(given, traceback=bool(os.environ.get("TIDEGATE_TRACEBACK")))
    # typer carries its own click, and exports but one of its usage errors
    usage_error = typer.BadParameter.__mro__[1]
    try:
        code = command().main(
            given or ["--help"], prog_name="tidegate", standalone_mode=False, obj=invocation
        )
        return code if isinstance(code, int) else 0
    except InputError as e:
        return _fail(invocation, e, str(e), 2)
    except ModuleNotFoundError as e:
        package = (e.name or "").split(".")[0]
        extra = next((extra for extra, added in _EXTRAS.items() if package in added), None)
        if extra is None:
            return _fail(invocation, e, f"{type(e).__name__}: {e}", 1)
        remedy = f"install it with: pip install 'tidegate[{extra}]'"
        return _fail(invocation, e, f"this command needs {package}; {remedy}", 2)
    except Exception as e:
        if isinstance(e, usage_error):
            return _fail(invocation, e, _usage_problem(e), 2)
        if _is_training_error(e):
            return _fail(invocation, e, str(e), 1)
        where = "" if invocation.traceback else "; TIDEGATE_TRACEBACK=1 shows where"
        return _fail(invocation, e, f"{type(e).__name__}: {e}{where}", 1)


def _fail(invocation: object, error: Exception, problem: str, code: int) -> int:
    let_the_first_process_speak()
    if getattr(invocation, "traceback", False):
        traceback.print_exception(error)
    print("error:", " ".join(problem.split()), file=sys.stderr)
    return code


def _is_training_error(error: Exception) -> bool:
    objective = sys.modules.get("tidegate.training.objective")  # imports torch, if not yet
    return objective is not None and isinstance(error, objective.TrainingError)


def _usage_problem(error: Exception) -> str:
    """Typer's words for a usage error, and the command whose help says more."""
    problem = error.format_message().rstrip(".")  # pyright: ignore[reportAttributeAccessIssue]
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "tidegate"
    stop = "" if problem.endswith("?") else ";"
    return f"{problem[:1].lower()}{problem[1:]}{stop} see {path} --help"
