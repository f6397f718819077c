"""What ``tidegate generate`` does with a model of music: read a prompt, write what follows."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from tidegate.cli.reading import about_file, source_for
from tidegate.cli.show import print_json, print_text, said_aside
from tidegate.data.files.reading import taken
from tidegate.errors import InputError
from tidegate.terminal import printable


class Wanted(NamedTuple):
    """What the command was told; ``how`` are arguments of ``MusicModel.generate``."""

    model: Path
    prompt: str
    length: int
    how: dict[str, Any]
    output: Path | None
    plot: Path | None
    tempo: float | None
    force: bool
    json: bool


def write_piece(fitted: Any, wanted: Wanted, told: dict[str, Any]) -> None:
    """Write, draw or print the prompt and what the model goes on with.  Raises InputError."""
    import numpy as np

    from tidegate.output.writing import write_atomically
    from tidegate.tasks.roll_files import piece_content

    output, plot = wanted.output, wanted.plot
    said_aside(wanted.json, output)  # raises where both would go to standard output
    source = source_for(fitted, told)
    _check_places(fitted, wanted)
    begun, prompt = np.zeros((0, len(fitted.outputs_)), np.uint8), None
    if wanted.prompt:
        file = taken(wanted.prompt)
        (found,) = replace(source, condition=()).read(file, learning=False)
        with about_file(file):
            prompt = next(found.pieces())
            (begun,) = prompt.aligned(fitted.outputs_).rolls
    written = fitted.generate(prompt, wanted.length, **wanted.how)
    piece = np.concatenate([begun, written])
    if output is not None:
        content = piece_content(
            output,
            piece,
            fitted.outputs_,
            steps_per_beat=source.steps_per_beat,
            tempo=wanted.tempo,
            columns=(source.id, source.time or "step", source.item or "item"),
        )
        write_atomically(output, content)
    if plot is not None:
        from tidegate.tasks.roll_plot import plot_roll

        plot_roll(plot, piece, fitted.outputs_, prompt=len(begun), force=wanted.force)
    if wanted.json:
        print_json(
            {
                "prompt": wanted.prompt or None,
                "steps": fitted.names_of(written),
                "output": output and str(output),
                "plot": plot and str(plot),
                "seed": wanted.how["seed"],
            }
        )
    elif output is None:
        for names in fitted.names_of(piece):
            print_text("\t".join(map(printable, names)))


def _check_places(fitted: Any, wanted: Wanted) -> None:
    """Raise InputError for files that cannot be written, before anything is."""
    from tidegate.output.pictures import check_plot_path
    from tidegate.tasks.roll_files import check_piece_path

    output, plot = wanted.output, wanted.plot
    about: dict[str, Any] = {
        "inputs": (wanted.model, *([wanted.prompt] if wanted.prompt else [])),
        "force": wanted.force,
    }
    if output is not None:
        check_piece_path(output, fitted.outputs_, wanted.tempo, **about)
    elif wanted.tempo is not None:
        problem = f"expected none without a .mid to write, got {wanted.tempo}"
        raise InputError(f"{problem}; leave it out, or name one with -o", option="tempo")
    if plot is not None:
        if output is not None and os.path.realpath(plot) == os.path.realpath(output):
            problem = "expected another file than the output's, got the same; name another"
            raise InputError(problem, file=plot, option="plot")
        check_plot_path(plot, **about)
