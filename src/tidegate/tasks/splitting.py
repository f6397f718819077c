"""Which rows, or which parts of a text, are learned from, and which are held out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, Self, TypeVar

import numpy as np

from tidegate.baselines.baseline import Answered, sampled
from tidegate.data.files.items import as_texts
from tidegate.errors import InputError, spelled


class _HasRows(Protocol):
    def rows(self, rows: np.ndarray) -> Self: ...


Rows = TypeVar("Rows", bound=_HasRows)


def split_rows(
    count: int, seed: int, *, validation: float, test: float, what: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row numbers of the training, validation and test part, drawn by the seed.

    ``validation`` and ``test`` are fractions of ``count`` rows; a validation part that is wanted
    has one row at least.  Raises InputError where nothing is left to learn from, with ``what`` for
    the rows' name.
    """
    order = np.random.default_rng(seed).permutation(count)
    tested = round(count * test)
    held_out = max(1, round(count * validation)) if validation else 0
    if tested + held_out >= count:
        raise InputError(
            f"{what}: expected enough to train on beside {held_out} for validation and {tested} "
            f"for test, got {count} in all; give more, or a "
            f"smaller {spelled('validation_fraction')} or {spelled('test_fraction')}"
        )
    held_out += tested
    return np.sort(order[held_out:]), order[tested:held_out], order[:tested]


def thinned(rows: np.ndarray, part: float, answers: np.ndarray | None = None) -> np.ndarray:
    """About this ``part`` of the rows, drawn at random but always the same; all from 1 on.

    ``answers``: of all rows; of every answer that is a label one of the rows stays.
    """
    known = np.zeros(len(rows)) if answers is None else answers[rows]
    return np.array(sampled(Answered(rows.tolist(), known), part).inputs, dtype=rows.dtype)


def split_parts(
    model: Any, whole: Rows, count: int, others: Rows | None
) -> tuple[Rows, Rows, Rows]:
    """The training, validation and test part of ``count`` rows, as a model's options part them.

    ``others`` are the validation part, if they are given.  Raises InputError.
    """
    rows = split_rows(
        count,
        model.seed,
        validation=model.validation_fraction if others is None else 0,
        test=model.test_fraction,
        what=model.INPUTS,
    )
    train, drawn, test = (whole.rows(part) for part in rows)
    return train, drawn if others is None else others, test


def split_text(
    text: str | Sequence[str],
    validation: str | Sequence[str] | None,
    seed: int,
    *,
    validation_fraction: float,
    test_fraction: float,
    between_lines: bool,
) -> tuple[str, str, str]:
    """The training, validation and test part of one text, or of several one after another.

    Of one text the parts follow each other, of several they are drawn by the seed.  ``validation``
    stands in for a part held out, if it is given.  ``between_lines``: one text is cut there alone.
    Raises InputError.
    """
    held_out = test_fraction + (validation_fraction if validation is None else 0)
    if held_out >= 1:
        raise InputError(
            f"expected a sum with {spelled('test_fraction')} below 1, got {held_out:g}; lower one "
            "of them",
            option="validation_fraction",
        )

    if not isinstance(text, str):
        texts = as_texts(text)
        rows = split_rows(
            len(texts),
            seed,
            validation=held_out - test_fraction,
            test=test_fraction,
            what="texts",
        )
        train, drawn, test = (one_text([texts[i] for i in part]) for part in rows)
        return train, drawn if validation is None else one_text(validation), test

    def cut(fraction: float) -> int:
        at = round(len(text) * fraction)
        if between_lines and (line := text.find("\n", at)) >= 0:
            return line + 1
        return at

    end = cut(1 - test_fraction) if test_fraction else len(text)
    if validation is not None:
        return text[:end], one_text(validation), text[end:]
    start = cut(1 - held_out)
    return text[:start], text[start:end], text[end:]


def one_text(text: str | Sequence[str]) -> str:
    """The text itself, or several one after another, each ended by a line break."""
    if isinstance(text, str):
        return text
    return "".join(f"{one}\n" for one in as_texts(text))
