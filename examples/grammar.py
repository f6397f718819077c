"""Short film reviews from a small grammar, whose meaning turns on negation."""

from __future__ import annotations

import random

GOOD = ["good", "funny", "clever", "moving", "lovely", "gripping", "convincing", "original"]
BAD = ["bad", "dull", "clumsy", "boring", "awful", "tiresome", "silly", "predictable"]
SUBJECTS = ["the film", "the acting", "the plot", "the music", "the ending", "the dialogue"]
VERBS = ["was", "is", "turned out to be", "seemed"]
PLAIN = ["{}", "very {}", "really {}", "quite {}", "so {}", "{} from start to end"]
NEGATED = ["not {}", "not {} at all", "never {}", "anything but {}", "far from {}", "hardly {}"]
OPENINGS = ["", "i must say ", "for me ", "to my surprise ", "as everyone told me "]


def review(rng: random.Random) -> tuple[str, str]:
    """A review and its label: of two clauses joined by ``but``, the second decides."""
    positive = rng.random() < 0.5
    text = _clause(rng, positive)
    if rng.random() < 0.5:
        joined = rng.choice(["and", "but"])
        first = positive if joined == "and" else not positive
        text = f"{_clause(rng, first)} {joined} {text}"
    return rng.choice(OPENINGS) + text, "positive" if positive else "negative"


def _clause(rng: random.Random, positive: bool) -> str:
    negated = rng.random() < 0.35
    word = rng.choice(GOOD if positive != negated else BAD)
    judgement = rng.choice(NEGATED if negated else PLAIN).format(word)
    return f"{rng.choice(SUBJECTS)} {rng.choice(VERBS)} {judgement}"


def reviews(count: int, seed: int) -> tuple[list[str], list[str]]:
    """So many different reviews and their labels."""
    rng = random.Random(seed)
    found: dict[str, str] = {}
    while len(found) < count:
        text, label = review(rng)
        found[text] = label
    return list(found), list(found.values())
