"""What is searched: the options that declare how, but for those that are fixed."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, get_args, get_type_hints

from tidegate.errors import InputError, shown, spelled
from tidegate.model.architecture import Architecture
from tidegate.tasks.estimator import Estimator
from tidegate.training.search_space import Dimension, Search, search_of

# From what a user told of a dimension: its ends, or its choices.
Told = tuple[float, float] | Sequence[Any]

_DIGITS = 3  # of a number that is drawn: so the command that trains with it is short, and exact


@dataclass(frozen=True)
class _Searched:
    """An option and what is drawn for it."""

    option: str
    search: Search
    dimensions: tuple[Dimension, ...]


class Space:
    """The options that are searched, in the order in which an estimator lists them."""

    def __init__(self, searched: Sequence[_Searched]) -> None:
        self._searched = tuple(searched)

    @property
    def dimensions(self) -> dict[str, Dimension]:
        """What is drawn in each trial, by name."""
        return {d.name: d for one in self._searched for d in one.dimensions}

    @property
    def options_searched(self) -> set[str]:
        return {one.option for one in self._searched}

    def options(self, drawn: Mapping[str, Any]) -> dict[str, Any]:
        """The options' values, of what was drawn by name; numbers to three digits."""
        return {
            one.option: one.search.value([_short(drawn[d.name]) for d in one.dimensions])
            for one in self._searched
        }

    def drawn(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """What would have to be drawn for these values, as far as they are in the space."""
        found = {}
        for one in self._searched:
            values = one.search.drawn(options[one.option])
            for dimension, value in zip(one.dimensions, values, strict=True):
                if dimension.holds(value):
                    found[dimension.name] = value
        return found

    def __str__(self) -> str:
        rows = [
            (d.name if d.name == one.option else f"{d.name} of {one.option}", str(d))
            for one in self._searched
            for d in one.dimensions
        ]
        width = max((len(name) for name, _ in rows), default=0)
        return "\n".join(f"{name.ljust(width)}  {told}" for name, told in rows)

    def to_json(self) -> dict[str, str]:
        """Each dimension in words, by name."""
        return {name: str(d) for name, d in self.dimensions.items()}


def space_of(
    model: Estimator, fixed: Collection[str] = (), narrowed: Mapping[str, Told] | None = None
) -> Space:
    """The space of ``model``: its options at their defaults that say how they are searched.

    ``fixed``: options that keep the model's value; ``narrowed``: what is drawn instead, by the name
    of a dimension, (LOW, HIGH) or several choices; such an option is searched whatever its value.
    Raises InputError.
    """
    kind = type(model)
    hints = get_type_hints(kind)
    narrowed = dict(narrowed or {})
    for name in fixed:
        if name not in hints:
            raise InputError(
                f"expected options of {kind.__name__}, got {name!r}; correct its name", option="fix"
            )
    decided = _decided(model)
    searched, known = [], {}
    for f in fields(kind):  # pyright: ignore[reportArgumentType]
        search = search_of(kind, f.name)
        if search is None:
            continue
        whole = int in (get_args(hints[f.name]) or (hints[f.name],))
        dimensions = search.dimensions(f.name, whole, resolved(model, f.name))
        known |= dict.fromkeys((d.name for d in dimensions), f.name)
        told = [d.name for d in dimensions if d.name in narrowed]
        if told and (f.name in fixed or f.name in decided):
            raise InputError(
                f"expected no {told[0]}, since {spelled(f.name)} is fixed, got one; leave out "
                "one of them",
                option="space",
            )
        left = getattr(model, f.name) == f.default
        if f.name in fixed or f.name in decided or not (left or told):
            continue
        if f.name == "hidden_sizes":
            _check_widths(model)
        dimensions = tuple(
            _narrowed(d, narrowed[d.name], model, f.name) if d.name in narrowed else d
            for d in dimensions
        )
        searched.append(_Searched(f.name, search, dimensions))
    for name in narrowed:
        if name not in known:
            raise InputError(
                f"expected one of {', '.join(known)}, got {shown(name)}; correct its name",
                option="space",
            )
    if not searched:
        raise InputError("expected options to search, got all of them fixed; fix fewer")
    return Space(searched)


def _check_widths(model: Estimator) -> None:
    """Raise InputError for options that some hidden sizes would not fit."""
    sizes = spelled("hidden_sizes")
    if not isinstance(model.cell, str):
        raise InputError(
            f"expected one for all layers, of which {sizes} are searched, got one for each; fix "
            "the sizes, or give one cell",
            option="cell",
        )
    if model.num_heads > 1:
        raise InputError(
            f"expected 1 beside {sizes} that are searched, which it must divide, got "
            f"{model.num_heads}; fix the sizes, too",
            option="num_heads",
        )


def resolved(model: Any, option: str) -> Any:
    """The value of an option that a run takes where it is left open, as far as that is known.

    Of a fitted model it is known of all that its network has.
    """
    value = getattr(model, option)
    if value is not None:
        return value
    if (resolve := getattr(model, f"resolved_{option}", None)) is not None:
        return resolve()
    architecture = getattr(vars(model).get("runtime_"), "architecture", None)
    return getattr(architecture, option, None)


def from_text(texts: Sequence[str], model: Estimator) -> dict[str, Told]:
    """What ``--space NAME=LOW:HIGH`` and ``--space NAME=A,B,C`` say.  Raises InputError."""
    found: dict[str, Told] = {}
    known = {
        d.name: d
        for f in fields(model)  # pyright: ignore[reportArgumentType]
        if (search := search_of(type(model), f.name)) is not None
        for d in search.dimensions(f.name, False, resolved(model, f.name))
    }
    for text in texts:
        name, equals, told = text.partition("=")
        name = name.strip().replace("-", "_")
        if not equals or not told.strip():
            problem = f"expected NAME=LOW:HIGH or NAME=A,B,C, got {shown(text)}; write it so"
            raise InputError(problem, option="space")
        ends = re.fullmatch(r"([^:,]+):([^:,]+)", told)
        if ends is not None:
            found[name] = (_number(ends[1], name), _number(ends[2], name))
            continue
        choices = [part.strip() for part in told.split(",") if part.strip()]
        dimension = known.get(name)
        by_text = {str(c).lower(): c for c in dimension.choices} if dimension is not None else {}
        if by_text:
            found[name] = [by_text.get(c.lower(), c) for c in choices]
        else:
            found[name] = [_number(c, name) for c in choices]
    return found


def _number(text: str, name: str) -> float:
    try:
        value = float(text)
    except ValueError:
        problem = f"expected numbers for {name}, got {text.strip()!r}; correct it"
        raise InputError(problem, option="space") from None
    return int(value) if value.is_integer() else value


def _short(value: Any) -> Any:
    return float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value


def _narrowed(dimension: Dimension, told: Told, model: Estimator, option: str) -> Dimension:
    """``dimension`` as told.  Raises InputError for what the option does not take."""
    values = list(told)
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    if not dimension.choices and (not values or not numbers):
        raise InputError(
            f"expected numbers for {dimension.name}, got {shown(told)}; give the least and the "
            "largest, or several",
            option="space",
        )
    if not values:
        problem = f"expected values for {dimension.name}, got none; give one or more"
        raise InputError(problem, option="space")
    is_range = isinstance(told, tuple) and len(told) == 2 and not dimension.choices
    if is_range and not values[0] < values[1]:
        raise InputError(
            f"expected the least value of {dimension.name} before the largest, got "
            f"{values[0]}:{values[1]}; turn them round",
            option="space",
        )
    for value in values:  # in the middle of its option's other dimensions
        _check(model, option, dimension, value)
    if is_range:
        return dimension.between(values[0], values[1])
    return dimension.among(dict.fromkeys(values))  # pyright: ignore[reportArgumentType]


def _check(model: Estimator, option: str, dimension: Dimension, value: Any) -> None:
    search = search_of(type(model), option)
    assert search is not None
    of_option = search.dimensions(option, dimension.whole, resolved(model, option))
    drawn = [
        value if d.name == dimension.name else d.choices[0] if d.choices else d.low
        for d in of_option
    ]
    try:
        made: Any = type(model)(**model.get_params() | {option: search.value(drawn)})
        made.check()
    except (InputError, TypeError) as e:
        reason = str(e) if isinstance(e, InputError) else "expected a whole number, got a fraction"
        problem = f"{reason}; give other values for {dimension.name}"
        raise InputError(problem, option="space") from e


def _decided(model: Any) -> set[str]:
    """Options that follow from weights that the model starts with."""
    if getattr(model, "init_from", None) is not None:
        return {f.name for f in fields(Architecture) if "dropout" not in f.name}
    return {"embedding_size"} if getattr(model, "embeddings", None) is not None else set()
