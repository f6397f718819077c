"""Tables as a notebook shows them: plain HTML, all text of others escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from tidegate.errors import InputError


def html_table(head: Sequence[str], rows: Sequence[Sequence[str]], title: str = "") -> str:
    """A table; the first cell of each row is its name, the others stand to the right."""
    caption = f'<caption style="text-align:left">{escape(title)}</caption>' if title else ""
    heads = "".join(f"<th>{escape(name)}</th>" for name in head)
    lines = "".join(
        f'<tr><th style="text-align:left">{escape(name)}</th>'
        + "".join(f'<td style="text-align:right">{escape(value)}</td>' for value in values)
        + "</tr>"
        for name, *values in rows
    )
    top = f"<thead><tr>{heads}</tr></thead>" if head else ""
    return f"<table>{caption}{top}<tbody>{lines}</tbody></table>"


def html_text(text: str) -> str:
    """A paragraph; its lines stay lines."""
    return f'<p style="white-space:pre-wrap;max-width:60em">{escape(text)}</p>'


def data_frame(columns: Any) -> Any:
    """A pandas.DataFrame of columns by name, or of rows.  Raises InputError without pandas."""
    try:
        import pandas as pd
    except ModuleNotFoundError as e:
        raise InputError(
            "expected pandas to make a frame with, got none; install it with: pip install pandas, "
            "or take the values as they are"
        ) from e
    return pd.DataFrame(columns)
