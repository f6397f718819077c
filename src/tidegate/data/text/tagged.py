"""Files of tokens with labels: CoNLL-U, CoNLL's columns, JSONL and Parquet, long tables."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tidegate.data.files.encodings import decode, lines_of
from tidegate.data.files.formats import PLAIN, Layout, kind_of_content, read_contents
from tidegate.data.files.items import label_text
from tidegate.data.files.reading import File, Taken, name_of, read_bytes
from tidegate.data.files.tables import read_table, row_error
from tidegate.errors import InputError, shown, spelled

__all__ = ["TaggedSentences", "is_plain", "read_plain", "read_tagged"]

CONLLU: Final = (
    *("id", "form", "lemma", "upos", "xpos"),
    *("feats", "head", "deprel", "deps", "misc"),
)  # universaldependencies.org/format.html
_TABLES: Final = re.compile(r"\.(csv|tsv|jsonl|ndjson)(\.gz)?$|\.(parquet|xlsx?)$")
_DOCUMENT: Final = "-DOCSTART-"  # CoNLL-2003's mark, a token that is none
# Names of columns that are tried where none is told: of lists, of a long table.
_TOKENS, _LABELS = ("tokens", "token"), ("labels", "label")


# The first word of a sentence in CoNLL-U: its number, and nine more cells.
_UNIVERSAL: Final = re.compile(rb"(?m)^1(?:-\d+)?\t(?:[^\t\n]*\t){8}[^\t\n]*\r?$")
_LOOKED_AT: Final = 2**20  # bytes


@dataclass(frozen=True, eq=False)
class TaggedSentences:
    """Tokens of N sentences and, where they were wanted, as many labels.

    ``lines``: of each token the line on which it stands, where the format has such.
    """

    tokens: list[list[str]]
    labels: list[list[str]]
    lines: list[list[int]]


def read_tagged(
    file: File,
    *,
    tokens: str | None = None,
    labels: str | None = None,
    sentence: str | None = None,
    layout: Layout = PLAIN,
    labelled: bool = True,
) -> TaggedSentences:
    """The sentences of a file, by its name's ending, or by the content of standard input.

    tokens, labels: names of columns, or their numbers from 1 in a file of columns; None: form and
    upos of CoNLL-U, which ten numbered columns are whatever the file's name, the first and last of
    other columns, ``tokens`` and ``labels`` (or ``token`` and ``label``) of tables.  sentence: the
    column that says which sentence a row of a long table belongs to.  Raises InputError, with the
    line.
    """
    kind = _kind(file)
    if kind in ("conllu", "columns"):
        for option, value in {"sentence": sentence, "separator": layout.separator}.items():
            if value is not None:
                problem = "expected none, since blank lines part the sentences of this file"
                raise InputError(f"{problem}, got {value!r}; leave it out", option=option)
        universal = kind == "conllu"
        if not universal and tokens is None and labels is None:
            universal = _UNIVERSAL.search(read_bytes(file)[:_LOOKED_AT]) is not None
        read = _read_columns(file, universal, tokens, labels, layout, labelled)
    else:
        read = _read_table(file, kind, tokens, labels, sentence, layout, labelled)
    if not any(read.tokens):
        raise InputError("expected sentences, got none; check the file", file=name_of(file))
    return read


def read_plain(file: File, encoding: str | None = None) -> list[list[str]]:
    """The lines of plain text that are not blank, each split at white space."""
    lines = lines_of(decode(read_bytes(file), name_of(file), encoding))
    return [line.split() for line in lines if line.strip()]


def is_plain(file: File) -> bool:
    """Whether what ``predict`` is given is plain text: a .txt, or standard input of that look."""
    if isinstance(file, Taken):
        return _kind(file) == "columns"
    return file.lower().removesuffix(".gz").endswith(".txt")


def _kind(file: File) -> str:
    """``conllu``, ``columns``, ``jsonl`` or ``table``."""
    if isinstance(file, Taken):
        kind = kind_of_content(file.content)
        if kind == "csv":  # what is text and nothing else
            return "conllu" if _UNIVERSAL.search(file.content[:_LOOKED_AT]) else "columns"
        return "jsonl" if kind == "jsonl" else "table"
    name = file.lower()
    if name.removesuffix(".gz").endswith(".conllu"):
        return "conllu"
    match = _TABLES.search(name)
    if match is None:
        return "columns"
    return "jsonl" if match[1] in ("jsonl", "ndjson") else "table"


def _read_columns(
    file: File,
    universal: bool,
    tokens: str | None,
    labels: str | None,
    layout: Layout,
    labelled: bool,
) -> TaggedSentences:
    """A token on each line, its labels behind it; blank lines part sentences."""
    found = TaggedSentences([], [], [])
    token_at = _column(tokens, "tokens", universal, "form" if universal else "1") or 0
    label_at = _column(labels, "labels", universal, "upos" if universal else None)
    text = decode(read_bytes(file), name_of(file), layout.encoding)
    for part in _sentences(text, universal):
        own: tuple[list[str], list[str], list[int]] = ([], [], [])
        for number, line in part:
            cells = line.split("\t") if universal or "\t" in line else line.split()
            least = len(CONLLU) if universal else max(token_at, label_at or 0, 1 if labelled else 0)
            least = least if universal else least + 1
            if len(cells) < least:
                raise InputError(
                    f"expected {least} columns or more, got {len(cells)}; write a token and its "
                    "label on each line, with a blank line between sentences",
                    file=name_of(file),
                    line=number,
                )
            if universal and not cells[0].isdigit():  # 3-4: two words as written; 5.1: none
                continue
            token = cells[token_at].strip()
            label = label_text(cells[-1 if label_at is None else label_at]) if labelled else ""
            if token == _DOCUMENT:
                continue
            missing = "token" if not token else "label" if labelled and not label else None
            if labelled and universal and label == "_" and label_at == CONLLU.index("upos"):
                missing = "label"
            if missing:
                problem = f"expected a {missing}, got none; fill it in, or take the sentence out"
                raise InputError(problem, file=name_of(file), line=number)
            for cells_of, value in zip(own, (token, label, number), strict=True):
                cells_of.append(value)  # pyright: ignore[reportArgumentType]
        if own[0]:
            found.tokens.append(own[0])
            found.labels.append(own[1])
            found.lines.append(own[2])
    return found


def _sentences(text: str, universal: bool) -> Iterator[list[tuple[int, str]]]:
    """The lines of each sentence with their numbers, without comments."""
    part: list[tuple[int, str]] = []
    for number, line in enumerate(lines_of(text), 1):
        if not line.strip():
            if part:
                yield part
            part = []
        elif not (universal and line.startswith("#")):
            part.append((number, line))
    if part:
        yield part


def _column(told: str | None, option: str, universal: bool, default: str | None) -> int | None:
    """The place, from 0, of a column that is told by name or number; None for the last."""
    name = default if told is None else told
    if name is None:
        return None
    if name.isdigit() and int(name) >= 1:
        return int(name) - 1
    if universal and name.lower() in CONLLU:
        return CONLLU.index(name.lower())
    names = f"one of {', '.join(CONLLU)}, or its number" if universal else "its number, from 1"
    raise InputError(f"expected {names}, got {shown(name)}; give that", option=option)


def _read_table(
    file: File,
    kind: str,
    tokens: str | None,
    labels: str | None,
    sentence: str | None,
    layout: Layout,
    labelled: bool,
) -> TaggedSentences:
    """Lists of tokens and labels in each row; or a token in each row, and the sentence's name."""
    columns = _json_columns(file, layout) if kind == "jsonl" else None
    frame = None if columns is not None else read_contents(file, layout).frame
    names = list(columns) if columns is not None else list(frame.columns)  # pyright: ignore
    wanted = {"tokens": _chosen(names, "tokens", tokens, _TOKENS, file)}
    if labelled:
        wanted["labels"] = _chosen(names, "labels", labels, _LABELS, file)
    if sentence is not None:
        wanted["sentence"] = _chosen(names, "sentence", sentence, (), file)

    def cells(name: str) -> list[Any]:
        if columns is not None:
            return columns[name]
        return [_plain(cell) for cell in frame[name].to_list()]  # pyright: ignore

    read = {option: cells(name) for option, name in wanted.items()}
    if not read["tokens"]:
        raise InputError("expected rows, got none; add some", file=name_of(file))

    def error(row: int, option: str, problem: str) -> InputError:
        return row_error(file, row, problem, layout, column=wanted[option])

    if isinstance(read["tokens"][0], list):
        if sentence is not None:
            problem = "expected none, since each row holds a sentence"
            raise InputError(f"{problem}, got {sentence!r}; leave it out", option="sentence")
        return _of_lists(read["tokens"], read.get("labels"), error)
    if sentence is None:
        raise InputError(
            f"expected lists of tokens, got {shown(read['tokens'][0])}; if each row holds one "
            "token, name the column that says which sentence it belongs to: "
            + spelled("sentence", "COLUMN"),
            file=name_of(file),
            column=wanted["tokens"],
        )
    read = {
        option: read_table(file, {name: option}, layout).texts(name, f"a {option.rstrip('s')}")
        if columns is None
        else ["" if cell is None else str(cell) for cell in read[option]]
        for option, name in wanted.items()
    }
    return _of_rows(read["tokens"], read.get("labels"), read["sentence"], error)


def _of_lists(tokens: list[Any], labels: list[Any] | None, error: Any) -> TaggedSentences:
    found = TaggedSentences([], [], [])
    for row, own in enumerate(tokens):
        for option, cell in {"tokens": own, "labels": labels and labels[row]}.items():
            if labels is None and option == "labels":
                continue
            if not isinstance(cell, list):
                got = f"got {shown(cell)}; write one"
                raise error(row, option, f"expected a list of {option}, {got}")
            for place, one in enumerate(cell):
                good = (
                    isinstance(one, str)
                    and one.strip()
                    or (option == "labels" and isinstance(one, int | float))
                )
                if not good:
                    got = f"got {shown(one)} at place {place}; write one, or leave it out"
                    raise error(row, option, f"expected a {option.rstrip('s')}, {got}")
        found.tokens.append([str(token) for token in own])
        if labels is not None:
            if len(labels[row]) != len(own):
                problem = f"expected one label per token, {len(own)}, got {len(labels[row])}"
                raise error(row, "labels", f"{problem}; give one for each")
            found.labels.append([label_text(str(label)) for label in labels[row]])
    return found


def _of_rows(
    tokens: Sequence[str], labels: Sequence[str] | None, ids: Sequence[str], error: Any
) -> TaggedSentences:
    found = TaggedSentences([], [], [])
    place: dict[str, int] = {}
    for row, (token, name) in enumerate(zip(tokens, ids, strict=True)):
        if not token.strip():
            problem = "expected a token, got an empty cell; fill it or remove the row"
            raise error(row, "tokens", problem)
        if labels is not None and not labels[row].strip():
            problem = "expected a label, got an empty cell; fill it or remove the row"
            raise error(row, "labels", problem)
        at = place.setdefault(name, len(place))
        if at == len(found.tokens):
            found.tokens.append([])
            found.labels.append([])
        found.tokens[at].append(token)
        if labels is not None:
            found.labels[at].append(label_text(labels[row]))
    return found


def _chosen(
    names: list[str], option: str, told: str | None, tried: Sequence[str], file: File
) -> str:
    """The name of a column that is there.  Raises InputError."""
    if told is not None and told in names:
        return told
    there = ", ".join(map(shown, names[:20]))
    if told is not None:
        problem = f"expected a column {shown(told)}, got {there}; name one of these"
        raise InputError(problem, file=name_of(file))
    found = next((name for name in tried if name in names), None)
    if found is None:
        wanted = " or ".join(map(shown, tried))
        problem = f"expected a column {wanted}, got {there}; name it by {spelled(option, 'COLUMN')}"
        raise InputError(problem, file=name_of(file))
    return found


def _json_columns(file: File, layout: Layout) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {}
    count = 0
    text = decode(read_bytes(file), name_of(file), layout.encoding)
    for number, line in enumerate(lines_of(text), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as e:
            row = str(e)[:80]
        if not isinstance(row, dict):
            got = f"an error ({row})" if isinstance(row, str) else f"a {type(row).__name__}"
            raise InputError(
                f"expected one JSON object per line, got {got}; write each sentence as an object "
                "on its own line",
                file=name_of(file),
                line=number,
            )
        for key, cell in row.items():
            columns.setdefault(key, [None] * count).append(cell)
        count += 1
        for cells in columns.values():
            if len(cells) < count:
                cells.append(None)
    return columns


def _plain(cell: Any) -> Any:
    """A list where the cell is a list of another library."""
    return cell.to_list() if hasattr(cell, "to_list") else cell
