"""What errors about tables, series in files and outputs advise, followed: it works."""

from __future__ import annotations

import gzip
import re
import shlex
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars
import pytest
from command_line import TINY, Tidegate, write_data
from labelled_texts import read_labelled_texts

from tidegate.cli import main
from tidegate.data.files.formats import Layout
from tidegate.data.files.tables import read_table
from tidegate.data.sequences.tables import SequenceTable
from tidegate.data.sequences.ts import read_ts
from tidegate.data.series.tables import read_series
from tidegate.data.source import split_list
from tidegate.data.text.vectors import read_vectors
from tidegate.errors import InputError

TABLE = b"t,v\n" + b"".join(b"%d,%d.5\n" % (i, i % 3) for i in range(9))
WIDE = b"a,b,c,k\n1,2,3,x\n4,5,6,y\n"
LABELLED = b"text,label\n" + b"".join(b"film %d,%d\n" % (i, i) for i in range(20))
JSON = b'{"t": 1, "v": 2}\n'


def series(name: str = "d.csv", **layout: Any) -> Any:
    return read_series(name, "t", ["v"], layout=Layout(**layout))


def labelled(text: str = "text", label: str = "label") -> Any:
    return read_labelled_texts("d.csv", text, label)


def sequences(**told: Any) -> Any:
    return SequenceTable(path="d.csv", **told).read("label")


# Name and content of a file, a call, what the error advises, then the content and the call of who
# follows it.
Case = tuple[str, bytes, Callable[[], Any], str, bytes, Callable[[], Any]]
CASES: dict[str, Case] = {
    "blank lines": ("d.csv", b"\n\n", series, "blank lines only; check the file", TABLE, series),
    "white space": (
        "d.jsonl", b" \n", lambda: read_table("d.jsonl"), "header only; add some", JSON,
        lambda: read_table("d.jsonl"),
    ),
    "no row": ("d.csv", b"t,v\n", series, "got the header only; add some", TABLE, series),
    "decimal mark": (
        "d.csv", TABLE, lambda: series(decimal="x"), "give one of these", TABLE,
        lambda: series(decimal="."),
    ),
    "two marks alike": (
        "d.csv", TABLE, lambda: series(decimal=",", separator=","), "give another of the two",
        TABLE, lambda: series(decimal=".", separator=","),
    ),
    "header of JSON": (
        "d.jsonl", JSON * 2, lambda: read_table("d.jsonl", layout=Layout(header=False)),
        "leave out header=False", JSON, lambda: read_table("d.jsonl"),
    ),
    "ending": (
        "d.dat", TABLE, lambda: series("d.dat"), "rename or convert it", TABLE,
        lambda: Path("d.dat").rename("d.csv") and series(),
    ),
    "damaged Parquet": (
        "d.parquet", b"PAR1xxxxPAR1", lambda: series("d.parquet"), "write it again", b"",
        lambda: polars.DataFrame({"t": [1, 2], "v": [1, 2]}).write_parquet("d.parquet")
        or series("d.parquet"),
    ),
    "damaged JSON": (
        "d.jsonl", b'{"t": 1,\n', lambda: read_table("d.jsonl"), "an object on its own line",
        b'{"t": 1}\n', lambda: read_table("d.jsonl"),
    ),
    "a list of JSON": (
        "d.jsonl", b"[1]\n", lambda: read_table("d.jsonl"), "an object on its own line",
        b'{"t": 1}\n', lambda: read_table("d.jsonl"),
    ),
    "half a character": (
        "d.jsonl", b'{"t": "\\ud83d"}\n', lambda: read_table("d.jsonl"), "write both halves",
        b'{"t": "\\ud83d\\ude00"}\n', lambda: read_table("d.jsonl"),
    ),
    "half a gzip file": (
        "d.csv.gz", gzip.compress(TABLE)[:-9], lambda: series("d.csv.gz"), "fetch it again",
        gzip.compress(TABLE), lambda: series("d.csv.gz"),
    ),
    "one column twice": (
        "d.csv", LABELLED.replace(b",1", b",2"), lambda: labelled(label="text"), "name another",
        LABELLED.replace(b",1", b",2"), labelled,
    ),
    "swapped columns": (
        "d.csv", LABELLED.replace(b",1", b",2"), lambda: labelled("label", "text"),
        "are the text and the label column swapped", LABELLED.replace(b",1", b",2"), labelled,
    ),
    "a name twice": (
        "d.csv", TABLE, lambda: read_series("d.csv", "t", ["v", "v"]), "name every column once",
        TABLE, series,
    ),
    "parts of a time": (
        "d.csv", b"year,month,day,v\n2015,1,1,3\n2015,1,2,4\n",
        lambda: read_series("d.csv", "year", ["v"]), "join the parts as 2010-01-31 13:00",
        b"t,v\n2015-01-01,3\n2015-01-02,4\n", series,
    ),
    "a hole of years": (
        "d.csv", b"t,v\n1,1\n2,2\n3,3\n90,4\n",
        lambda: read_series("d.csv", "t", ["v"], fill_gaps=True), "bring the rows to a regular g",
        TABLE, series,
    ),
    "a quote that stays open": (
        "d.csv", TABLE, lambda: split_list('a,"b'), "write a quote within quotes twice", TABLE,
        lambda: split_list('a,"""b"'),
    ),
    "no column of labels": (
        "d.csv", WIDE, sequences, "give label='COLUMN'", WIDE, lambda: sequences(answer="k"),
    ),
    "no channels": (
        "d.csv", WIDE, lambda: sequences(answer="k", channels=0), "leave it out", WIDE,
        lambda: sequences(answer="k"),
    ),
    "columns left over": (
        "d.csv", WIDE, lambda: sequences(answer="k", channels=2), "name them by values", WIDE,
        lambda: sequences(answer="k", channels=2, values=("a", "b")),
    ),
    "no values": (
        "d.csv", b"k\nx\ny\n", lambda: sequences(answer="k"), "name them by values", WIDE,
        lambda: sequences(answer="k", values=("a",)),
    ),
    "a .ts without data": (
        "d.ts", b"@classLabel true x y\n@data\n", lambda: read_ts("d.ts", "label", None),
        "is the file whole", b"@classLabel true x y\n@data\n1,2:x\n3,4:y\n",
        lambda: read_ts("d.ts", "label", None),
    ),
    "binary vectors": (
        "d.vec", b"\0\1" * 3_000_000, lambda: read_vectors("d.vec", {"a"}), "as text first",
        b"a 1 2\n", lambda: read_vectors("d.vec", {"a"}),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_who_follows_the_advice_can_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    monkeypatch.chdir(tmp_path)
    name, content, call, advice, mended, followed = CASES[case]
    Path(name).write_bytes(content)
    with pytest.raises(InputError, match=advice):
        call()
    Path(name).write_bytes(mended)
    followed()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a classifier of texts t and a forecaster f."""
    folder = tmp_path_factory.mktemp("trained")
    write_data(folder)
    line = f"train forecaster {folder}/load.csv --time date --target OT {TINY['forecaster']}"
    assert main(shlex.split(f"{line} -o {folder}/f.safetensors --run-folder {folder}/f")) == 0
    line = f"train classifier {folder}/reviews.csv --text review --label sentiment"
    line += f" {TINY['classifier']} -o {folder}/t.safetensors --run-folder {folder}/t"
    assert main(shlex.split(line)) == 0
    return folder


FORECAST = "forecast {}/f.safetensors load.csv"
TRAIN = f"train language-model book.txt {TINY['language-model']}"
WRITERS = f"compare book.txt --task language-model {TINY['language-model']} --seeds 1"
WRITERS += " --cells gru,rnn"
SEQUENCES = "compare gestures.csv --task series-classifier --id gesture --time t --values x,y "
SEQUENCES += f"--label kind {TINY['series-classifier']} --cells gru --seeds 1"
# A command, what the error advises, the command of who follows it.
COMMANDS: dict[str, tuple[str, str, str]] = {
    "one file twice": (
        f"{FORECAST} -o a.svg --plot a.svg", "name another", f"{FORECAST} -o a.csv --plot a.svg",
    ),
    "a picture's ending": (
        f"{FORECAST} --plot a.bmp", "expected the ending of a picture, .*rename it",
        f"{FORECAST} --plot a.svg",
    ),
    "a workbook": (f"{FORECAST} -o a.xlsx", "write a .csv, and convert", f"{FORECAST} -o a.csv"),
    "a folder": (f"{TRAIN} -o there", "name a file in it", f"{TRAIN} -o there/m.safetensors"),
    "a socket": (f"{TRAIN} -o socket", "name another one", f"{TRAIN} -o m.safetensors"),
    "a long name": (
        f"{TRAIN} --run-folder {'x' * 256}", "name another folder", f"{TRAIN} --run-folder x",
    ),
    "a long file": (f"{TRAIN} -o {'x' * 300}", "name another one", f"{TRAIN} -o x"),
    "no run folder": (f"{TRAIN} --run-folder ''", "leave it out", TRAIN),
    "a run on stdout": (f"{TRAIN} --run-folder -", "name one", f"{TRAIN} --run-folder run"),
    "a table without its column": (
        "evaluate {}/t.safetensors other.csv", "name one of these with --text COLUMN",
        "evaluate {}/t.safetensors other.csv --text comment",
    ),
    "a device that is none": (f"{TRAIN} --device gpu", "leave it out", TRAIN),
    "a size that is fixed": (
        f"{WRITERS} --equal-parameters --tie-embeddings", "leave out one of them",
        f"{WRITERS} --tie-embeddings",
    ),
    "test data twice": (
        f"{SEQUENCES} --test new.csv --test-fraction 0.2", "leave out one",
        f"{SEQUENCES} --test new.csv",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", COMMANDS)
def test_who_follows_the_advice_of_a_command_can_go_on(
    tidegate: Tidegate, trained: Path, case: str
) -> None:
    Path("there").mkdir()
    Path("other.csv").write_text(Path("test.csv").read_text().replace("review,", "comment,"))
    with socket.socket(socket.AF_UNIX) as made:
        made.bind("socket")
    typed, advice, followed = (line.replace("{}", str(trained)) for line in COMMANDS[case])
    outcome = tidegate(typed)
    assert outcome.code == 2
    assert re.search(advice, outcome.err), outcome.err
    assert len(outcome.err.splitlines()) == 1
    outcome = tidegate(followed)
    assert outcome.code == 0, outcome.err


def test_a_forecast_beyond_the_last_year_is_shortened_as_the_message_says(
    tidegate: Tidegate,
) -> None:
    days = "".join(f"9999-{m:02}-01,{m % 5}\n" for m in range(1, 12))
    years = "".join(f"{y}-{m:02}-01,{m % 5}\n" for y in (9997, 9998) for m in range(1, 13))
    Path("end.csv").write_text("t,v\n" + years + days)
    line = "train forecaster end.csv --time t --target v --hidden-sizes 4 --max-steps 1 --context 4"
    assert tidegate(f"{line} --horizon 2 -o f2").code == 0
    assert tidegate(f"{line} --horizon 1 -o f1").code == 0
    outcome = tidegate("forecast f2 end.csv")
    assert outcome.code == 2
    assert "forecast fewer rows" in outcome.err
    assert tidegate("forecast f1 end.csv").code == 0


def test_what_a_tsv_cannot_hold_is_written_as_csv(tidegate: Tidegate) -> None:
    Path("odd.csv").write_text(Path("load.csv").read_text().replace("OT", '"O\tT"'))
    model = f"train forecaster odd.csv --time date --target 'O\tT' {TINY['forecaster']} -o odd"
    assert tidegate(model).code == 0
    line = "forecast odd odd.csv"
    outcome = tidegate(f"{line} -o next.tsv")
    assert outcome.code == 2
    assert "write a .csv instead of a .tsv" in outcome.err
    assert tidegate(f"{line} -o next.csv").code == 0
