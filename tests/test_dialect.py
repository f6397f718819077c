"""What is written in the form of a table reads back as it was, beside that table and after it."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from command_line import TINY, Tidegate

from tidegate.data.files.dialect import Dialect, check_table_name
from tidegate.data.files.formats import Layout
from tidegate.data.series.series import Series
from tidegate.data.series.tables import read_series
from tidegate.errors import InputError

DAYS = ["2020-01-01", "2020-01-02", "2020-01-03"]
VALUES = [1234.5, 0.1 + 0.2, 1e-7]


def numbered(*columns: list[str], end: str = "\n", separator: str = ",") -> str:
    return "".join(separator.join(row) + end for row in zip(*columns, strict=True))


FORMS = {
    "commas": ("a.csv", numbered(["day", *DAYS], ["x", "1", "2.5", "3"]), {}),
    "semicolons, decimal commas": (
        "a.csv",
        numbered(["day", *DAYS], ["x", "1", "2,5", "3"], separator=";", end="\r\n"),
        {},
    ),
    "semicolons, thousands": (
        "a.csv",
        numbered(["day", *DAYS], ["x", "1.000", "2.345,5", "3"], separator=";"),
        {},
    ),
    "semicolons, points": (
        "a.csv",
        numbered(["day", *DAYS], ["x", "1", "2.5", "3"], separator=";"),
        {},
    ),
    "decimal commas in quotes": (
        "a.csv",
        numbered(["day", *DAYS], ["x", "1", '"2,5"', "3"]),
        {"decimal": ","},
    ),
    "all in quotes": (
        "a.csv",
        numbered(['"day"', *(f'"{d}"' for d in DAYS)], ['"x"', '"1"', '"2.5"', '"3"']),
        {},
    ),
    "texts in quotes": (
        "a.csv",
        numbered(['"day"', *(f'"{d}"' for d in DAYS)], ['"x"', "1", "2.5", "3"]),
        {},
    ),
    "tabs": ("a.tsv", numbered(["day", *DAYS], ["x", "1", "2,5", "3"], separator="\t"), {}),
    "tabs in a .csv": (
        "a.csv",
        numbered(["day", *DAYS], ["x", "1", "2.5", "3"], separator="\t"),
        {},
    ),
    "no header": ("a.csv", numbered(DAYS, ["1", "2.5", "3"], separator=";"), {"header": False}),
    "a named separator": (
        "a.csv",
        "sep=;\r\n" + numbered(["day", *DAYS], ["x", "1", "2,5", "3"], separator=";", end="\r\n"),
        {},
    ),
    "times with a decimal comma": (
        "a.csv",
        numbered(["day", "0,5", "1,0", "1,5"], ["x", "1", "2,5", "3"], separator=";"),
        {},
    ),
    "JSON": ("a.jsonl", "".join(f'{{"day": "{d}", "x": 1.5}}\n' for d in DAYS), {}),
    "JSON of numbers": ("a.ndjson", "".join(f'{{"day": {d}, "x": 1.5}}\n' for d in range(3)), {}),
    "JSON of texts": ("a.jsonl", "".join(f'{{"day": "{d}", "x": "1,5"}}\n' for d in range(3)), {}),
    "cp1252": (
        "a.csv",
        numbered(["day", *DAYS], ["Höhe", "1", "2.5", "3"]).encode("cp1252"),
        {"encoding": "cp1252"},
    ),
    "UTF-16": ("a.csv", numbered(["day", *DAYS], ["Höhe", "1", "2.5", "3"]).encode("utf-16"), {}),
    "UTF-8 with its mark": (
        "a.csv",
        numbered(["day", *DAYS], ["Höhe", "1", "2.5", "3"]).encode("utf-8-sig"),
        {},
    ),
}


def read(path: Path, told: dict[str, object]) -> Series:
    content = path.read_bytes()
    named = "Höhe" if b"H\x00" in content or b"H\xf6" in content or b"\xc3\xb6" in content else "x"
    time, target = ("1", "2") if told.get("header") is False else ("day", named)
    return read_series(path, time, [target], (), Layout(**told))  # pyright: ignore[reportArgumentType]


def written(series: Series, path: Path) -> str:
    form = series.dialect.for_file(path)
    times = series.style.write(series.future_times(len(VALUES)))
    time = {"x": "day", "Höhe": "day", "2": "1"}[series.names[0]]
    text = form.text([time, *series.names], [times, VALUES])
    path.write_bytes(form.content(text, path))
    return text


@pytest.mark.parametrize("form", FORMS)
def test_a_forecast_has_the_form_of_its_input_and_can_be_appended(
    tmp_path: Path, form: str
) -> None:
    name, content, told = FORMS[form]
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    series = read(path, told)
    text = written(series, tmp_path / f"next-{name}")
    ahead = read(tmp_path / f"next-{name}", told)
    assert ahead.values[:, 0].tolist() == VALUES
    assert (ahead.times == series.future_times(3)).all()
    assert ahead.style.write(ahead.times) == series.style.write(series.future_times(3))
    assert ahead.dialect.separator == series.dialect.separator
    # what follows is of one form with what stands before
    encoding = series.dialect.encoding.removesuffix("-sig")
    rows = text if told.get("header") is False or "json" in name else text.split("\n", 1)[1]
    more = rows.encode(encoding).removeprefix(b"\xff\xfe")
    path.write_bytes(path.read_bytes() + more)
    both = read(path, told)
    assert both.values[:, 0].tolist() == [*series.values[:, 0], *VALUES]
    assert (both.times[3:] == series.future_times(3)).all()


@pytest.mark.parametrize(
    ("form", "first"),
    [
        ("semicolons, decimal commas", "day;x\r\n2020-01-04;1234,5\r\n"),
        ("all in quotes", '"day","x"\n"2020-01-04","1234.5"\n'),
        ("texts in quotes", '"day","x"\n"2020-01-04",1234.5\n'),
        ("times with a decimal comma", "day;x\n2,0;1234,5\n"),
        ("no header", "2020-01-04;1234.5\n"),
        ("JSON", '{"day": "2020-01-04", "x": 1234.5}\n'),
        ("JSON of numbers", '{"day": 3, "x": 1234.5}\n'),
        ("JSON of texts", '{"day": "3", "x": "1234,5"}\n'),
    ],
)
def test_quotes_marks_and_line_ends_are_those_of_the_input(
    tmp_path: Path, form: str, first: str
) -> None:
    name, content, told = FORMS[form]
    assert isinstance(content, str)
    (tmp_path / name).write_bytes(content.encode())
    assert written(read(tmp_path / name, told), tmp_path / f"next-{name}").startswith(first)


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("b.tsv", "day\tx\n2020-01-04\t1234,5\n"),
        ("b.jsonl", '{"day": "2020-01-04", "x": 1234.5}\n'),
        ("b.csv", "day;x\r\n2020-01-04;1234,5\r\n"),
        ("b.csv.gz", "day;x\r\n2020-01-04;1234,5\r\n"),
        ("b.txt", "day;x\r\n2020-01-04;1234,5\r\n"),
        ("b", "day;x\r\n2020-01-04;1234,5\r\n"),
    ],
)
def test_the_name_of_the_output_says_what_it_is(tmp_path: Path, name: str, first: str) -> None:
    _, content, told = FORMS["semicolons, decimal commas"]
    (tmp_path / "a.csv").write_bytes(str(content).encode())
    written(read(tmp_path / "a.csv", told), tmp_path / name)
    data = (tmp_path / name).read_bytes()
    data = gzip.decompress(data) if name.endswith(".gz") else data
    assert data.decode().startswith(first)


def test_a_tsv_has_no_quotes_so_what_needs_them_is_refused() -> None:
    form = Dialect(kind="tsv", separator="\t")
    assert form.text(['a "b"', "c"], [["1"], [0.5]]) == 'a "b"\tc\n1\t0.5\n'
    with pytest.raises(InputError, match="without tabs and line ends.*write a .csv"):
        form.text(["a\tb"], [["1"]])


@pytest.mark.parametrize("name", ["next.parquet", "next.xlsx", "next.json"])
def test_a_format_that_is_not_written_is_refused_before_the_model_is_read(
    tidegate: Tidegate, name: str
) -> None:
    outcome = tidegate(f"forecast none.safetensors load.csv -o {name}")
    assert outcome.code == 2
    assert f"{name}: expected a name that ends in .csv, .tsv, .jsonl or .ndjson" in outcome.err
    assert not Path(name).exists()
    check_table_name("/dev/stdout")


def test_the_command_writes_and_prints_in_the_form_of_its_file(tidegate: Tidegate) -> None:
    table = Path("load.csv").read_text()
    Path("load.csv").write_text(table.replace(",", ";").replace(".", ","))
    train = f"train forecaster load.csv --time date --target OT {TINY['forecaster']} --json"
    assert tidegate(train).code == 0
    model = "load-forecaster.safetensors"
    printed = tidegate(f"forecast {model} load.csv").out
    assert printed.startswith("date;OT\n2024-01-15T00;")
    assert tidegate(f"forecast {model} load.csv -o next.csv").code == 0
    assert Path("next.csv").read_text() == printed
    told = tidegate(f"forecast {model} load.csv --json").json
    assert read_series("next.csv", "date", ["OT"]).values[:, 0].tolist() == told["forecast"]["OT"]
    # of other kinds of files with the same numbers
    rows = [line.split(",") for line in table.splitlines()[1:]]
    lines = [json.dumps({"date": t, "OT": float(x), "day": int(d)}) for t, x, d in rows]
    Path("load.jsonl").write_text("\n".join(lines))
    of_lines = tidegate(f"forecast {model} load.jsonl").out.splitlines()
    assert [json.loads(line)["OT"] for line in of_lines] == told["forecast"]["OT"]
    import polars

    frame = polars.read_ndjson("load.jsonl").with_columns(polars.col("date") + ":00")
    frame.with_columns(polars.col("date").str.to_datetime()).write_parquet("load.parquet")
    of_frame = tidegate(f"forecast {model} load.parquet").out
    assert of_frame.startswith("date,OT\n2024-01-15 00:00:00,")
    values = [float(line.split(",")[1]) for line in of_frame.splitlines()[1:]]
    assert np.allclose(values, told["forecast"]["OT"], rtol=1e-6)


def test_columns_that_a_command_adds_have_the_decimal_marks_of_the_file(
    tidegate: Tidegate,
) -> None:
    rows = [f"{hour};{hour % 7},{hour % 5}" for hour in range(200)]
    Path("a.csv").write_text("\n".join(["hour;x", *rows]) + "\n")
    told = "--time hour --target x --horizon 2 --context 14 --hidden-sizes 2 --max-steps 2"
    learned = f"train forecaster a.csv {told} --validate-until 0.5 -o m.safetensors"
    assert tidegate(learned).code == 0
    ahead = tidegate("forecast m.safetensors a.csv --quantiles 0.1,0.9").out
    scores = tidegate("detect m.safetensors a.csv --rate 0.1").out
    assert ahead.startswith("hour;x;x q0.1;x q0.9\n")
    assert scores.startswith("hour;score;flag\n")
    for row in [*ahead.splitlines()[1:], *scores.splitlines()[1:]]:
        assert "," in row
        assert "." not in row
