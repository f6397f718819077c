"""``tidegate forecast``: the rows that follow the last row of a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tidegate.cli.command import Option, command
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
from tidegate.cli.series_files import check_files, table_of
from tidegate.cli.show import print_json, print_text
from tidegate.data.files.reading import taken
from tidegate.data.sources import TimeSeries


def levels(text: str) -> tuple[float, ...]:
    """The quantiles in a text such as ``0.1,0.5,0.9``.  Raises BadParameter for others."""
    from tidegate.data.series.error_quantiles import checked_levels

    try:
        return checked_levels([float(part) for part in text.split(",")])
    except ValueError as error:
        problem = f"expected numbers between 0 and 1, each once, got {text!r}"
        raise click.BadParameter(f"{problem}; give some such as 0.1,0.5,0.9") from error


@command(
    MODEL,
    data_to_ask_about(", with the series up to now"),
    output_option(
        "table to write: .csv, .tsv or .jsonl, in the form of FILE (default, or -: print it); "
        "replaces a file only with --force",
        type=text_to_write,
    ),
    Option(
        "--quantiles",
        metavar="Q,Q,...",
        type=levels,
        help="columns of quantiles, such as 0.1,0.5,0.9, beside each forecast: what comes stays "
        "below the column 'OT q0.1' with probability 0.1",
    ),
    written_beside(
        "--plot",
        "picture of the forecast to draw, .png or .svg, with a fan of the quantiles (default: the "
        "intervals of 50 % and 80 %)",
    ),
    FORCE,
    JSON,
    told=later_options(TimeSeries),
)
def forecast(
    model: Path,
    file: str,
    told: dict[str, Any],
    output: Path | None,
    quantiles: tuple[float, ...] | None,
    plot: Path | None,
    force: bool,
    json: bool,
) -> None:
    """Forecast the rows that follow the last row of a file, of each of its series.

    Example: tidegate forecast load-forecaster.safetensors load.csv --plot load.png
    --quantiles 0.1,0.5,0.9
    """
    from tidegate.output.writing import write_atomically

    check_files((model, file), output, plot, json=json, force=force)
    fitted = load_for("forecast", model)
    source, file_read = source_for(fitted, told), taken(file)
    (panel,) = source.read(file_read, learning=False)
    with about_file(file_read):
        ahead = fitted.forecast(panel, quantiles=quantiles)
        fan = ahead
        if plot is not None and quantiles is None and fitted.error_quantiles_ is not None:
            from tidegate.tasks.forecast_pictures import FAN

            fan = fitted.forecast(panel, quantiles=FAN)
    times = panel.first.style.write(ahead.times)
    form = panel.first.dialect.for_file(output)
    columns = {name: values.tolist() for name, values in ahead.columns().items()}
    ids = {} if ahead.ids is None else {panel.id_name: list(ahead.ids)}
    table = table_of(form, panel.first.names, source, times, columns, ids)
    if plot is not None:
        from tidegate.tasks.forecast_plot import plot_forecast

        plot_forecast(plot, panel, fan, force=force)
    if output is not None:
        write_atomically(output, form.content(table, output))
    if json:
        told_of = {"ids": list(ahead.ids)} if ahead.ids is not None else {}
        told_of |= {"times": times, "forecast": {name: columns[name] for name in ahead.names}}
        if quantiles is not None:
            told_of["quantiles"] = {
                name: {f"{q:g}": columns[f"{name} q{q:g}"] for q in ahead.levels}
                for name in ahead.names
            }
        print_json(told_of)
    elif output is None:
        print_text(table, end="")
