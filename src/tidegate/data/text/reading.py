"""Text in, token numbers out: files and vocabularies; the encoders are in encoders.py."""

from __future__ import annotations

import json
from collections.abc import Iterable
from os import PathLike
from typing import Any, Final

import numpy as np

from tidegate.data.files.encodings import decode, lines_of
from tidegate.data.files.reading import name_of, read_bytes
from tidegate.data.text import words
from tidegate.data.text.encoders import (
    BpeEncoder,
    CharEncoder,
    TextEncoder,
    WordEncoder,
    code_points,
    learn_merges,
    special_words,
)
from tidegate.errors import InputError, spelled

__all__ = [
    "LEVELS",
    "TextEncoder",
    "encoder_from_json",
    "read_lines",
    "read_text",
    "that_fits_a_file",
    "train_encoder",
]

LEVELS: Final = ("char", "word", "bpe")
MAX_VOCABULARY: Final = 0x110000  # as many as Unicode has code points
MAX_WORD_LENGTH: Final = 200  # characters; a longer one is data gone astray, never worth an entry
MAX_VOCABULARY_BYTES: Final = 30_000_000  # as it stands in a model file, which bounds its header
BPE_VOCABULARY: Final = 8192  # tokens, where the user names no size


def train_encoder(
    texts: str | Iterable[str],
    level: str,
    vocabulary_size: int | None = None,
    min_count: int = 1,
    lowercase: bool = False,
    sentences: bool = False,
) -> TextEncoder:
    """The encoder whose vocabulary is what occurs in the texts, most frequent first.

    ``vocabulary_size`` bounds ``size``, special tokens included; None keeps every character or
    word, and 8192 BPE tokens.  Characters and words seen fewer than ``min_count`` times (for BPE:
    pairs) are left out.  ``sentences`` frames every line (words only), and then a text whose
    punctuation already stands apart is noticed and kept as it is split.  Raises InputError.
    """
    if level not in LEVELS:
        raise InputError(f"expected char, word or bpe, got {level!r}; choose one", option="level")
    if min_count < 1:
        raise InputError(f"expected 1 or more, got {min_count}; raise it", option="min_count")
    if sentences and level != "word":
        problem = f"expected level word, at which sentences are framed, got level {level}"
        raise InputError(f"{problem}; choose that, or leave sentences out")
    floor = {"char": 2, "word": 1 + len(special_words(sentences)), "bpe": 256}[level]
    if vocabulary_size is not None and not floor <= vocabulary_size <= MAX_VOCABULARY:
        raise InputError(
            f"expected {floor} to {MAX_VOCABULARY} at level {level}, got {vocabulary_size}; "
            "choose such a size, or leave it out",
            option="vocabulary_size",
        )
    texts = [texts] if isinstance(texts, str) else list(texts)
    for text in texts:
        code_points(text)
    if lowercase:
        texts = [text.lower() for text in texts]
    if not any(text.strip() for text in texts):
        raise InputError("expected text to learn a vocabulary from, got none; give some text")
    if level == "char":
        return CharEncoder(_characters(texts, vocabulary_size, min_count), lowercase=lowercase)
    if level == "bpe":
        merges = learn_merges(texts, vocabulary_size or BPE_VOCABULARY, min_count)
        return that_fits_a_file(BpeEncoder(merges, lowercase=lowercase))
    tokenised = sentences and words.is_tokenised(texts)
    special = special_words(sentences)
    kept = [
        word
        for word, count in words.count(texts, tokenised=tokenised, compounds=sentences)
        if count >= min_count and word not in special and len(word) <= MAX_WORD_LENGTH
    ]
    if not kept:
        raise InputError(_no_words(texts, min_count))
    room = MAX_VOCABULARY if vocabulary_size is None else vocabulary_size
    kept = kept[: room - len(special)]
    return that_fits_a_file(
        WordEncoder(kept, lowercase=lowercase, sentences=sentences, tokenised=tokenised)
    )


def that_fits_a_file(encoder: TextEncoder) -> TextEncoder:
    """The encoder.  Raises InputError now if the model could not be saved after its training."""
    text = json.dumps(encoder.to_json(), ensure_ascii=False)
    size = len(json.dumps(text, ensure_ascii=False).encode())  # a text within the header's JSON
    if size > MAX_VOCABULARY_BYTES:
        raise InputError(
            f"expected a vocabulary of at most {MAX_VOCABULARY_BYTES:,} bytes in the model file, "
            f"got {size:,}; lower {spelled('vocabulary_size')} or raise {spelled('min_count')}"
        )
    return encoder


_SCHEMA: Final = {
    "char": {"level": str, "characters": str, "lowercase": bool},
    "word": {
        "level": str,
        "words": list,
        "lowercase": bool,
        "sentences": bool,
        "tokenised": bool,
    },
    "bpe": {"level": str, "merges": list, "lowercase": bool},
}


def encoder_from_json(description: Any) -> TextEncoder:
    """The encoder that ``to_json`` described.

    Raises ValueError, naming the key, for unknown, missing or badly typed ones and for a
    vocabulary that is too large or contradicts itself.
    """
    if not isinstance(description, dict) or description.get("level") not in LEVELS:
        raise ValueError("an encoder must be an object whose level is char, word or bpe")
    schema = _SCHEMA[description["level"]]
    if wrong := sorted(map(str, set(description) ^ set(schema))):
        raise ValueError(f"an encoder has the keys {', '.join(schema)}; check {', '.join(wrong)}")
    for key, kind in schema.items():
        if type(description[key]) is not kind:
            raise ValueError(f"encoder key {key!r} must be a {kind.__name__}")
        if kind is list and not all(type(item) is str and item for item in description[key]):
            raise ValueError(f"encoder key {key!r} must be a list of non-empty strings")
        if kind is not bool and len(description[key]) > MAX_VOCABULARY:
            raise ValueError(f"encoder key {key!r} is longer than {MAX_VOCABULARY}")
    options = {key: value for key, value in description.items() if type(value) is bool}
    if description["level"] == "char":
        return CharEncoder(description["characters"], **options)
    if description["level"] == "word":
        if max(map(len, description["words"]), default=0) > MAX_WORD_LENGTH:
            raise ValueError(f"encoder key 'words' has one longer than {MAX_WORD_LENGTH}")
        return WordEncoder(description["words"], **options)
    pairs = [tuple(merge.split(" ")) for merge in description["merges"]]
    if any(len(pair) != 2 for pair in pairs):
        raise ValueError("encoder key 'merges' must hold two symbols with one space between")
    return BpeEncoder(pairs, **options)


def read_text(path: str | PathLike[str], encoding: str | None = None) -> str:
    """The text of a file in UTF-8 or the ``encoding``, gzipped or not, line ends as they are.

    Raises InputError with the line for a missing or empty file, a byte that cannot be, a NUL.
    """
    text = decode(read_bytes(path), name_of(path), encoding)
    if not text.strip():
        problem = "expected some text, got white space only; check the file"
        raise InputError(problem, file=name_of(path))
    return text


def read_lines(path: str | PathLike[str], encoding: str | None = None) -> list[str]:
    """The lines of such a file, blank ones among them; ``-``: of standard input."""
    return lines_of(decode(read_bytes(path), name_of(path), encoding))


def _other_levels() -> str:
    return f"{spelled('level', 'char')} or {spelled('level', 'bpe')}"


def _no_words(texts: Iterable[str], min_count: int) -> str:
    """What is wrong where no word can be learned, and what helps."""
    longest = max((len(word) for text in texts for word in text.split()), default=0)
    if longest > MAX_WORD_LENGTH:
        problem = f"expected words split by spaces, got one of {longest} characters"
        return f"{problem}; learn such a text with {_other_levels()}"
    problem = f"expected words seen {min_count} times or more, got none"
    remedy = f"lower {spelled('min_count')}" if min_count > 1 else f"learn with {_other_levels()}"
    return f"{problem}; {remedy}"


def _characters(texts: Iterable[str], vocabulary_size: int | None, min_count: int) -> str:
    counts = np.bincount(code_points("".join(texts)))
    room = MAX_VOCABULARY if vocabulary_size is None else vocabulary_size - 1
    seen = np.flatnonzero(counts >= min_count)
    kept = np.sort(seen[np.argsort(-counts[seen], kind="stable")[:room]])  # ties: lower code point
    if not len(kept):
        problem = f"expected characters seen {min_count} times or more, got none"
        raise InputError(f"{problem}; give more text, or lower {spelled('min_count')}")
    return "".join(map(chr, kept.tolist()))
