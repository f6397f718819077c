"""Files of tokens with labels, each format, and what is wrong in them with its line."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from tidegate.data.files.reading import Taken
from tidegate.data.text.tagged import read_plain, read_tagged
from tidegate.errors import InputError

TOKENS = [["the", "dog"], ["It", "'s", "#"]]
LABELS = [["DET", "NOUN"], ["PRON", "AUX", "SYM"]]


def conllu() -> str:
    rows = [
        "# sent_id = 1",
        "1\tthe\tthe\tDET\tDT\t_\t2\tdet\t_\t_",
        "2\tdog\tdog\tNOUN\tNN\tNumber=Sing\t0\troot\t_\t_",
        "",
        "# text = It's #",
        "1-2\tIt's\t_\t_\t_\t_\t_\t_\t_\t_",
        "1\tIt\tit\tPRON\tPRP\t_\t0\troot\t_\t_",
        "2\t's\tbe\tAUX\tVBZ\t_\t1\tcop\t_\t_",
        "2.1\tgone\tgo\tVERB\tVBN\t_\t_\t_\t_\t_",
        "3\t#\t#\tSYM\tNN\t_\t1\tpunct\t_\t_",
        "",
    ]
    return "\n".join(rows)


COLUMNS = "-DOCSTART- -X- O\n\nthe x DET\ndog x NOUN\n\n\nIt x PRON\n's x AUX\n# x SYM\n"
LONG = "s,token,label\na,the,DET\na,dog,NOUN\nb,It,PRON\nb,'s,AUX\nb,#,SYM\n"


def json_lines(tokens: str = "tokens", labels: str = "labels") -> str:
    rows = zip(TOKENS, LABELS, strict=True)
    return "".join(json.dumps({tokens: t, labels: x}) + "\n" for t, x in rows)


def parquet(path: Path) -> None:
    polars = pytest.importorskip("polars")
    polars.DataFrame({"tokens": TOKENS, "labels": LABELS}).write_parquet(path)


FILES = {
    "a.conllu": conllu,
    "a.conll": lambda: COLUMNS,
    "a.txt": lambda: COLUMNS.replace(" ", "\t"),
    "a.jsonl": json_lines,
    "a.csv": lambda: LONG,
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_every_format_gives_the_same_sentences(tmp_path, name, packed):
    path = tmp_path / (name + ".gz" * packed)
    data = FILES[name]().encode()
    path.write_bytes(gzip.compress(data) if packed else data)
    found = read_tagged(str(path), sentence="s" if "csv" in name else None)
    assert (found.tokens, found.labels) == (TOKENS, LABELS)
    alone = read_tagged(str(path), sentence="s" if "csv" in name else None, labelled=False)
    assert alone.tokens == TOKENS


def test_parquet_has_lists_too(tmp_path):
    parquet(tmp_path / "a.parquet")
    found = read_tagged(str(tmp_path / "a.parquet"))
    assert (found.tokens, found.labels) == (TOKENS, LABELS)


@pytest.mark.parametrize("name", ["a.conllu", "a.conll", "a.jsonl"])
def test_standard_input_is_known_by_its_content(name):
    found = read_tagged(Taken("-", FILES[name]().encode()))
    assert (found.tokens, found.labels) == (TOKENS, LABELS)


def test_columns_are_chosen_by_name_and_by_number(tmp_path):
    (tmp_path / "a.conllu").write_text(conllu())
    (tmp_path / "ten.conll").write_text(conllu())  # ten columns are CoNLL-U, whatever its name
    ten, named = (read_tagged(str(tmp_path / name)) for name in ("ten.conll", "a.conllu"))
    assert (ten.tokens, ten.labels) == (named.tokens, named.labels)
    (tmp_path / "a.conll").write_text(COLUMNS)
    (tmp_path / "a.jsonl").write_text(json_lines("words", "ner"))
    path = str(tmp_path / "a.conllu")
    assert read_tagged(path, labels="xpos").labels[0] == ["DT", "NN"]
    assert read_tagged(path, labels="deprel", tokens="lemma").tokens[1] == ["it", "be", "#"]
    assert read_tagged(path, labels="8").labels[0] == ["det", "root"]
    assert read_tagged(str(tmp_path / "a.conll"), labels="2").labels[0] == ["x", "x"]
    found = read_tagged(str(tmp_path / "a.jsonl"), tokens="words", labels="ner")
    assert (found.tokens, found.labels) == (TOKENS, LABELS)


def test_plain_text_is_split_at_white_space():
    assert read_plain(Taken("-", b"the  dog\n\nIt 's\n")) == [["the", "dog"], ["It", "'s"]]


WRONG = {
    "no label": ("a.conll", "the DET\ndog\n", {}, "line 2: expected 2 columns or more, got 1"),
    "short conllu": ("a.conllu", "1\tthe\tDET\n", {}, "line 1: expected 10 columns"),
    "no upos": ("a.conllu", "1\tthe" + "\t_" * 8, {}, "line 1: expected a label, got none"),
    "no such column": ("a.conllu", conllu(), {"labels": "pos"}, "expected one of id, form"),
    "a name of columns": ("a.conll", COLUMNS, {"labels": "pos"}, "its number, from 1, got 'pos'"),
    "nothing": ("a.conll", "\n\n", {}, "expected sentences, got none"),
    "no json": ("a.jsonl", "{\n", {}, "line 1: expected one JSON object per line"),
    "no list": ("a.jsonl", '{"tokens": "the dog", "labels": []}\n', {}, "lists of tokens"),
    "uneven": ("a.jsonl", '{"tokens": ["a"], "labels": []}\n', {}, "line 1.*one label per token"),
    "a null": ("a.jsonl", '{"tokens": [null], "labels": ["x"]}', {}, "line 1.*expected a token"),
    "no names": ("a.jsonl", '{"a": ["b"]}\n', {}, "expected a column 'tokens' or 'token', got 'a'"),
    "no sentence": ("a.csv", LONG, {}, "name the column that says which sentence"),
    "no cell": ("a.csv", "s,token,label\na,,DET\n", {"sentence": "s"}, "line 2.*expected a token"),
    "parted twice": ("a.conll", COLUMNS, {"sentence": "s"}, "option sentence: expected none"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_told_with_its_line(tmp_path, case):
    name, content, options, message = WRONG[case]
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=message):
        read_tagged(str(tmp_path / name), **options)
