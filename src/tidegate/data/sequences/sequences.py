"""Sequences of numbers, each with its answer: what the readers of their files give; batches."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tidegate.errors import shown

__all__ = [
    "Answers",
    "SequenceSet",
    "last_steps",
    "pad_sequences",
    "parse_number",
    "with_condition",
    "with_evidence",
    "with_letters",
    "with_sentences",
]

# As tables have them: no 1_000 and no digits of other scripts, which Python knows as well.
_NUMBER = re.compile(r"\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\s*")

# What is read beside the values: a label or a number of each sequence, labels of steps, or nothing.
Answers = Literal["label", "number", "labels"] | None


@dataclass(frozen=True, eq=False)
class SequenceSet:
    """N sequences of I channels, as a file has them.

    ``values``: float64 [T, I] each, T from 1, NaN where a value is missing.  ``names``: N, to tell
    them by.  ``answers``: [N], str for labels, float64 for numbers; of steps N arrays str [T]; None
    where not read.  ``times``: of the steps, N lists of T as they are written, where they are kept.
    """

    values: list[np.ndarray]
    names: list[str]
    answers: np.ndarray | list[np.ndarray] | None
    times: list[list[str]] | None = None


def pad_sequences(sequences: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Sequences of different lengths as one batch, [T, B, ...], and their lengths, int64 [B].

    T is the longest length, at least 1; beyond a sequence's length there are zeros.
    """
    lengths = np.array([len(sequence) for sequence in sequences], dtype=np.int64)
    rest, dtype = sequences[0].shape[1:], sequences[0].dtype
    padded = np.zeros((max(1, int(lengths.max())), len(sequences), *rest), dtype)
    for column, sequence in enumerate(sequences):
        padded[: len(sequence), column] = sequence
    return padded, lengths


def with_evidence(tokens: Sequence[int] | np.ndarray, evidence: np.ndarray) -> np.ndarray:
    """Tokens [T] and the evidence float32 [T, E] beside each as one sequence, [T] of records.

    So it is with a batch: tokens [T, B] and evidence [T, B, E].
    """
    kinds = [("token", np.int32), ("evidence", np.float32, evidence.shape[-1:])]
    records = np.empty(evidence.shape[:-1], kinds)
    records["token"], records["evidence"] = tokens, evidence
    return records


def with_letters(
    tokens: np.ndarray, letters: np.ndarray, evidence: np.ndarray | None = None
) -> np.ndarray:
    """Tokens [T], letters int32 [T, K] of each and evidence [T, E] as one sequence, [T] of records.

    So it is with a batch: tokens [T, B], letters [T, B, K].  Without evidence E is 0.
    """
    width = 0 if evidence is None else evidence.shape[-1]
    kinds = [
        ("token", np.int32), ("letters", np.int32, letters.shape[-1:]),
        ("evidence", np.float32, (width,)),
    ]  # fmt: skip
    records = np.empty(letters.shape[:-1], kinds)
    records["token"], records["letters"] = tokens, letters
    if evidence is not None:
        records["evidence"] = evidence
    return records


def with_condition(tokens: np.ndarray, condition: np.ndarray) -> np.ndarray:
    """Tokens [T, B] and the condition [B, C] of each sequence beside every one, [T, B] of records.

    So it is with one step, [B], and with one sequence, [T] and a condition [C].
    """
    records = np.empty(tokens.shape, [("token", np.int32), ("condition", np.float32,
                                                            condition.shape[-1:])])  # fmt: skip
    records["token"], records["condition"] = tokens, condition
    return records


def with_sentences(tokens: np.ndarray, sentences: np.ndarray) -> np.ndarray:
    """Tokens [T], or records of tokens and evidence, and the number of each one's sentence, [T].

    So it is with a batch, [T, B].  Without evidence its width is 0.  Numbers begin with 1 whatever
    they are in ``sentences``, and rise by one where these change; 0 is beyond the end of a row.
    """
    evidence = tokens["evidence"] if tokens.dtype.names else np.empty((*tokens.shape, 0))
    kinds = [
        ("token", np.int32), ("evidence", np.float32, evidence.shape[-1:]), ("sentence", np.int32),
    ]  # fmt: skip
    records = np.empty(tokens.shape, kinds)
    records["token"] = tokens["token"] if tokens.dtype.names else tokens
    records["evidence"] = evidence
    changes = np.diff(sentences, axis=0, prepend=sentences[:1] - 1) != 0
    records["sentence"] = np.where(sentences > 0, np.cumsum(changes, axis=0), 0)
    return records


def last_steps(sequence: np.ndarray, count: int) -> np.ndarray:
    """The last ``count`` steps of a sequence, whose sentences begin with 1 again."""
    last = sequence[-count:]
    return (
        with_sentences(last, last["sentence"]) if "sentence" in (last.dtype.names or ()) else last
    )


def parse_number(text: str) -> float:
    """The finite number that ``text`` says.  Raises ValueError, in one line, for any other."""
    number = float(text) if _NUMBER.fullmatch(text) else math.nan
    if not math.isfinite(number):
        raise ValueError(f"expected a finite number, got {shown(text)}; correct it")
    return number
