"""What an error advises, followed to the letter, makes the command work."""

from __future__ import annotations

import gzip
import re
import shlex
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import pytest

from tidegate.cli import main

TINY = "--hidden-sizes 4 --max-steps 1"
FORECAST = f"train forecaster d.csv --time t --target v {TINY} --horizon 3 --context 8"
CLASSIFY = f"train classifier d.csv --text text --label label {TINY} --embedding-size 4"
SEQUENCES = f"train series-classifier d.csv --label k {TINY}"
MODEL = f"train language-model d.txt {TINY} --embedding-size 4 --bptt 8"
DAYS = [str(date(2016, 1, 1) + timedelta(days=i)) for i in range(60)]


def table(*rows: str, header: str = "t,v") -> str:
    return "\n".join([header, *rows]) + "\n"


def numbered(count: int, value: str = "{}.5") -> list[str]:
    return [f"{i},{value.format(i % 5)}" for i in range(count)]


def texts(count: int = 12) -> list[str]:
    return [f"film {i},{'good' if i % 2 else 'bad'}" for i in range(count)]


def replaced(old: str, new: str) -> Callable[[str], str]:
    return lambda content: content.replace(old, new)


def without(pattern: str) -> Callable[[str], str]:
    return lambda content: re.sub(pattern, "", content, flags=re.MULTILINE)


def row_numbers(content: str) -> str:
    header, *rows = content.splitlines()
    rows = [f"{i}," + row.partition(",")[2] for i, row in enumerate(rows)]
    return "\n".join([header, *rows]) + "\n"


def same(content: str) -> str:
    return content


def offsets(content: str) -> str:
    """The first 02:00 is still summer time."""
    header, *rows = content.splitlines()
    twice = next(i for i, row in enumerate(rows) if rows[i - 1][:16] == row[:16])
    zones = ["+02:00"] * twice + ["+01:00"] * (len(rows) - twice)
    rows = [row.replace(",", f"{zone},", 1) for row, zone in zip(rows, zones, strict=True)]
    return "\n".join([header, *rows]) + "\n"


AUTUMN = [f"2016-10-30 {h:02}:00,{h % 5}" for h in (0, 1, 2, 2, *range(3, 24))]
AUTUMN += [f"2016-10-31 {h:02}:00,{h % 5}" for h in range(24)]
OPEN = [f"{d} {h:02}:00,{h}" for d in DAYS[:8] for h in range(9, 17)]
PANEL = [f"{day},{i % 5},{shop}" for shop in ("north", "south") for i, day in enumerate(DAYS)]
HOLES = table("0,", "1,", *numbered(40)[2:])
GAP = [f"{day},{i}" for i, day in enumerate(DAYS[:28]) if i != 9]
RARE = "one of each word here and no other at all to see\n"

# what is wrong: the command, the content, what the advice is, how the content is changed by who
# follows it, what is added to the command
CASES = {
    "context": (
        f"{FORECAST} --context 40 --segment 1",
        table(*numbered(40)),
        "or a context of 29 or less",
        same,
        "--context 29",
    ),
    "horizon": (
        f"{FORECAST} --horizon 10 --train-until 32",
        table(*numbered(40)),
        "option --train-until: .* or a horizon of 8 or less",
        same,
        "--horizon 8",
    ),
    "earlier validation": (
        f"{FORECAST} --horizon 10 --train-until 32",
        table(*numbered(40)),
        "or let them begin at row 30",
        same,
        "--train-until 30",
    ),
    "more rows": (
        FORECAST,
        table(*numbered(2)),
        "give more rows",
        lambda _: table(*numbered(40)),
        "",
    ),
    "season": (
        f"{FORECAST} --season 60",
        table(*numbered(40)),
        "or a shorter season",
        same,
        "--season 5",
    ),
    "categories": (
        f"{FORECAST} --covariate day",
        table(
            *(f"{i},{i % 5},{['Mon', 'Tue', 'Wed'][i % 3]}" for i in range(40)), header="t,v,day"
        ),
        "write 3 columns of 0 and 1 in its place",
        lambda content: re.sub("(Mon|Tue|Wed)", lambda found: str(int(found[1] == "Mon")), content),
        "",
    ),
    "dates as numbers": (
        f"{FORECAST} --covariate day",
        table(*(f"{i},{i % 5},{day}" for i, day in enumerate(DAYS)), header="t,v,day"),
        "leave the column out, or name it as the column of times",
        same,
        "--time day --covariate t",
    ),
    "gap filled": (FORECAST, table(*GAP), "with --fill-gaps", same, "--fill-gaps"),
    "gap inserted": (
        FORECAST,
        table(*GAP),
        "expected 2016-01-10, got 2016-01-11 .*insert them",
        replaced("2016-01-11,", "2016-01-10,3\n2016-01-11,"),
        "",
    ),
    "opening hours": (
        FORECAST,
        table(*OPEN),
        "read the time between them with --elapsed",
        same,
        "--elapsed",
    ),
    "uneven": (
        FORECAST,
        table(*GAP, "2016-01-29 01:00,3"),
        "1 day apart, got .*; .* number the rows",
        row_numbers,
        "",
    ),
    "empty at first": (FORECAST, HOLES, "with --fill-gaps", same, "--fill-gaps"),
    "uneven, brought to days": (
        FORECAST,
        table(*GAP, "2016-01-29 01:00,3"),
        "bring them to a regular grid with --every STEP",
        same,
        "--every D",
    ),
    "empty later": (
        FORECAST,
        table(*numbered(40)).replace("7,2.5", "7,"),
        "carry the last value forward with --fill-gaps",
        same,
        "--fill-gaps",
    ),
    "twice": (
        FORECAST,
        table(*numbered(9), *numbered(40)[8:]),
        "keep one row of them",
        replaced("8,3.5\n8,3.5", "8,3.5"),
        "",
    ),
    "clocks": (FORECAST, table(*AUTUMN), "with their offset from it", offsets, ""),
    "panel": (
        FORECAST,
        table(*PANEL, header="t,v,shop"),
        "told apart by the column 'shop'.*keep the rows of one of them",
        without(r"^.*south\n"),
        "",
    ),
    "day or month": (
        FORECAST,
        table(*(f"{d:02}/02/2016,{d}" for d in range(1, 13))),
        "rewrite it as year-month-day",
        lambda content: re.sub(r"(\d\d)/(\d\d)/(\d{4})", r"\3-\2-\1", content),
        "--horizon 1 --context 3",
    ),
    "short years": (
        FORECAST,
        table(*(f"16/01/{d:02},{d}" for d in range(1, 31))),
        "write the year in four digits",
        replaced("\n16/", "\n2016/"),
        "",
    ),
    "steps twice": (
        FORECAST,
        table(*(f"2016-01-{d:02},{d}" for d in (1, 2, 2, *range(3, 31)))),
        "take the mean of each step with --every",
        same,
        "--every D",
    ),
    "clocks and means": (
        FORECAST,
        table(*AUTUMN),
        "take the mean of both hours",
        same,
        "--every h",
    ),
    "decimal comma": (
        FORECAST,
        table(*numbered(40, '"{},5"')),
        "or read it with --decimal ,",
        same,
        "--decimal ,",
    ),
    "no date": (FORECAST, table(*numbered(40), "x,2"), "or remove the row", without("^x.*\n"), ""),
    "a thousand or one": (
        FORECAST,
        table(*numbered(40, '"1{},234"')),
        r"is it 10\.234 or 10234\? .*--decimal , or --decimal \.",
        same,
        "--decimal ,",
    ),
    "truth values": (
        FORECAST,
        table(*[f"{i},{i % 3 == 0}" for i in range(40)]),
        "write 1 for true and 0 for false",
        lambda content: content.replace("True", "1").replace("False", "0"),
        "",
    ),
    "a unit in the cells": (
        FORECAST,
        table(*numbered(40, "{}.5 %")),
        "write the number without %",
        replaced(" %", ""),
        "",
    ),
    "a row of units": (
        FORECAST,
        table("0,kW", *numbered(40)[1:]),
        "if it is a row of units or a second header, take it out",
        without("^0,kW\n"),
        "",
    ),
    "a footer": (
        FORECAST,
        table(*numbered(40), "Total,99"),
        "if it is a footer, take it out",
        without("^Total.*\n"),
        "",
    ),
    "a short footer": (
        FORECAST,
        table(*numbered(40), "Source: me"),
        "or take the line out if it is a title or a footer",
        without("^Source.*\n"),
        "",
    ),
    "a comment": (
        FORECAST,
        "# by me\n" + table(*numbered(40)),
        "is '# by me' a title or a comment. take out the lines above the header",
        without("^#.*\n"),
        "",
    ),
    "a header further down": (
        FORECAST,
        "Loads,\n" + table(*numbered(40)),
        "d.csv, line 2: .*this row holds the name: take out what stands above it",
        without("^Loads,\n"),
        "",
    ),
    "empty columns": (
        FORECAST,
        table(*numbered(40)).replace("\n", ",,\n"),
        "take out the empty columns",
        replaced(",,\n", "\n"),
        "",
    ),
    "split by spaces": (
        FORECAST,
        table(*numbered(40)).replace(",", " "),
        "say so: --separator space",
        same,
        "--separator space",
    ),
    "cells split otherwise": (
        FORECAST,
        table(*numbered(40)).replace(",", ":"),
        "say so: --separator :",
        same,
        "--separator :",
    ),
    "misspelt": (
        f"{FORECAST} --target load",
        table(*numbered(40), header="t,Load "),
        "did you mean 'Load '",
        same,
        "--target '\"Load \"'",
    ),
    "no header": (
        CLASSIFY,
        "1,1\n" + "".join(f"{i % 2},film {i}\n" for i in range(12)),
        "read it with --no-header",
        same,
        "--no-header --text 2 --label 1",
    ),
    "comma in a cell": (
        CLASSIFY,
        table(*texts(), "good, really,good", header="text,label"),
        "put cells that hold the separator in quotes",
        replaced("good, really", '"good, really"'),
        "",
    ),
    "open quote": (
        CLASSIFY,
        table(*texts(), '"good,good', header="text,label"),
        "close the quote that opens here",
        replaced('"good', '"good"'),
        "",
    ),
    "empty label": (
        CLASSIFY,
        table(*texts(), "film,", header="text,label"),
        "remove the row",
        without("^film,\n"),
        "",
    ),
    "one class": (
        CLASSIFY,
        table(*[f"film {i},good" for i in range(9)], header="text,label"),
        "add rows of another",
        lambda content: content + "film,bad\n" * 4,
        "",
    ),
    "no id": (
        f"{SEQUENCES} --time t",
        table(*[f"{i // 3},{i % 3},{i},k{i // 3 % 2}" for i in range(36)], header="g,t,v,k"),
        "give --id, too",
        same,
        "--id g",
    ),
    "no spaces": (
        f"{MODEL} --level word",
        "acgtgatacagcta" * 40,
        "with --level char or --level bpe",
        same,
        "--level char",
    ),
    "rare words": (
        f"{MODEL} --level word --min-count 99",
        RARE * 60,
        "lower --min-count",
        same,
        "--min-count 9",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_who_follows_the_advice_can_go_on(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    case: str,
) -> None:
    line, content, advice, changed, more = CASES[case]
    monkeypatch.chdir(tmp_path)
    file = Path(shlex.split(line)[2])
    file.write_text(content)
    assert main([*shlex.split(line), "--json"]) == 2
    problem = capsys.readouterr().err
    assert re.search(advice, problem), problem
    file.write_text(changed(content))
    code = main([*shlex.split(line), *shlex.split(more), "--json"])
    assert code == 0, capsys.readouterr().err


@pytest.mark.parametrize(
    "encoding", ["cp1251", "koi8-r", "cp1252", "gb18030", "shift_jis", "utf-16-be"]
)
def test_an_encoding_is_named_that_reads_the_text(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    encoding: str,
) -> None:
    text = {
        "cp1252": "L'été dernier, où étiez-vous? À la plage près de la forêt.\n",
        "gb18030": "今天天气很好，我们一起去公园玩。这部电影非常好看。\n",
        "shift_jis": "これは日本語の文章です。今日はとても天気がいいです。\n",
    }.get(encoding, "Это простой текст на русском языке, он не очень длинный.\n")
    monkeypatch.chdir(tmp_path)
    Path("d.txt").write_bytes((text * 20).encode(encoding))
    assert main([*shlex.split(MODEL), "--json"]) == 2
    advice = re.search("--encoding ([-a-z0-9_]+)", capsys.readouterr().err)
    assert advice is not None
    assert advice[1] == encoding
    assert main([*shlex.split(MODEL), *advice[0].split(), "--json"]) == 0


def test_a_packed_file_that_is_named_otherwise_is_read_after_packing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    line = FORECAST.replace("d.csv", "d.csv.gz")
    content = table(*numbered(40)).encode()
    Path("d.csv.gz").write_bytes(content)
    assert main([*shlex.split(line), "--json"]) == 2
    assert "rename or gzip it" in capsys.readouterr().err
    Path("d.csv.gz").write_bytes(gzip.compress(content))
    assert main([*shlex.split(line), "--json"]) == 0
