"""Pairs of texts as a user gives them, and how good answers are beside those that were wanted."""

from __future__ import annotations

from typing import Any

import numpy as np

from tidegate.baselines.baseline import Answered
from tidegate.data.files.items import as_items, as_texts
from tidegate.data.text.edit_distance import character_errors
from tidegate.data.text.pairs import Pairs
from tidegate.errors import InputError, shown, spelled

_LARGEST = 2**22  # tokens of a source times those of its target: attention looks at each pair


def as_pairs(sources: Any, targets: Any) -> Answered:
    """Texts and the texts that answer them, as many.  Raises InputError."""
    texts, wanted = as_texts(sources), as_items(targets, "targets")
    for i, text in enumerate(wanted):
        if not isinstance(text, str):
            raise InputError(
                f"targets: expected str, got {type(text).__name__} at index {i}; make it a str, or "
                "leave out that pair"
            )
    if len(texts) != len(wanted):
        problem = f"targets: expected one per source, {len(texts)}, got {len(wanted)}"
        raise InputError(f"{problem}; give one for each")
    if not texts:
        raise InputError("sources: expected one text or more, got none; give some")
    return Answered(texts, np.array(wanted, object))


def check_lengths(texts: Answered, tokens: Pairs) -> None:
    """Raise InputError for a pair that is too long to be looked at everywhere."""
    for text, source, target in zip(texts.inputs, *tokens, strict=True):
        if len(source) * len(target) > _LARGEST:
            raise InputError(
                "pairs: expected tokens of source and target whose product is at most "
                f"{_LARGEST:,}, got {len(source)} and {len(target)} where the source begins with "
                f"{shown(text[:30])}; shorten it, leave it out, or choose "
                f"{spelled('level', 'word')}"
            )


def figures_of(found: list[str], wanted: list[str], level: str) -> dict[str, float]:
    """Figures of answers as texts."""
    alike = _without_spaces if level == "word" else str.strip
    exact = [alike(a) == alike(b) for a, b in zip(found, wanted, strict=True)]
    figures = {
        "exact_match": float(np.mean(exact)),
        "character_error_rate": float(character_errors(found, wanted).mean()),
    }
    try:
        from sacrebleu.metrics.bleu import BLEU
        from sacrebleu.metrics.chrf import CHRF
    except ModuleNotFoundError:
        return figures
    chrf, bleu = CHRF(), BLEU(force=True)
    return figures | {
        "chrf": chrf.corpus_score(found, [wanted]).score,
        "bleu": bleu.corpus_score(found, [wanted]).score,
    }


def _without_spaces(text: str) -> str:
    return "".join(text.split())
