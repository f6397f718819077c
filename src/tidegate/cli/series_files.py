"""The files that commands on series write: a table with a row for each time, and a picture."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tidegate.cli.show import said_aside
from tidegate.data.sources import TimeSeries
from tidegate.errors import InputError

if TYPE_CHECKING:
    from tidegate.data.files.dialect import Dialect


def check_files(
    inputs: tuple[Path, str], output: Path | None, plot: Path | None, *, json: bool, force: bool
) -> None:
    """Raise InputError where ``output`` or ``plot`` cannot be written, before the work."""
    from tidegate.data.files.dialect import check_table_name
    from tidegate.output.places import check_output, never_ours

    said_aside(json, output)  # raises where both would go to standard output
    if output is not None:
        check_table_name(output)
        check_output(output, inputs=inputs, force=force, ours=never_ours)
    if plot is not None:
        if output is not None and os.path.realpath(plot) == os.path.realpath(output):
            problem = "expected another file than the output's, got the same; name another"
            raise InputError(problem, file=plot, option="plot")
        from tidegate.output.pictures import check_plot_path

        check_plot_path(plot, inputs=inputs, force=force)


def table_of(
    form: Dialect,
    of: Sequence[str],
    source: TimeSeries,
    times: list[Any],
    columns: dict[str, list[Any]],
    ids: dict[str, list[Any]],
) -> str:
    """A table of ``columns`` by name, behind those of ids and of times where there are such.

    Those that ``of`` lacks, the names of the series that were read, are ours.
    """
    name = source.time_column
    timed = {} if name is None else {name: times}
    every = ids | timed | columns
    ours = form.with_made([one for one in columns if one not in of])
    return ours.text([*every], [*every.values()])
