"""MIDI files as rolls, and rolls as MIDI files, by mido."""

from __future__ import annotations

import importlib
import io
import os
from collections.abc import Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from tidegate.data.files.reading import Taken, name_of, read_bytes
from tidegate.data.files.tables import Table
from tidegate.data.sequences.rolls.rolls import MOST_CELLS, PIANO, RollSet
from tidegate.errors import InputError, shown, spelled

__all__ = ["ENDINGS", "FOLDER", "midi_bytes", "read_folder", "read_listed", "read_midi"]

ENDINGS = (".mid", ".midi")
FOLDER = "folder"  # the condition that a file's place tells
TICKS = 480  # in a quarter note of files that are written
_DRUMS = 9  # the channel whose pitches are instruments
_LOWEST = 21  # A0
_MOST_STEPS = MOST_CELLS // len(PIANO) // 16
_VELOCITY = 80


def read_midi(path: str | PathLike[str], steps_per_beat: int) -> RollSet:
    """One MIDI file as a piece of piano keys, ``steps_per_beat`` steps in a quarter note.

    A note is on from the step nearest to its beginning until the one nearest to its end, one step
    at least.  The piece begins with its first note.  Channel 10, drums, and what is
    outside the 88 keys of a piano are left out, and so are loudness, pedals and tempo.  Raises
    InputError for what is no MIDI file, and for one without notes.
    """
    name = str(path) if isinstance(path, Taken) else Path(path).name
    return _read([path], [name], steps_per_beat)


def read_folder(folder: str | PathLike[str], steps_per_beat: int) -> RollSet:
    """All MIDI files in a folder and the folders below it, by name; see `read_midi`."""
    inside = Path(folder)
    paths = sorted(p for p in inside.rglob("*") if p.suffix.lower() in ENDINGS and p.is_file())
    if not paths:
        problem = f"expected files that end in {' or '.join(ENDINGS)}, got a folder without"
        raise InputError(f"{problem}; name another folder", file=folder)
    return _read(paths, [os.fspath(path.relative_to(inside)) for path in paths], steps_per_beat)


def read_listed(
    table: Table, column: str, conditions: Sequence[str], steps_per_beat: int
) -> RollSet:
    """The MIDI files that a column of a table names, from the table's folder; see `read_midi`.

    Other columns are ``conditions``.  Raises InputError, with the line, for a file that is missing.
    """
    inside = Path(table.path).parent
    names = table.texts(column, "a MIDI file")
    for row, name in enumerate(names):
        if not (inside / name).is_file():
            problem = f"expected a MIDI file in {inside}, got {shown(name)}, which is not there"
            raise table.error(row, f"{problem}; correct it, or take the row out", column)
    found = _read([inside / name for name in names], names, steps_per_beat)
    return replace(found, conditions={c: table.numbers_or_labels(c) for c in conditions})


def _read(paths: Sequence[str | PathLike[str]], names: list[str], steps_per_beat: int) -> RollSet:
    """Files by these names, and the folder that each is in as its condition."""
    rolls = [_steps(path, steps_per_beat) for path in paths]
    folders = [None if isinstance(p, Taken) else Path(p).resolve().parent.name for p in paths]
    about = {"steps_per_beat": steps_per_beat, "conditions": {FOLDER: folders}}
    return RollSet(rolls, PIANO, names, **about)


def _steps(path: str | PathLike[str], steps_per_beat: int) -> np.ndarray:
    """The roll of a file, uint8 [T, 88]."""
    if not 1 <= steps_per_beat <= 96:
        problem = f"expected 1 to 96, got {steps_per_beat}; 2 are quavers, 4 are semiquavers"
        raise InputError(problem, option="steps_per_beat")
    mido, data = _mido(), read_bytes(path)
    try:
        file = mido.MidiFile(file=io.BytesIO(data), clip=True)
        notes = [note for track in file.tracks for note in _notes(track)]
    except Exception as error:  # mido raises whatever a damaged file leads to
        reason = " ".join(str(error).split())[:100] or type(error).__name__
        problem = f"expected a MIDI file, got one that cannot be read ({reason})"
        raise InputError(
            f"{problem}; write it again, or leave it out", file=name_of(path)
        ) from None
    if file.ticks_per_beat <= 0 or file.type == 2:
        got = "frames of film" if file.ticks_per_beat <= 0 else "songs apart from one another"
        problem = f"expected a MIDI file in beats, got one in {got}"
        raise InputError(f"{problem}; save it as MIDI type 1", file=name_of(path))
    if not notes:
        problem = "expected notes of piano keys beside drums, got none"
        raise InputError(f"{problem}; leave the file out", file=name_of(path))
    # in whole numbers: a time may have more digits than a float
    scale, beat = steps_per_beat, file.ticks_per_beat
    begins = [(2 * on * scale + beat) // (2 * beat) for _, on, _ in notes]
    ends = [(2 * off * scale + beat) // (2 * beat) for _, _, off in notes]
    first = min(begins)
    steps = max(max(ends), max(begins) + 1) - first
    if steps > _MOST_STEPS:
        problem = f"expected at most {_MOST_STEPS} steps, got {steps}"
        remedy = f"leave the file out, or give {spelled('steps_per_beat', 1)}"
        raise InputError(f"{problem}; {remedy}", file=name_of(path))
    roll = np.zeros((steps, len(PIANO)), np.uint8)
    for (key, _, _), begin, end in zip(notes, begins, ends, strict=True):
        roll[begin - first : max(end, begin + 1) - first, key] = 1
    return roll


def _notes(track: Any) -> list[tuple[int, int, int]]:
    """Key (0 is the lowest of a piano), begin and end in ticks of each note of a track."""
    now, found = 0, []
    held: dict[tuple[int, int], list[int]] = {}
    for message in track:
        now += message.time
        if message.type not in ("note_on", "note_off") or message.channel == _DRUMS:
            continue
        key = message.note - _LOWEST
        if not 0 <= key < len(PIANO):
            continue
        begun = held.setdefault((message.channel, key), [])
        if message.type == "note_on" and message.velocity > 0:
            begun.append(now)
        elif begun:
            found.append((key, begun.pop(0), now))
    found += [(key, begin, now) for (_, key), begun in held.items() for begin in begun]
    return found


def midi_bytes(
    roll: np.ndarray, pitches: Sequence[int], steps_per_beat: int, tempo: float
) -> bytes:
    """A MIDI file, type 0, of a roll [T, O] whose outputs are these MIDI pitches.

    ``tempo``: quarter notes a minute.  An output that stays on is one long note.
    """
    mido = _mido()
    track = mido.MidiTrack()
    track.append(mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(tempo), time=0))
    track.append(mido.Message("program_change", program=0, time=0))
    silence = np.zeros((1, roll.shape[1]), np.int8)
    changes = np.diff(roll.astype(np.int8), axis=0, prepend=silence, append=silence)
    before = 0
    for step, change in enumerate(changes):
        now = round(step * TICKS / steps_per_beat)
        for kind, moved in (("note_off", -1), ("note_on", 1)):
            for output in np.flatnonzero(change == moved).tolist():
                pitch = pitches[output]
                velocity = _VELOCITY if moved == 1 else 0
                about = {"note": pitch, "velocity": velocity, "time": now - before}
                track.append(mido.Message(kind, **about))
                before = now
    end = round(len(roll) * TICKS / steps_per_beat)
    track.append(mido.MetaMessage("end_of_track", time=end - before))
    file = mido.MidiFile(type=0, ticks_per_beat=TICKS)
    file.tracks.append(track)
    held = io.BytesIO()
    file.save(file=held)
    return held.getvalue()


def _mido() -> Any:
    try:
        return importlib.import_module("mido")
    except ModuleNotFoundError:
        problem = "expected mido, which reads and writes MIDI files, got none"
        raise InputError(f"{problem}; install it with: pip install 'tidegate[music]'") from None
