"""Rolls as a FILE of commands: MIDI, MATLAB, ``.npz``, or a table of events."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, final

from tidegate.data.files.reading import File, Taken
from tidegate.data.source import Source, source_option
from tidegate.errors import InputError

if TYPE_CHECKING:
    from tidegate.data.sequences.rolls.rolls import RollSet

__all__ = ["Rolls"]

_ENDINGS = {"mid": "midi", "midi": "midi", "mat": "mat", "npz": "npz"}
_MAGIC = {b"MThd": "midi", b"MATLAB": "mat"}


@final
@dataclass(frozen=True, kw_only=True)
class Rolls(Source):
    """Pieces of many binary outputs a step."""

    FILE: ClassVar[str] = (
        "a MIDI file or a folder of some, a .mat of the polyphonic sets, a .npz of zeros and ones, "
        "or a table with a row for each event"
    )

    id: str | None = source_option(
        "column that says which sequence a row belongs to, in a table with one row per step",
        default=None,
    )
    time: str | None = source_option(
        "column of times, which must rise within a sequence, in a table with one row per step; in "
        "one of events, those of one time are one step",
        default=None,
    )
    item: str | None = source_option(
        "column that names what is on at that step, if FILE is a table of events", default=None
    )
    steps_per_beat: int = source_option(
        "steps in a quarter note of MIDI files: 1, 2 for quavers, 4 for semiquavers", "N", default=2
    )

    def read(self, file: File, *, learning: bool) -> tuple[RollSet]:
        """The pieces; of a file that is parted already, later on, its test part."""
        found = self._read(file)
        if not learning and found.test is not None:
            from tidegate.data.sequences.rolls.rolls import RollSet

            names = [f"test {k}" for k in range(1, len(found.test) + 1)]
            found = RollSet(found.test, found.outputs, names)
        return (found,)

    def _read(self, file: File) -> RollSet:
        kind = _kind(file)
        if kind is None:
            from tidegate.data.sequences.rolls.events import EventTable

            about = {"id": self.id, "time": self.time, "item": self.item}
            return EventTable(path=file, **about, layout=self.layout()).read()
        self._refuse_columns(file)
        if kind == "npz":
            from tidegate.data.sequences.rolls.archive import read_npz_rolls

            return read_npz_rolls(file)
        if kind == "mat":
            from tidegate.data.sequences.rolls.matlab import read_mat

            return read_mat(file)
        from tidegate.data.sequences.rolls.midi import read_folder, read_midi

        reader = read_folder if kind == "folder" else read_midi
        return reader(file, self.steps_per_beat)

    def _refuse_columns(self, file: File) -> None:
        """Raise InputError for an option about tables, since ``file`` is none."""
        self.refuse_table_options(file)
        given: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        for name in ("id", "time", "item"):
            if given[name] is not None:
                problem = f"expected none, for {file} is no table, got {given[name]!r}"
                raise InputError(f"{problem}; leave it out", option=name)


def _kind(file: File) -> str | None:
    """What a file is: folder, midi, mat or npz; None for a table."""
    if isinstance(file, Taken):
        from tidegate.data.files.formats import kind_of_content

        begun = (kind for magic, kind in _MAGIC.items() if file.content.startswith(magic))
        npz = "npz" if kind_of_content(file.content) == "npz" else None
        return next(begun, npz)
    if Path(file).is_dir():
        return "folder"
    return _ENDINGS.get(file.lower().removesuffix(".gz").rpartition(".")[2])
