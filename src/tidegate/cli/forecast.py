"""``tidegate forecast``: the rows that follow the last row of a file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from tidegate.cli.reading import (
    Force,
    Json,
    Model,
    about_file,
    file_to_write,
    load_one_of,
    output_option,
    source_for,
    telling,
    text_to_write,
)
from tidegate.cli.show import print_json, print_text, said_aside
from tidegate.data.files.reading import taken
from tidegate.data.sources import TimeSeries
from tidegate.errors import InputError


@telling(TimeSeries)
def forecast(
    model: Model,
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="a file like the one in training, with the series up to now; - is standard input",
        ),
    ],
    told: dict[str, Any],
    output: Annotated[
        Path | None,
        output_option(
            "table to write: .csv, .tsv or .jsonl, in the form of FILE (default, or -: print it); "
            "replaces a file only with --force",
            parser=text_to_write,
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            parser=file_to_write,
            help="picture of the forecast to draw: .png or .svg",
        ),
    ] = None,
    force: Force = False,
    json: Json = False,
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
    fitted = load_one_of(["forecaster"], model)
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
