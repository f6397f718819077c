"""``tidegate detect``: rows of series that a forecaster did not expect."""

from __future__ import annotations

from math import isnan
from pathlib import Path
from typing import Any

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


@command(
    MODEL,
    data_to_ask_about(", with the series to look through"),
    Option(
        "--rate",
        metavar="X",
        type=float,
        default=0.001,
        help="share of usual rows that may be flagged",
    ),
    Option(
        "--start",
        metavar="WHEN",
        help="time of the first row to read errors of (default: the first row that training did "
        "not use)",
    ),
    Option(
        "--calibrate-until",
        metavar="WHEN",
        help="time of the first row to flag; rows before it say which errors are usual (default: "
        "the middle of the rows from --start on)",
    ),
    output_option(
        "table to write: .csv, .tsv or .jsonl, in the form of FILE (default, or -: print it); "
        "replaces a file only with --force",
        type=text_to_write,
    ),
    written_beside("--plot", "picture of the series and the flagged rows to draw: .png or .svg"),
    FORCE,
    JSON,
    told=later_options(TimeSeries),
)
def detect(
    model: Path,
    file: str,
    told: dict[str, Any],
    rate: float,
    start: str | None,
    calibrate_until: str | None,
    output: Path | None,
    plot: Path | None,
    force: bool,
    json: bool,
) -> None:
    """Flag the rows of series that a forecaster did not expect.

    A row's score is the error of the forecast made one row before it, in units of the usual error
    of its series. Rows that training did not use say which scores are usual; what is above is
    flagged.

    Example: tidegate detect load-forecaster.safetensors load.csv --start 2024-01-08 --rate 0.05
    """
    from tidegate.output.writing import write_atomically

    check_files((model, file), output, plot, json=json, force=force)
    fitted = load_for("forecast", model)
    source, file_read = source_for(fitted, told), taken(file)
    (panel,) = source.read(file_read, learning=False)
    with about_file(file_read):
        found = fitted.detect(panel, start=start, calibrate_until=calibrate_until, rate=rate)
    times = panel.first.style.write(found.times)
    scores = [None if isnan(score) else score for score in found.scores.tolist()]
    flags = found.flags.astype(int).tolist()
    form = panel.first.dialect.for_file(output)
    ids = {} if found.ids is None else {panel.id_name: found.ids}
    table = table_of(form, panel.first.names, source, times, {"score": scores, "flag": flags}, ids)
    if plot is not None:
        from tidegate.tasks.forecast_plot import plot_anomalies

        plot_anomalies(plot, found, force=force)
    if output is not None:
        write_atomically(output, form.content(table, output))
    if json:
        about = {"threshold": found.threshold, "calibration_rows": found.calibrated}
        told_of = {} if found.ids is None else {"ids": found.ids}
        print_json(told_of | {"times": times, "scores": scores, "flags": flags, **about})
    elif output is None:
        print_text(table, end="")
