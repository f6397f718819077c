"""Sentences that are split into tokens already: what a network reads of each, words and letters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final, Self

import numpy as np

from tidegate.data.files.items import as_items
from tidegate.data.text.encoders import CharEncoder, WordEncoder, special_words
from tidegate.data.text.reading import (
    MAX_VOCABULARY,
    MAX_WORD_LENGTH,
    encoder_from_json,
    that_fits_a_file,
)
from tidegate.errors import InputError, shown, spelled

__all__ = ["TokenEncoder", "as_sentences"]

_NO_LETTER: Final = 1  # letter 0 stands beyond a word's end


class TokenEncoder:
    """A fixed vocabulary of words, and one of letters: tokens to numbers.

    ``words``: token 0 is every word that is not known.  ``letters``: None where words are read
    whole only; letter 0 is none, 1 every one that is not known.  ``word_length`` letters are read
    of a word, the first and the last ones of a longer one.
    """

    def __init__(self, words: WordEncoder, letters: CharEncoder | None, word_length: int) -> None:
        if words.sentences or (letters is not None and letters.lowercase):
            raise ValueError("tokens are read without frames, and their letters as they are")
        self.words, self.letters, self.word_length = words, letters, word_length
        self._known: dict[str, tuple[int, np.ndarray]] = {}

    @classmethod
    def learn(
        cls,
        sentences: Sequence[Sequence[str]],
        *,
        vocabulary_size: int | None,
        min_count: int,
        lowercase: bool,
        word_length: int,
    ) -> Self:
        """The encoder of all words and letters of these sentences, the most frequent words first.

        ``word_length``: 0 for no letters.  Raises InputError.
        """
        if vocabulary_size is not None and not 2 <= vocabulary_size <= MAX_VOCABULARY:
            raise InputError(
                f"expected 2 to {MAX_VOCABULARY}, got {vocabulary_size}; choose such a size, or "
                "leave it out",
                option="vocabulary_size",
            )
        counts = Counter(
            token.lower() if lowercase else token for sentence in sentences for token in sentence
        )
        special = set(special_words(sentences=False))
        kept = [
            word
            for word, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
            if count >= min_count and word not in special and len(word) <= MAX_WORD_LENGTH
        ]
        if not kept:
            raise InputError(
                f"expected words seen {min_count} times or more, got none; lower "
                f"{spelled('min_count')}, or give more sentences"
            )
        kept = kept[: (vocabulary_size or MAX_VOCABULARY) - len(special)]
        words = WordEncoder(kept, lowercase=lowercase, tokenised=True)
        that_fits_a_file(words)
        letters = None
        if word_length:
            found = {letter for sentence in sentences for token in sentence for letter in token}
            letters = CharEncoder("".join(sorted(found)))
        return cls(words, letters, word_length)

    @property
    def letter_count(self) -> int:
        """Numbers that a letter may have; 0 without letters."""
        return 0 if self.letters is None else self.letters.size + _NO_LETTER

    def encode(self, sentence: Sequence[str]) -> tuple[np.ndarray, np.ndarray | None]:
        """Token numbers, int32 [T], and letters int32 [T, K], or None."""
        read = [self._read(token) for token in sentence]
        tokens = np.array([number for number, _ in read], np.int32)
        if self.letters is None:
            return tokens, None
        letters = np.zeros((len(read), self.word_length), np.int32)
        for row, (_, of_word) in zip(letters, read, strict=True):
            row[: len(of_word)] = of_word
        return tokens, letters

    def _read(self, token: str) -> tuple[int, np.ndarray]:
        if (found := self._known.get(token)) is None:
            word = token.lower() if self.words.lowercase else token
            (number,) = self.words.numbers([word])
            letters = np.zeros(0, np.int32)
            if self.letters is not None:
                tail = self.word_length // 2
                most = len(token) > self.word_length
                kept = token[: self.word_length - tail] + token[-tail:] if most and tail else token
                letters = self.letters.encode(kept[: self.word_length]) + _NO_LETTER
            found = number, letters
            if len(self._known) < MAX_VOCABULARY:
                self._known[token] = found
        return found

    def reading(self) -> dict[str, Any]:
        """How tokens become numbers, for readers in other languages: docs/onnx.md."""
        letters = None if self.letters is None else [None, None, *self.letters.characters]
        return {
            "tokens": self.words.reading()["tokens"],
            "lowercase": self.words.lowercase,
            "letters": letters,
            "word_length": self.word_length,
        }

    def to_json(self) -> dict[str, Any]:
        """Keys: words, letters (null for none), each as its own encoder has it; word_length."""
        letters = None if self.letters is None else self.letters.to_json()
        return {
            "words": self.words.to_json(),
            "letters": letters,
            "word_length": self.word_length,
        }

    @classmethod
    def from_json(cls, description: Any) -> Self:
        """The encoder that ``to_json`` described.  Raises ValueError, naming the key."""
        keys = {"words", "letters", "word_length"}
        if not isinstance(description, dict) or set(description) != keys:
            raise ValueError(f"an encoder of tokens has the keys {', '.join(sorted(keys))}")
        words = encoder_from_json(description["words"])
        letters = description["letters"]
        letters = None if letters is None else encoder_from_json(letters)
        if not isinstance(words, WordEncoder) or not isinstance(letters, CharEncoder | None):
            raise ValueError("an encoder of tokens has words of level word, letters of level char")
        length = description["word_length"]
        if type(length) is not int or not 0 <= length <= MAX_VOCABULARY:
            raise ValueError("encoder key 'word_length' must be a whole number")
        if (length > 0) != (letters is not None):
            raise ValueError("encoder key 'word_length' must be 0 just where there are no letters")
        return cls(words, letters, length)


def as_sentences(tokens: Any, what: str = "tokens") -> list[list[str]]:
    """The tokens of each sentence: of a list of lists, of a data frame's column of lists.

    Raises InputError, with the index, for a sentence that is one text, and for a token that is no
    str or is empty.
    """
    if isinstance(tokens, str):
        raise InputError(f"{what}: expected lists of tokens, got one str; pass [text.split()]")
    return [_sentence(one, i, what) for i, one in enumerate(as_items(tokens, what))]


def _sentence(tokens: Any, index: int, what: str) -> list[str]:
    if isinstance(tokens, str):
        raise InputError(
            f"{what}: expected a list of tokens at index {index}, got one str, {shown(tokens)}; "
            "split it, as in text.split()"
        )
    found = tokens.tolist() if hasattr(tokens, "tolist") else tokens
    if not isinstance(found, Iterable):
        raise InputError(
            f"{what}: expected a list of tokens at index {index}, got {type(found).__name__}; "
            "give lists"
        )
    found = list(found)
    for place, token in enumerate(found):
        if not isinstance(token, str) or not token:
            got = "an empty one" if token == "" else f"{type(token).__name__} {shown(token)}"
            raise InputError(
                f"{what}: expected str, got {got} at index {index}, place {place}; "
                "make it a str, or leave it out with its label"
            )
        try:
            token.encode()
        except UnicodeEncodeError:
            raise InputError(
                f"{what}: expected Unicode text, got a lone surrogate at index {index}, place "
                f"{place}; decode the text as UTF-8"
            ) from None
    return [token if type(token) is str else str.__str__(token) for token in found]
