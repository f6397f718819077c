"""From logits to the next token: greedy, or drawn at a temperature from the likeliest."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from tidegate.errors import InputError


def check_choice(temperature: float, top_k: int | None, top_p: float | None) -> None:
    """Raise InputError for an option of `sample` that is out of range."""
    if not temperature > 0 or not math.isfinite(temperature):
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
    scores = np.array(logits, np.float64)
    if scores.ndim != 1:
        raise _no_logits(f"shape {list(scores.shape)}")
    never = list(forbidden)
    if never and not 0 <= min(never) <= max(never) < len(scores):
        problem = f"forbidden: expected tokens in [0, {len(scores)}), got {never}"
        raise InputError(f"{problem}; leave out the others")
    scores[never] = -np.inf
    order = (-scores).argsort(kind="stable")  # likeliest first, NaN last
    if len(order) and math.isnan(scores[order[-1]]):
        raise _no_logits("NaN")
    highest = scores[order[0]] if len(order) else -math.inf
    if not math.isfinite(highest):
        raise InputError(
            "logits: expected a finite one among the tokens allowed, got none; forbid fewer"
        )
    if greedy:
        return int(order[0])
    p = scores[order]
    p -= highest
    if temperature != 1:
        with np.errstate(over="ignore"):  # at a tiny temperature: -inf, as it should be
            p /= temperature
    np.exp(p, out=p)
    if top_k is not None:
        p = p[:top_k]
    cumulative = p.cumsum()
    if top_p is not None:
        kept = int(cumulative.searchsorted(top_p * cumulative[-1])) + 1
        cumulative = cumulative[:kept]
    drawn = cumulative.searchsorted(rng.random() * cumulative[-1], side="right")
    # no rounding may fall on an impossible token, which has p = 0 and stands behind the others
    possible = np.count_nonzero(p[: len(cumulative)])
    return int(order[min(drawn, possible - 1)])


def _no_logits(got: str) -> InputError:
    return InputError(f"logits: expected [V] without NaN, got {got}; give one row of finite logits")
