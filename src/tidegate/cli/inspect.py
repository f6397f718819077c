"""``tidegate inspect``: what a model's gates do while it reads one input."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tidegate.cli.command import Option, command
from tidegate.cli.options import later_options
from tidegate.cli.parameters import (
    FORCE,
    JSON,
    MODEL,
    inputs_to_ask_about,
    output_option,
    written_beside,
)
from tidegate.cli.reading import about_file, file_or_text, names_a_column, source_for
from tidegate.cli.show import print_json
from tidegate.data.files.reading import File
from tidegate.data.source import PredictableSource
from tidegate.errors import InputError
from tidegate.tasks import TASKS
from tidegate.terminal import printable, say

if TYPE_CHECKING:
    from tidegate.runtime.inspection import GateValues, Inspection


@command(
    MODEL,
    inputs_to_ask_about(text=True),
    Option(
        "--row",
        metavar="N",
        type=int,
        default=1,
        help="which of the texts or sequences in FILE to read; the first is 1",
    ),
    output_option(
        "every gate's value at each step to write: .npz, or a table .csv, .tsv or .jsonl"
    ),
    written_beside(
        "--html",
        "page to write, .html, that needs nothing else: the gates at each step, their time-scales, "
        "and on which steps each answer hangs",
    ),
    written_beside("--plot", "picture of every gate's units over the steps, .png or .svg"),
    FORCE,
    JSON,
    told=later_options(*(task.source for task in TASKS.values())),
)
def inspect(
    model: Path,
    file: str,
    row: int,
    output: Path | None,
    html: Path | None,
    plot: Path | None,
    told: dict[str, Any],
    force: bool,
    json: bool,
) -> None:
    """Show what a model's gates do while it reads a text, a sequence, or the last rows of series.

    Of each gate of each layer: the mean over all steps and units, and the shares of values within a
    tenth of the range from its bounds, where it is closed or open; of a gate that keeps the state
    the median of the units' time-scales, 1 / (1 - mean), in steps.  With --html a page that also
    answers: on which words does this label hang?  It needs no torch.

    Example: echo 'not bad at all' | tidegate inspect reviews-text-classifier.safetensors -
    --html gates.html
    """
    from tidegate.output.pictures import check_plot_path
    from tidegate.output.places import check_output, never_ours
    from tidegate.output.writing import write_atomically
    from tidegate.runtime.gates_plot import plot_gates
    from tidegate.tasks import load
    from tidegate.tasks.inspecting import page_of

    if output is not None:
        _check_name(output)
        check_output(output, inputs=(model, file), force=force, ours=never_ours)
    if html is not None:
        _check_page(html)
        check_output(html, inputs=(model, file), force=force)
    if plot is not None:
        check_plot_path(plot, inputs=(model, file), force=force)
    fitted = load(model)
    source = source_for(fitted, told)
    read = file_or_text(file, source)
    given = _input(source, read, row, table=names_a_column(told))
    with about_file(read):
        found = fitted.inspect(given)
        page = None if html is None else page_of(fitted, given, found, _title(model, read, row))
    if html is not None and page is not None:
        write_atomically(html, page.encode())
    if plot is not None:
        plot_gates(plot, found, force=force)
    if output is not None:
        write_atomically(output, _content(found, output))
    if json:
        print_json({"steps": found.steps, "gates": [_told(one) for one in found.watched]})
        return
    say(f"{model}: {len(found.steps)} steps")
    lines = [_line(one) for one in found.watched]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        say("  ".join(cells).rstrip())


def _input(source: Any, file: File, row: int, *, table: bool) -> Any:
    """The input of FILE that is to be read.  Raises InputError where there is no such one."""
    if isinstance(source, PredictableSource):
        inputs, _ = source.read_inputs(file, table=table)
    else:
        (read,) = source.read(file, learning=False)
        several = list(read.pieces()) if hasattr(read, "pieces") else read  # of music
        inputs = several if isinstance(several, list) else [read]
    if not 1 <= row <= len(inputs):
        raise InputError(
            f"expected 1 to {len(inputs)}, the inputs in the file, got {row}; name one of these",
            option="row",
        )
    return inputs[row - 1]


def _line(one: GateValues) -> list[str]:
    import numpy as np

    near = ["", ""]
    if one.saturated is not None:
        shares = zip(one.saturated, one.bounds, strict=True)
        near = [f"{share:4.0%} near {bound:g}" for share, bound in shares]
    lasts = ""
    if one.keeps and one.values.size:
        lasts = f"time-scale {float(np.median(one.time_scales)):.3g} steps"
    return [printable(one.name), one.meaning, f"mean {one.mean:7.3f}", *near, lasts]


def _told(one: GateValues) -> dict[str, Any]:
    """For programs.  ``saturated`` is null where the gate has no bounds."""
    return {
        "name": one.name, "series": one.series or None, "layer": one.layer,
        "backward": one.backward, "gate": one.gate, "meaning": one.meaning, "mean": one.mean,
        "saturated": one.saturated, "values": one.values.tolist(),
        "time_scales": one.time_scales.tolist() if one.keeps and one.values.size else None,
    }  # fmt: skip


def _title(model: Path, read: File, row: int) -> str:
    return printable(f"{model.stem} reads {Path(str(read)).name}, {row}")


def _check_page(html: Path) -> None:
    if html.suffix.lower() != ".html":
        problem = f"expected the ending of a page, .html, got {html.suffix.lower()!r}"
        raise InputError(f"{problem}; rename it", file=html, option="html")


def _check_name(output: Path) -> None:
    from tidegate.data.files.dialect import check_table_name

    if output.suffix.lower() != ".npz":
        check_table_name(output)


def _content(found: Inspection, output: Path) -> bytes:
    """Arrays by the gates' names, and ``steps``; or a table of a row for each step."""
    import numpy as np

    from tidegate.data.files.dialect import Dialect

    if output.suffix.lower() == ".npz":
        held = io.BytesIO()
        arrays: dict[str, Any] = {"steps": np.array(found.steps, str), **found.gates}
        np.savez(held, **arrays)
        return held.getvalue()
    columns: dict[str, list[Any]] = {"step": list(found.steps)}
    for name, values in found.gates.items():
        columns |= {f"{name}.{unit}": column.tolist() for unit, column in enumerate(values.T)}
    form = Dialect().for_file(output)
    return form.content(form.text(list(columns), list(columns.values())), output)
