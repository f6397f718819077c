"""``tidegate inspect``: what a model's gates do while it reads one input."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tidegate.cli.command import Option, command
from tidegate.cli.options import later_options
from tidegate.cli.parameters import FORCE, JSON, MODEL, inputs_to_ask_about, output_option
from tidegate.cli.reading import about_file, names_a_column, source_for
from tidegate.cli.show import print_json
from tidegate.data.files.reading import File, taken
from tidegate.data.source import PredictableSource
from tidegate.errors import InputError
from tidegate.tasks import TASKS
from tidegate.terminal import printable, say

if TYPE_CHECKING:
    from tidegate.runtime.inspection import GateValues, Inspection


@command(
    MODEL,
    inputs_to_ask_about(),
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
    FORCE,
    JSON,
    told=later_options(*(task.source for task in TASKS.values())),
)
def inspect(
    model: Path,
    file: str,
    row: int,
    output: Path | None,
    told: dict[str, Any],
    force: bool,
    json: bool,
) -> None:
    """Show what a model's gates do while it reads a text, a sequence, or the last rows of series.

    Of each gate of each layer: the mean over all steps and units, and the shares of values within a
    tenth of the range from its bounds, where it is closed or open.  It needs no torch.

    Example: echo 'not bad at all' | tidegate inspect reviews-text-classifier.safetensors -
    """
    from tidegate.output.places import check_output, never_ours
    from tidegate.output.writing import write_atomically
    from tidegate.tasks import load

    if output is not None:
        _check_name(output)
        check_output(output, inputs=(model, file), force=force, ours=never_ours)
    fitted = load(model)
    read = taken(file)
    given = _input(source_for(fitted, told), read, row, table=names_a_column(told))
    with about_file(read):
        found = fitted.inspect(given)
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
    near = ["", ""]
    if one.saturated is not None:
        shares = zip(one.saturated, one.bounds, strict=True)
        near = [f"{share:4.0%} near {bound:g}" for share, bound in shares]
    return [printable(one.name), one.meaning, f"mean {one.mean:7.3f}", *near]


def _told(one: GateValues) -> dict[str, Any]:
    """For programs.  ``saturated`` is null where the gate has no bounds."""
    return {
        "name": one.name, "series": one.series or None, "layer": one.layer,
        "backward": one.backward, "gate": one.gate, "meaning": one.meaning, "mean": one.mean,
        "saturated": one.saturated, "values": one.values.tolist(),
    }  # fmt: skip


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
