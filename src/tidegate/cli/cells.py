"""``tidegate cells``: every cell, what it costs and when to take it."""

from __future__ import annotations

import click

from tidegate.cli.command import Argument, Option, command
from tidegate.cli.parameters import JSON
from tidegate.cli.show import as_text, print_json, print_table
from tidegate.errors import InputError

_SIZE = click.IntRange(1, 2**20)


@command(
    Argument("names", "[CELL]...", "cells to show (default: all)", nargs=-1),
    Option("--input-size", metavar="I", type=_SIZE, default=128, help="values of a step"),
    Option("--hidden-size", metavar="H", type=_SIZE, default=128, help="units of a layer"),
    Option("--num-heads", metavar="K", type=_SIZE, default=1, help="heads of cells that have them"),
    JSON,
)
def cells(
    names: tuple[str, ...], input_size: int, hidden_size: int, num_heads: int, json: bool
) -> None:
    """List the cells: weights, cost, when to take which, source.

    Weights are those of one layer in one direction; a projection has H/2 values here.  The cost is
    the number of multiplications of a step beside the LSTM's of the same sizes.  The engine
    multiplies by whole matrices, with zeros between heads: there heads save weights, not time.

    Example: tidegate cells gru lstm slstm --hidden-size 256
    """
    from tidegate.cells import CELLS, get_cell
    from tidegate.cells.costs import formula, multiplications
    from tidegate.cells.definition import divisible

    if hidden_size % num_heads:
        advice = divisible(hidden_size, num_heads, "--hidden-size", "--num-heads")
        raise InputError(
            f"expected a divisor of {hidden_size}, got {num_heads}; {advice}", option="num_heads"
        )
    sizes = {"I": input_size, "H": hidden_size, "P": max(1, hidden_size // 2)}
    lstm = multiplications(CELLS["lstm"], sizes)
    chosen = [get_cell(name) for name in names] or list(CELLS.values())
    found = {}
    for cell in chosen:
        own = sizes | {"K": num_heads if cell.heads else 1}
        found[cell.short or cell.name] = {
            "formula": formula(cell),
            "parameters": cell.parameter_count(own),
            "cost": round(multiplications(cell, own) / lstm, 3),
            "use": cell.use,
            "source": cell.source,
            "gates": list(cell.gates),
            "states": list(cell.states),
            "variant_of": cell.variant_of,
        }
    if json:
        print_json({"input_size": input_size, "hidden_size": hidden_size, "cells": found})
        return
    for k, (name, about) in enumerate(found.items()):
        print_table(
            f"{chr(10) * (k > 0)}{name}",
            {
                "  weights": f"{about['formula']} = {as_text(about['parameters'])}",
                "  cost": f"{about['cost']:.2f} of the LSTM's",
                "  use": about["use"],
                "  source": about["source"],
            },
        )
