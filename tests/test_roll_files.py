"""Files of rolls: MIDI, MATLAB, .npz and tables, read and written, and what is refused."""

from __future__ import annotations

import contextlib
import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import EVENTS, TINY, Tidegate
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tidegate as tg
from tidegate.data.roll_source import Rolls
from tidegate.data.sequences.rolls.archive import npz_bytes, read_npz_rolls
from tidegate.data.sequences.rolls.events import EventTable
from tidegate.data.sequences.rolls.matlab import read_mat
from tidegate.data.sequences.rolls.midi import midi_bytes, read_folder, read_midi
from tidegate.data.sequences.rolls.rolls import PIANO, note_name, pitches_of
from tidegate.errors import InputError

mido = pytest.importorskip("mido")
savemat = pytest.importorskip("scipy.io").savemat
MODEL = "m.safetensors"


def piano_roll(steps: int, seed: int = 0) -> np.ndarray:
    """Random, with a note at either end, as a file begins and ends."""
    roll = (np.random.default_rng(seed).random((steps, 88)) < 0.05).astype(np.uint8)
    roll[[0, -1], 40] = 1
    return roll


def written(path: Path, *tracks: list[Any], beat: int = 480, kind: int = 1) -> Path:
    file = mido.MidiFile(type=kind, ticks_per_beat=beat)
    for messages in tracks:
        file.tracks.append(mido.MidiTrack(messages))
    file.save(path)
    return path


def on(note: int, time: int = 0, **more: Any) -> Any:
    return mido.Message("note_on", note=note, time=time, **more)


def off(note: int, time: int) -> Any:
    return mido.Message("note_off", note=note, time=time)


def mat(path: Path, **parts: list[np.ndarray]) -> Path:
    cells = {}
    for name, pieces in parts.items():
        cells[name] = np.empty((1, len(pieces)), object)
        cells[name][0, :] = pieces
    savemat(path, cells, do_compression=True)
    return path


# MIDI


@pytest.mark.parametrize("steps_per_beat", [1, 2, 3, 7])
def test_what_is_written_as_midi_is_read_again(tmp_path: Path, steps_per_beat: int) -> None:
    roll, path = piano_roll(50), tmp_path / "song.mid"
    path.write_bytes(midi_bytes(roll, range(21, 109), steps_per_beat, 90.0))
    found = read_midi(path, steps_per_beat)
    np.testing.assert_array_equal(found.rolls[0], roll)
    assert found.outputs == PIANO
    assert found.names == ["song.mid"]
    assert mido.MidiFile(path).length == pytest.approx(50 / steps_per_beat * 60 / 90, rel=1e-3)


def test_notes_are_on_from_the_nearest_step_to_the_nearest_one_at_least_for_one(
    tmp_path: Path,
) -> None:
    path = written(
        tmp_path / "a.mid",
        [on(60, 480), on(64, 100), off(60, 140), on(64, 10, velocity=0), on(62, 230), off(62, 1)],
        [on(21, 480), off(21, 960), on(108, 0), on(20, 0), on(40, 0, channel=9)],
    )
    roll = read_midi(path, 2).rolls[0]
    steps = [(step, pitch + 21) for step, pitch in np.argwhere(roll).tolist()]
    # 240 ticks a step, the first one at tick 480; 108 is never let go, and ends with its track
    assert steps == [(0, 21), (0, 60), (0, 64), (1, 21), (2, 21), (2, 62), (3, 21), (4, 108)]


def test_names_of_notes_are_those_of_midi_and_are_known_again() -> None:
    assert [note_name(pitch) for pitch in (0, 21, 60, 61, 108)] == ["C-1", "A0", "C4", "C#4", "C8"]
    assert pitches_of(PIANO) == list(range(21, 109))
    assert pitches_of(("C4", "tea")) is None


def test_a_folder_is_read_with_those_below_it_in_the_order_of_names(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    for k, name in enumerate(("b.mid", "more/a.MIDI", "a.mid")):
        (tmp_path / name).write_bytes(midi_bytes(piano_roll(4 + k), range(21, 109), 2, 120))
    (tmp_path / "notes.txt").write_text("no music")
    found = read_folder(tmp_path, 2)
    assert found.names == ["a.mid", "b.mid", "more/a.MIDI"]
    assert [len(roll) for roll in found.rolls] == [6, 4, 5]


def test_what_is_no_music_is_refused_with_a_remedy(tmp_path: Path) -> None:
    for name, content, told in (
        ("no.mid", b"MThd\0\0\0\6", "cannot be read"),
        ("text.mid", b"not music at all", "cannot be read"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=told) as caught:
            read_midi(tmp_path / name, 2)
        assert str(caught.value).count("\n") == 0
    with pytest.raises(InputError, match="beside drums, got none"):
        read_midi(written(tmp_path / "drums.mid", [on(40, channel=9), on(40, 9, channel=9)]), 2)
    with pytest.raises(InputError, match="type 1"):
        read_midi(written(tmp_path / "two.mid", [on(60), off(60, 9)], kind=2), 2)
    film = bytearray(written(tmp_path / "film.mid", [on(60), off(60, 9)]).read_bytes())
    film[12:14] = struct.pack(">h", -6360)
    (tmp_path / "film.mid").write_bytes(film)
    with pytest.raises(InputError, match="frames of film"):
        read_midi(tmp_path / "film.mid", 2)
    with pytest.raises(InputError, match="expected at most .* steps"):
        read_midi(written(tmp_path / "long.mid", [on(60), *[off(60, 2**27)] * 8], beat=1), 96)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="expected files that end in .mid"):
        read_folder(tmp_path / "empty", 2)
    with pytest.raises(InputError, match="expected 1 to 96, got 0"):
        read_midi(tmp_path / "drums.mid", 0)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_damaged_files_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    kind = data.draw(st.sampled_from(["mid", "mat", "npz"]))
    content = bytearray(_INTACT[kind]())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(len(content) // 2, len(content)))]
    path = tmp_path_factory.getbasetemp() / f"damaged.{kind}"
    path.write_bytes(content)
    with contextlib.suppress(InputError):
        (found,) = Rolls().read(str(path), learning=True)
        assert all(set(np.unique(roll)) <= {0, 1} for roll in found.rolls)


def _mat_bytes() -> bytes:
    held = io.BytesIO()
    cells = np.empty((1, 2), object)
    cells[0, :] = [piano_roll(3), piano_roll(5)]
    savemat(held, dict.fromkeys(("traindata", "validdata", "testdata"), cells))
    return held.getvalue()


_INTACT = {
    "mid": lambda: midi_bytes(piano_roll(6), range(21, 109), 2, 120),
    "mat": _mat_bytes,
    "npz": lambda: npz_bytes(piano_roll(6), PIANO),
}


# MATLAB, .npz, tables


def test_the_parts_of_a_matlab_file_are_as_they_are_there(tmp_path: Path) -> None:
    parts = {
        "traindata": [piano_roll(4, 1), piano_roll(6, 2)],
        "validdata": [piano_roll(3, 3)],
        "testdata": [piano_roll(5, 4), piano_roll(2, 5), piano_roll(7, 6)],
    }
    found = read_mat(mat(tmp_path / "a.mat", **parts))
    for rolls, name in ((found.rolls, "traindata"), (found.validation, "validdata")):
        assert rolls is not None
        for one, other in zip(rolls, parts[name], strict=True):
            np.testing.assert_array_equal(one, other)
    assert [len(roll) for roll in found.test or []] == [5, 2, 7]
    (tested,) = Rolls().read(str(tmp_path / "a.mat"), learning=False)
    assert [len(roll) for roll in tested.rolls] == [5, 2, 7]


def test_other_matlab_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="validdata: expected a cell array of pieces, got none"):
        read_mat(mat(tmp_path / "b.mat", traindata=[piano_roll(3)]))
    (tmp_path / "c.mat").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(200))
    with pytest.raises(InputError, match="save it in MATLAB with -v7"):
        read_mat(tmp_path / "c.mat")


def test_a_matlab_file_that_unpacks_to_a_flood_is_refused(tmp_path: Path) -> None:
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(bytes(2**24)) for _ in range(24)) + packer.flush()
    header = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<HH", 0x0100, 0x4D49)
    (tmp_path / "bomb.mat").write_bytes(header + struct.pack("<II", 15, len(packed)) + packed)
    with pytest.raises(InputError, match="unpacks to"):
        read_mat(tmp_path / "bomb.mat")


def test_arrays_bring_the_names_of_their_outputs(tmp_path: Path) -> None:
    path = tmp_path / "r.npz"
    path.write_bytes(npz_bytes(piano_roll(5), PIANO))
    found = read_npz_rolls(path)
    np.testing.assert_array_equal(found.rolls[0], piano_roll(5))
    assert found.outputs == PIANO
    np.savez(path, values=np.eye(5, 2), lengths=[2, 3], outputs=np.array(["a", "b"]))
    assert [roll.shape for roll in read_npz_rolls(path).rolls] == [(2, 2), (3, 2)]
    for wrong in (np.array(["a", "a"]), np.array(["a"]), np.arange(2)):
        np.savez(path, X=np.ones((1, 3, 2)), outputs=wrong)
        with pytest.raises(InputError, match="expected 2 different names"):
            read_npz_rolls(path)
    np.savez(path, X=np.full((1, 3, 2), 0.5))
    with pytest.raises(InputError, match="zeros and ones, got 0.5"):
        read_npz_rolls(path)


def test_rows_of_one_time_are_one_step_and_each_time_is_one(tmp_path: Path) -> None:
    path = tmp_path / "e.csv"
    path.write_text("who,day,what\nb,1,tea\nb,1,milk\na,3,tea\nb,9,tea\na,4,bread\na,4,bread\n")
    found = EventTable(path=path, id="who", time="day", item="what").read()
    assert found.outputs == ("bread", "milk", "tea")
    assert found.names == ["b", "a"]
    assert [roll.tolist() for roll in found.rolls] == [
        [[0, 1, 1], [0, 0, 1]],
        [[0, 0, 1], [1, 0, 0]],
    ]
    each = EventTable(path=path, id=None, time=None, item="what").read()
    assert each.rolls[0].shape == (6, 3)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], *sorted(lines[1:], reverse=True)]))
    newest_first = EventTable(path=path, id="who", time="day", item="what").read()
    assert newest_first.names == found.names
    for one, other in zip(newest_first.rolls, found.rolls, strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(InputError, match="expected the name of the column that says what is on"):
        EventTable(path=path, id="who", time="day", item=None).read()
    with pytest.raises(InputError, match="got one twice"):
        EventTable(path=path, id="who", time="who", item="what").read()


# the command line


def test_music_is_learned_measured_gone_on_with_and_drawn(tidegate: Tidegate) -> None:
    Path("songs").mkdir()
    for k in range(4):
        path = Path(f"songs/{k}.mid")
        path.write_bytes(midi_bytes(piano_roll(20, k), range(21, 109), 4, 100))
    train = f"train music songs --steps-per-beat 4 {TINY['music']} --test-fraction 0.25"
    told = tidegate(f"{train} --json").json
    assert told["model"] == "songs-music.safetensors"
    assert told["steps"] == 4
    assert {"nats_per_step", "frame_accuracy", "baseline_nats_per_step"} <= set(told["test"])
    figures = tidegate(f"evaluate {told['model']} songs --json").json
    assert figures["frames"] == 80

    line = f"generate {told['model']} --prompt songs/0.mid --length 12 --seed 1"
    made = tidegate(f"{line} -o new.mid --plot new.png --tempo 90 --json").json
    assert made["output"] == "new.mid"
    assert len(made["steps"]) == 12
    read = read_midi("new.mid", 4).rolls[0]
    np.testing.assert_array_equal(read[:20], piano_roll(20, 0))
    on_then = [[note_name(21 + k) for k in np.flatnonzero(step)] for step in read[20:]]
    assert made["steps"][: len(on_then)] == on_then
    assert Path("new.png").read_bytes().startswith(b"\x89PNG")
    assert tidegate(f"{line} -o new.npz").code == 0
    np.testing.assert_array_equal(read_npz_rolls("new.npz").rolls[0][:20], piano_roll(20, 0))
    lines = tidegate(line).out.splitlines()
    assert [one.split("\t") if one else [] for one in lines][20:] == made["steps"]
    assert tidegate(f"inspect {told['model']} songs/0.mid").code == 0


def test_the_command_that_is_told_next_runs(tidegate: Tidegate) -> None:
    for data, name in ((EVENTS, "next.csv"), ("piano.npz", "song.mid")):
        Path("piano.npz").write_bytes(npz_bytes(piano_roll(30), PIANO))
        told = tidegate(f"train music {data} {TINY['music']} -o {MODEL} --force")
        line = next(one for one in told.out.splitlines() if one.startswith("next:"))
        assert tidegate(line.partition("tidegate ")[2]).code == 0, line
        assert Path(name).exists()
    figures = tidegate(f"evaluate {MODEL} song.mid --json")
    assert figures.json["frames"] > 0


def test_a_table_that_is_written_is_read_again(tidegate: Tidegate) -> None:
    assert tidegate(f"train music {EVENTS} {TINY['music']} -o {MODEL}").code == 0
    line = f"generate {MODEL} --length 40 --seed 1 -o made.csv"
    assert tidegate(line).code == 0
    assert Path("made.csv").read_text().startswith("customer,day,bought\n1,")
    assert tidegate(f"evaluate {MODEL} made.csv").code == 0
    refused = tidegate(line)
    assert refused.code == 2
    assert "--force" in refused.err
    assert tidegate(f"{line} --force").code == 0


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (f"generate {MODEL} -o new.mid", "expected outputs that are notes, such as C4"),
        (f"generate {MODEL} --tempo 90", "option --tempo: expected none without a .mid"),
        (f"generate {MODEL} -o new.csv --tempo 90", "option --tempo: expected none without"),
        (f"generate {MODEL} -o new.xlsx", "expected a name that ends in .csv"),
        (f"generate {MODEL} --plot new.gif", "expected the ending of a picture"),
        (f"generate {MODEL} --top-k 3", "option --top-k: expected none for a music"),
        (f"generate {MODEL} --prompt nothing.csv", "nothing.csv: expected a file"),
        (f"predict {MODEL} baskets.csv", "expected a model of text-classifier"),
        ("train music baskets.csv", "give --item COLUMN"),
        ("train music nowhere", "nowhere: expected a file, got nothing of that name"),
        ("train music baskets.csv --item what", "expected a column 'what'"),
        ("train music p.npz --item what", "option --item: expected none, for p.npz is no table"),
        ("train music empty", "expected files that end in .mid or .midi, got a folder without"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(tidegate: Tidegate, line: str, told: str) -> None:
    Path("p.npz").write_bytes(npz_bytes(piano_roll(9), PIANO))
    Path("empty").mkdir()
    assert tidegate(f"train music {EVENTS} {TINY['music']} -o {MODEL}").code == 0
    outcome = tidegate(line)
    assert outcome.code == 2
    assert told in outcome.err
    assert len(outcome.err.splitlines()) == 1


def test_other_models_take_no_option_of_music(tidegate: Tidegate) -> None:
    assert tidegate(f"train language-model book.txt {TINY['language-model']} -o {MODEL}").code == 0
    for option in ("-o new.txt", "--plot new.png", "--tempo 90", "--item what"):
        assert "expected none for a language-model" in tidegate(f"generate {MODEL} {option}").err


def test_python_takes_and_writes_the_same_files(tmp_path: Path) -> None:
    path = tmp_path / "song.mid"
    path.write_bytes(midi_bytes(piano_roll(40), range(21, 109), 2, 120))
    model = tg.MusicModel(hidden_sizes=(4,), max_steps=2, verbose=0).fit(path)
    piece = model.generate(path, 5, seed=0)
    piece[[0, -1], 3] = 1
    model.write(tmp_path / "new.mid", piece, tempo=100)
    np.testing.assert_array_equal(read_midi(tmp_path / "new.mid", 2).rolls[0], piece)
    with pytest.raises(InputError, match="that tidegate did not write"):
        model.write(tmp_path / "new.mid", piece)
