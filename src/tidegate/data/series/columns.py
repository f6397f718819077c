"""Frames and columns of pandas, polars and others: opened alike, their cells as numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from tidegate.data.series.panel import Panel
from tidegate.data.series.series import Series
from tidegate.errors import InputError

__all__ = ["array_of", "floats_of", "listed", "numbers_in", "opened", "rows_of"]

_SHOWN = 10  # column names in a message


def opened(data: Any) -> Any:
    """A frame or Series of any library as narwhals', a lazy one read; anything else as it is."""
    if isinstance(data, Series | Panel | np.ndarray | list | tuple):
        return data
    import narwhals as nw

    try:
        found = nw.from_native(data, allow_series=True, pass_through=True)
    except nw.exceptions.DuplicateError:
        raise InputError(
            f"expected columns of different names, got {listed(data.columns)}; rename some"
        ) from None
    return found.collect() if isinstance(found, nw.LazyFrame) else found


def rows_of(data: Any) -> Any:
    """The rows of a frame of numbers, [N, T]; of one of nested sequences arrays [T, columns]."""
    data = opened(data)
    if hasattr(data, "to_native") and not hasattr(data, "get_column"):
        return data.to_list()
    if not hasattr(data, "get_column"):
        if isinstance(data, str | Mapping) or not isinstance(data, Iterable):
            kind = type(data).__name__
            raise InputError(
                f"sequences: expected a list of arrays, or one array, got {kind}; give one of these"
            )
        return data
    import narwhals as nw

    columns = [data.get_column(label) for label in data.columns]
    if all(column.dtype.is_numeric() or column.dtype == nw.Boolean for column in columns):
        return np.stack([numbers_in(column, str(column.name)) for column in columns], axis=1)
    channels, numbers = [], []
    for column in columns:
        if column.dtype.is_numeric() or column.dtype == nw.Boolean:
            numbers.append(str(column.name))
            continue
        try:
            channels.append([_sequence(cell) for cell in column.to_list()])
        except (TypeError, ValueError):
            raise InputError(
                f"expected numbers, or a sequence of numbers in each cell, got {column.dtype}; "
                "leave the column out",
                column=str(column.name),
            ) from None
    if numbers:
        raise InputError(
            "expected a sequence of numbers in each cell, as other columns have, got one number; "
            "leave the column out",
            column=numbers[0],
        )
    rows = list(zip(*channels, strict=True))
    for i, row in enumerate(rows):
        if len(lengths := sorted({len(channel) for channel in row})) > 1:
            raise InputError(
                f"row {i}: expected as many values in each column, one for each step, got "
                f"{lengths[0]} and {lengths[-1]}; fill up with NaN, or leave the row out"
            )
    return [np.stack(row, axis=-1) for row in rows]


def _sequence(cell: Any) -> np.ndarray:
    """The numbers in a cell, [T].  Raises TypeError or ValueError for what is no sequence."""
    values = array_of(cell)
    if values.ndim != 1:
        raise TypeError
    return values


def array_of(item: Any) -> np.ndarray:
    """An array, a list, or a frame's or column's numbers as float64, NaN where one is missing.

    Raises TypeError or ValueError for anything else.
    """
    item = opened(item)
    if hasattr(item, "get_column"):
        columns = [item.get_column(label) for label in item.columns]
        return np.stack([numbers_in(column, str(column.name)) for column in columns], axis=1)
    if hasattr(item, "to_native"):
        return numbers_in(item, str(item.name))
    return floats_of(item)


def floats_of(item: Any) -> np.ndarray:
    """What numpy makes of numbers, as float64; NaN where an array is masked.

    Raises TypeError or ValueError where that would lose something: for complex numbers and times.
    """
    if hasattr(item, "detach"):  # a tensor that may want gradients
        item = item.detach().cpu()
    array = np.ma.asarray(item) if isinstance(item, np.ma.MaskedArray) else np.asarray(item)
    if array.dtype.kind not in "biufOU":
        raise TypeError(f"no numbers: {array.dtype}")
    array = array.astype(np.float64)
    return array.filled(np.nan) if isinstance(array, np.ma.MaskedArray) else array


def numbers_in(column: Any, name: str) -> np.ndarray:
    """A column as float64 [N], NaN where a value is missing."""
    import narwhals as nw

    if column.dtype.is_numeric() or column.dtype == nw.Boolean:
        return column.cast(nw.Float64).to_numpy()
    try:
        if column.dtype != nw.Object:
            raise TypeError
        values = np.array(column.to_list(), dtype=np.float64)
        if values.ndim != 1:  # lists of one length
            raise TypeError
        return values
    except (TypeError, ValueError):
        raise InputError(
            f"expected numbers, got {column.dtype}; leave the column out, or name those to "
            "forecast: target=[...]",
            column=name,
        ) from None


def listed(names: Any) -> str:
    """Names as a message shows them, the first ten."""
    shown = ", ".join(str(name) for name in list(names)[:_SHOWN])
    return shown + (", ..." if len(names) > _SHOWN else "")
