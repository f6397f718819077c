"""Pictures by matplotlib, which is optional: for a file, or to be shown and changed by its user."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tidegate.errors import InputError
from tidegate.output.places import MARK, check_output
from tidegate.output.writing import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = ("png", "svg", "pdf")


def new_figure(size: tuple[float, float], *, shown: bool = False, dpi: int = 120) -> Figure:
    """An empty figure of so many inches.

    ``shown``: one of pyplot's, which a notebook shows below its cell and ``plt.show()`` in a
    window.  Raises InputError where there is no matplotlib.
    """
    how: dict[str, Any] = {"figsize": size, "dpi": dpi, "layout": "constrained"}
    try:
        if shown:
            from matplotlib import pyplot as plt

            return plt.figure(**how)
        # not pyplot: it takes twice as long to import, and looks for a display
        from matplotlib.figure import Figure
    except ModuleNotFoundError as e:
        raise InputError(
            f"expected matplotlib to draw with, got none ({e.name} is not installed); install it "
            "with: pip install matplotlib"
        ) from e
    return Figure(**how)


def axes_of(size: tuple[float, float], ax: Axes | None, *, shown: bool) -> Axes:
    """``ax``, or else the axes of a new figure."""
    return new_figure(size, shown=shown).subplots() if ax is None else ax


def image_of(figure: Figure | Any, picture_format: str = "png") -> bytes:
    """The picture as a file's bytes, with tidegate's mark."""
    image = io.BytesIO()
    mark = {"Software" if picture_format == "png" else "Creator": MARK}
    figure.savefig(image, format=picture_format, metadata=mark)
    return image.getvalue()


def write_picture(path: str | PathLike[str], figure: Figure | Any, *, force: bool = False) -> None:
    """Write a file of the format that its ending names.  Raises InputError as the check does."""
    write_atomically(path, image_of(figure, check_plot_path(path, force=force)))


def check_plot_path(
    path: str | PathLike[str], *, inputs: Iterable[str | PathLike[str]] = (), force: bool = False
) -> str:
    """The format that a picture's ending names, as `check_ending` does."""
    return check_ending(path, FORMATS, "a picture", inputs=inputs, force=force)


def check_ending(
    path: str | PathLike[str],
    formats: Sequence[str],
    what: str,
    *,
    inputs: Iterable[str | PathLike[str]],
    force: bool,
) -> str:
    """Which of the formats of ``what`` a file's ending names.

    Raises InputError for another, and for a file that ``output.places.check_output`` refuses.
    """
    ending = Path(path).suffix.lower().lstrip(".")
    if ending not in formats:
        endings = ", ".join(f".{known}" for known in formats)
        raise InputError(
            f"expected the ending of {what}, {endings}, got {ending!r}; rename it", file=path
        )
    check_output(path, inputs=inputs, force=force)
    return ending
