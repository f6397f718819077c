"""Tables whose cells are all text: polars', or plain lists where polars is not installed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["TextColumn", "TextFrame", "has_polars", "is_text", "text_frame"]

Cells = list[str | None]  # None: an empty one


def has_polars() -> bool:
    """Whether polars can be imported: it reads large tables faster, and Parquet and workbooks."""
    try:
        import polars  # noqa: F401
    except ModuleNotFoundError:
        return False
    return True


@dataclass(frozen=True, eq=False)
class TextColumn:
    """A column of text: what is used of polars' Series of strings."""

    name: str
    cells: Cells

    def __len__(self) -> int:
        return len(self.cells)

    def __getitem__(self, row: int) -> str | None:
        return self.cells[row]

    def to_list(self) -> Cells:
        """The cells, None where one is empty."""
        return self.cells


@dataclass(frozen=True, eq=False)
class TextFrame:
    """Columns of text of one length: what is used of polars' DataFrame."""

    by_name: Mapping[str, Cells]

    @property
    def columns(self) -> list[str]:
        return list(self.by_name)

    @property
    def height(self) -> int:
        return len(next(iter(self.by_name.values()), []))

    def __getitem__(self, name: str) -> TextColumn:
        return TextColumn(name, self.by_name[name])

    def __iter__(self) -> Iterator[TextColumn]:
        return (self[name] for name in self.by_name)

    def head(self, rows: int) -> TextFrame:
        """The first rows."""
        return TextFrame({name: cells[:rows] for name, cells in self.by_name.items()})

    def rows(self) -> list[tuple[str | None, ...]]:
        """The cells of each row."""
        return list(zip(*self.by_name.values(), strict=True))


def text_frame(columns: Mapping[str, Cells]) -> Any:
    """A table of these cells: polars' DataFrame where there is polars."""
    if not has_polars():
        return TextFrame(columns)
    import polars

    return polars.DataFrame(
        [polars.Series(name, cells, dtype=polars.String) for name, cells in columns.items()]
    )


def is_text(column: Any) -> bool:
    """Whether the cells of a column, polars' or ours, are text."""
    return isinstance(column, TextColumn) or str(column.dtype) == "String"
