"""Series in tables as their owners have them: many columns, no times, whole numbers as times."""

from __future__ import annotations

import gzip

import numpy as np
import pytest

import tidegate as tg
from tidegate.data.series.tables import SeriesTable, read_series
from tidegate.errors import InputError

TINY = "--horizon 3 --context 8 --hidden-sizes 4 --max-steps 1"
ROWS = 60


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    t = np.arange(ROWS)
    rows = [f"{1990 + k},{np.sin(k / 3):.4f},{np.cos(k / 3):.4f},fine,{k % 7}" for k in t]
    (tmp_path / "wide.csv").write_text("\n".join(["year,a,b,note,wind", *rows]))
    (tmp_path / "bare.csv").write_text("\n".join(["a,b", *(r[5:].rsplit(",", 2)[0] for r in rows)]))
    (tmp_path / "cells.csv").write_text("\n".join(r[5:].rsplit(",", 2)[0] for r in rows))
    return tmp_path


def table(folder, text):
    (folder / "t.csv").write_text(text)
    return folder / "t.csv"


def test_rows_in_any_order_are_the_series_that_their_times_tell(folder):
    lines = (folder / "wide.csv").read_text().splitlines()
    told = {"time": "year", "target": ("a",), "covariate": ("wind",)}
    sorted_by_time = SeriesTable(path=folder / "wide.csv", **told).read().first
    shuffled = np.random.default_rng(1).permutation(lines[1:]).tolist()
    for name, others in (("reversed", lines[:0:-1]), ("shuffled", shuffled)):
        (folder / f"{name}.csv").write_text("\n".join([lines[0], *others]))
        found = SeriesTable(path=folder / f"{name}.csv", **told).read().first
        np.testing.assert_array_equal(found.times, sorted_by_time.times)
        np.testing.assert_array_equal(found.values, sorted_by_time.values)
        np.testing.assert_array_equal(found.covariates, sorted_by_time.covariates)
    text = "\n".join([*lines[:9], *reversed(lines[9:20]), lines[20].replace(",0.", ",x")])
    with pytest.raises(InputError, match="line 21, column 'a'"):
        read_series(table(folder, text), "year", ["a"])


def test_a_column_without_a_name_is_named_by_nothing(folder, tidegate):
    rows = "".join(f"{1990 + k},{k % 5}\n" for k in range(40))  # as pandas writes an index
    table(folder, ",v\n" + rows)
    ran = tidegate(f"train forecaster t.csv --time '' --target v {TINY}")
    assert ran.code == 0, ran.err
    assert "2030," in tidegate("forecast t-forecaster.safetensors t.csv").out


def test_what_comes_next_is_told_with_how_the_file_is_written(folder, tidegate):
    rows = "".join(f'{k},"{1 + k % 5},000"\n' for k in range(40))
    table(folder, "t,v\n" + rows)
    told = f"train forecaster t.csv --time t --target v --decimal . {TINY}"
    ran = tidegate(told)
    advised = ran.out.partition("next:  tidegate ")[2].strip()
    assert advised.startswith("forecast t-forecaster.safetensors t.csv --decimal .")
    assert tidegate(advised.replace(" --plot forecast.png", "")).code == 0


# all other columns


@pytest.mark.usefixtures("folder")
def test_a_star_is_all_other_columns_that_hold_numbers():
    series = read_series("wide.csv", "year", ["*"])
    assert series.names == ("a", "b", "wind")
    assert read_series("wide.csv", "year", ["*"], ["wind"]).names == ("a", "b")


def test_a_column_of_many_numbers_and_some_text_is_no_column_of_text(folder):
    path = table(folder, "t,a,b\n0,1,x\n1,oops,y\n2,3,z\n3,4,z\n")
    with pytest.raises(InputError, match="line 3, column 'a': expected a number, got 'oops'"):
        read_series(path, "t", ["*"])


@pytest.mark.parametrize("cells", ["NA", "", "?"])
def test_a_column_without_any_number_is_left_out(folder, cells):
    path = table(folder, "t,a,b\n" + "".join(f"{k},{k % 3},{cells}\n" for k in range(9)))
    assert read_series(path, "t", ["*"]).names == ("a",)


def test_columns_with_a_decimal_comma_are_found(folder):
    path = table(folder, "t;a;b\n" + "".join(f"{k};{k},5;x\n" for k in range(9)))
    assert read_series(path, "t", ["*"]).names == ("a",)


def test_columns_of_parquet_are_found(folder):
    import polars as pl

    columns = {"t": range(9), "a": np.arange(9.0), "on": [True] * 9, "s": ["x"] * 9, "l": [[1]] * 9}
    pl.DataFrame(columns).write_parquet(folder / "t.parquet")
    assert read_series("t.parquet", "t", ["*"]).names == ("a",)


def test_a_column_that_is_called_star_is_one_column(folder):
    path = table(folder, "t,*,b\n" + "".join(f"{k},{k % 3},{k % 4}\n" for k in range(9)))
    assert read_series(path, "t", ["*"]).names == ("*",)


def test_a_table_without_numbers_is_named(folder):
    path = table(folder, "t,a\n0,x\n1,y\n")
    with pytest.raises(InputError, match=r"got none among t, a; name those to forecast with"):
        read_series(path, "t", ["*"])


def test_a_model_of_all_columns_knows_their_names_and_their_order(folder, tidegate):
    done = tidegate(
        f"train forecaster wide.csv --time year {TINY} -o m.safetensors", "--target", "*"
    )
    assert done.code == 0, done.err
    assert tg.load("m.safetensors").windowing_.names == ("a", "b", "wind")
    rows = (folder / "wide.csv").read_text().splitlines()
    turned = [",".join([row.split(",")[k] for k in (0, 4, 2, 1, 3)]) for row in rows]
    more = [f"{row},{'more' if k == 0 else k}" for k, row in enumerate(turned)]
    (folder / "turned.csv").write_text("\n".join(more))
    asked = "forecast m.safetensors"
    assert tidegate(f"{asked} turned.csv").out == tidegate(f"{asked} wide.csv").out
    lines = tidegate(f"{asked} wide.csv").out.splitlines()
    assert lines[0] == "year,a,b,wind"
    assert [line.split(",")[0] for line in lines[1:]] == ["2050", "2051", "2052"]  # whole numbers


# no times


@pytest.mark.usefixtures("folder")
def test_rows_without_times_are_read_in_their_order(tidegate):
    told = f"bare.csv --no-time --target a,b {TINY} --train-until 35 --validate-until 50"
    done = tidegate(f"train forecaster {told} -o m.safetensors")
    assert done.code == 0, done.err
    lines = tidegate("forecast m.safetensors bare.csv --quantiles 0.2,0.8").out.splitlines()
    assert lines[0] == "a,a q0.2,a q0.8,b,b q0.2,b q0.8"
    assert len(lines) == 4
    by_years = tidegate("forecast m.safetensors wide.csv --time year").out.splitlines()
    assert by_years[0] == "year,a,b"  # what is told now, not what was in training
    assert tidegate("forecast m.safetensors bare.csv --json").json["times"] == ["60", "61", "62"]
    assert tidegate("evaluate m.safetensors bare.csv --json").json["n"] == 8  # of the last 10 rows


def test_a_table_of_nothing_but_numbers_is_forecast(folder, tidegate):
    told = f"cells.csv --no-header --no-time {TINY} -o m.safetensors"
    done = tidegate(f"train forecaster {told}", "--target", "*")
    assert done.code == 0, done.err
    out = tidegate("forecast m.safetensors cells.csv").out
    assert len(out.splitlines()) == 3  # no header, as in the file
    with gzip.open(folder / "cells.csv.gz", "wt") as file:
        file.write((folder / "cells.csv").read_text())
    assert tidegate("forecast m.safetensors cells.csv.gz").out == out


def test_a_model_of_an_array_reads_a_table_without_times(folder, tidegate):
    path = table(folder, "\n".join(["value", *(f"{np.sin(k / 3):.4f}" for k in range(ROWS))]))
    values = read_series(path, None, ["value"]).values[:, 0]
    model = tg.Forecaster(horizon=3, context=8, hidden_sizes=(4,), max_steps=1, verbose=0)
    model.fit(values).save("m.safetensors")
    out = tidegate("forecast m.safetensors t.csv --no-time").out.splitlines()
    assert out[0] == "value"
    assert [float(line) for line in out[1:]] == model.forecast(values).values[:, 0].tolist()


@pytest.mark.usefixtures("folder")
def test_times_are_asked_for_and_the_remedy_helps(tidegate):
    line = f"train forecaster bare.csv --target a {TINY}"
    done = tidegate(line)
    assert done.code == 2
    assert "option --time: expected the column of times, got none" in done.err
    assert done.err.strip().endswith("read the rows in their order with --no-time")
    assert tidegate(f"{line} --no-time").code == 0
    done = tidegate(f"{line} --no-time --time b --force")
    assert "option --time: expected none beside --no-time, got 'b'" in done.err


# several series in one column


def test_series_in_one_column_are_told_apart_by_the_column_that_the_error_names(folder):
    rows = [f"{k},{k % 3},{shop}" for shop, n in (("a", 20), ("b", 15)) for k in range(n)]
    path = table(folder, "\n".join(["t,v,shop", *rows]))
    with pytest.raises(InputError, match="name it with id='shop', or keep the rows of one of them"):
        read_series(path, "t", ["v"])
    panel = SeriesTable(path=path, time="t", target=("v",), id="shop").read()
    assert panel.lengths.tolist() == [20, 15]
