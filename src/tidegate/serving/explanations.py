"""What the page shows beside an answer: words' weight, gates, and how far back a token looks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from tidegate.errors import InputError, shown
from tidegate.runtime.connectivity import connectivity
from tidegate.serving.answers import Asked, panel_of, plain, reads, roll_of

_MOST_WEIGHED: Final = 200  # words, or groups of words, of a text
_MOST_CHARACTERS: Final = 200_000  # of all texts that a word is left out of
_MOST_INSPECTED: Final = 1000  # steps, each of which the cell's equations run on numpy
_WORD: Final = re.compile(r"\w+(?:['’-]\w+)*|[^\w\s]")


def weights(fitted: Any, asked: Asked) -> list[dict[str, Any]]:
    """How much each word of a text counts: what the answer loses when it is left out.

    Of a label: its log-odds, in nats; of a number: the number itself.  Several words at a time
    where there are many.
    """
    return [_weighed(fitted, request["input"]) for request in asked]


def _weighed(fitted: Any, text: Any) -> dict[str, Any]:
    if not isinstance(text, str):
        raise InputError("input: expected a text, got another; give a string")
    spans = [match.span() for match in _WORD.finditer(text)]
    most = max(1, min(_MOST_WEIGHED, _MOST_CHARACTERS // max(1, len(text))))
    group = -(-len(spans) // most) or 1
    spans = [(some[0][0], some[-1][1]) for some in _groups(spans, group)]
    scores, label = _scores(fitted, [text, *(text[:a] + text[b:] for a, b in spans)])
    return {
        "label": label,
        "by": "leaving out",
        "words": [
            {"begin": a, "end": b, "weight": float(scores[0] - without)}
            for (a, b), without in zip(spans, scores[1:], strict=True)
        ],
    }


def _scores(fitted: Any, texts: list[str]) -> tuple[np.ndarray, Any]:
    """Log-odds of the first text's likeliest label in each text, and the label; else numbers."""
    if not hasattr(type(fitted), "predict_log_proba"):
        values = np.asarray(fitted.predict(texts), np.float64)
        if values.ndim != 1:
            raise InputError("expected a model of one label or number, got another; ask for others")
        return values, None
    logs = fitted.predict_log_proba(texts)
    place = int(logs[0].argmax())
    logs = np.minimum(logs[:, place], -1e-12)
    return logs - np.log(-np.expm1(logs)), plain(fitted.classes_[place])


def _groups(spans: Sequence[tuple[int, int]], size: int) -> list[Sequence[tuple[int, int]]]:
    return [spans[k : k + size] for k in range(0, len(spans), size)]


def gates(fitted: Any, asked: Asked) -> list[dict[str, Any]]:
    """What each gate does at each step of one input: its mean over the units."""
    return [_inspected(fitted, request) for request in asked]


def _inspected(fitted: Any, request: dict[str, Any]) -> dict[str, Any]:
    given, read = request["input"], reads(fitted)
    if len(given) > _MOST_INSPECTED * 10:
        problem = f"input: expected at most {_MOST_INSPECTED * 10} steps, got {len(given)}"
        raise InputError(f"{problem}; give a part of it")
    if isinstance(given, str) != (read == "text"):
        problem = f"input: expected {read}, got {shown(given)}"
        raise InputError(f"{problem}; give one input, as GET /v1/models says that it reads")
    for name in ("times", "static"):
        if request[name] is not None and read != "rows":
            raise InputError(f"{name}: expected none for a {fitted.TASK}, got one; leave it out")
    if read == "rows":
        given = panel_of(fitted, {**request, "rows": given})
    elif read == "steps":
        given = roll_of(fitted, given, "input")
    found = fitted.inspect(given)
    if len(found.steps) > _MOST_INSPECTED:
        problem = f"input: expected at most {_MOST_INSPECTED} steps, got {len(found.steps)}"
        raise InputError(f"{problem}; give a part of it")
    return {
        "steps": list(found.steps),
        "gates": [
            {
                "name": one.name, "layer": one.layer, "backward": one.backward, "gate": one.gate,
                "meaning": one.meaning, "bounds": plain(one.bounds),
                "means": plain(one.values.mean(axis=1, dtype=np.float64).round(4)),
            }
            for one in found.watched
        ],
    }  # fmt: skip


def looked_back(fitted: Any, asked: Asked) -> list[dict[str, Any]]:
    """How much the last token of a text hangs on each one before it (runtime/connectivity.py)."""
    return [_connected(fitted, request["input"]) for request in asked]


def _connected(fitted: Any, text: Any) -> dict[str, Any]:
    if not isinstance(text, str):
        raise InputError("input: expected a text, got another; give a string")
    tokens = fitted.encoder_.encode_prompt(text)
    if len(tokens) < 2:
        raise InputError("input: expected two tokens or more, got fewer; give a longer text")
    found = connectivity(fitted.runtime_, tokens)
    read = tokens[len(tokens) - 1 - len(found) : -1].tolist()
    steps = [fitted.encoder_.decode([token]) for token in read]
    return {"steps": steps, "connectivity": plain(found.round(6)), "by": "gradient"}
