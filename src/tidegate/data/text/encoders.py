"""Encoders: text to token numbers and back, by characters, words or byte-level BPE.

Characters and words need numpy alone; BPE needs Hugging Face ``tokenizers``, imported on use.
"""

from __future__ import annotations

import codecs
import json
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import chain
from typing import Any, Final, final

import numpy as np

from tidegate.data.text import words
from tidegate.data.text.portable import of_categories, portable
from tidegate.errors import InputError

__all__ = [
    "BpeEncoder",
    "CharEncoder",
    "TextEncoder",
    "WordEncoder",
    "code_points",
    "learn_merges",
    "special_words",
]

_LONG_RUN: Final = re.compile(r"\S{1000}|\s{1000}")


class TextEncoder(ABC):
    """A fixed vocabulary: text to int32 token numbers and back.

    ``size`` is the number of tokens, special ones included; ``unknown_id`` stands for whatever the
    vocabulary lacks (None where nothing can be unknown); ``start_id`` and ``end_id`` frame a
    sentence (None where sentences are not framed).
    """

    level: str
    size: int
    unknown_id: int | None
    start_id: int | None = None
    end_id: int | None = None
    lowercase: bool

    @abstractmethod
    def encode(self, text: str) -> np.ndarray:
        """Token numbers of a text, int32 [T].  Raises InputError for a lone surrogate."""

    def encode_prompt(self, text: str) -> np.ndarray:
        """Token numbers of a text that is to be continued: its last sentence is left open."""
        return self.encode(text)

    def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Token numbers of every text, each int32 [T]."""
        return [self.encode(text) for text in texts]

    @abstractmethod
    def decode_stream(self, ids: Iterable[int], after: str = "") -> Iterator[str]:
        """Readable text, piece by piece, as the token numbers come in; ``after`` stands before."""

    def decode(self, ids: Iterable[int]) -> str:
        """Readable text of token numbers.  Raises ValueError for a number outside [0, size)."""
        return "".join(self.decode_stream(ids))

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """All there is to the encoder, in JSON's types; ``encoder_from_json`` reads it."""

    @abstractmethod
    def reading(self) -> dict[str, Any]:
        """How a text becomes token numbers, for readers in other languages: docs/onnx.md."""

    def _checked(self, ids: Iterable[int]) -> Iterator[int]:
        for number in ids:
            if not 0 <= number < self.size:
                raise ValueError(f"token numbers must lie in [0, {self.size}), got {number}")
            yield int(number)


@final
class CharEncoder(TextEncoder):
    """One token per character; token 0 is every character never seen in training."""

    level = "char"
    unknown_id = 0

    def __init__(self, characters: str, *, lowercase: bool = False) -> None:
        if list(characters) != sorted(set(characters)):
            raise ValueError("characters must be sorted and distinct; sort them")
        self.characters, self.lowercase = characters, lowercase
        self.size = len(characters) + 1
        codes = code_points(characters)
        # the last entry serves every code point above the largest known one
        self._ids = np.zeros(int(codes.max(initial=0)) + 2, dtype=np.int32)
        self._ids[codes] = np.arange(1, self.size)

    def encode(self, text: str) -> np.ndarray:
        """Token numbers of a text, int32, one per character."""
        codes = code_points(text.lower() if self.lowercase else text)
        return self._ids[np.minimum(codes, len(self._ids) - 1)]

    def decode_stream(self, ids: Iterable[int], after: str = "") -> Iterator[str]:  # noqa: ARG002
        """The characters; U+FFFD for the unknown one."""
        alphabet = "\N{REPLACEMENT CHARACTER}" + self.characters
        return (alphabet[number] for number in self._checked(ids))

    def reading(self) -> dict[str, Any]:
        return _reading(r"[\s\S]", [None, *self.characters], lowercase=self.lowercase)

    def to_json(self) -> dict[str, Any]:
        """Keys: level, characters, lowercase."""
        return {"level": "char", "characters": self.characters, "lowercase": self.lowercase}


@final
class WordEncoder(TextEncoder):
    """One token per word or punctuation mark; token 0 is every word not in the vocabulary.

    With ``sentences`` each non-blank line becomes ``<s> words </s>`` (tokens 1 and 2).  The text
    itself can never produce these two.  Without, a text is to be judged and not written: compounds
    are cut at their hyphens, since their parts are the better known words.  ``tokenised`` says that
    punctuation already stands apart, so that "mr." and "u.s." are words.  ``words``
    are all tokens in order, ``vocabulary`` those that are no special ones.
    """

    level = "word"
    unknown_id = 0

    def __init__(
        self,
        vocabulary: Sequence[str],
        *,
        lowercase: bool = False,
        sentences: bool = False,
        tokenised: bool = False,
    ) -> None:
        special = special_words(sentences)
        if len(set(vocabulary)) != len(vocabulary) or set(special) & set(vocabulary):
            raise ValueError(f"words must be distinct, none of them {' '.join(special)}")
        self.vocabulary = list(vocabulary)
        self.lowercase, self.sentences, self.tokenised = lowercase, sentences, tokenised
        code_points("".join(self.vocabulary))
        self.words = special + self.vocabulary
        self.size = len(self.words)
        self._ids = {word: len(special) + i for i, word in enumerate(self.vocabulary)}
        if sentences:
            self.start_id, self.end_id = 1, 2

    def split(self, text: str) -> list[str]:
        """The words of a text or line as they are looked up.  Raises InputError as ``encode``."""
        code_points(text)  # refuses lone surrogates, as the other levels do
        text = text.lower() if self.lowercase else text
        return words.split(text, tokenised=self.tokenised, compounds=self.sentences)

    def numbers(self, split: Iterable[str]) -> list[int]:
        """Token numbers of words that ``split`` returned."""
        return [self._ids.get(word, 0) for word in split]

    def encode(self, text: str) -> np.ndarray:
        """Token numbers of a text, int32; framed line by line where ``sentences`` is set."""
        if not self.sentences:
            return np.array(self.numbers(self.split(text)), dtype=np.int32)
        ids: list[int] = []
        for line in text.split("\n"):
            if found := self.split(line):
                ids += [1, *self.numbers(found), 2]
        return np.array(ids, dtype=np.int32)

    def encode_prompt(self, text: str) -> np.ndarray:
        """As ``encode``, but the last sentence is left open; an empty prompt opens one."""
        ids = self.encode(text)
        if not self.sentences:
            return ids
        return ids[:-1] if len(ids) else np.array([self.start_id], dtype=np.int32)

    def decode_stream(self, ids: Iterable[int], after: str = "") -> Iterator[str]:
        """Words with ordinary spacing: none before a comma, a line break after each sentence."""
        frame = {self.start_id: "", self.end_id: "\n"} if self.sentences else {}
        return words.join((frame.get(i, self.words[i]) for i in self._checked(ids)), after)

    def reading(self) -> dict[str, Any]:
        pattern = words.portable_pattern(tokenised=self.tokenised, compounds=self.sentences)
        special = [None] * (len(self.words) - len(self.vocabulary))
        tokens = [*special, *self.vocabulary]
        return _reading(pattern, tokens, lowercase=self.lowercase, sentences=self.sentences)

    def to_json(self) -> dict[str, Any]:
        """Keys: level, words, lowercase, sentences, tokenised."""
        return {
            "level": "word",
            "words": self.vocabulary,
            "lowercase": self.lowercase,
            "sentences": self.sentences,
            "tokenised": self.tokenised,
        }


@final
class BpeEncoder(TextEncoder):
    """Byte-level byte-pair encoding (Sennrich et al. 2016; on bytes as in GPT-2): never unknown.

    Tokens 0 to 255 are the single bytes, in the order of the characters GPT-2 writes them with;
    then one token for each merge.
    """

    level = "bpe"
    unknown_id = None

    def __init__(self, merges: Sequence[tuple[str, str]], *, lowercase: bool = False) -> None:
        byte_of = _byte_of_symbol()
        tokens = {symbol: i for i, symbol in enumerate(sorted(byte_of))}
        for left, right in merges:
            if left not in tokens or right not in tokens:
                raise ValueError(f"merge {left!r} + {right!r} uses a token not made before it")
            tokens.setdefault(left + right, len(tokens))  # two merges may give the same token
        self.merges, self.lowercase = list(merges), lowercase
        self.size = len(tokens)
        self._bytes = [bytes(byte_of[symbol] for symbol in token) for token in tokens]
        self._tokenizer = _bpe_tokenizer(tokens, self.merges)

    def encode(self, text: str) -> np.ndarray:
        """Token numbers of a text, int32."""
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Token numbers of every text, each int32; on all cores."""
        encoded: list[np.ndarray] = []
        for first in range(0, len(texts), 1024):  # bounds the memory of Encoding objects
            part = [t.lower() if self.lowercase else t for t in texts[first : first + 1024]]
            for text in part:
                code_points(text)
            found = self._tokenizer.encode_batch_fast(part, add_special_tokens=False)
            encoded += [np.array(encoding.ids, dtype=np.int32) for encoding in found]
        return encoded

    def decode_stream(self, ids: Iterable[int], after: str = "") -> Iterator[str]:  # noqa: ARG002
        """The text, each character as soon as its last byte is there; U+FFFD for broken ones."""
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        for number in self._checked(ids):
            if piece := decoder.decode(self._bytes[number]):
                yield piece
        if rest := decoder.decode(b"", final=True):
            yield rest

    def reading(self) -> dict[str, Any]:
        letter, digit = of_categories("L"), of_categories("N")
        pieces = rf"'(?:s|t|re|ve|m|ll|d)| ?[{letter}]+| ?[{digit}]+| ?[^\s{letter}{digit}]+"
        pattern = portable(rf"{pieces}|\s+(?!\S)|\s+")
        tokens = [*sorted(_byte_of_symbol()), *(left + right for left, right in self.merges)]
        merges = self.to_json()["merges"]
        tokens = list(dict.fromkeys(tokens))  # two merges may give the same token
        return _reading(pattern, tokens, lowercase=self.lowercase, merges=merges)

    def to_json(self) -> dict[str, Any]:
        """Keys: level, merges (two symbols with a space between), lowercase."""
        merges = [f"{left} {right}" for left, right in self.merges]
        return {"level": "bpe", "merges": merges, "lowercase": self.lowercase}


def _reading(
    pattern: str,
    tokens: list[Any],
    *,
    lowercase: bool,
    sentences: bool = False,
    merges: list[str] | None = None,
) -> dict[str, Any]:
    return {
        "pattern": pattern, "tokens": tokens, "lowercase": lowercase, "sentences": sentences,
        "merges": merges,
    }  # fmt: skip


def special_words(sentences: bool) -> list[str]:
    """The words that open a word encoder's vocabulary: unknown, and the frame of a sentence."""
    return ["<unk>", "<s>", "</s>"] if sentences else ["<unk>"]


def code_points(text: str) -> np.ndarray:
    """Code points of a text, uint32.  Raises InputError for a lone surrogate."""
    try:
        return np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
    except UnicodeEncodeError as error:
        problem = f"expected Unicode text, got a lone surrogate at character {error.start}"
        raise InputError(f"{problem}; decode the text as UTF-8") from None


@cache
def _byte_of_symbol() -> dict[str, int]:
    # GPT-2 writes printable Latin-1 bytes as themselves and the others from U+0100 on
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    symbols = {chr(byte): byte for byte in printable}
    return symbols | {chr(0x100 + i): byte for i, byte in enumerate(others)}


@cache
def _tokenizers() -> Any:
    try:
        import tokenizers
    except ImportError:
        problem = "expected the package tokenizers for level bpe, got none; pip install tokenizers"
        raise InputError(problem) from None
    # Set: or the library prints a warning after a fork.  Off in the child: its threads are gone.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(
            after_in_child=lambda: os.environ.update(TOKENIZERS_PARALLELISM="false")
        )
    return tokenizers


def _bpe_tokenizer(tokens: dict[str, int], merges: Sequence[tuple[str, str]]) -> Any:
    library = _tokenizers()
    tokenizer = library.Tokenizer(library.models.BPE(vocab=tokens, merges=list(merges)))
    tokenizer.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    return tokenizer


def _short_runs(text: str) -> Iterator[str]:
    # the trainer's work grows with the square of the longest word: a million letters take hours
    start = 0
    for run in _LONG_RUN.finditer(text):
        yield text[start : run.end()]
        start = run.end()
    yield text[start:]


def learn_merges(texts: list[str], vocabulary_size: int, min_count: int) -> list[tuple[str, str]]:
    """The merges that byte-pair encoding makes of the texts, the first one first."""
    tokenizer = _bpe_tokenizer({}, [])
    trainer = _tokenizers().trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        min_frequency=min_count,
        initial_alphabet=list(_byte_of_symbol()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(chain.from_iterable(map(_short_runs, texts)), trainer)
    return [tuple(pair) for pair in json.loads(tokenizer.to_str())["model"]["merges"]]
