"""A command's options made of the fields of estimators and sources: each is listed in one place."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin, get_type_hints

import typer

from tidegate.data.source import Source, names_columns, split_list
from tidegate.errors import InputError
from tidegate.training.options import help_of

if TYPE_CHECKING:
    from tidegate.tasks.estimator import Estimator

PANELS = ("Data", "Model", "Training", "Run")
# Those that are not where their field's definition would put them.
_PANEL = {
    **dict.fromkeys(("device", "run_folder", "checkpoint_seconds", "resume", "force"), "Run"),
    **dict.fromkeys(("verbose", "sample_steps", "sample_length"), "Run"),
    **dict.fromkeys(("bptt", "loss", "class_weight"), "Training"),
    **dict.fromkeys(("joint", "anchored", "chrono", "forget_bias", "embedding_scale"), "Model"),
    **dict.fromkeys(("level", "evidence"), "Model"),
    **dict.fromkeys(("init_from", "embeddings", "freeze_embeddings", "reverse"), "Model"),
}
# Options whose default is the command line's own.
_DEFAULT_HERE = {"run_folder": "default: runs/NAME, NAME being that of the model file"}
_METAVARS = {int: "N", float: "X", Path: "PATH", str: "NAME"}


# By name: a parameter of a command, and the type that its value is to become.
Options = Mapping[str, tuple[inspect.Parameter, Any]]


def estimator_options(estimator: type[Estimator]) -> Options:
    """An option for each field of ``estimator``."""
    hints = get_type_hints(estimator)
    listed = fields(estimator)  # pyright: ignore[reportArgumentType]
    return {f.name: (_parameter(f, hints[f.name], estimator), hints[f.name]) for f in listed}


def source_options(source: type[Source]) -> Options:
    """An option for each field of ``source``."""
    hints = get_type_hints(source)
    made = {f.name: _source_parameter(f, hints[f.name]) for f in fields(source)}
    return {name: (parameter, hints[name]) for name, parameter in made.items()}


def later_options(*sources: type[Source]) -> Options:
    """The options of all the sources for a command that knows later which one it will be.

    None of them is required: None says that it was not given.  Their values stay text, until
    ``parsed_for`` makes of them what the source wants.
    """
    helps: dict[str, list[str]] = {}
    first: dict[str, tuple[Field[Any], Any]] = {}
    for source in dict.fromkeys(sources):
        hints = get_type_hints(source)
        for f in fields(source):
            first.setdefault(f.name, (f, hints[f.name]))
            helps.setdefault(f.name, []).append(_without_default(f))
    return {
        name: (_later_parameter(f, hint, _one_help(helps[name])), str | None)
        for name, (f, hint) in first.items()
    }


def _without_default(f: Field[Any]) -> str:
    """What a source's field is; if a model file keeps it, its own default no longer counts."""
    text = f.metadata["help"]
    return re.sub(r" \(default: [^)]*\)", "", text) if f.metadata["kept"] else text


def _one_help(helps: list[str]) -> str:
    """The different ones of several sources' help texts; of two that begin alike, the longer."""
    different = [
        text
        for text in dict.fromkeys(helps)
        if not any(other != text and other.startswith(text) for other in helps)
    ]
    return "; or ".join(different)


def parsed_for(source: type[Source], told: Mapping[str, Any]) -> dict[str, Any]:
    """The values of ``later_options`` that ``source`` has, of their types."""
    hints = get_type_hints(source)
    return {f.name: _parsed(f.name, told.get(f.name), hints[f.name]) for f in fields(source)}


def with_options(
    run: Callable[..., None], groups: Mapping[str, Options], leave_out: Collection[str] = ()
) -> Callable[..., None]:
    """The command ``run`` with the options of each group, which reach it as a dict of that name.

    Of the parameters of ``run`` itself, all but those of the groups and those to ``leave_out`` are
    options, too.  ``--help`` leaves out the hidden ones, ``--help-all`` shows them.
    """
    own = inspect.signature(run, eval_str=True).parameters.values()
    hidden = {*groups, *leave_out}
    own = [p.replace(kind=p.KEYWORD_ONLY) for p in own if p.name not in hidden]
    made = [parameter for options in groups.values() for parameter, _ in options.values()]
    if more := sum(getattr(_about(p), "hidden", False) for p in [*own, *made]):
        own.append(_help_all(more))

    def command(**values: Any) -> None:
        values.pop("help_all", None)
        told = {
            group: {n: _parsed(n, values.pop(n), hint) for n, (_, hint) in options.items()}
            for group, options in groups.items()
        }
        run(**values, **told)

    signature = inspect.Signature(sorted([*own, *made], key=_place))
    command.__name__, command.__doc__ = run.__name__, run.__doc__
    command.__annotations__ = {p.name: p.annotation for p in signature.parameters.values()}
    command.__signature__ = signature  # pyright: ignore[reportFunctionMemberAccess]
    return command


def _panel(f: Field[Any]) -> str:
    if f.name in _PANEL:
        return _PANEL[f.name]
    from tidegate.model.architecture import Architecture
    from tidegate.training.options import TrainingOptions

    if f.name in {g.name for g in fields(TrainingOptions)}:
        return "Training"
    return "Model" if f.name in {g.name for g in fields(Architecture)} else "Data"


def _place(parameter: inspect.Parameter) -> int:
    """Arguments first, then by panel: help shows panels in the order of their first option."""
    panel = getattr(_about(parameter), "rich_help_panel", None)
    return PANELS.index(panel) if panel in PANELS else -1


def _about(parameter: inspect.Parameter) -> Any:
    """What typer is told of a parameter, None for one of typer's own."""
    return next(iter(getattr(parameter.annotation, "__metadata__", ())), None)


def _help_all(more: int) -> inspect.Parameter:
    """The option that shows a command's help with its hidden options."""

    def show(ctx: typer.Context, wanted: bool) -> None:
        if wanted:
            for parameter in ctx.command.params:
                parameter.hidden = False  # pyright: ignore[reportAttributeAccessIssue]
            print(ctx.get_help())
            raise typer.Exit

    option = typer.Option(
        "--help-all",
        metavar="",
        is_eager=True,
        callback=show,
        help=f"show {more} more options and exit",
    )
    return inspect.Parameter(
        "help_all",
        inspect.Parameter.KEYWORD_ONLY,
        default=False,
        annotation=Annotated[bool, option],
    )


def _parameter(f: Field[Any], hint: Any, estimator: type[Estimator]) -> inspect.Parameter:
    """A field as typer wants it: a flag, or text that ``_parsed`` turns into the field's type."""
    text = help_of(f, estimator)
    if f.name in _DEFAULT_HERE:
        text += f" ({_DEFAULT_HERE[f.name]})"
    if hint in (bool, bool | None):
        kind, default, metavar = hint, f.default, ""
    else:
        kind, default, metavar = str | None, _as_text(f.default), _metavar(hint)
    option = typer.Option(
        help=text.replace("[", r"\["),
        metavar=metavar,
        rich_help_panel=_panel(f),
        hidden=not f.metadata["common"],
        show_default=f.default is not False,
    )
    return inspect.Parameter(
        f.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option]
    )


def _source_parameter(f: Field[Any], hint: Any) -> inspect.Parameter:
    """A source's field as typer wants it: a flag, or text that ``_parsed`` takes apart."""
    kind = bool if hint is bool else str
    default: Any = f.default
    if default is MISSING:
        default = inspect.Parameter.empty
    elif kind is str:
        kind, default = str | None, _as_text(default) or None
    return _told(f, kind, default, f.metadata["help"], negated=kind is bool)


def _later_parameter(f: Field[Any], hint: Any, help: str) -> inspect.Parameter:
    kind = bool | None if hint is bool else str | None
    if f.metadata["kept"]:
        later = f.metadata["later"]
        help += " (default: as in training" + (f", else {later})" if later else ")")
    return _told(f, kind, None, help, negated=hint is bool)


def _told(f: Field[Any], kind: Any, default: Any, help: str, *, negated: bool) -> inspect.Parameter:
    name = f.name.replace("_", "-")
    names = f"--{name}/--no-{name}" if negated else f"--{name}"
    option = typer.Option(
        names,
        help=help,
        metavar=f.metadata["metavar"] or "",  # of a flag, typer would show a type
        rich_help_panel="Data",
        hidden=not names_columns(f),
        show_default=f.default is not False,
    )
    return inspect.Parameter(
        f.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option]
    )


def _metavar(hint: Any) -> str:
    kind = _plain(hint)
    if {str, float} <= set(get_args(hint)):
        return "WHEN"
    if get_origin(kind) is tuple:
        one = _METAVARS[_plain(get_args(kind)[0])]
        return f"{one},{one},..."
    return _METAVARS[kind]


def _plain(hint: Any) -> type:
    """``int`` of ``int | None``: the first of several types."""
    if get_origin(hint) is tuple:
        return hint
    kinds = [kind for kind in get_args(hint) or (hint,) if kind is not type(None)]
    return kinds[0]


def _as_text(default: Any) -> str | None:
    if isinstance(default, tuple):
        return ",".join(map(str, default))
    return None if default is None else str(default)


def _parsed(name: str, value: Any, hint: Any) -> Any:
    """What the user wrote as a value of the field; ``none`` where the field may be None."""
    if value is None or isinstance(value, bool):
        return value
    if type(None) in get_args(hint) and value.lower() == "none":
        return None
    kind = _plain(hint)
    if get_origin(kind) is tuple:
        one = _plain(get_args(kind)[0])
        return tuple(_converted(name, part, one) for part in split_list(value))
    return _converted(name, value, kind)


def _converted(name: str, text: str, kind: type) -> Any:
    if kind is Path and not text:
        raise InputError("expected a path, got ''; leave it out", option=name)
    if kind is Path and text == "-" and name == "run_folder":
        raise InputError("expected a folder, got -, for standard output; name one", option=name)
    try:
        return text if kind is str else kind(text.strip())
    except ValueError:
        expected = {int: "a whole number", float: "a number"}.get(kind, kind.__name__)
        problem = f"expected {expected}, got {text!r}; correct it or leave it out"
        raise InputError(problem, option=name) from None
