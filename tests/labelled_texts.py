"""A table of texts and labels, read as the commands read it."""

from __future__ import annotations

from typing import Any

from tidegate.data.files.formats import PLAIN, Layout
from tidegate.data.text_sources import LabelledTexts


def read_labelled_texts(
    path: Any, text: str, label: str, layout: Layout = PLAIN, *, allow_one_class: bool = False
) -> Any:
    """Texts and labels; ``allow_one_class``: as a file that is not learned from."""
    told = LabelledTexts(
        text=(text,),
        label=label,
        separator=layout.separator,
        decimal=layout.decimal,
        header=layout.header,
        encoding=layout.encoding,
        sheet=layout.sheet,
    )
    return told.read(path, learning=not allow_one_class)
