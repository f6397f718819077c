"""``tidegate forecast``: the rows that follow the last row of a file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tidegate.cli.command import command
from tidegate.cli.options import later_options
from tidegate.cli.parameters import (
    FORCE,
    JSON,
    MODEL,
    data_to_ask_about,
    output_option,
    text_to_write,
    written_beside,
)
from tidegate.cli.reading import about_file, load_for, source_for
from tidegate.cli.show import print_json, print_text, said_aside
from tidegate.data.files.reading import taken
from tidegate.data.sources import TimeSeries
from tidegate.errors import InputError


@command(
    MODEL,
    data_to_ask_about(", with the series up to now"),
    output_option(
        "table to write: .csv, .tsv or .jsonl, in the form of FILE (default, or -: print it); "
        "replaces a file only with --force",
        type=text_to_write,
    ),
    written_beside("--plot", "picture of the forecast to draw: .png or .svg"),
    FORCE,
    JSON,
    told=later_options(TimeSeries),
)
def forecast(
    model: Path,
    file: str,
    told: dict[str, Any],
    output: Path | None,
    plot: Path | None,
    force: bool,
    json: bool,
) -> None:
    """Forecast the rows that follow the last row of a file.

    Example: tidegate forecast load-forecaster.safetensors load.csv --plot load.png
    """
    from tidegate.data.files.dialect import check_table_name
    from tidegate.output.places import check_output, never_ours
    from tidegate.output.writing import write_atomically

    said_aside(json, output)  # raises where both would go to standard output
    if output is not None:
        check_table_name(output)
        check_output(output, inputs=(model, file), force=force, ours=never_ours)
    if plot is not None:
        if output is not None and os.path.realpath(plot) == os.path.realpath(output):
            problem = "expected another file than the output's, got the same; name another"
            raise InputError(problem, file=plot, option="plot")
        from tidegate.tasks.forecast_plot import check_plot_path, plot_forecast

        check_plot_path(plot, inputs=(model, file), force=force)
    fitted = load_for("forecast", model)
    source, file_read = source_for(fitted, told), taken(file)
    (series,) = source.read(file_read, learning=False)
    with about_file(file_read):
        ahead = fitted.forecast(series)
    times = series.style.write(ahead.times)
    form = series.dialect.for_file(output)
    table = form.text([source.time, *ahead.names], [times, *ahead.values.T.tolist()])
    if plot is not None:
        plot_forecast(plot, series, ahead, force=force)
    if output is not None:
        write_atomically(output, form.content(table, output))
    if json:
        values = dict(zip(ahead.names, ahead.values.T.tolist(), strict=True))
        print_json({"times": times, "forecast": values})
    elif output is None:
        print_text(table, end="")
