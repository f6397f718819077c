"""A command's options made of the fields of estimators and sources: each is listed in one place."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_origin, get_type_hints

import click

from tidegate.cli.command import Option, flag
from tidegate.data.source import MARK, Source, names_columns, split_list
from tidegate.errors import InputError
from tidegate.training.options import help_of

if TYPE_CHECKING:
    from tidegate.tasks.estimator import Estimator

# Panels of those that are not where their field's definition would put them.
_PANEL = {
    **dict.fromkeys(("device", "run_folder", "checkpoint_seconds", "resume", "force"), "Run"),
    **dict.fromkeys(("verbose", "sample_steps", "sample_length"), "Run"),
    **dict.fromkeys(("bptt", "loss", "class_weight"), "Training"),
    **dict.fromkeys(("joint", "anchored", "chrono", "forget_bias", "embedding_scale"), "Model"),
    **dict.fromkeys(("level", "evidence", "counts"), "Model"),
    **dict.fromkeys(("attention", "beam", "length_penalty", "longest", "copy_unknown"), "Model"),
    "scheduled_sampling": "Training",
    **dict.fromkeys(("init_from", "embeddings", "freeze_embeddings", "reverse"), "Model"),
}
# Options whose default is the command line's own.
_DEFAULT_HERE = {"run_folder": "default: runs/NAME, NAME being that of the model file"}
_METAVARS = {int: "N", float: "X", Path: "PATH", str: "NAME"}


class Value(click.ParamType):
    """Text that becomes a value of a field's type; ``none`` where the field may be None."""

    name = "value"

    def __init__(self, hint: Any) -> None:
        self.hint = hint

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:  # noqa: ARG002
        return _parsed(param.name, value, self.hint)


def estimator_options(estimator: type[Estimator]) -> list[Option]:
    """An option for each field of ``estimator``."""
    hints = get_type_hints(estimator)
    listed = fields(estimator)  # pyright: ignore[reportArgumentType]
    return [_estimator_option(f, hints[f.name], estimator) for f in listed]


def option_value(estimator: type[Estimator], name: str, text: str) -> Any:
    """What ``text`` says of an option of ``estimator``.  Raises InputError."""
    hint = get_type_hints(estimator)[name]
    if _plain(hint) is bool and text.lower() != "none":
        known = {"yes": True, "true": True, "no": False, "false": False}
        if text.lower() not in known:
            raise InputError(f"expected yes or no, got {text!r}; write one of them", option=name)
        return known[text.lower()]
    return _parsed(name, text, hint)


def source_options(source: type[Source]) -> list[Option]:
    """An option for each field of ``source``, for a command that learns."""
    hints = get_type_hints(source)
    return [_source_option(f, hints[f.name]) for f in fields(source)]


def later_options(*sources: type[Source]) -> list[Option]:
    """The options of all the sources for a command that knows later which one it will be.

    None of them is required: None says that it was not given.  Their values stay text, until
    ``parsed_for`` makes of them what the source wants.
    """
    helps: dict[str, list[str]] = {}
    first: dict[str, Field[Any]] = {}
    for source in dict.fromkeys(sources):
        for f in fields(source):
            if f.metadata["to_learn"]:
                continue
            first.setdefault(f.name, f)
            helps.setdefault(f.name, []).append(_without_default(f))
    return [_later_option(f, _one_help(helps[name])) for name, f in first.items()]


def parsed_for(source: type[Source], told: Mapping[str, Any]) -> dict[str, Any]:
    """The values of ``later_options`` that ``source`` has, of their types."""
    hints = get_type_hints(source)
    return {f.name: _parsed(f.name, told.get(f.name), hints[f.name]) for f in fields(source)}


def _estimator_option(f: Field[Any], hint: Any, estimator: type[Estimator]) -> Option:
    about: dict[str, Any] = {"panel": _panel(f), "hidden": not f.metadata["common"]}
    about["help"] = help_of(f, estimator)
    if f.name in _DEFAULT_HERE:
        about["help"] += f" ({_DEFAULT_HERE[f.name]})"
    if hint in (bool, bool | None):
        return flag(_flag_name(f), default=f.default, **about)
    kind, metavar = Value(hint), _metavar(hint)
    return Option(_flag_name(f), type=kind, metavar=metavar, default=_as_text(f.default), **about)


def _source_option(f: Field[Any], hint: Any) -> Option:
    help = f.metadata["help"]
    if hint is bool:
        return _told(f, help, default=f.default)
    if f.default is MISSING:
        return _told(f, help, type=Value(hint), required=True)
    return _told(f, help, type=Value(hint), default=_as_text(f.default) or None)


def _later_option(f: Field[Any], help: str) -> Option:
    if f.metadata["kept"]:
        later = f.metadata["later"]
        help += " (default: as in training" + (f", else {later})" if later else ")")
    return _told(f, help, default=None)


def _told(f: Field[Any], help: str, **about: Any) -> Option:
    stands_for_a_column = f.name.startswith("no_")  # --no-time
    metavar = f.metadata["metavar"]
    hidden = not (names_columns(f) or stands_for_a_column or metavar == MARK)
    about |= {"panel": "Data", "hidden": hidden, "help": help}
    if stands_for_a_column:
        return Option(_flag_name(f), is_flag=True, **about)
    if metavar is None:
        return flag(_flag_name(f), **about)
    return Option(_flag_name(f), metavar=metavar, **about)


def _flag_name(f: Field[Any]) -> str:
    return "--" + f.name.replace("_", "-")


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


def _panel(f: Field[Any]) -> str:
    if f.name in _PANEL:
        return _PANEL[f.name]
    from tidegate.model.architecture import Architecture
    from tidegate.training.options import TrainingOptions

    if f.name in {g.name for g in fields(TrainingOptions)}:
        return "Training"
    return "Model" if f.name in {g.name for g in fields(Architecture)} else "Data"


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
