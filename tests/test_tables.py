"""Good tables are read as they are; every bad one gives one line with file, line and remedy."""

import gzip
import json
import re
import time
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars
import pytest
from labelled_texts import read_labelled_texts

from tidegate.data.files.numerals import as_floats, mark_of, with_points
from tidegate.data.files.tables import read_table
from tidegate.data.files.text_frame import TextColumn
from tidegate.data.series.tables import read_series
from tidegate.errors import InputError

DATA = Path(__file__).parents[2] / "shared" / "data"
REVIEWS = b"text,label\nfine,1\nawful,0\n"
HOURLY = b"date,load,oil\n2016-07-01 00:00:00,1,5\n2016-07-01 01:00:00,2,6\n"


def data(name: str) -> Path:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{name} is not here")
    return path


def written(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def problem_of(read, *arguments, **options) -> str:
    """The one line that the reader raises; the file comes first in it."""
    with pytest.raises(InputError) as caught:
        read(*arguments, **options)
    line = str(caught.value)
    assert "\n" not in line
    assert len(line) < 1000
    assert line.startswith(str(arguments[0]))
    return line.removeprefix(str(arguments[0]))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", REVIEWS),
        ("t.CSV", REVIEWS.replace(b"\n", b"\r\n")),
        ("t.csv", b"\xef\xbb\xbf" + REVIEWS),
        ("t.csv", b'"text",label\n\n"fine",1\n\n"awful","0"\n\n'),
        ("t.csv", REVIEWS.replace(b"\n", b"\r")),
        ("t.tsv", REVIEWS.replace(b",", b"\t")),
        ("t.csv.gz", gzip.compress(REVIEWS, mtime=0)),
        ("t.csv", REVIEWS.replace(b",", b";")),
        ("t.csv", REVIEWS.replace(b",", b"|")),
        ("t.csv", REVIEWS.replace(b",", b"\t")),
        ("t.tsv", REVIEWS),
        ("t.csv", REVIEWS.decode().encode("utf-16")),
        ("t.csv", REVIEWS.decode().encode("utf-32")),
        ("t.jsonl", b'{"text": "fine", "label": 1}\n\n{"label": 0, "text": "awful"}\n'),
        (
            "t.ndjson.gz",
            gzip.compress(b'{"text":"fine","label":"1"}\n{"text":"awful","label":0}', mtime=0),
        ),
    ],
)
def test_every_text_format_gives_the_same_table(tmp_path: Path, name: str, content: bytes):
    frame = read_table(written(tmp_path, name, content), ["text", "label"]).frame
    assert frame.select("text", "label").rows() == [("fine", "1"), ("awful", "0")]


def test_parquet_keeps_its_types_and_labels_become_text(tmp_path: Path):
    path = tmp_path / "t.parquet"
    polars.DataFrame({"text": ["a", "b"], "label": [1, 0]}).write_parquet(path)
    assert read_table(path).frame["label"].to_list() == [1, 0]
    assert read_labelled_texts(path, "text", "label") == (["a", "b"], ["1", "0"])


def test_cells_may_hold_quotes_commas_and_lines_and_tsv_has_no_quotes(tmp_path: Path):
    path = written(tmp_path, "t.csv", b'text,label\n"a ""b"", c\nd",x\n5" disk,y\n')
    assert read_table(path).frame.rows() == [('a "b", c\nd', "x"), ('5" disk', "y")]
    path = written(tmp_path, "t.tsv", b'text\tlabel\r\n"a\tx\r\nb"\ty\r\n')
    assert read_table(path).frame.rows() == [('"a', "x"), ('b"', "y")]


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.jsonl"])
def test_a_cell_of_a_million_characters_is_read_and_may_precede_an_error(tmp_path: Path, name: str):
    rows = [("x" * 1_000_000, "1"), ("b", "0"), ("", "0")]
    if name.endswith("jsonl"):
        content = "\n".join(json.dumps({"text": text, "label": y}) for text, y in rows)
        bad_line = 3
    else:
        separator = "," if name.endswith("csv") else "\t"
        content = "\n".join(separator.join(row) for row in [("text", "label"), *rows])
        bad_line = 4
    path = written(tmp_path, name, content.encode())
    assert read_table(path).frame["text"].str.len_chars().to_list()[:2] == [1_000_000, 1]
    line = problem_of(read_labelled_texts, path, "text", "label")
    assert f"line {bad_line}, column 'text': expected a text, got an empty cell" in line


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", b"", "empty file"),
        ("t.csv", b"\n\n", "blank lines only"),
        ("t.csv", b"text,label\n", "header only"),
        ("t.jsonl", b"\n", "expected a column 'text'"),
        ("t.csv", REVIEWS + b"a,b,1\n", "line 4: expected 2 fields as in the header, got 3; put"),
        ("t.csv", REVIEWS + b"a\nb,1\n", "line 4: expected 2 fields as in the header, got 1"),
        ("t.tsv", b"text\tlabel\na\t1\nb\t0\tz\n", "line 3: expected 2 fields"),
        ("t.csv", b'text,label\na,1\n"b,0\nc,1\n', "line 3: expected cells in closed quotes"),
        ("t.csv", b'text,label\n"b"c,0\n', "line 2: expected cells in closed quotes"),
        ("t.csv", b'text,label\n"b,0\nc,1\n"d,1,2\n', "line 2: expected"),
        ("t.csv", b'text,label\na,1\n"b,0\nc",1,2\n', "line 3: .*closed only on line 4"),
        ("t.csv", b'text,label\n"a\nb",1\nc\xe9,0\n', "line 4: expected UTF-8, got byte 0xE9"),
        ("t.jsonl", b'{"text":"\xe9"}\n', "line 1: expected UTF-8, got byte 0xE9"),
        ("t.csv", REVIEWS + b"a\0b,1\n", "line 4: expected text, got a NUL"),
        ("t.csv", b"text,text,label\na,b,1\n", "line 1: expected each column name once"),
        ("t.csv", b"Text ,label\na,1\n", "did you mean 'Text '"),
        ("t.csv", b"texts,label\na,1\n", "column 'text', got 'texts', 'label'; did you mean"),
        ("t.csv", b"review,label\na,1\n", "got 'review', 'label'; name one of these"),
        ("t.csv", b"text:label\na:1\n", "separated by ':'.*say so: separator=':'"),
        ("t.jsonl", b'{"text":"a","label":1}\n{"text":\n', "line 2: expected one JSON object"),
        ("t.jsonl", b'[{"text":"a","label":1}]', "line 1: .*got a list"),
        ("t.jsonl", b"[" * 100_000, "line 1: expected one JSON object"),
        (
            "t.csv.gz",
            gzip.compress(REVIEWS * 99, mtime=0)[:-20],
            "whole gzip file, got a damaged one",
        ),
        ("t.csv.gz", REVIEWS, "expected gzip data"),
        ("t.parquet", b"PAR1 no", "expected a Parquet file"),
        ("t.dat", b"PK", "expected a table ending in .csv"),
        ("t.csv", b"text,label\na,1\n,0\n", "line 3, column 'text': expected a text"),
        ("t.csv", b'text,label\na,1\n"",0\n', "line 3, column 'text': expected a text"),
        ("t.csv", b"text,label\na,1\n  ,0\n", "line 3, column 'text': expected a text"),
        ("t.csv", b'text,label\n"a\n\nb",1\n\nc,\n', "line 6, column 'label': expected a label"),
        ("t.tsv", b"text\tlabel\na\t1\nb\t \n", "line 3, column 'label': expected a label"),
        ("t.jsonl", b'{"text":"a","label":1}\n\n{"text":"b"}', "line 3, column 'label': expected"),
        ("t.jsonl", b'{"text":null,"label":1}', "line 1, column 'text': expected a text"),
        (
            "t.csv",
            b"text,label\na,1\nb,1\n",
            "column 'label': expected two classes or more, got on",
        ),
    ],
)
def test_bad_tables_give_one_line(tmp_path: Path, name: str, content: bytes, message: str):
    line = problem_of(read_labelled_texts, written(tmp_path, name, content), "text", "label")
    assert re.search(message, line), line


def test_swapped_or_equal_columns_missing_files_and_folders_are_named(tmp_path: Path):
    rows = b"".join(b"review %d,%d\n" % (i, i % 2) for i in range(30))
    path = written(tmp_path, "t.csv", b"text,label\n" + rows)
    assert "swapped?" in problem_of(read_labelled_texts, path, "label", "text")
    assert "name another" in problem_of(read_labelled_texts, path, "text", "text")
    assert "nothing of that name" in problem_of(read_table, tmp_path / "none.csv")
    folder = tmp_path / "folder.csv"
    folder.mkdir()
    assert "got a folder" in problem_of(read_table, folder)


def test_a_test_set_may_have_one_class(tmp_path: Path):
    path = written(tmp_path, "t.csv", b"text,label\na,1\nb,1\n")
    texts, labels = read_labelled_texts(path, "text", "label", allow_one_class=True)
    assert (texts, labels) == (["a", "b"], ["1", "1"])


def test_null_cells_of_parquet_are_named_by_row(tmp_path: Path):
    path = tmp_path / "t.parquet"
    polars.DataFrame({"text": ["a", None], "label": [1, 0]}).write_parquet(path)
    line = problem_of(read_labelled_texts, path, "text", "label")
    assert "column 'text': row 2: expected a text" in line


@pytest.mark.parametrize(
    ("name", "rows"), [("imdb/train.tsv.gz", 25_000), ("sst/sst2_train.tsv.gz", 6920)]
)
def test_review_files_are_read_whole_and_fast(name: str, rows: int):
    started = time.perf_counter()
    texts, labels = read_labelled_texts(data(name), "text", "label")
    assert time.perf_counter() - started < 5
    assert len(texts) == len(labels) == rows
    assert set(labels) == {"0", "1"}


def test_etth1_is_read_with_all_seven_series():
    names = ("HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT")
    series = read_series(data("timeseries/ETTh1.csv.gz"), "date", names)
    assert series.values.shape == (17_420, 7)
    assert series.names == names
    assert series.step == np.timedelta64(1, "h")
    assert series.values[0, 6] == 30.5310001373291
    assert series.row_of("2017-06-26") == 8640
    assert series.future_times(1)[0] == np.datetime64("2018-06-26T20:00:00")


@pytest.mark.parametrize(
    ("name", "column", "target", "rows", "step"),
    [
        ("airline-passengers.csv", "Month", "Passengers", 144, np.timedelta64(1, "M")),
        ("monthly-sunspots.csv", "Month", "Sunspots", 2820, np.timedelta64(1, "M")),
        ("sunspots_yearly.csv", "YEAR", "SUNACTIVITY", 309, 1),
        ("ETTm1.csv.gz", "date", "OT", 69_680, np.timedelta64(15, "m")),
    ],
)
def test_well_known_series_are_read(name: str, column: str, target: str, rows: int, step: object):
    series = read_series(data(f"timeseries/{name}"), column, [target])
    assert (len(series), series.step) == (rows, step)


@pytest.mark.parametrize(
    ("name", "column", "target", "message", "rows"),
    [
        # 1984 and 1988 lack their last day
        ("daily-min-temperatures.csv", "Date", "Temp", "line 1462, .*2 rows missing in all", 3652),
        ("mauna_loa_co2_weekly.csv", "date", "co2", "line 8, .*one of 59", 2284),
    ],
)
def test_gaps_in_well_known_series_are_named_and_can_be_filled(
    name: str, column: str, target: str, message: str, rows: int
):
    path = data(f"timeseries/{name}")
    with pytest.raises(InputError, match=message):
        read_series(path, column, [target])
    series = read_series(path, column, [target], fill_gaps=True)
    assert len(series) == rows
    missing = 59 if target == "co2" else 2
    assert np.isnan(series.values).sum() == missing


def test_time_in_several_columns_is_refused_with_a_remedy():
    path = data("timeseries/beijing_pollution_hourly.csv.gz")
    line = problem_of(read_series, path, "year", ["TEMP"])
    assert "column 'year': expected one column with the whole time" in line
    assert "column of row numbers" in line
    assert len(read_series(path, "No", ["TEMP"], ["DEWP", "PRES"]).covariate_names) == 2


def hourly(*rows: str) -> bytes:
    return HOURLY + "".join(row + "\n" for row in rows).encode()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (hourly("2016-07-01 02:00:00,NaN,7"), "line 4, column 'load': .*missing value .*fill"),
        (hourly("2016-07-01 02:00:00,3,"), "line 4, column 'oil': expected a number, got a missi"),
        (hourly("2016-07-01 02:00:00,three,7"), "line 4, column 'load': .*'three'; correct it"),
        (hourly('2016-07-01 02:00:00,"1,5",7'), "line 4, column 'load': .*decimal point"),
        (hourly("2016-07-01 02:00:00,inf,7"), "line 4, column 'load': expected a number"),
        (hourly("2016-07-01 01:00:00,3,7"), "line 4, column 'date': expected each time once"),
        (
            hourly("2016-07-01 04:00:00,3,7", "2016-07-01 05:00:00,3,7"),
            r"line 4, column 'date': expected 2016-07-01 02:00:00, got 2016-07-01 04:00:00 \(2 row",
        ),
        (hourly("2016-07-01 01:30:00,3,7", "2016-07-01 02:30:00,1,1"), "line 4, .*1 hour apart"),
        (
            hourly("07/01/2016,3,7"),
            "line 4, column 'date': .*as 2016-07-01 00:00:00, the",
        ),
        (hourly(",3,7"), "line 4, column 'date': expected a time"),
        (hourly("2016-07-01 02:00:00.5,3,7"), "line 4, column 'date': expected times 1 hour"),
        (b"date,load,oil\n2016-07-01,1,5\n", "line 2, column 'date': expected two times or more"),
        (hourly("2016-07-01 02:00:00,3"), "line 4: expected 3 fields"),
        (hourly("2016-07-01 02:00:00,%s,7" % ("x" * 1_000_000)), "line 4, .*got 'xxxx"),
    ],
)
def test_bad_series_give_one_line(tmp_path: Path, content: bytes, message: str):
    path = written(tmp_path, "load.csv", content)
    line = problem_of(read_series, path, "date", ["load"], ["oil"])
    assert re.search(message, line), line


def test_gaps_stay_gaps_and_covariates_go_on_with_the_last_value(tmp_path: Path):
    content = hourly("2016-07-01 02:00:00,NA,7", "2016-07-01 05:00:00,9,8")
    series = read_series(
        written(tmp_path, "l.csv", content), "date", ["load"], ["oil"], fill_gaps=True
    )
    np.testing.assert_array_equal(series.values[:, 0], [1, 2, np.nan, np.nan, np.nan, 9])
    assert series.covariates[:, 0].tolist() == [5, 6, 7, 7, 7, 8]
    assert np.diff(series.times).astype(int).tolist() == [3600] * 5


def test_gaps_that_cannot_be_filled_are_named(tmp_path: Path):
    sparse = b"date,load\n1,4\n2,5\n1000000000,6\n"
    line = problem_of(
        read_series, written(tmp_path, "b.csv", sparse), "date", ["load"], fill_gaps=True
    )
    assert "bring the rows to a regular grid" in line


def test_times_may_be_numbers_dates_in_digits_zones_and_parquet_datetimes(tmp_path: Path):
    compact = written(tmp_path, "a.csv", b"date,load\n20160730,4\n20160731,5\n20160801,6\n")
    assert read_series(compact, "date", ["load"]).step == np.timedelta64(1, "D")
    epoch = written(tmp_path, "b.csv", b"date,load\n1969-12,4\n1970-01,5\n1970-02,6\n")
    assert read_series(epoch, "date", ["load"]).times[1] == np.datetime64(0, "s")
    zones = b"date,load\n2016-07-01T00:00:00Z,4\n2016-07-01T03:00:00+02:00,5\n"
    series = read_series(written(tmp_path, "c.csv", zones), "date", ["load"])
    assert series.step == np.timedelta64(1, "h")
    days = [datetime(2020, 1, 1) + timedelta(days=i) for i in range(3)]
    path = tmp_path / "d.parquet"
    polars.DataFrame({"date": days, "load": [1, 2, 3]}).write_parquet(path)
    series = read_series(path, "date", ["load"])
    assert series.step == np.timedelta64(1, "D")
    assert series.values.tolist() == [[1], [2], [3]]
    polars.DataFrame({"date": days, "load": [1, None, 3]}).write_parquet(path)
    line = problem_of(read_series, path, "date", ["load"])
    assert "column 'load': row 2: expected a number" in line


def test_a_column_named_twice_in_a_series_is_refused(tmp_path: Path):
    path = written(tmp_path, "load.csv", HOURLY)
    for targets, covariates in (([], []), (["date"], []), (["load"], ["load"])):
        assert "each once" in problem_of(read_series, path, "date", targets, covariates)


def test_the_csv_module_is_left_as_it_was(tmp_path: Path):
    import csv

    before = csv.field_size_limit()
    problem_of(read_table, written(tmp_path, "t.csv", b"a,b\n1\n"))
    read_table(written(tmp_path, "t.csv", REVIEWS))
    assert csv.field_size_limit() == before


CELLS = [
    *("1", "+1", "-1", "1.", "1.5", ".5", "1e5", "1E-3", " 2 ", "1_000", "nan", "NaN", "-nan"),
    *("inf", "-inf", "Infinity", "+inf", "1,5", "1.234,5", "1,234.5", "1 234", "12 345,6", "−5"),
    *("x", "", "NA", "n/a", "٣", "1e", "e5", "--", "1e400", "0x10", "1e-400", "1.5.2", "+"),
    *("1,234", "12,34", "1'234", "true", " - ", "\u00a01", "1\n", None),
]


@pytest.mark.parametrize("cells", [*([cell] for cell in CELLS), CELLS, CELLS[:18], []])
def test_numbers_in_text_are_the_same_without_polars(cells: list[str | None]) -> None:
    fast, plain = polars.Series("a", cells, dtype=polars.String), TextColumn("a", cells)
    for mark in (None, ",", "."):
        expected = with_points(fast, mark).to_list()
        assert with_points(plain, mark).to_list() == expected
    assert mark_of(plain) == mark_of(fast)
    for one, other in zip(as_floats(plain), as_floats(fast), strict=True):
        np.testing.assert_array_equal(one, other)
