"""Small data that are made, not downloaded: what demo and tutorials learn from.

The same count and seed give the same data on every machine.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np

from tidegate.errors import InputError

_MOST = 100_000  # of which a grammar has more

_GOOD = ("good", "funny", "clever", "moving", "lovely", "gripping", "convincing", "original")
_BAD = ("bad", "dull", "clumsy", "boring", "awful", "tiresome", "silly", "predictable")
_SUBJECTS = ("the film", "the acting", "the plot", "the music", "the ending", "the dialogue")
_VERBS = ("was", "is", "turned out to be", "seemed")
_PLAIN = ("{}", "very {}", "really {}", "quite {}", "so {}", "{} from start to end")
_NEGATED = ("not {}", "not {} at all", "never {}", "anything but {}", "far from {}", "hardly {}")
_OPENINGS = ("", "i must say ", "for me ", "to my surprise ", "as everyone told me ")


def reviews(count: int, seed: int, careless: float = 0.0) -> tuple[list[str], list[str]]:
    """Make different short film reviews, whose meaning turns on negation, and their labels.

    Labels are ``positive`` and ``negative``; of two clauses joined by ``but`` the second decides.
    ``careless``: the share of labels that are wrong, as labels by hand are.  Raises InputError for
    a count that is not 1 to 100,000, or a share that is not 0 to 1.

    >>> texts, labels = reviews(2, seed=1)
    >>> texts[0], labels[0]
    ('to my surprise the film seemed really funny', 'positive')
    """
    _check(count, careless)
    rng = random.Random(seed)
    found: dict[str, str] = {}
    while len(found) < count:
        text, label = _review(rng)
        found[text] = label
    labels = list(found.values())
    for k in random.Random(seed).sample(range(count), round(careless * count)):
        labels[k] = "negative" if labels[k] == "positive" else "positive"
    return list(found), labels


def _check(count: int, share: float = 0.0) -> None:
    if not 1 <= count <= _MOST:
        raise InputError(f"expected 1 to {_MOST}, got {count}; take one of these", option="count")
    if not 0 <= share <= 1:
        raise InputError(f"expected 0 to 1, got {share}; give a share", option="careless")


def _review(rng: random.Random) -> tuple[str, str]:
    positive = rng.random() < 0.5
    text = _clause(rng, positive)
    if rng.random() < 0.5:
        joined = rng.choice(("and", "but"))
        first = positive if joined == "and" else not positive
        text = f"{_clause(rng, first)} {joined} {text}"
    return rng.choice(_OPENINGS) + text, "positive" if positive else "negative"


def _clause(rng: random.Random, positive: bool) -> str:
    negated = rng.random() < 0.35
    word = rng.choice(_GOOD if positive != negated else _BAD)
    judgement = rng.choice(_NEGATED if negated else _PLAIN).format(word)
    return f"{rng.choice(_SUBJECTS)} {rng.choice(_VERBS)} {judgement}"


def python_reference() -> str:
    """Give the paragraphs of Python's language reference, one a line, as this Python brings it.

    Each stands once, without tables, in an order that is always the same.

    >>> len(python_reference()) > 200_000
    True
    """
    import pydoc_data.topics

    topics = list(pydoc_data.topics.topics.values())
    random.Random(1).shuffle(topics)  # so that what is held out is of the same kind
    paragraphs = dict.fromkeys("\n\n".join(topics).split("\n\n"))
    drawn = ("|", "::=", "---", "===", "***")
    return "\n".join(" ".join(p.split()) for p in paragraphs if not any(d in p for d in drawn))


def load(days: int, seed: int) -> dict[str, np.ndarray]:
    """Make an hourly series, in columns ``time``, ``load`` and ``temperature``.

    The load (megawatts) has a daily profile, is lower at weekends, rises when it is cold, and
    drifts slowly.  The temperature (degrees Celsius) is that of a mild year.  Raises InputError for
    days that are not 1 to 100,000.

    >>> load(60, seed=1)["load"].shape
    (1440,)
    """
    _check(days)
    rng = np.random.default_rng(seed)
    hours = np.arange(24 * days)
    weather = np.zeros(len(hours))
    for k in range(1, len(hours)):  # what today's weather keeps of yesterday's
        weather[k] = 0.98 * weather[k - 1] + rng.normal(0, 0.5)
    day, year = 2 * np.pi * hours / 24, 2 * np.pi * hours / (24 * 365)
    temperature = 10 - 8 * np.cos(year) - 3 * np.cos(day - 1) + weather
    profile = -6 * np.cos(day) - 3 * np.cos(2 * day - 1)
    weekend = np.where(hours // 24 % 7 >= 5, -5, 0)
    cold = 0.8 * np.maximum(15 - temperature, 0)
    values = 50 + profile + weekend + cold + rng.normal(0, 0.8, len(hours))
    times = np.datetime64("2026-01-05T00") + hours * np.timedelta64(1, "h")  # a Monday
    return {"time": times, "load": values.round(2), "temperature": temperature.round(1)}


# A word that stands twice is of either kind, and only its place tells which.
_WORDS = {
    "DET": ("the", "a", "this", "every"),
    "ADJ": ("light", "old", "open", "quiet", "clean", "young", "green"),
    "NOUN": ("watch", "light", "play", "run", "dog", "teacher", "house", "book", "walk", "plan"),
    "VERB": ("watch", "plays", "runs", "book", "walk", "plan", "sees", "opens", "clean", "light"),
    "ADV": ("often", "quietly", "here", "slowly"),
    "PRON": ("they", "we", "you", "she"),
    "ADP": ("in", "near", "behind", "with"),
}
_NOUN_PHRASES = (("DET", "NOUN"), ("DET", "ADJ", "NOUN"), ("PRON",), ("DET", "ADJ", "ADJ", "NOUN"))


def tagged_sentences(count: int, seed: int) -> tuple[list[list[str]], list[list[str]]]:
    """Make sentences as lists of words, and of parts of speech as Universal Dependencies name them.

    Many words are of two kinds, as in "they light the light": only the others tell which.  Raises
    InputError for a count that is not 1 to 100,000.

    >>> tokens, tags = tagged_sentences(1, seed=1)
    >>> len(tokens[0]) == len(tags[0])
    True
    """
    _check(count)
    rng = random.Random(seed)
    found: list[tuple[list[str], list[str]]] = []
    for _ in range(count):
        tags = [*rng.choice(_NOUN_PHRASES), "VERB"]
        if rng.random() < 0.7:
            tags += rng.choice(_NOUN_PHRASES[:2])
        if rng.random() < 0.4:
            tags += ["ADP", *rng.choice(_NOUN_PHRASES[:2])]
        if rng.random() < 0.3:
            tags.append("ADV")
        found.append(([rng.choice(_WORDS[tag]) for tag in tags], tags))
    return [words for words, _ in found], [tags for _, tags in found]


_CHORDS = {"I": (0, 4, 7), "ii": (2, 5, 9), "IV": (5, 9, 12), "V": (7, 11, 14), "vi": (9, 12, 16)}
_TURNS = (("I", "vi", "IV", "V"), ("I", "IV", "V", "I"), ("vi", "ii", "V", "I"))


def tunes(count: int, seed: int, bars: int = 8) -> list[np.ndarray]:
    """Make pieces as piano rolls, uint8 [8 * bars, 88]: key k is on at a step where it holds 1.

    A piece has a key, a turn of four chords that comes again, a bass on the beats and a melody of
    broken chords.  Raises InputError for a count that is not 1 to 100,000.

    >>> tunes(3, seed=1)[0].shape
    (64, 88)
    """
    _check(count)
    rng = random.Random(seed)
    found = []
    for _ in range(count):
        roll = np.zeros((8 * bars, 88), np.uint8)
        root = 39 + rng.choice((0, 2, 5, 7))  # middle C is key 39
        turn, figure = rng.choice(_TURNS), rng.choice(((0, 1, 2, 1), (2, 1, 0, 1), (0, 2, 1, 2)))
        for step in range(8 * bars):
            chord = _CHORDS[turn[step // 8 % 4]]
            roll[step, root + chord[figure[step % 4]]] = 1
            if step % 4 == 0:
                roll[step : step + 2, root - 24 + chord[0]] = 1
        found.append(roll)
    return found


NAMES = ("reviews", "load", "python")


def table(name: str) -> dict[str, list[Any]]:
    """Give one of ``NAMES`` as columns by name; of ``python``, the text, one called ``text``.

    Raises InputError for another name.
    """
    if name == "reviews":
        return dict(zip(("review", "sentiment"), map(list, reviews(2000, seed=1)), strict=True))
    if name == "load":
        columns = load(120, seed=1)
        times = [str(time) for time in columns.pop("time")]
        return {"time": times, **{column: a.tolist() for column, a in columns.items()}}
    if name == "python":
        return {"text": list(python_reference().split("\n"))}
    raise InputError(f"expected {', '.join(NAMES)}, got {name!r:.40}; write one of these")
