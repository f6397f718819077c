"""Evidence: what a text's single words say of its answer, as numbers beside the words.

For each word, pair of neighbouring words and run of letters it is counted how many training texts
of each label hold it.  Its evidence for a label is the log of the odds of two such shares, that of
the texts with the label and that of the others: the weights of naive Bayes, which Wang & Manning
(2012, "Baselines and Bigrams") gave to a linear model; here a recurrent network reads them.  Where
the answer is a number, what is counted is whether it lies above each of a few quantiles.

A text must not be judged by what was counted in itself, or the network would learn to trust it
blindly: the evidence in a training text is counted in the texts of other folds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Final
from zlib import crc32

import numpy as np

from tidegate.model.architecture import EVIDENCE_KINDS

__all__ = [
    "BUCKETS",
    "MAX_LABELS",
    "Evidence",
    "answers_of_labels",
    "learn_evidence",
    "learn_token_evidence",
    "word_hash",
]

BUCKETS: Final = 1 << 24  # of the n-grams' hashes
MAX_LABELS: Final = 32  # with more, evidence would be as wide as the words' vectors
_LETTERS: Final = (4, 5)  # lengths of the runs, a space before and after the word included
_KEPT: Final = 1 << 19  # n-grams, those that most texts hold
_FOLDS: Final = 5
_MANY_LOOKUPS: Final = 1 << 20  # that are worth 64 MB which are written once
_AT_ONCE: Final = 500  # texts, which bounds the memory
_ODD: Final = np.uint64(0x9E3779B97F4A7C15)  # 2**64 / golden ratio spreads sums over high bits


Found = tuple[np.ndarray, np.ndarray]  # whether each of N buckets is known, and its place


class Evidence:
    """The evidence of n-grams, which are known by their hashes.

    ``buckets``: int64 [F], rising, below BUCKETS; ``log_odds``: float32 [F, C], of each of C
    answers; of two labels that is the second.  ``line``: what the words and pairs of a text add to
    the answers of a linear model, as large, or None where there is none.  ``width``: the 3 C or 4 C
    numbers of a word: its own, its pair's with the word before, its letters', and what all words
    and pairs up to there add up to, each counted once.
    """

    def __init__(
        self, buckets: np.ndarray, log_odds: np.ndarray, line: np.ndarray | None = None
    ) -> None:
        if not (len(buckets) and buckets[0] >= 0 and buckets[-1] < BUCKETS):
            raise ValueError(f"evidence: expected buckets from 0 to {BUCKETS - 1}")
        if not (np.diff(buckets) > 0).all():
            raise ValueError("evidence: expected rising buckets")
        if not np.isfinite(log_odds).all():
            raise ValueError("evidence: expected finite log-odds")
        if line is not None and not np.isfinite(line).all():
            raise ValueError("evidence: expected a line of finite weights")
        self.buckets, self.log_odds, self.line = buckets, log_odds, line
        self.width = (EVIDENCE_KINDS + (line is not None)) * log_odds.shape[1]

    @property
    def tables(self) -> dict[str, np.ndarray]:
        """What makes it, by name."""
        tables = {"buckets": self.buckets, "log_odds": self.log_odds}
        return tables if self.line is None else tables | {"line": self.line}

    def of(
        self, texts: Iterable[Sequence[str]], before: Sequence[int] | None = None
    ) -> list[np.ndarray]:
        """Evidence of each word of each text, float32 [T, width]; unknown n-grams have none.

        ``before``: of each text the hash of the word that stands before, 0 where it begins.
        """
        lexicon = _Lexicon()
        indices = [lexicon.indices(text) for text in texts]
        find = partial(_find, self.buckets)
        tables = self.log_odds, self.line
        return list(_read(lexicon, indices, find, tables, before))

    def held(self, texts: Iterable[Sequence[str]]) -> tuple[np.ndarray, np.ndarray]:
        """Which of its words and pairs each text holds, each once: [held] of the texts' numbers,
        which rise, and as many places in its tables.
        """
        lexicon = _Lexicon()
        indices = [lexicon.indices(text) for text in texts]
        hashes = lexicon.hashes()
        numbers, places = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for number, words in enumerate(indices):
            both = np.concatenate([_own(hashes[words]), _pairs(hashes[words])])
            known, at = _find(self.buckets, np.unique(both))
            places.append(at[known])
            numbers.append(np.full(len(places[-1]), number))
        return np.concatenate(numbers), np.concatenate(places)


def answers_of_labels(labels: np.ndarray, label_count: int) -> np.ndarray:
    """What evidence of single labels is counted by, bool [N, C]: each label, or the second of two.

    ``labels``: int64 [N], below ``label_count``.
    """
    held = labels[:, None] == np.arange(label_count)
    return held[:, 1:] if label_count == 2 else held


def learn_evidence(
    texts: Sequence[Sequence[str]], held: np.ndarray
) -> tuple[Evidence, list[np.ndarray]]:
    """The evidence of words, and that of each text's own words as the other folds have it.

    ``texts``: the words of N texts; ``held``: bool [N, C], which of C answers are given to each, of
    which none, one or several may be.  The second is as ``Evidence.of`` returns it.  Which fold a
    text is in depends on its place alone.
    """
    lexicon = _Lexicon()
    indices = [lexicon.indices(text) for text in texts]
    ngrams = list(_held(lexicon, indices))
    holders = np.zeros(BUCKETS, np.int32)
    for _, buckets in ngrams:
        np.add.at(holders, buckets, 1)
    kept = np.flatnonzero(holders)
    if len(kept) > _KEPT:
        kept = np.sort(kept[np.argsort(-holders[kept], kind="stable")[:_KEPT]])
    find = _finder(kept, sum(len(buckets) for _, buckets in ngrams))

    folds = np.random.default_rng(0).permutation(len(texts)) % _FOLDS
    # by fold the answers, and behind them all texts, [K, C + 1, F] and [K, C + 1]
    counted = np.concatenate([held, np.ones((len(held), 1), bool)], axis=1)
    answers = counted.shape[1]
    counts = np.zeros((_FOLDS, answers, len(kept)), np.int32)
    sizes = np.zeros((_FOLDS, answers), np.int64)
    np.add.at(sizes, folds, counted.astype(np.int64))
    for holding, buckets in ngrams:
        known, at = find(buckets)
        text, at = holding[known], at[known]
        for answer in range(answers):
            given = counted[text, answer]
            table = (folds[text[given]] * answers + answer) * len(kept)
            np.add.at(counts.reshape(-1), table + at[given], 1)

    return _out_of_fold(lexicon, indices, kept, (folds, counts, sizes))


def learn_token_evidence(
    sentences: Sequence[Sequence[str]], labels: Sequence[np.ndarray], label_count: int
) -> tuple[Evidence, list[np.ndarray]]:
    """The same where each token has a label: what occurs is counted, by the label of its token.

    ``labels``: int64 [T] of each sentence, below ``label_count``.  Of n-grams that occur once there
    is none.  Which fold a sentence is in depends on its place alone.
    """
    lexicon = _Lexicon()
    indices = [lexicon.indices(sentence) for sentence in sentences]
    hashes, (runs, lengths) = lexicon.hashes(), lexicon.letters()
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    found: list[np.ndarray] = []  # of each sentence the buckets, and the labels of their tokens
    told: list[np.ndarray] = []
    for own, of_sentence in zip(indices, labels, strict=True):
        counts = lengths[own]
        letters = [runs[starts[i] : starts[i + 1]] for i in own]
        found.append(np.concatenate([_own(hashes[own]), _pairs(hashes[own]), *letters]))
        told.append(np.concatenate([of_sentence, of_sentence, of_sentence.repeat(counts)]))
    occurring = np.bincount(np.concatenate(found), minlength=BUCKETS)
    kept = np.flatnonzero(occurring > 1)
    if len(kept) > _KEPT:
        kept = np.sort(kept[np.argsort(-occurring[kept], kind="stable")[:_KEPT]])
    if not len(kept):
        kept = np.flatnonzero(occurring)

    folds = np.random.default_rng(0).permutation(len(sentences)) % _FOLDS
    counts = np.zeros((_FOLDS, label_count, len(kept)), np.int32)
    sizes = np.zeros((_FOLDS, label_count), np.int64)
    for buckets, of_buckets, of_sentence, fold in zip(found, told, labels, folds, strict=True):
        known, places = _find(kept, buckets)
        np.add.at(counts[fold], (of_buckets[known], places[known]), 1)
        np.add.at(sizes[fold], of_sentence, 1)
    return _out_of_fold(lexicon, indices, kept, (folds, _and_all(counts), _and_all(sizes)))


def _and_all(of_labels: np.ndarray) -> np.ndarray:
    """Counts by fold and label [K, L, ...], two of which the second tells; and then their sum."""
    told = of_labels[:, 1:] if of_labels.shape[1] == 2 else of_labels
    return np.concatenate([told, of_labels.sum(1, keepdims=True)], axis=1)


def _out_of_fold(
    lexicon: _Lexicon,
    indices: list[np.ndarray],
    kept: np.ndarray,
    counted: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> tuple[Evidence, list[np.ndarray]]:
    """The evidence of all, and that of each text as the other folds have it.

    ``counted``: the fold of each text, and by fold the counts of n-grams and of texts, those with
    each answer and then all.
    """
    folds, counts, sizes = counted
    all_counts, all_sizes = counts.sum(0), sizes.sum(0)
    read: dict[int, np.ndarray] = {}
    find = _finder(kept, sum(map(len, indices)))
    for fold in range(_FOLDS):
        elsewhere = _log_odds(all_counts - counts[fold], all_sizes - sizes[fold])
        (members,) = np.nonzero(folds == fold)
        of_fold = _read(lexicon, [indices[i] for i in members], find, (elsewhere, None))
        read |= dict(zip(members.tolist(), of_fold, strict=True))
    of_all = Evidence(kept, _log_odds(all_counts, all_sizes))
    return of_all, [read[i] for i in range(len(indices))]


class _Lexicon:
    """The different words that were met, and the buckets of what they are made of."""

    def __init__(self) -> None:
        self._index: dict[str, int] = {}
        self._hashes: list[int] = []
        self._letters: list[list[int]] = []

    def indices(self, text: Sequence[str]) -> np.ndarray:
        """The number of each of a text's words, [T]; new ones are taken up."""
        index = self._index
        for word in text:
            if word not in index:
                index[word] = len(index)
                self._hashes.append(word_hash(word))
                spaced = f" {word} "
                runs = (spaced[k : k + n] for n in _LETTERS for k in range(len(spaced) - n + 1))
                self._letters.append(
                    [crc32(run.encode("utf-8", "surrogatepass"), 1) % BUCKETS for run in runs]
                )
        return np.array([index[word] for word in text], np.int64)

    def hashes(self) -> np.ndarray:
        """Of each word, uint64 [U]."""
        return np.array(self._hashes, np.uint64)

    def letters(self) -> tuple[np.ndarray, np.ndarray]:
        """Buckets of every word's letters, one word after another, and how many each has, [U]."""
        counts = np.array([len(runs) for runs in self._letters], np.int64)
        return np.array([run for runs in self._letters for run in runs], np.int64), counts


def word_hash(word: str) -> int:
    """By which a pair knows the word before, from 0 to 2**32 - 1."""
    return crc32(word.encode("utf-8", "surrogatepass"))


def _own(hashes: np.ndarray) -> np.ndarray:
    """Bucket of each word."""
    return (hashes * _ODD >> np.uint64(40)).astype(np.int64)


def _pairs(hashes: np.ndarray, firsts: Mapping[int, int] | None = None) -> np.ndarray:
    """Bucket of each word with the one before it; 0 before one is the start of a text.

    ``firsts``: what stands before some words instead, by their places.
    """
    before = np.concatenate([np.zeros(1, np.uint64), hashes[:-1]])[: len(hashes)]
    for place, first in (firsts or {}).items():
        before[place : place + 1] = first
    mixed = before * _ODD + hashes
    return ((mixed ^ mixed >> np.uint64(29)) * _ODD >> np.uint64(40)).astype(np.int64)


def _held(
    lexicon: _Lexicon, texts: Sequence[np.ndarray]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Of some texts after others: their numbers and the buckets that they hold, each pair once."""
    hashes, (runs, lengths) = lexicon.hashes(), lexicon.letters()
    starts = np.cumsum(lengths) - lengths
    for first in range(0, len(texts), _AT_ONCE):
        some = texts[first : first + _AT_ONCE]
        words, ends = np.concatenate(some), np.cumsum([len(text) for text in some])
        text = np.repeat(np.arange(len(some)), [len(text) for text in some])
        pairs = _pairs(hashes[words], dict.fromkeys(ends[:-1].tolist(), 0))
        text_of, word = np.divmod(_different(text * len(hashes) + words), len(hashes))
        count = lengths[word]
        at = np.arange(count.sum()) + np.repeat(starts[word] - np.cumsum(count) + count, count)
        held = [(text, pairs), (text_of, _own(hashes[word])), (text_of.repeat(count), runs[at])]
        keys = np.concatenate([holding * BUCKETS + buckets for holding, buckets in held])
        holding, buckets = np.divmod(_different(keys), BUCKETS)
        yield first + holding, buckets


def _different(keys: np.ndarray) -> np.ndarray:
    """The different ones of int64 [N], rising; of so many, numpy's own unique takes five times as
    long.
    """
    ordered = np.sort(keys)
    return ordered[np.append(True, ordered[1:] != ordered[:-1])[: len(ordered)]]


def _read(
    lexicon: _Lexicon,
    texts: Sequence[np.ndarray],
    find: Callable[[np.ndarray], Found],
    tables: tuple[np.ndarray, np.ndarray | None],
    before: Sequence[int] | None = None,
) -> Iterator[np.ndarray]:
    """Evidence in each text, float32 [T, 3 C] or [T, 4 C], by the numbers of its words.

    ``tables``: log-odds and the line, if there is one; ``find`` tells of buckets whether they are
    among theirs, and where.
    """
    log_odds, line = tables
    hashes = lexicon.hashes()
    own = _looked_up(find, log_odds, _own(hashes))
    runs, counts = lexicon.letters()
    # as if independent: their sum grows as the root of their number
    letters = np.zeros_like(own)
    np.add.at(letters, np.arange(len(counts)).repeat(counts), _looked_up(find, log_odds, runs))
    letters /= np.sqrt(np.maximum(counts, 1))[:, None]
    for first in range(0, len(texts), _AT_ONCE):
        some = texts[first : first + _AT_ONCE]
        words, ends = np.concatenate(some), np.cumsum([len(text) for text in some]).tolist()
        opening = [0] * len(some) if before is None else before[first : first + _AT_ONCE]
        firsts = dict(zip([0, *ends[:-1]], opening, strict=True))
        buckets = _pairs(hashes[words], firsts)
        pairs = _looked_up(find, log_odds, buckets)
        joined = np.concatenate([own[words], pairs, letters[words]], 1)
        for begin, end in pairwise([0, *ends]):
            read = joined[begin:end]
            if line is not None:
                of_text = _own(hashes[words[begin:end]]), buckets[begin:end]
                read = np.concatenate([read, _added_up(find, line, *of_text)], 1)
            yield read


def _added_up(
    find: Callable[[np.ndarray], Found], line: np.ndarray, own: np.ndarray, pairs: np.ndarray
) -> np.ndarray:
    """What the words and pairs of a text up to each word add up to, float32 [T, C].

    ``own``, ``pairs``: buckets [T]; one that comes again adds nothing.
    """
    both = np.stack([own, pairs], 1).ravel()
    new = np.zeros(len(both), bool)
    new[np.unique(both, return_index=True)[1]] = True
    weights = np.where(new[:, None], _looked_up(find, line, both), 0).astype(np.float64)
    return weights.reshape(len(own), 2, line.shape[1]).sum(1).cumsum(0).astype(np.float32)


def _looked_up(
    find: Callable[[np.ndarray], Found], log_odds: np.ndarray, wanted: np.ndarray
) -> np.ndarray:
    """Log-odds [N, C] of the buckets wanted, [N]; zero for those that are not there."""
    known, places = find(wanted)
    return np.where(known[:, None], log_odds[places], np.float32(0))


def _finder(buckets: np.ndarray, lookups: int) -> Callable[[np.ndarray], Found]:
    """What ``_find`` does, by a table of all buckets where there are so many look-ups to make."""
    if lookups < _MANY_LOOKUPS:
        return partial(_find, buckets)
    places = np.full(BUCKETS, -1, np.int32)
    places[buckets] = np.arange(len(buckets))

    def find(wanted: np.ndarray) -> Found:
        found = places[wanted]
        return found >= 0, found

    return find


def _find(buckets: np.ndarray, wanted: np.ndarray) -> Found:
    """Whether each bucket wanted is there, and its place."""
    places = np.minimum(np.searchsorted(buckets, wanted), len(buckets) - 1)
    return buckets[places] == wanted, places


def _log_odds(counts: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Log-odds float32 [F, C] of n-grams that counts [C + 1, F] of texts [C + 1] hold.

    The last are all texts, the others those with each answer.  One is added to every count and two
    to every number of texts (Laplace).
    """
    with_it, sizes_with = counts[:-1], sizes[:-1]
    share = (with_it + 1) / (sizes_with + 2)[:, None]
    others = (counts[-1] - with_it + 1) / (sizes[-1] - sizes_with + 2)[:, None]
    return np.ascontiguousarray(np.log(share / others).astype(np.float32).T)
