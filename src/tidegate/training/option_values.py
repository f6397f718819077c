"""Whether a value is one that an option takes; free of torch, so that help texts are fast."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral, Real
from os import PathLike, fspath
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin

from tidegate.errors import InputError, written

# Python's whole numbers have no end, but those of files and of torch have.
_LARGEST_WHOLE = 2**63 - 1
# Far beyond what any option is good for, and still a float32.
_LARGEST = 1e38

# An option's ``choices`` if it is text, its ``bounds`` if it is a number; a ``remedy``, in words.
About = Mapping[str, Any]


def plain(value: Any) -> Any:
    """A number of NumPy's, alone or in a tuple or a list, as Python's."""
    import numpy as np  # help texts do without

    if type(value) in (tuple, list):
        return type(value)(map(plain, value))
    return value.item() if isinstance(value, np.generic) else value


def check_value(name: str, value: Any, hint: Any, about: About) -> None:
    """Raise InputError unless ``value`` is of the option's type ``hint``, and as ``about`` says."""
    if not _fits(value, hint, about):
        kinds = sorted(_kinds(hint), key=lambda kind: get_origin(kind) is tuple)  # several: last
        expected = " or ".join(dict.fromkeys(_words(kind, about, value) for kind in kinds))
        remedy = about.get("remedy", "give one, or leave it out")
        raise InputError(f"expected {expected}, got {written(value)}; {remedy}", option=name)


def _kinds(hint: Any) -> list[Any]:
    """The types of a union, or the one type; those that others of them include are left out."""
    single = get_origin(hint) in (tuple, Mapping) or not get_args(hint)
    kinds = [hint] if single else [kind for kind in get_args(hint) if kind is not NoneType]
    within = {str: Path, int: float}  # a path may be a text, a number a whole one
    return [kind for kind in kinds if within.get(kind) not in kinds]


def _fits(value: Any, hint: Any, about: About) -> bool:
    if value is None:
        return NoneType in get_args(hint)
    return any(_is(value, kind, about) for kind in _kinds(hint))


def _is(value: Any, kind: Any, about: About) -> bool:
    if get_origin(kind) is tuple:
        item = get_args(kind)[0]
        return isinstance(value, tuple | list) and all(_fits(one, item, about) for one in value)
    if kind in (int, float):
        return _is_number(value, whole=kind is int) and _within(value, about.get("bounds", {}))
    if kind is str:
        choices = about.get("choices", ())
        return isinstance(value, str) and (not choices or value in choices)
    if kind is Path:
        return _is_path(value)
    return isinstance(value, get_origin(kind) or kind)


def _is_number(value: Any, *, whole: bool) -> bool:
    kind, most = (Integral, _LARGEST_WHOLE) if whole else (Real, _LARGEST)
    given: Any = value  # whose type pyright would narrow to one that it cannot compare
    return isinstance(value, kind) and not isinstance(value, bool) and -most <= given <= most


def _is_path(value: Any) -> bool:
    text = fspath(value) if isinstance(value, str | PathLike) else ""
    return isinstance(text, str) and text != "" and "\0" not in text


def _within(value: Any, bounds: Mapping[str, float]) -> bool:
    tests = {
        "above": lambda bound: value > bound,
        "at least": lambda bound: value >= bound,
        "below": lambda bound: value < bound,
        "at most": lambda bound: value <= bound,
    }
    return all(tests[name](bound) for name, bound in bounds.items())


def _words(kind: Any, about: About, value: Any) -> str:
    """What is expected instead of ``value``, such as: a whole number at least 1."""
    if get_origin(kind) is tuple:
        item = get_args(kind)[0]
        if int in _kinds(item):
            each = _words(int, about, None).replace("a whole number", "whole numbers")
            several = "a tuple of " if written(()) == "()" else ""
            return f"{several}{each}, such as {written((64, 32))}"
        return "several"
    if kind in (int, float):
        bounds = dict(about.get("bounds", {}))
        most = _LARGEST_WHOLE if kind is int else _LARGEST
        given: Any = value
        if isinstance(value, Real) and given > most:
            bounds.setdefault("at most", most)
        told = " and ".join(f"{name} {bound}" for name, bound in bounds.items())
        return f"{'a whole number' if kind is int else 'a number'} {told}".strip()
    if kind is str and about.get("choices"):
        return "one of " + ", ".join(about["choices"])
    known = {str: "text", bool: "True or False", Path: "a path", Mapping: "a dict"}
    return known.get(get_origin(kind) or kind, "a fitted model")
