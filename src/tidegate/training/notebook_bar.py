"""Progress in the cell of a notebook: a bar, and the curves so far, both drawn over in place.

IPython is no dependency: it is asked for its display where a kernel of it runs this code.
"""

from __future__ import annotations

import base64
import html
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from tidegate.errors import InputError
from tidegate.output.pictures import image_of
from tidegate.training.curve import as_columns, draw_history

_SPARING = 20  # times as long as drawing took, until curves are drawn again
_open: list[NotebookBar] = []


def in_notebook() -> bool:
    """Whether a kernel of IPython runs this, as in a notebook, not in a terminal."""
    interactive = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(interactive, "kernel")


class NotebookBar:
    """Plain HTML and pictures, which every notebook shows without an extension.

    What was shown last stays; but of a bar that began while another one stood, as those of the runs
    of a comparison, nothing does.
    """

    def start(self) -> None:
        self._within = bool(_open)
        _open.append(self)
        self._line, self._picture = _display(_Html("")), None
        self._rows: Sequence[Mapping[str, float]] = ()
        self._drawn, self._due, self._draws = 0, 0.0, True

    def stop(self) -> None:
        _open.remove(self)
        if self._within:
            for place in filter(None, (self._line, self._picture)):
                place.update(_Html(""))
        else:
            self._due = 0.0
            self._draw()

    def show(self, fraction: float, about: str, figures: str) -> None:
        told = html.escape(f"{about}  {fraction:.0%}  {figures}").replace("  ", "&ensp;")
        bar = f'<progress value="{fraction:.4f}" max="1" style="width:20em"></progress>'
        self._line.update(_Html(f"{bar}&ensp;{told}"))

    def evaluated(self, rows: Sequence[Mapping[str, float]]) -> None:
        """The history so far: its curves stand below the bar from its second row on."""
        self._rows = rows
        self._draw()

    def _draw(self) -> None:
        began = time.monotonic()
        if not self._draws or len(self._rows) < 2 or began < self._due:
            return
        if len(self._rows) == self._drawn:
            return
        try:
            figure = draw_history(as_columns(self._rows), 0)[0].figure
        except InputError:  # no matplotlib: the bar says enough
            self._draws = False
            return
        self._drawn = len(self._rows)
        encoded = base64.b64encode(image_of(figure)).decode()
        alt = "the losses and figures over the optimiser steps"
        image = f'<img alt="{alt}" style="max-width:44em" src="data:image/png;base64,{encoded}">'
        if self._picture is None:
            self._picture = _display(_Html(image))
        else:
            self._picture.update(_Html(image))
        self._due = time.monotonic() + _SPARING * (time.monotonic() - began)


def _display(content: _Html) -> Any:
    from IPython.display import display  # pyright: ignore[reportMissingImports]

    return display(content, display_id=True)


class _Html:
    def __init__(self, content: str) -> None:
        self._content = content

    def _repr_html_(self) -> str:
        return self._content

    def __repr__(self) -> str:
        return "training"
