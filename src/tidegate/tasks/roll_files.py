"""Pieces written to files: MIDI, numpy's ``.npz``, or a table of events."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path

import numpy as np

from tidegate.data.files.dialect import Dialect, check_table_name
from tidegate.data.sequences.rolls.archive import npz_bytes
from tidegate.data.sequences.rolls.midi import ENDINGS, midi_bytes
from tidegate.data.sequences.rolls.rolls import pitches_of
from tidegate.errors import InputError
from tidegate.output.places import check_output, never_ours
from tidegate.training.option_values import check_value

Name = str | PathLike[str]
TEMPO = 120.0  # quarter notes a minute, unless it is told


def check_piece_path(
    path: Name,
    outputs: Sequence[str],
    tempo: float | None = None,
    *,
    inputs: Iterable[Name] = (),
    force: bool = False,
) -> None:
    """Raise InputError unless a piece of these outputs can be written to a file of that name."""
    check_value("tempo", tempo, float | None, {"bounds": {"at least": 4, "at most": 1000}})
    is_midi = Path(path).suffix.lower() in ENDINGS
    if tempo is not None and not is_midi:
        problem = f"expected none without a .mid to write, got {tempo}"
        raise InputError(f"{problem}; leave it out", option="tempo")
    if is_midi and pitches_of(outputs) is None:
        raise InputError(
            f"expected outputs that are notes, such as C4, for a MIDI file, got {outputs[0]!r}; "
            "write a .csv or .npz",
            file=path,
        )
    if not is_midi and Path(path).suffix.lower() != ".npz":
        check_table_name(path)
    check_output(path, inputs=inputs, force=force, ours=never_ours)


def piece_content(
    path: Name,
    roll: np.ndarray,
    outputs: tuple[str, ...],
    *,
    steps_per_beat: int,
    tempo: float | None = None,
    columns: tuple[str | None, str, str] = (None, "step", "item"),
) -> bytes:
    """The bytes of a file of that name with a roll uint8 [T, O].

    ``columns``: of a table, those of the sequence's id (None: none), of steps from 1, of outputs
    that are on.
    """
    ending = Path(path).suffix.lower()
    if ending in ENDINGS:
        pitches = pitches_of(outputs)
        assert pitches is not None  # held by check_piece_path
        return midi_bytes(roll, pitches, steps_per_beat, TEMPO if tempo is None else tempo)
    if ending == ".npz":
        return npz_bytes(roll, outputs)
    steps, on = np.nonzero(roll)
    id_column, *names = columns
    values: list[list[str] | list[int]] = [(steps + 1).tolist(), [outputs[k] for k in on.tolist()]]
    if id_column is not None:
        names, values = [id_column, *names], [["1"] * len(on), *values]
    form = Dialect().for_file(path)
    return form.content(form.text(names, values), path)
