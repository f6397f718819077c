"""The tree of commands.  What a command needs is imported when it runs."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup

import tidegate
from tidegate.cli.bench import bench
from tidegate.cli.compare import compare_command
from tidegate.cli.convert import convert
from tidegate.cli.evaluate import evaluate
from tidegate.cli.export import onnx
from tidegate.cli.forecast import forecast
from tidegate.cli.generate import generate
from tidegate.cli.info import info
from tidegate.cli.predict import predict
from tidegate.tasks import TASKS


class _Plain:
    """A command whose help says FILE and leaves out what Python makes of it, ``<path>``."""

    def get_params(self, ctx: Any) -> list[Any]:
        params = super().get_params(ctx)  # pyright: ignore[reportAttributeAccessIssue]
        for param in params:
            if isinstance(param, TyperArgument):
                param.display_type_rich = lambda ctx: None  # noqa: ARG005
            elif "--help" in param.opts:
                param.metavar, param.help = "", "show this message and exit"
        return params


class _Command(_Plain, TyperCommand):
    pass


class _Group(_Plain, TyperGroup):
    pass


class _MainGroup(_Plain, TyperGroup):
    """Lists first what comes first; builds ``compare`` for the task that is typed."""

    def list_commands(self, ctx: Any) -> list[str]:
        names = [*super().list_commands(ctx), "compare"]
        first = ["train", "compare"]
        return sorted(names, key=lambda n: first.index(n) if n in first else len(first))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name == "compare":
            app = typer.Typer(add_completion=False)
            app.command("compare", cls=_Command)(compare_command(ctx.obj.arguments))
            return typer.main.get_command(app)
        return super().get_command(ctx, cmd_name)


class _TrainGroup(_Plain, TyperGroup):
    """Builds a sub-command when it is asked for: its options come from the task's module."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002
        return [task.command for task in TASKS.values()]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        names = self.list_commands(ctx)
        # all of them for a name that is none, since typer suggests the nearest of those built
        for name in [cmd_name] if cmd_name in names else names:
            if name not in self.commands:
                self.commands[name] = _train_command(name)
        return super().get_command(ctx, cmd_name)


def _train_command(name: str) -> Any:
    from tidegate.cli.train import train_command

    task = next(task for task, about in TASKS.items() if about.command == name)
    app = typer.Typer(add_completion=False)
    app.command(name, cls=_Command)(train_command(task))
    return typer.main.get_command(app)


_app = typer.Typer(cls=_MainGroup, add_completion=False, pretty_exceptions_enable=False)
_app.add_typer(
    typer.Typer(cls=_TrainGroup, callback=lambda: None),
    name="train",
    help=f"Train a network on a file: {', '.join(task.command for task in TASKS.values())}.",
)
_exports = typer.Typer(cls=_Group, callback=lambda: None)
_exports.command(cls=_Command)(onnx)
_app.add_typer(_exports, name="export", help="Write a model in the form of other runtimes: onnx.")
for _run in (evaluate, predict, generate, forecast, info, convert, bench):
    _app.command(cls=_Command)(_run)


def _version(wanted: bool) -> None:
    if wanted:
        print(tidegate.__version__)
        raise typer.Exit


@_app.callback()
def _tidegate(
    context: typer.Context,
    traceback: Annotated[
        bool, typer.Option("--traceback", metavar="", help="show where in the code an error arose")
    ] = False,
    version: Annotated[  # noqa: ARG001
        bool,
        typer.Option(
            "--version",
            metavar="",
            callback=_version,
            is_eager=True,
            help="show the version and exit",
        ),
    ] = False,
) -> None:
    """Train recurrent networks on a file of text or numbers, evaluate them and use them.

    Try: tidegate train language-model book.txt --max-minutes 5
    """
    context.obj.traceback |= traceback


def command() -> Any:
    """The whole tree, as a click command."""
    return typer.main.get_command(_app)
