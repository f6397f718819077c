"""One page of what a model does while it reads one input: its gates, and on what answers hang."""

from __future__ import annotations

import json
from html import escape
from importlib.resources import files
from typing import Any

import numpy as np

from tidegate.output.places import MARK
from tidegate.output.views import with_views
from tidegate.runtime.connectivity import FOLLOWED, Connectivity
from tidegate.runtime.inspection import GateValues, Inspection

_ABOUT = (
    "By the length of the gradient of the answer with respect to what is read at a step (Madsen "
    "2019), relative to the greatest: on which steps the network's answer would change most if "
    "they changed a little."
)


def inspection_page(
    found: Inspection, connected: Connectivity | None, *, title: str, words: bool, note: str = ""
) -> str:
    """An HTML page that asks nobody for anything, of the gates and of ``connected``, if there is.

    ``title``: what was inspected; ``words``: whether steps are words or characters that make a
    text; ``note``: what else is to be said of the answers.
    """
    questions = [] if connected is None else [
        {
            "name": one.name, "at": one.at, "score": _rounded(score), **_without_zeros(lengths),
        }
        for one, lengths, score in zip(
            connected.questions, connected.lengths, connected.scores.tolist(), strict=True
        )
    ]  # fmt: skip
    if len(found.steps) > 2 * FOLLOWED and any(one["first"] for one in questions):
        note = f"Answers are followed back through {FOLLOWED} steps at the least. {note}".strip()
    finals = any(one["at"] is None for one in questions)
    values = {
        "steps": list(found.steps),
        "gates": [_gate(one) for one in found.watched],
        "questions": questions,
        "words": words,
        "why": "Why this answer?" if finals else "On what answers hang" if questions else "Steps",
        "asks": "the answer after this step," if finals else "the answer",
        "about": f"{_ABOUT} {note}".strip() if questions else note,
    }
    # within a script: no text ends it
    text = json.dumps(values, ensure_ascii=True, allow_nan=False).replace("<", "\\u003c")
    page = (files("tidegate.runtime") / "inspection_page.html").read_text(encoding="utf-8")
    page = with_views(page).replace("MARK", MARK, 1)
    return page.replace("TITLE", escape(title)).replace("DATA", text, 1)


def _without_zeros(lengths: np.ndarray) -> dict[str, Any]:
    """The lengths from the first that is not 0 to the last, and the step of the first."""
    held = np.flatnonzero(lengths)
    first, end = (int(held[0]), int(held[-1]) + 1) if len(held) else (0, 0)
    return {"first": first, "lengths": [_rounded(v) for v in lengths[first:end].tolist()]}


def _gate(one: GateValues) -> dict[str, Any]:
    steps = one.values.astype(np.float64)
    shares = one.saturated_by_step
    return {
        "gate": one.gate,
        "meaning": f"{one.series} {one.meaning}".strip(),
        "layer": one.layer,
        "backward": one.backward,
        "means": [_rounded(v) for v in steps.mean(1).tolist()],
        "low": None if shares is None else [_rounded(v) for v in shares[0].tolist()],
        "high": None if shares is None else [_rounded(v) for v in shares[1].tolist()],
        "keeps": one.keeps,
        "mean": _rounded(one.mean) if len(steps) else 0.0,
        "saturated": one.saturated,
        "scales": _scales(one) if one.keeps and len(steps) else [],
    }


def _scales(one: GateValues) -> list[float]:
    """The least, the median and the greatest of the units' time-scales."""
    return [_rounded(min(v, 1e9)) for v in np.quantile(one.time_scales, (0, 0.5, 1)).tolist()]


def _rounded(value: float) -> float:
    """To four figures; what is no number, of a network without them, is 0."""
    return float(f"{value:.4g}") if np.isfinite(value) else 0.0
