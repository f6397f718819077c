"""A sheet of an Excel workbook as a table."""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING

from tidegate.data.files.reading import read_bytes
from tidegate.errors import InputError

if TYPE_CHECKING:
    import polars

__all__ = ["read_sheet"]


def read_sheet(path: str | PathLike[str], sheet: str | None) -> polars.DataFrame:
    """The rows of a sheet by its name (None: the first), the first of them naming the columns.

    Numbers and dates keep their types.  Raises InputError for what is no workbook and for a sheet
    that is not there, ModuleNotFoundError where the extra "excel" is not installed.
    """
    import fastexcel

    data = read_bytes(path)
    try:
        workbook = fastexcel.read_excel(data)
        names = workbook.sheet_names
        name = (names or [""])[0] if sheet is None else sheet
        if name in names:
            return _with_whole_numbers(workbook.load_sheet(name).to_polars())
    except fastexcel.FastExcelError as error:
        reason = (str(error).splitlines() or [""])[0][:100]
        problem = f"expected an Excel workbook, got one that cannot be read ({reason})"
        raise InputError(f"{problem}; save it again as .xlsx, or as .csv", file=path) from None
    shown = ", ".join(repr(name) for name in names[:20]) or "none"
    problem = f"expected a sheet {name!r}, got {shown}; name one of these"
    raise InputError(problem, option="sheet")


def _with_whole_numbers(frame: polars.DataFrame) -> polars.DataFrame:
    """Columns of whole numbers as such, since a workbook has none but decimal ones."""
    import polars

    whole = [
        column.cast(polars.Int64)
        for column in frame
        if column.dtype.is_float() and column.drop_nans().len() == len(column)
        if ((column % 1 == 0) & (column.abs() < 2**53)).all()
    ]
    return frame.with_columns(whole)
