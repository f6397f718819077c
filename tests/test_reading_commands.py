"""Commands read every record of a user's file, and write what reads back as it was."""

from __future__ import annotations

import csv
import gzip
import io
import json
import shlex
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tidegate.cli import main
from tidegate.data.series.tables import read_series

Run = Callable[..., Any]
TINY = "--hidden-sizes 4 --max-steps 2"
METER, ODD = "meter, main", 'the "other"\none'


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a classifier of texts, a forecaster of two columns, and their data."""
    folder = tmp_path_factory.mktemp("reading")
    rows = [(f"{word} film {i}", kind) for i in range(20) for word, kind in WORDS]
    write_csv(folder / "reviews.csv", [("text", "label"), *rows])
    write_csv(folder / "meter.csv", [("when", METER, ODD), *meter_rows()])
    classifier, forecaster = folder / "texts.safetensors", folder / "meter.safetensors"
    runs = ["--run-folder", str(folder / "runs"), "--json"]
    line = f"train classifier {folder / 'reviews.csv'} --text text --label label -o {classifier}"
    assert main([*shlex.split(f"{line} --embedding-size 4 {TINY}"), *runs]) == 0
    runs[1] += "-2"
    line = f"train forecaster {folder / 'meter.csv'} --time when -o {forecaster} --horizon 3"
    names = ["--target", '"meter, main","the ""other""\none"']
    assert main([*shlex.split(f"{line} --context 24 {TINY}"), *names, *runs]) == 0
    return folder


WORDS = [("lovely", "positive"), ("dreadful", "negative")]


def write_csv(path: Path, rows: list[tuple[Any, ...]]) -> None:
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows(rows)


def meter_rows() -> list[tuple[Any, ...]]:
    start = datetime(2016, 6, 18)
    times = [f"{start + timedelta(hours=i):%Y-%m-%dT%H:%M}+02:00" for i in range(24 * 12)]
    return [(t, 1234567890.5 + 0.25 * np.sin(i / 4), i % 7) for i, t in enumerate(times)]


@pytest.fixture
def tidegate(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Run a command line in that folder: its exit code, what it prints, and its error."""
    monkeypatch.chdir(folder)

    def run(line: str, *more: str, stdin: bytes | None = None) -> tuple[int, str, str]:
        if stdin is not None:
            given = io.TextIOWrapper(io.BufferedReader(io.BytesIO(stdin)), "ascii")  # pyright: ignore
            monkeypatch.setattr("sys.stdin", given)
        capsys.readouterr()
        code = main([*shlex.split(line), *more])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


# one input, one answer

LINES = {
    "blank ones": (b"a\n\n  \nb\n", 4),
    "no end of the last": (b"a\nb", 2),
    "only blank": (b"\n\n", 2),
    "ends of Windows and old Macs": (b"a\r\n\r\nb\rc\r\r", 5),
    "characters that end no line": (
        "a\x0bb\x0cc\x1cd\x1de\x1ef\x85g\u2028h\u2029i\nj\n".encode(),
        2,
    ),
    "a byte order mark": (b"\xef\xbb\xbflovely\n\n", 2),
    "UTF-16": ("lovely\n\nb\n".encode("utf-16"), 3),
    "not ASCII": ("é\n日本\n".encode(), 2),
}


@pytest.mark.parametrize("case", LINES)
def test_each_line_has_an_answer_from_a_file_and_from_standard_input(
    tidegate: Run, case: str
) -> None:
    content, count = LINES[case]
    Path("lines.txt").write_bytes(content)
    Path("lines.TXT.gz").write_bytes(gzip.compress(content))
    code, out, err = tidegate("predict texts.safetensors lines.txt --json")
    assert (code, err) == (0, "")
    answers = json.loads(out)["predictions"]
    assert len(answers) == count
    assert tidegate("predict texts.safetensors - --json", stdin=content)[1] == out
    assert tidegate("predict texts.safetensors lines.TXT.gz --json")[1] == out


def test_a_byte_order_mark_is_no_part_of_the_first_word(tidegate: Run) -> None:
    plain = tidegate("predict texts.safetensors - --json", stdin=b"lovely\n")[1]
    assert tidegate("predict texts.safetensors - --json", stdin=b"\xef\xbb\xbflovely\n")[1] == plain


@pytest.mark.parametrize("content", [b"fine\nlov\xe9ly\n", b"", b"fine\nlov\0ly\n"])
def test_standard_input_gives_the_errors_of_a_file(tidegate: Run, content: bytes) -> None:
    Path("lines.txt").write_bytes(content)
    code, _, of_file = tidegate("predict texts.safetensors lines.txt")
    assert code == 2
    code, _, of_input = tidegate("predict texts.safetensors -", stdin=content)
    assert code == 2
    assert of_input == of_file.replace("lines.txt", "standard input")


@pytest.mark.parametrize(
    ("name", "content", "count"),
    [
        ("t.csv", b"text,label\na,x\n,\n\nb,y\n,\n", 4),  # a line without any cell is no row
        ("t.csv", b'text\na\n""\n\nb\n', 4),  # but of one column it is an empty cell
        ("t.csv", b"text;label\r\n;\r\n;\r\n", 2),
        ("t.tsv", b"text\tlabel\na\tx\n\t\nb\ty\n", 3),
        ("t.jsonl", b'{"text": "a"}\n{"text": null}\n{"text": ""}\n{}\n\n{"text": "b"}\n', 5),
        ("t.jsonl", b'{"text": "a\\u2028b"}\r\n{"text": "c\xe2\x80\xa8d"}\r\n', 2),
    ],
)
def test_each_row_of_a_table_has_an_answer(
    tidegate: Run, name: str, content: bytes, count: int
) -> None:
    Path(name).write_bytes(content)
    code, out, err = tidegate(f"predict texts.safetensors {name} --json")
    assert (code, err) == (0, "")
    assert len(json.loads(out)["predictions"]) == count


# figures keep their digits and structure


def test_a_forecast_is_read_back_as_it_was(tidegate: Run) -> None:
    code, out, err = tidegate("forecast meter.safetensors meter.csv --json")
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert told["times"] == [f"2016-06-30T0{hour}:00+02:00" for hour in range(3)]
    values = told["forecast"][METER]
    assert len({*values}) == 3
    assert all(abs(value - 1234567890.5) < 2 for value in values)
    _, printed, _ = tidegate("forecast meter.safetensors meter.csv")
    assert tidegate("forecast meter.safetensors meter.csv -o next.csv")[0] == 0
    with open("next.csv", newline="") as file:
        assert file.read() == printed
    header, *rows = list(csv.reader(io.StringIO(printed)))
    assert header == ["when", METER, ODD]
    assert [row[0] for row in rows] == told["times"]
    assert [float(row[1]) for row in rows] == values
    # and the readers of tables take it as what comes next
    write_csv(Path("both.csv"), [("when", METER, ODD), *meter_rows(), *map(tuple, rows)])
    both = read_series("both.csv", "when", [METER, ODD])
    assert both.values[-3:, 0].tolist() == values
    assert tidegate("forecast meter.safetensors both.csv")[0] == 0


def test_a_column_with_a_comma_is_named_in_quotes_and_remembered(tidegate: Run) -> None:
    code, out, _ = tidegate("info meter.safetensors --json")
    assert code == 0
    kept = json.loads(out)["provenance"]["target_columns"]
    assert kept == '"meter, main","the ""other""\none"'
    _, out, _ = tidegate("forecast meter.safetensors meter.csv --target", kept)
    assert out == tidegate("forecast meter.safetensors meter.csv")[1]
    code, _, err = tidegate("forecast meter.safetensors meter.csv --target", '"meter, main')
    assert code == 2
    assert "those with a comma in quotes" in err


# how a file is written


def test_a_table_of_a_european_spreadsheet_is_read(tidegate: Run) -> None:
    european = str.maketrans(".,", ",.")
    rows = [(t, f"{value:,.3f}".translate(european), o) for t, value, o in meter_rows()]
    lines = [";".join(map(str, row)) for row in [("when", METER, '"the ""other""\none"'), *rows]]
    Path("meter2.csv").write_bytes("\r\n".join(lines).encode("utf-8-sig"))
    series = read_series("meter2.csv", "when", [METER])
    assert series.values[0, 0] == 1234567890.5
    code, out, err = tidegate("forecast meter.safetensors meter2.csv")
    assert (code, err) == (0, "")
    assert len(out.splitlines()) > 3


@pytest.mark.parametrize("encoding", ["cp1251", "koi8-r", "utf-16-le"])
def test_an_encoding_that_an_error_names_reads_the_file(tidegate: Run, encoding: str) -> None:
    content = "Это хороший фильм, и он мне понравился\nПлохо\n".encode(encoding)
    Path("lines.txt").write_bytes(content)
    code, _, err = tidegate("predict texts.safetensors lines.txt")
    assert code == 2
    assert f"--encoding {encoding}" in err
    code, out, _ = tidegate(f"predict texts.safetensors lines.txt --encoding {encoding} --json")
    assert code == 0
    assert json.loads(out)["predictions"][1]["input"] == "Плохо"
    # it is how that file is written, no part of the task: the next one is UTF-8 again
    told = tidegate("predict texts.safetensors - --json", stdin="Плохо\n".encode())[1]
    assert json.loads(told)["predictions"][0]["input"] == "Плохо"


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ("--encoding rot13", "option --encoding: expected the name of an encoding"),
        ("--encoding nonsense", "option --encoding: expected the name of an encoding"),
        ("--encoding ascii", "expected ASCII, got byte 0xC3"),
        ("--separator ;;", "option --separator: expected one character"),
        ("--decimal x", "option --decimal: expected '.' or ','"),
        ("--decimal , --separator ,", "option --decimal: expected another mark"),
        ("--sheet first", "option --sheet: expected none for a .csv file"),
    ],
)
def test_what_cannot_be_how_a_table_is_written_is_refused(
    tidegate: Run, options: str, problem: str
) -> None:
    Path("t.csv").write_bytes("text,label\ncafé,x\n".encode())
    code, _, err = tidegate(f"predict texts.safetensors t.csv {options}")
    assert code == 2
    assert problem in err
    code, _, err = tidegate("predict texts.safetensors - --separator ;", stdin=b"a\n")
    assert code == 2
    assert "option --separator: expected none" in err
