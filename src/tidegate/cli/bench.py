"""``tidegate bench``: what is measured, and what is shown of it."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import click

from tidegate.bench.catalogue import FIGURES, LIBRARIES, PEERS, USUAL, USUAL_FIGURES
from tidegate.cells import NAMES
from tidegate.cli.command import Option, command
from tidegate.cli.parameters import FORCE, JSON, output_option, text_to_write
from tidegate.cli.show import print_json, print_table, said_aside
from tidegate.errors import InputError
from tidegate.output.places import check_output
from tidegate.terminal import say

_FIGURES_HELP = "; ".join(f"{name}: {about}" for name, about in FIGURES.items())


@command(
    Option(
        "--figures",
        metavar="NAME,...",
        default=",".join(USUAL_FIGURES),
        help=f"what to measure ({_FIGURES_HELP})",
    ),
    Option(
        "--cells",
        metavar="NAME,...",
        default=",".join(USUAL),
        help=f"cells to measure, some of {', '.join(NAMES)}",
    ),
    Option(
        "--shapes",
        metavar="BxTxIxH,...",
        help="shapes of layers: batch x time steps x inputs x hidden units (default: eleven "
        "shapes)",
    ),
    Option(
        "--peers",
        metavar="NAME,...",
        default=",".join(PEERS),
        help="libraries to measure beside tidegate, if they are installed",
    ),
    Option(
        "--seed",
        metavar="N",
        type=click.IntRange(min=0),
        default=0,
        help="seed by which the figure random draws shapes",
    ),
    Option(
        "--repeats",
        metavar="N",
        type=click.IntRange(min=1),
        help="how often each library is timed (default: 5 to 25 times, as many as fit into a few "
        "seconds; about eleven minutes in all on two cores)",
    ),
    output_option("JSON file to write all times to; - is standard output", type=text_to_write),
    FORCE,
    JSON,
)
def bench(
    figures: str,
    cells: str,
    shapes: str | None,
    peers: str,
    seed: int,
    repeats: int | None,
    output: Path | None,
    force: bool,
    json: bool,
) -> None:
    """Time the layers of tidegate and of other libraries, in turns.

    A library is timed only if its results agree with ours. The number after its name says how many
    times as long as tidegate it takes. Run nothing else on the machine meanwhile: it would change
    the times.

    Example: tidegate bench --figures layers --shapes 64x200x128x128
    """
    from tidegate.bench.shapes import parse_shape

    chosen_figures = _chosen("figures", figures, FIGURES)
    chosen_cells, chosen_peers = _chosen("cells", cells, NAMES), _chosen("peers", peers, PEERS)
    chosen_shapes = [parse_shape(text) for text in _parts(shapes or "")]
    if output is not None:
        check_output(output, force=force)

    from tidegate.bench.figures import Choice
    from tidegate.bench.run import as_json, run
    from tidegate.output.writing import write_atomically

    installed = [name for name in chosen_peers if not LIBRARIES[name].missing]
    choice = Choice(chosen_cells, chosen_shapes, installed, seed)
    with said_aside(json, output):
        for name in chosen_peers:
            if name not in installed:
                say(f"{name}: left out, not installed: {', '.join(LIBRARIES[name].missing)}")
        if len(installed) < len(chosen_peers):
            say("pip install 'tidegate[bench]' installs these packages")
        try:
            results = run(chosen_figures, choice, repeats, say)
        except KeyboardInterrupt:
            raise KeyboardInterrupt("interrupted; nothing is written") from None
        if output is not None:
            write_atomically(output, as_json(results).encode())
        if not json:
            _print_summary(results["rows"])
            if output is not None:
                say(f"written: {output}")
    if json:
        print_json(results)


def _print_summary(rows: list[dict]) -> None:
    from tidegate.bench.summary import summarise

    table = {
        f"{s.figure} {s.cell} {s.mode}, {s.peer}": (
            f"{s.mean:.2f} ({s.decile:.2f}, {s.least:.2f}), rows: {s.count}"
        )
        for s in summarise(rows)
    }
    title = "\ntimes as long as tidegate takes: geometric mean (lowest decile, lowest) of the rows"
    print_table(title, table)


def _chosen(option: str, given: str, known: Collection[str]) -> list[str]:
    names = _parts(given)
    for name in names:
        if name not in known:
            problem = f"expected some of {', '.join(known)}, got {name!r}; choose among these"
            raise InputError(problem, option=option)
    if not names and option != "peers":  # tidegate alone may be timed
        problem = f"expected some of {', '.join(known)}, got none; leave it out for the usual ones"
        raise InputError(problem, option=option)
    return names


def _parts(given: str) -> list[str]:
    return [part.strip() for part in given.split(",") if part.strip()]
