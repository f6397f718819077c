"""What a user's one-dimensional collection holds: lists, arrays, columns of pandas and polars."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Set
from numbers import Integral, Real
from typing import Any

from tidegate.errors import InputError, shown

__all__ = ["Label", "as_items", "as_labels", "as_texts", "is_missing", "label_text", "look_alikes"]

Label = str | int | float | bool

_METHODS = ("tolist", "to_list", "to_pylist")  # numpy, pandas and torch; polars; pyarrow
_INT64 = 2**63
_TOLD = 3  # of what is told, at most
_WHOLE = re.compile(r"\A(-?[0-9]+)\.0+\Z")


def as_items(values: Any, what: str) -> list[Any]:
    """The items of a list, tuple, array, Series, or of a data frame's only column.

    Raises InputError, with ``what`` for the collection's name, for anything else: one text, a
    table of several columns, a set, which has no order.
    """
    if isinstance(values, str | bytes):
        kind = type(values).__name__
        raise InputError(f"{what}: expected a list, got one {kind}; put it into a list: [text]")
    if hasattr(values, "collect") and hasattr(values, "collect_schema"):  # a polars LazyFrame
        values = values.collect()
    if (columns := getattr(values, "columns", None)) is not None:
        names = [str(name) for name in getattr(values, "column_names", columns)]
        if len(names) != 1:
            raise InputError(
                f"{what}: expected one column, got {len(names)}: {', '.join(names[:10])}; "
                "give one of them, such as frame['NAME']"
            )
        values = values[getattr(values, "column_names", columns)[0]]
    shape = getattr(values, "shape", None)
    if shape is not None and len(shape) != 1:
        raise InputError(f"{what}: expected one dimension, got shape {list(shape)}; flatten it")
    if isinstance(values, Mapping | Set) or not isinstance(values, Iterable):
        raise InputError(f"{what}: expected a list, got {type(values).__name__}; pass a list")
    method = next((m for m in _METHODS if hasattr(values, m)), None)
    return list(values) if method is None else getattr(values, method)()


def as_texts(texts: Any) -> list[str]:
    """The texts of a collection.  Raises InputError for one str, and for what is no text."""
    if isinstance(texts, str):
        raise InputError("texts: expected a list of texts, got one str; pass [text]")
    items = as_items(texts, "texts")
    for i, text in enumerate(items):
        if not isinstance(text, str):
            raise InputError(
                f"texts: expected str, got {type(text).__name__} at index {i}; "
                "make it a str, or leave it out"
            )
    return [text if type(text) is str else str.__str__(text) for text in items]


def as_labels(labels: Any) -> list[Label]:
    """The labels of a collection, each a plain str, int, float or bool.

    numpy's numbers become Python's.  Raises InputError, with the index, for a missing label and for
    one of another type.
    """
    return [_label(label, i) for i, label in enumerate(as_items(labels, "labels"))]


def _label(label: Any, index: int) -> Label:
    if isinstance(label, str):
        try:
            label.encode()
        except UnicodeEncodeError as e:
            raise InputError(
                f"labels: expected Unicode text at index {index}, got a lone surrogate at "
                f"character {e.start}; decode the label as UTF-8"
            ) from None
        if label.endswith("\0"):  # numpy would drop it
            raise InputError(
                f"labels: expected text at index {index}, got one that ends in a NUL, "
                f"{shown(str(label))}; strip it: label.rstrip('\\0')"
            )
        return str.__str__(label)
    if is_missing(label):
        raise InputError(
            f"labels: expected a label at index {index}, got {label}; "
            "fill it in, or leave out that input and its label"
        )
    if isinstance(label, bool) or type(label).__name__ in ("bool_", "bool"):  # numpy's, too
        return bool(label)
    if isinstance(label, Integral) and -_INT64 <= int(label) < _INT64:
        return int(label)
    if isinstance(label, Real) and math.isfinite(label) and not isinstance(label, Integral):
        return float(label)
    raise InputError(
        f"labels: expected a str, int (64 bits), finite float or bool, got "
        f"{type(label).__name__} {shown(label)} at index {index}; make it a str"
    )


def label_text(text: str) -> str:
    """A label out of a file, in the one way in which all formats of files give it.

    White space around it is gone, and within it one space; letters with marks are one character
    (NFC); true and false are written so; a whole number has no decimals.
    """
    text = unicodedata.normalize("NFC", " ".join(text.split()))
    if text.lower() in ("true", "false"):
        return text.lower()
    return _WHOLE.sub(r"\1", text)


def look_alikes(labels: Iterable[Label]) -> str | None:
    """A sentence about labels that a reader would take for one; None where there are none.

    They differ in capitals, white space, characters that are not seen, or forms of one character.
    """
    counts = Counter(label for label in labels if isinstance(label, str))
    groups: dict[str, list[str]] = {}
    for label, _ in counts.most_common():
        seen = unicodedata.normalize("NFKC", label)
        seen = "".join(c for c in seen if unicodedata.category(c) != "Cf")
        groups.setdefault(" ".join(seen.casefold().split()), []).append(label)
    alike = [group for group in groups.values() if len(group) > 1]
    if not alike:
        return None
    told = []
    for group in alike[:_TOLD]:
        one_form = len({unicodedata.normalize("NFC", label) for label in group}) < len(group)
        spelled = ascii if one_form else shown  # else they would read the same here
        told.append(" and ".join(f"{spelled(one)} ({counts[one]})" for one in group[:_TOLD]))
    more = f" and {len(alike) - _TOLD} more" if len(alike) > _TOLD else ""
    return (
        f"labels that look alike are learned as different ones: {'; '.join(told)}{more}; if they "
        "mean the same, write them alike"
    )


def is_missing(value: Any) -> bool:
    """None, NaN, NaT, or pandas' NA, which is neither equal to itself nor different."""
    if value is None:
        return True
    try:
        return bool(value != value)
    except (TypeError, ValueError, ArithmeticError):  # the last of a signalling NaN
        return type(value).__name__ in ("NAType", "Decimal")
