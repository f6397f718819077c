"""How every command is declared: its parameters stand beside the function that it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import click

from tidegate.cli.help import page

_EVERY = "tidegate.cli.help-all"  # in a context's meta: show the hidden options, too


class Argument(click.Argument):
    """What stands at its place on the line, without a name."""

    def __init__(self, name: str, metavar: str, help: str, type: Any = str, **about: Any) -> None:
        super().__init__([name], metavar=metavar, type=type, **about)
        self.help = help


class Option(click.Option):
    """``--name VALUE``, or a flag; help lists it in ``panel``.

    ``about`` is what click.Option takes, such as ``type``, ``default``, ``required``.
    """

    def __init__(self, *names: str, help: str, panel: str = "Options", **about: Any) -> None:
        super().__init__(names, help=help, **about)
        self.panel = panel


def flag(*names: str, help: str, panel: str = "Options", **about: Any) -> Option:
    """An option without a value; its name alone, ``--force``, is declared with ``--no-force``."""
    if len(names) == 1 and "/" not in names[0]:
        names = (f"{names[0]}/--no-{names[0].removeprefix('--')}",)
    return Option(*names, help=help, panel=panel, **{"default": False, **about})


def command(
    *parameters: click.Parameter, help: str | None = None, **groups: Sequence[Option]
) -> Callable[[Callable[..., Any]], Command]:
    """The command that runs the decorated function; its ``help`` is the docstring.

    The function is given each of ``parameters`` by name, and of each of ``groups`` one dict of its
    options' values by name.  Options of one name in several groups are one, the last of them, whose
    value each group has.
    """
    return lambda run: Command(run, parameters, groups, help)


class Command(click.Command):
    """What ``command`` makes of a function."""

    def __init__(
        self,
        run: Callable[..., Any],
        parameters: Sequence[click.Parameter],
        groups: Mapping[str, Sequence[Option]],
        help: str | None,
    ) -> None:
        grouped = [option for options in groups.values() for option in options]
        own = [*parameters, *{option.name: option for option in grouped}.values()]
        hidden = sum(getattr(parameter, "hidden", False) for parameter in own)
        super().__init__(
            run.__name__,
            callback=run,
            params=[*own, *([_help_all(hidden)] if hidden else []), _help()],
            help=help or run.__doc__,
            add_help_option=False,
        )
        self.run = run
        self.groups = {name: [option.name for option in of] for name, of in groups.items()}

    def invoke(self, ctx: click.Context) -> Any:
        grouped = {
            group: {name: ctx.params[name] for name in names}
            for group, names in self.groups.items()
        }
        inside = {name for names in self.groups.values() for name in names}
        alone = {name: value for name, value in ctx.params.items() if name not in inside}
        return ctx.invoke(self.run, **alone, **grouped)

    def get_help(self, ctx: click.Context) -> str:
        arguments = [p for p in self.params if isinstance(p, Argument)]
        rows = {"Arguments": [(str(p.metavar), p.help or "") for p in arguments]}
        usage = [ctx.command_path, "[OPTIONS]", *(str(p.metavar) for p in arguments)]
        return page(usage, self.help, rows | panels(self.params, ctx.meta.get(_EVERY, False)))


# A command, or what makes it when it is asked for.
Entry: TypeAlias = click.Command | Callable[[], click.Command]


class Group(click.Group):
    """Commands by name, in the order in which help lists them."""

    def __init__(
        self,
        help: str,
        entries: Mapping[str, Entry],
        run: Callable[..., Any] | None = None,
        options: Sequence[Option] = (),
    ) -> None:
        super().__init__(
            callback=run,
            params=[*options, _help()],
            help=help,
            add_help_option=False,
            no_args_is_help=False,
        )
        self.entries = entries

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(self.entries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        entry = self.entries.get(cmd_name)
        return entry if entry is None or isinstance(entry, click.Command) else entry()

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        name = args[0]
        if name not in self.entries:
            from difflib import get_close_matches

            near = get_close_matches(name, self.entries, n=1)
            ctx.fail(f"no such command {name!r}" + "".join(f". Did you mean {n!r}?" for n in near))
        return super().resolve_command(ctx, args)

    def get_help(self, ctx: click.Context) -> str:
        commands = {name: self.get_command(ctx, name) for name in self.entries}
        rows = [(name, _first_paragraph(c.help)) for name, c in commands.items() if c is not None]
        usage = [ctx.command_path, "[OPTIONS]", "COMMAND", "..."]
        return page(usage, self.help, panels(self.params) | {"Commands": rows})


def _first_paragraph(text: str | None) -> str:
    return " ".join((text or "").partition("\n\n")[0].split())


def panels(
    parameters: Sequence[click.Parameter], hidden: bool = False
) -> dict[str, list[tuple[str, str]]]:
    """The rows of help on options, by panel, those that are required first; ``hidden`` ones too."""
    shown: dict[str, list[tuple[str, str]]] = {}
    for option in sorted(parameters, key=lambda parameter: not parameter.required):
        if isinstance(option, Option) and (hidden or not option.hidden):
            shown.setdefault(option.panel, []).append(_row(option))
    return shown


def _row(option: Option) -> tuple[str, str]:
    """``--name VALUE`` and what help says of it."""
    names = ", ".join(option.opts) + "".join(f" / {no}" for no in option.secondary_opts)
    text, default = option.help or "", option.default
    if option.required:
        text += " [required]"
    elif default is True:
        text += f" [default: {option.opts[0].removeprefix('--')}]"
    elif isinstance(default, str | int | float) and default is not False and default != "":
        text += f" [default: {default}]"
    return f"{names} {option.metavar or ''}".rstrip(), text


def _help() -> Option:
    return _shows_help("--help", "show this message and exit")


def _help_all(hidden: int) -> Option:
    return _shows_help("--help-all", f"show {hidden} more options and exit")


def _shows_help(name: str, help: str) -> Option:
    def show(ctx: click.Context, option: click.Parameter, wanted: bool) -> None:  # noqa: ARG001
        if wanted:
            ctx.meta[_EVERY] = name == "--help-all"
            print(ctx.get_help())
            ctx.exit()

    return Option(name, help=help, is_flag=True, is_eager=True, expose_value=False, callback=show)
