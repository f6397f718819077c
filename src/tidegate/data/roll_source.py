"""Rolls as a FILE of commands: MIDI, MATLAB, ``.npz``, or a table of events."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, final

from tidegate.data.files.reading import File, Taken
from tidegate.data.source import COLUMNS, Source, source_option
from tidegate.errors import InputError, shown, spelled

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
        "or a table with a row for each event, or, with --midi, for each MIDI file"
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
    midi: str | None = source_option(
        "column that names MIDI files, from the folder that the table is in, if FILE is a table "
        "of them",
        default=None,
        kept=False,
    )
    condition: tuple[str, ...] = source_option(
        "what tells of each piece what it is to be, categories or numbers, so that tidegate "
        "generate is told it with --given: columns of a table, the same in all rows of an id; "
        "arrays of a .npz; of MIDI files, folder, the name of the folder that a file is in",
        COLUMNS,
        default=(),
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
        if kind is not None:
            self._refuse_columns(file)
        found = self._listed(file) if kind is None and self.midi else self._of_kind(file, kind)
        return self._conditioned(file, found)

    def _of_kind(self, file: File, kind: str | None) -> RollSet:
        if kind is None:
            from tidegate.data.sequences.rolls.events import EventTable

            about = {"id": self.id, "time": self.time, "item": self.item}
            return EventTable(
                path=file, **about, conditions=self.condition, layout=self.layout()
            ).read()
        if kind == "npz":
            from tidegate.data.sequences.rolls.archive import read_npz_rolls

            return read_npz_rolls(file, self.condition)
        if kind == "mat":
            from tidegate.data.sequences.rolls.matlab import read_mat

            return read_mat(file)
        from tidegate.data.sequences.rolls.midi import read_folder, read_midi

        reader = read_folder if kind == "folder" else read_midi
        return reader(file, self.steps_per_beat)

    def _listed(self, file: File) -> RollSet:
        """The MIDI files that a table names."""
        from tidegate.data.files.tables import read_table
        from tidegate.data.sequences.rolls.midi import read_listed

        assert self.midi is not None
        for name in ("id", "time", "item"):
            if (value := getattr(self, name)) is not None:
                problem = f"expected none beside {spelled('midi')}, got {value!r}"
                raise InputError(f"{problem}; leave one of them out", option=name)
        columns = {self.midi: "midi", **dict.fromkeys(self.condition, "condition")}
        table = read_table(file, columns, self.layout())
        return read_listed(table, self.midi, self.condition, self.steps_per_beat)

    def _conditioned(self, file: File, found: RollSet) -> RollSet:
        """The same with the conditions that were told, and no others."""
        for name in self.condition:
            if name not in found.conditions:
                there = ", ".join(found.conditions) or "none"
                problem = f"expected one that the file has ({there}), got {shown(name)}"
                remedy = f"leave it out, or give a table of the files with {spelled('midi')}"
                raise InputError(f"{problem}; {remedy}", file=file, option="condition")
        from tidegate.data.text.conditions import condition_columns

        told = {name: found.conditions[name] for name in self.condition}
        return replace(found, conditions=condition_columns(told, len(found), "pieces"))

    def _refuse_columns(self, file: File) -> None:
        """Raise InputError for an option about tables, since ``file`` is none."""
        self.refuse_table_options(file)
        for name in ("id", "time", "item", "midi"):
            if (value := getattr(self, name)) is not None:
                problem = f"expected none, for {file} is no table, got {value!r}"
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
