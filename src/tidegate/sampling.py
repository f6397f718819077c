"""From logits to the next token: greedy, or drawn at a temperature from the likeliest."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from tidegate.errors import InputError


def check_choice(temperature: float, top_k: int | None, top_p: float | None) -> None:
    """Raise InputError for an option of `sample` that is out of range."""
    if not temperature > 0 or not np.isfinite(temperature):
        raise InputError(
            f"temperature: expected a number above 0, got {temperature}; "
            "use greedy for the likeliest token"
        )
    if top_k is not None and top_k < 1:
        raise InputError(f"top_k: expected at least 1, got {top_k}; None keeps all tokens")
    if top_p is not None and not 0 < top_p <= 1:
        raise InputError(f"top_p: expected a probability in (0, 1], got {top_p}; 1 keeps all")


def sample(
    logits: np.ndarray,
    rng: np.random.Generator,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    greedy: bool = False,
    forbidden: Iterable[int] = (),
) -> int:
    """One token drawn from softmax(logits / temperature); logits [V], -inf for impossible ones.

    ``top_k`` keeps the k likeliest tokens, then ``top_p`` the fewest of these whose probabilities
    add up to p (nucleus sampling, Holtzman et al. 2020, arXiv:1904.09751).  ``greedy`` takes the
    likeliest, the first of equals.  ``forbidden`` tokens are never returned.  Raises InputError for
    options out of range, logits that are NaN, and where nothing is left to choose from.
    """
    check_choice(temperature, top_k, top_p)
    scores = np.asarray(logits, dtype=np.float64).copy()
    if scores.ndim != 1 or np.isnan(scores).any():
        got = f"got shape {list(scores.shape)}; give one row of finite logits"
        raise InputError(f"logits: expected [V] without NaN, {got}")
    never = list(forbidden)
    if never and not 0 <= min(never) <= max(never) < len(scores):
        problem = f"forbidden: expected tokens in [0, {len(scores)}), got {never}"
        raise InputError(f"{problem}; leave out the others")
    scores[never] = -np.inf
    highest = scores.max(initial=-np.inf)
    if not np.isfinite(highest):
        raise InputError(
            "logits: expected a finite one among the tokens allowed, got none; forbid fewer"
        )
    if greedy:
        return int(scores.argmax())
    with np.errstate(over="ignore"):  # at a tiny temperature: -inf, as it should be
        p = np.exp((scores - highest) / temperature)
    order = np.argsort(-scores, kind="stable")  # likeliest first
    order = order[: np.count_nonzero(p)]  # so that no rounding can fall on an impossible one
    if top_k is not None:
        order = order[:top_k]
    cumulative = np.cumsum(p[order])
    if top_p is not None:
        kept = int(np.searchsorted(cumulative, top_p * cumulative[-1])) + 1
        order, cumulative = order[:kept], cumulative[:kept]
    drawn = np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right")
    return int(order[min(drawn, len(order) - 1)])
