"""A cell says the same in every format, or one line says why it says nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars
import pytest
from command_line import Tidegate
from labelled_texts import read_labelled_texts
from test_workbooks import workbook

from tidegate import SequenceClassifier, TextClassifier
from tidegate.data.files.formats import Layout
from tidegate.data.files.items import label_text, look_alikes
from tidegate.data.files.tables import Table, read_table
from tidegate.data.sequence_sources import LabelledSequences
from tidegate.data.sequences.npz import read_npz
from tidegate.data.sequences.ts import read_ts
from tidegate.data.series.tables import read_series
from tidegate.data.text_sources import LabelledTexts
from tidegate.errors import InputError

TEXTS = ["a b", "c d", "e f", "g h"]


def as_csv(path: Path, columns: dict[str, list[Any]]) -> Path:
    rows = [
        ",".join(columns),
        *(",".join(map(str, row)) for row in zip(*columns.values(), strict=True)),
    ]
    (path := path.with_suffix(".csv")).write_text("\n".join(rows) + "\n")
    return path


def as_jsonl(path: Path, columns: dict[str, list[Any]]) -> Path:
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    (path := path.with_suffix(".jsonl")).write_text("\n".join(map(json.dumps, rows)))
    return path


def as_parquet(path: Path, columns: dict[str, list[Any]]) -> Path:
    polars.DataFrame(columns).write_parquet(path := path.with_suffix(".parquet"))
    return path


def as_workbook(path: Path, columns: dict[str, list[Any]]) -> Path:
    pytest.importorskip("fastexcel")
    rows = [list(columns), *map(list, zip(*columns.values(), strict=True))]
    return workbook(path.with_suffix(".xlsx"), {"one": rows})


def problem_of(read: Callable[..., Any], *arguments: Any, **told: Any) -> str:
    with pytest.raises(InputError) as caught:
        read(*arguments, **told)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# labels


@pytest.mark.parametrize("write", [as_csv, as_jsonl, as_parquet])
@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([True, False, True, False], ["true", "false", "true", "false"]),
        ([1, 0, 1, 0], ["1", "0", "1", "0"]),
        ([1.0, 0.0, 1.0, 0.0], ["1", "0", "1", "0"]),
        ([0.5, 1.5, 0.5, 1.5], ["0.5", "1.5", "0.5", "1.5"]),
        (["1", "0", "1", "0"], ["1", "0", "1", "0"]),
        (["pos", "pos ", " pos", "neg"], ["pos", "pos", "pos", "neg"]),
        (["so so", "so\u00a0so", "so  so", "neg"], ["so so", "so so", "so so", "neg"]),
        (["\u00e9", "e\u0301", "x", "x"], ["\u00e9", "\u00e9", "x", "x"]),
        (["007", "7", "007", "7"], ["007", "7", "007", "7"]),
        (["3.10", "3.1", "3.10", "3.1"], ["3.10", "3.1", "3.10", "3.1"]),
        (["Pos", "pos", "Pos", "pos"], ["Pos", "pos", "Pos", "pos"]),
    ],
)
def test_a_label_is_the_same_out_of_every_format(
    tmp_path: Path, write: Callable[..., Path], labels: list[Any], expected: list[str]
) -> None:
    path = write(tmp_path / "t", {"text": TEXTS, "label": labels})
    assert read_labelled_texts(path, "text", "label") == (TEXTS, expected)


@pytest.mark.parametrize(("labels", "expected"), [([1, 0, 1, 0], "1"), (["1", "0"] * 2, "1")])
def test_a_label_of_a_workbook_is_the_same(
    tmp_path: Path, labels: list[Any], expected: str
) -> None:
    path = as_workbook(tmp_path / "t", {"text": TEXTS, "label": labels})
    assert read_labelled_texts(path, "text", "label")[1][0] == expected


def test_a_label_of_sequences_is_the_same_in_every_format(tmp_path: Path) -> None:
    columns = {"id": ["a", "a", "b", "b"], "v": [1, 2, 3, 4], "label": [True, True, False, False]}
    source = LabelledSequences(id="id", values=("v",), label="label")
    for write in (as_csv, as_jsonl, as_parquet):
        _, labels = source.read(str(write(tmp_path / "s", columns)), learning=True)
        assert labels.tolist() == ["true", "false"]
    (tmp_path / "s.ts").write_text("@univariate true\n@classLabel true True False\n@data\n")
    with (tmp_path / "s.ts").open("a") as file:
        file.write("1,2:True\n3,4:False\n")
    found = read_ts(tmp_path / "s.ts", "label").answers
    assert found is not None
    assert found.tolist() == ["true", "false"]
    for y, expected in (([True, False], ["true", "false"]), ([1.0, 0.0], ["1", "0"])):
        np.savez(tmp_path / "s.npz", X=np.ones((2, 3)), y=np.array(y))
        found = read_npz(tmp_path / "s.npz", "label").answers
        assert found is not None
        assert found.tolist() == expected


def test_a_model_of_one_format_is_measured_on_the_others(tidegate: Tidegate) -> None:
    texts = [f"{word} film {i}" for i in range(20) for word in ("lovely", "dreadful")]
    columns = {"text": texts, "label": [True, False] * 20}
    as_csv(Path("t"), columns)
    as_jsonl(Path("t"), columns)
    as_parquet(Path("t"), columns)
    tiny = "--embedding-size 4 --hidden-sizes 4 --max-steps 4 --min-count 1 --json"
    assert tidegate(f"train classifier t.jsonl --text text --label label {tiny}").code == 0
    model = "t-text-classifier.safetensors"
    figures = [tidegate(f"evaluate {model} t.{end} --json").json for end in ("csv", "jsonl")]
    figures.append(tidegate(f"evaluate {model} t.parquet --json").json)
    assert figures[0] == figures[1] == figures[2]
    assert figures[0]["labels"] == ["false", "true"]
    # one that Python fitted keeps the type of its labels
    fitted = TextClassifier(embedding_size=4, hidden_sizes=(4,), max_steps=4, verbose=0)
    fitted.fit(texts, columns["label"]).save("p.safetensors")
    assert fitted.predict(texts[:1]).dtype == bool
    assert tidegate("evaluate p.safetensors t.csv --text text --label label --json").code == 0


def test_a_label_is_told_in_one_way() -> None:
    for text, expected in {
        "TRUE": "true",
        " False\t": "false",
        "1.000": "1",
        "-2.0": "-2",
        "1.0.0": "1.0.0",
        "v1.0": "v1.0",
        "truer": "truer",
    }.items():
        assert label_text(text) == expected
        assert label_text(label_text(text)) == expected


# labels that look alike


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        (["pos"] * 9 + ["Pos"], "'pos' (9) and 'Pos' (1)"),
        (["pos"] * 2 + ["pos "], "'pos' (2) and 'pos ' (1)"),
        (["a b"] * 2 + ["a\u00a0b"], r"'a b' (2) and 'a\xa0b' (1)"),
        (["\u00e9"] * 2 + ["e\u0301"], r"'\xe9' (2) and 'e\u0301' (1)"),
        (["neg"] * 2 + ["neg\u200b"], r"'neg' (2) and 'neg\u200b' (1)"),
        (["stra\u00dfe"] * 2 + ["STRASSE"], "'stra\u00dfe' (2) and 'STRASSE' (1)"),
    ],
)
def test_labels_that_look_alike_are_told_with_their_counts(labels: list[str], told: str) -> None:
    sentence = look_alikes([*labels, "other", "another"])
    assert sentence == (
        f"labels that look alike are learned as different ones: {told}; if they mean the same, "
        "write them alike"
    )


def test_labels_that_differ_are_not_told() -> None:
    assert look_alikes(["pos", "neg", "pos"]) is None
    assert look_alikes([1, 2, True]) is None


def test_both_classifiers_say_it_unless_they_are_silent(capsys: pytest.CaptureFixture[str]) -> None:
    labels = ["yes", "no", "Yes", "No"] * 3
    few: dict[str, Any] = {"hidden_sizes": (2,), "max_steps": 1}
    TextClassifier(embedding_size=2, verbose=0, **few).fit([f"w{i}" for i in range(12)], labels)
    assert capsys.readouterr().out == ""
    TextClassifier(embedding_size=2, **few).fit([f"w{i}" for i in range(12)], labels)
    assert "'yes' (3) and 'Yes' (3); 'no' (3) and 'No' (3)" in capsys.readouterr().out
    SequenceClassifier(**few).fit(np.ones((10, 4)), labels[:10])
    assert "'yes' (3) and 'Yes' (2); 'no' (3) and 'No' (2)" in capsys.readouterr().out


# what is no text, label, number or time

NESTED = {
    "a list, ": [["x"], ["y"]] * 2,
    "an object, {'a': 1}": [{"a": 1}, {"a": 2}] * 2,
}
TYPED = {
    "bytes, b'x'": [b"x", b"y"] * 2,
    "a date, datetime.date(2020, 1, 1)": [date(2020, 1, 1), date(2021, 1, 1)] * 2,
    "a date, datetime.datetime(2020, 1, 1, 0, 0)": [datetime(2020, 1, 1)] * 4,
    "a time, datetime.timedelta(days=1)": [timedelta(days=1)] * 4,
}


@pytest.mark.parametrize(
    ("write", "kind", "cells"),
    [(as_jsonl, *one) for one in NESTED.items()]
    + [(as_parquet, *one) for one in (NESTED | TYPED).items()],
)
@pytest.mark.parametrize("what", ["text", "label"])
def test_nested_cells_bytes_and_dates_are_no_texts_and_no_labels(
    tmp_path: Path, write: Callable[..., Path], kind: str, cells: list[Any], what: str
) -> None:
    if (what, kind) == ("label", "a list, "):
        return  # of labels, which a text may have several of
    columns = {"text": TEXTS, "label": ["x", "y"] * 2} | {what: cells}
    path = write(tmp_path / "t", columns)
    line = problem_of(read_labelled_texts, path, "text", "label")
    place = "line 1, column" if path.suffix == ".jsonl" else "column"
    assert line.startswith(f"{path}, {place} '{what}': ")
    assert f"expected a {what}, got {kind}" in line
    assert "; write it as text" in line or "; decode the column to text" in line
    if what == "text":
        source = LabelledTexts(text=("text",), label="label")
        assert f"got {kind}" in problem_of(source.read_inputs, str(path))


def test_the_row_of_the_first_one_is_told(tmp_path: Path) -> None:
    path = as_jsonl(tmp_path / "t", {"text": TEXTS, "label": ["x", None, {"y": 1}, "x"]})
    assert "line 2, column 'label': expected a label, got an empty" not in problem_of(
        read_labelled_texts, path, "text", "label"
    )
    assert "line 3, column 'label': expected a label, got an object" in problem_of(
        read_labelled_texts, path, "text", "label"
    )
    frame = polars.DataFrame({"text": TEXTS, "label": [None, None, {"a": 1}, {"a": 2}]})
    frame.write_parquet(tmp_path / "t.parquet")
    line = problem_of(read_labelled_texts, tmp_path / "t.parquet", "text", "label")
    assert "column 'label': row 3: expected a label, got an object, {'a': 1}" in line


@pytest.mark.parametrize("write", [as_csv, as_jsonl, as_parquet])
def test_truth_values_are_no_numbers_in_any_format(
    tmp_path: Path, write: Callable[..., Path]
) -> None:
    path = write(tmp_path / "t", {"day": [1, 2, 3], "x": [True, False, True]})
    line = problem_of(read_series, path, "day", ["x"])
    assert "expected a number, got" in line
    assert "write 1 for true and 0 for false" in line


@pytest.mark.parametrize("write", [as_jsonl, as_parquet])
@pytest.mark.parametrize("column", ["day", "x"])
def test_nested_cells_are_no_numbers_and_no_times(
    tmp_path: Path, write: Callable[..., Path], column: str
) -> None:
    columns = {"day": [1, 2, 3], "x": [1, 2, 3]} | {column: [[1], [2], [3]]}
    line = problem_of(read_series, write(tmp_path / "t", columns), "day", ["x"])
    assert f"expected a {'time' if column == 'day' else 'number'}, got a list, [1]" in line


def test_plain_types_of_parquet_are_read(tmp_path: Path) -> None:
    words = polars.Series(["x", "y", "x", "y"])
    for labels in (words, words.cast(polars.Categorical), words.cast(polars.Enum(["x", "y"]))):
        path = as_parquet(tmp_path / "t", {"text": TEXTS, "label": labels})  # pyright: ignore
        assert read_labelled_texts(path, "text", "label")[1] == ["x", "y", "x", "y"]
    numbers = polars.Series(["1.5", "2", "3"])
    for values in (numbers.cast(polars.Decimal(10, 2)), numbers.cast(polars.Categorical)):
        path = as_parquet(tmp_path / "t", {"day": [1, 2, 3], "x": values})  # pyright: ignore
        assert read_series(path, "day", ["x"]).values[:, 0].tolist() == [1.5, 2, 3]
    ids = [date(2020, 1, 1)] * 2 + [date(2020, 1, 2)] * 2
    columns = {"id": ids, "v": [1, 2, 3, 4], "label": ["x", "x", "y", "y"]}
    source = LabelledSequences(id="id", values=("v",), label="label")
    values, _ = source.read(str(as_parquet(tmp_path / "t", columns)), learning=True)
    assert len(values) == 2


# numbers as people write them


def numbers(folder: Path, cells: list[str], more: list[str] | None = None, **told: Any) -> Any:
    separator = told.pop("between", ";")
    rows = [["x", "y"], *([a, b] for a, b in zip(cells, more or ["0"] * len(cells), strict=True))]
    path = folder / "n.csv"
    path.write_text("".join(separator.join(row) + "\n" for row in rows))
    return read_table(path, layout=Layout(**told)).numbers("x").tolist()


@pytest.mark.parametrize(
    ("cells", "expected", "told"),
    [
        (["1,5", "2"], [1.5, 2], {}),
        (["1.234,5", "2"], [1234.5, 2], {}),
        (["1.234.567", "2"], [1234567, 2], {}),
        (["1 234,5", "2"], [1234.5, 2], {}),
        (["1\u202f234,5", "2"], [1234.5, 2], {}),
        (["0,123", "0,456"], [0.123, 0.456], {}),
        (["1.5", "2"], [1.5, 2], {}),
        (["1.234", "2.345"], [1.234, 2.345], {}),
        (["1,234.5", "2"], [1234.5, 2], {}),
        (["1,234,567", "2"], [1234567, 2], {}),
        (["1'234.50", "2"], [1234.5, 2], {}),
        (["1,234", "2"], [1.234, 2], {"decimal": ","}),
        (["1,234", "2"], [1234, 2], {"decimal": "."}),
        (["1.234", "2"], [1234, 2], {"decimal": ","}),
        (['"1,234.5"', "2"], [1234.5, 2], {"between": ","}),
        (['"1,234"', "2"], [1234, 2], {"between": ",", "decimal": "."}),
        (['"1,5"', "2"], [1.5, 2], {"between": ",", "decimal": ","}),
        (["1,5e3", "-2,5"], [1500, -2.5], {}),
        ([",5", "-,5"], [0.5, -0.5], {}),
    ],
)
def test_decimal_marks_and_thousands_are_told_apart(
    tmp_path: Path, cells: list[str], expected: list[float], told: dict[str, Any]
) -> None:
    assert numbers(tmp_path, cells, **told) == expected


def test_another_column_may_tell_the_decimal_mark(tmp_path: Path) -> None:
    assert numbers(tmp_path, ["1.234", "2.345"], ["1,5", "2"]) == [1234, 2345]
    assert numbers(tmp_path, ["1,234", "2,345"], ["1,5", "2"]) == [1.234, 2.345]
    assert numbers(tmp_path, ["1,234", "2,345"], ["1.5", "2"]) == [1234, 2345]
    assert numbers(tmp_path, ["1.234", "2.345"], ["1.5", "2"]) == [1.234, 2.345]


@pytest.mark.parametrize(
    ("cells", "between", "remedy"),
    [
        (['"1,234"', "2"], ",", r"is it 1\.234 or 1234\? say so: decimal=',' or decimal='\.'"),
        (["1,234", "2"], ";", r"is it 1\.234 or 1234\? say so: decimal=',' or decimal='\.'"),
        (['"1,5"', "2"], ",", "write a decimal point, or read it with decimal=','"),
        (["12.5 %", "2"], ";", "write the number without %"),
        (["\u20ac 12", "2"], ";", "write the number without \u20ac"),
        (["12 kWh", "2"], ";", "write the number without kWh"),
    ],
)
def test_what_may_be_two_numbers_or_has_a_unit_is_refused(
    tmp_path: Path, cells: list[str], between: str, remedy: str
) -> None:
    with pytest.raises(InputError, match=f"line 2, column 'x': expected a number, .*; {remedy}"):
        numbers(tmp_path, cells, between=between)


@pytest.mark.parametrize("cell", ["NA", "N/A", "n.a.", "-", "#N/A", "<NA>", "NaT", ".", "#DIV/0!"])
def test_what_says_that_a_number_is_missing_is_known(tmp_path: Path, cell: str) -> None:
    found = numbers(tmp_path, ["1,5", cell, "2"])
    assert np.isnan(found[1])
    assert [found[0], found[2]] == [1.5, 2]


def test_texts_keep_their_commas_and_labels_are_those_of_other_formats(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("text;label\n1,5;2,5\n3,5;4,0\n")
    found = read_labelled_texts(tmp_path / "t.csv", "text", "label")
    assert found == (["1,5", "3,5"], ["2.5", "4"])
    path = as_jsonl(tmp_path / "t", {"text": ["1,5", "3,5"], "label": [2.5, 4.0]})
    assert read_labelled_texts(path, "text", "label") == found
    (tmp_path / "t.csv").write_text("text;label;x\na;1,2;0,5\nb;x,y;1\nc;1,2,3;2\n")
    assert read_labelled_texts(tmp_path / "t.csv", "text", "label")[1] == ["1,2", "x,y", "1,2,3"]


# what stands around a table

ROWS = "2020-01-01,1.5\n2020-01-02,2\n2020-01-03,2\n2020-01-04,3\n"


@pytest.mark.parametrize("line", ["sep=;", "SEP=;", '"sep=;"'])
def test_the_line_of_spreadsheets_names_the_separator(tmp_path: Path, line: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(f"{line}\n" + "date;load\n" + ROWS.replace(",", ";").replace(".", ","))
    assert read_series(path, "date", ["load"]).values[:, 0].tolist() == [1.5, 2, 2, 3]
    path.write_text(path.read_text().replace("1,5", "x"))
    assert "line 3, column 'load': expected a number" in problem_of(
        read_series, path, "date", ["load"]
    )


def test_blank_lines_above_the_header_are_no_rows(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("\n\n" + "date,load\n" + ROWS)
    assert len(read_series(tmp_path / "t.csv", "date", ["load"])) == 4


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("# made by a tool\ndate,load\n" + ROWS, "line 2: .*is '# made by a tool' a title or a "),
        (
            "# a; b\n# c\ndate,load\n" + ROWS,
            "line 3: .*is '# a; b' a title or a comment.* take out",
        ),
        ("# a, b\n# c, d\ndate,load\n" + ROWS, "line 3: .*this row holds the name: take out what"),
        ("Loads of 2020\n\ndate,load\n" + ROWS, "line 3: .*a title or a comment.* take out the"),
        ("Loads,\ndate,load\n" + ROWS, "line 2: .*this row holds the name: take out what stands"),
        ("A,B\ndate,load\n" + ROWS, "line 2: .*this row holds the name: take out what stands ab"),
        ("date,load\nUTC,kW\n" + ROWS, "line 2, column 'date': .*row of units or a second header"),
        ("date,load\ndate,load\n" + ROWS, "line 2, column 'date': .*a second header, take it out"),
        ("date,load\n" + ROWS + "Total,8.5\n", "line 6, column 'date': .*a footer, take it out"),
        ("date,load\n" + ROWS + ",8.5\n", "line 6, column 'date': .*a footer, take it out"),
        ("date,load\n" + ROWS + "Source: me\n", "line 6: .*take the line out if it is .*a footer"),
        ("date,load,,\n" + ROWS.replace("\n", ",,\n"), "line 1: .*take out the empty columns"),
    ],
)
def test_titles_units_and_footers_are_told(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(InputError, match=message) as caught:
        read_series(tmp_path / "t.csv", "date", ["load"])
    # who takes the lines out that it is about can go on
    assert caught.value.line is not None
    good = [line for line in content.splitlines() if line in ROWS.splitlines()]
    (tmp_path / "t.csv").write_text("\n".join(["date,load", *good]))
    if good:
        read_series(tmp_path / "t.csv", "date", ["load"])


def test_units_of_a_number_column_and_titles_of_a_workbook_are_told(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("n,load\n1,kW\n2,1\n3,2\n")
    with pytest.raises(InputError, match="line 2, column 'load': .*row of units or a second hea"):
        read_series(tmp_path / "t.csv", "n", ["load"])
    pytest.importorskip("fastexcel")
    rows = [["Loads", ""], ["n", "load"], [1, 2], [2, 3]]
    path = workbook(tmp_path / "t.xlsx", {"one": rows})
    with pytest.raises(InputError, match="row 1: .*this row holds the name: take out what stand"):
        read_series(path, "n", ["load"])


def test_a_table_without_rows_to_name_says_what_it_has(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    table = read_table(tmp_path / "t.csv")
    assert isinstance(table, Table)
    assert "got 'a', 'b'; name one of these" in problem_of(table.check, ["zebra"])


@pytest.mark.parametrize(
    ("content", "remedy", "told"),
    [
        ("n load\n1 2\n2 3\n", "separated by 'space'? then say so: separator='space'", " "),
        ("n:load\n1:2\n2:3\n", "separated by ':'? then say so: separator=':'", ":"),
        ("n    load\n1       2\n2       3\n", "a fixed width? write them as .csv", None),
    ],
)
def test_a_separator_that_is_not_found_is_named(
    tmp_path: Path, content: str, remedy: str, told: str | None
) -> None:
    (tmp_path / "t.csv").write_text(content)
    assert remedy in problem_of(read_series, tmp_path / "t.csv", "n", ["load"])
    if told is not None:
        series = read_series(tmp_path / "t.csv", "n", ["load"], (), Layout(separator=told))
        assert series.values[:, 0].tolist() == [2, 3]


def test_a_typesetters_minus_and_an_empty_column_of_truth_values(tmp_path: Path) -> None:
    assert numbers(tmp_path, ["\u22121,5", "2"]) == [-1.5, 2]
    empty = polars.Series([None, None], dtype=polars.Boolean)
    polars.DataFrame({"n": [1, 2], "x": empty}).write_parquet(tmp_path / "t.parquet")
    assert np.isnan(read_table(tmp_path / "t.parquet").numbers("x")).all()
