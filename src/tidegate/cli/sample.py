"""``tidegate sample``: small data to try things on."""

from __future__ import annotations

from pathlib import Path

from tidegate.cli.command import Argument, command
from tidegate.cli.parameters import FORCE, JSON, output_option, text_to_write
from tidegate.cli.show import print_json, print_text, said_aside


@command(
    Argument("name", "NAME", "reviews, load or python"),
    output_option(
        "file to write (default, or -: print it); replaces a file only with --force",
        type=text_to_write,
    ),
    FORCE,
    JSON,
)
def sample(name: str, output: Path | None, force: bool, json: bool) -> None:
    """Write small data that are made here: a table to learn from, or a text.

    reviews: short film reviews, in columns review and sentiment.  load: an hourly series, in
    columns time, load and temperature.  python: the text of Python's language reference.

    Example: tidegate sample reviews -o films.csv
    """
    import csv
    import io

    from tidegate import samples
    from tidegate.output.places import check_output, never_ours
    from tidegate.output.writing import write_atomically

    said_aside(json, output)  # raises where both would go to standard output
    columns = samples.table(name)
    if output is not None:
        check_output(output, force=force, ours=never_ours)
    if name == "python":
        text = "\n".join(map(str, columns["text"])) + "\n"
    else:
        file = io.StringIO()
        rows = zip(*columns.values(), strict=True)
        csv.writer(file, lineterminator="\n").writerows([list(columns), *rows])
        text = file.getvalue()
    if output is not None:
        write_atomically(output, text.encode())
    if json:
        print_json(columns)
    elif output is None:
        print_text(text, end="")
