"""Damaged files give a result or one line that says what is wrong: no traceback, no long wait."""

from __future__ import annotations

import gzip
import io
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from labelled_texts import read_labelled_texts

from tidegate.data.files.tables import read_table
from tidegate.data.sequences.npz import read_npz
from tidegate.data.sequences.tables import SequenceTable
from tidegate.data.sequences.ts import read_ts
from tidegate.data.series.tables import read_series
from tidegate.data.text.reading import read_lines, read_text
from tidegate.data.text.vectors import read_vectors
from tidegate.errors import InputError

SERIES = b"when,load,oil\n" + b"".join(b"2016-07-%02d,%d,3\n" % (d, d) for d in range(1, 20))
REVIEWS = b'text,label\n"fine, ""really""",1\nawful,0\n'
LINES = b'{"text": "fine \\u00e9", "label": 1}\n{"text": null, "label": {"a": [1e999]}}\n'
STEPS = "id,t,v,y\na,1,2.5,up\na,2,1e3,up\nb,1,-0.5,down\n".encode("utf-16")
TS = b"@univariate true\n@classLabel true up down\n@data\n1,2,?:up\n3,4:down\n"
VECTORS = b"2 3\nsea 1 2 3\nland -1.5e3 0 .5\n"


def npz() -> bytes:
    file = io.BytesIO()
    np.savez(file, values=np.arange(6.0), lengths=[2, 4], y=np.array(["a", "b"]))
    return file.getvalue()


def packed_npz() -> bytes:
    file = io.BytesIO()
    x = np.asfortranarray(np.arange(12).reshape(2, 3, 2))
    np.savez_compressed(file, X=x, lengths=[2, 3], y=[0, 1])
    return file.getvalue()


def parquet() -> bytes:
    file = io.BytesIO()
    polars.DataFrame({"text": ["a", "b"] * 5, "label": [0, 1] * 5}).write_parquet(file)
    return file.getvalue()


def _numbers(path: Path) -> None:
    table = read_table(path)
    for name in table.frame.columns:
        table.numbers(name)


def _labelled(path: Path) -> None:
    read_labelled_texts(path, "text", "label")


READERS: dict[str, tuple[str, bytes, Callable[[Path], Any]]] = {
    "series": ("d.csv", SERIES, lambda path: read_series(path, "when", ["load"], ["oil"])),
    "filled series": ("d.csv", SERIES, lambda p: read_series(p, "when", ["load"], fill_gaps=True)),
    "texts": ("d.csv", REVIEWS, _labelled),
    "tab-separated": ("d.tsv", REVIEWS.replace(b",", b"\t"), _labelled),
    "numbers": ("d.csv", SERIES.replace(b",", b";"), _numbers),
    "JSON lines": ("d.jsonl", LINES, _labelled),
    "packed": ("d.csv.gz", gzip.compress(REVIEWS, mtime=0), _labelled),
    "Parquet": ("d.parquet", parquet(), _labelled),
    "steps": (
        "d.csv",
        STEPS,
        lambda path: SequenceTable(path=path, id="id", time="t", answer="y").read("label"),
    ),
    "npz": ("d.npz", npz(), lambda path: read_npz(path, "label")),
    "packed npz": ("d.npz", packed_npz(), lambda path: read_npz(path, "number")),
    "ts": ("d.ts", TS, lambda path: read_ts(path, "label")),
    "text": ("d.txt", "a b\r\n\r\nç\n".encode("utf-8-sig"), read_text),
    "lines": ("d.txt.gz", gzip.compress(b"a\r\n\n\xc3\xa7", mtime=0), read_lines),
    "vectors": ("d.vec", VECTORS, lambda path: read_vectors(path, ["sea", "land"])),
}
ODD = [b"", b"\0", b"\xff", b'"', b",", b"\n", b"\r", b"-", b"9" * 30, b"1e999", b"\xc3", b"_"]
ODD += [b"\xef\xbb\xbf", b"\xff\xfe", b"\x1f\x8b", b"nan", b"(" * 50, b"\\ud800", b"{", b"\x80"]


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """``content`` with a few places overwritten, cut out, doubled or filled with what is odd."""
    data = content
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        stop = min(len(data), start + draw(st.integers(0, 8)))
        piece = draw(st.one_of(st.sampled_from(ODD), st.binary(max_size=4), st.just(data[:stop])))
        data = data[:start] + piece + data[stop:]
    return data[: draw(st.integers(0, len(data)))] if draw(st.integers(0, 4)) == 0 else data


@pytest.mark.parametrize("case", READERS)
def test_a_damaged_file_is_read_or_refused(tmp_path: Path, case: str) -> None:
    name, content, read = READERS[case]
    path = tmp_path / name
    path.write_bytes(content)
    _try(read, path)
    started = time.perf_counter()

    @settings(
        max_examples=150, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(data=damaged(content))
    def check(data: bytes) -> None:
        path.write_bytes(data)
        _try(read, path)

    check()
    assert time.perf_counter() - started < 60  # 150 files of less than a kilobyte


def _try(read: Callable[[Path], Any], path: Path) -> None:
    """Read a file; raise what is neither a result nor one short line."""
    problem = ""
    try:
        read(path)
    except InputError as error:
        problem = str(error)
    assert len(problem) < 1000
    assert "\n" not in problem


# files that claim what they do not hold


def test_what_unpacks_to_a_flood_is_refused_before_it_fills_the_memory(tmp_path: Path) -> None:
    zeros = b"0" * 2**20
    path = tmp_path / "bomb.csv.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(600):
            file.write(zeros)
    with pytest.raises(InputError, match="got one of [0-9]+ bytes that unpacks .* gunzip"):
        read_table(path)
    packed = zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED)
    with packed as archive, archive.open("X.npy", "w", force_zip64=True) as member:
        for _ in range(300):
            member.write(zeros)
    with pytest.raises(InputError, match="unpacks .* numpy.savez, uncompressed"):
        read_npz(tmp_path / "bomb.npz", None)


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/urandom", "/dev/null"])
def test_a_device_is_no_file(tmp_path: Path, device: str) -> None:
    for name in ("d.txt", "d.csv", "d.npz"):
        link = tmp_path / name
        link.symlink_to(device)
        read = {"txt": read_text, "csv": read_table, "npz": lambda p: read_npz(p, None)}
        with pytest.raises(InputError, match="expected a file or a pipe, got a device"):
            read[name[2:]](link)


@pytest.mark.parametrize(
    ("arrays", "problem"),
    [
        # as int64 these sum to 6
        ({"values": np.arange(6.0), "lengths": np.array([2**63 - 1, 2**63 - 1, 8])}, "up to 1099"),
        ({"values": np.arange(6.0), "lengths": np.array([2**64 - 1, 7], np.uint64)}, "up to 1099"),
        ({"values": np.arange(6.0), "lengths": np.array([-1, 7])}, "from 1, got int64 [2] with -1"),
        ({"values": np.arange(6.0), "lengths": np.array(6)}, "whole numbers from 1, got int64 []"),
        ({"values": np.arange(6.0), "lengths": np.array([6.0])}, "whole numbers from 1, got float"),
        ({"X": np.array(1.0)}, "X: expected numbers [N, T, I] or [N, T], got float64 []"),
        ({"X": np.zeros((2, 3), complex)}, "X: expected numbers"),
        ({"X": np.zeros((2, 3), "M8[s]")}, "X: expected numbers"),
        ({"X": np.zeros(2, [("a", float)])}, "not numbers or text"),
        ({"X": np.array([[{}]])}, "object, not numbers or text"),
        ({"X": np.zeros((0, 3))}, "X: expected numbers"),
        ({"X": np.zeros((1, 1)), "y": np.array([""])}, "y: expected a label for each sequence"),
        ({"X": np.zeros((1, 1)), "y": np.array(["\ud800"])}, "y: expected a label for each"),
        ({"X": np.zeros((1, 1)), "y": np.array([np.nan])}, "y: expected finite numbers"),
    ],
    ids=str,
)
def test_arrays_of_the_wrong_kind_are_refused(
    tmp_path: Path, arrays: dict[str, Any], problem: str
) -> None:
    path = tmp_path / "d.npz"
    np.savez(path, **{"y": np.arange(2), **arrays})
    with pytest.raises(InputError) as caught:
        read_npz(path, "label" if "y" in arrays else None)
    assert str(caught.value).startswith(str(path))
    assert problem in str(caught.value)


def test_arrays_in_the_order_of_fortran_are_read_as_they_are(tmp_path: Path) -> None:
    x = np.arange(12.0).reshape(2, 3, 2)
    np.savez(tmp_path / "d.npz", X=np.asfortranarray(x))
    assert np.array_equal(np.stack(read_npz(tmp_path / "d.npz", None).values), x)


@pytest.mark.parametrize("number", ["1_000", "١٢", "1e999", "0x10", "1,5e", "½", "inf", "--1"])
def test_a_number_in_another_writing_is_no_number_anywhere(tmp_path: Path, number: str) -> None:
    table, ts, vectors = (tmp_path / name for name in ("d.csv", "d.ts", "d.vec"))
    table.write_text(f'a\n1\n"{number}"\n')
    with pytest.raises(InputError, match="line 3, column 'a': expected a number, got"):
        read_table(table).numbers("a")
    ts.write_text(f"@targetlabel true\n@data\n1,2:{number}\n")
    with pytest.raises(InputError, match="line 3: expected a finite number, got"):
        read_ts(ts, "number")
    vectors.write_text(f"sea {number} 1\n")
    with pytest.raises(InputError, match="line 1: expected finite numbers, got"):
        read_vectors(vectors, ["sea"])


def test_half_a_character_in_json_is_named(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    for line in ('{"text": "a\\ud83d"}', '{"te\\ude00xt": "a"}', '{"text": ["\\ud83d"]}'):
        path.write_text('{"text": "\\ud83d\\ude00"}\n' + line + "\n")
        with pytest.raises(InputError, match=r"line 2, column '.*': .*half of one, \\ud"):
            read_table(path)


def test_nan_is_no_label_and_no_text(tmp_path: Path) -> None:
    lines, table = tmp_path / "d.jsonl", tmp_path / "d.parquet"
    lines.write_text('{"text": "a", "label": 1}\n{"text": "b", "label": NaN}\n')
    with pytest.raises(InputError, match="line 2, column 'label': expected a label, got an empty"):
        read_labelled_texts(lines, "text", "label")
    polars.DataFrame({"text": ["a", "b"], "label": [1.0, float("nan")]}).write_parquet(table)
    with pytest.raises(InputError, match="column 'label': row 2: expected a label, got an empty"):
        read_labelled_texts(table, "text", "label")
