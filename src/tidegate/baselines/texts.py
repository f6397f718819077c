"""Linear models of what stands in a text: TF-IDF with logistic or ridge regression."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import numpy as np

from tidegate.baselines.baseline import Answered, Holding, Labelling, Valued, part_of, sampled
from tidegate.data.text.conditions import Conditions
from tidegate.data.text.label_sets import binary_losses, log_odds, thresholds_of
from tidegate.data.text.rows import learned_conditions, numbers_beside, text_of
from tidegate.data.text.words import letters_pattern

_INVERSE_PENALTIES = (1.0, 10.0, 100.0)
_PENALTIES = (0.1, 0.3, 1.0, 3.0, 10.0)
_FEW = 100  # texts to choose a penalty by: of fewer, the training part chooses by five folds
_FOLDS = 5
_CHARACTERS_A_SECOND = 400_000  # counted and fitted, all penalties together, on one core
_ABOUT = "words and pairs of words"


class _Vectorizer:
    """Words and pairs of words, TF-IDF weighted (Wang & Manning 2012), and columns beside them."""

    def __init__(self, *, lowercase: bool) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer

        self._words = TfidfVectorizer(
            lowercase=lowercase, ngram_range=(1, 2), token_pattern=letters_pattern()
        )
        self._conditions: Conditions | None = None

    def fit_transform(self, rows: Sequence[Any]) -> Any:
        """Features [N, F] of the texts or rows that are learned from, sparse."""
        self._conditions = learned_conditions(rows)
        return self._with_columns(self._words.fit_transform(map(text_of, rows)), rows)

    def transform(self, rows: Sequence[Any]) -> Any:
        """The same of others."""
        return self._with_columns(self._words.transform(map(text_of, rows)), rows)

    def _with_columns(self, words: Any, rows: Sequence[Any]) -> Any:
        from scipy.sparse import csr_matrix, hstack

        if self._conditions is None:
            return words
        return hstack([words, csr_matrix(numbers_beside(self._conditions, rows))], format="csr")


class _Weighted(NamedTuple):
    """Features of the texts learned from: ``read`` [N, F], with ``answers``.

    ``part`` says how many of those given these are, where some are left out.
    """

    vectorizer: _Vectorizer
    read: Any
    answers: np.ndarray
    part: str

    @classmethod
    def learn(cls, train: Answered, *, lowercase: bool, seconds: float) -> Self:
        """Those of ``train``, or of some of it where all would take more than ``seconds``."""
        characters = sum(len(text_of(one)) for one in train.inputs)
        some = sampled(train, seconds * _CHARACTERS_A_SECOND / max(characters, 1))
        vectorizer = _Vectorizer(lowercase=lowercase)
        part = part_of(len(some.inputs), len(train.inputs), "texts")
        return cls(vectorizer, vectorizer.fit_transform(some.inputs), some.answers, part)


class LinearTexts(Labelling):
    """Logistic regression of words and pairs of words."""

    name = "TF-IDF + logistic regression"

    def __init__(self, vectorizer: _Vectorizer, linear: Any, part: str) -> None:
        self._vectorizer, self._linear = vectorizer, linear
        self.classes = linear.classes_
        self.about, self.part = f"{_ABOUT}, C = {linear.get_params()['C']:g}", part
        self.parameters = linear.coef_.size + linear.intercept_.size

    @classmethod
    def fit(
        cls,
        train: Answered,
        validation: Answered,
        *,
        lowercase: bool = True,
        seconds: float = math.inf,
    ) -> Self:
        """The model of ``train`` whose penalty has the least cross-entropy on ``validation``.

        Where ``validation`` has fewer than 100 texts, and ``train`` five of every label, it is
        that over five folds of ``train``.  Where all texts would take more than about ``seconds``,
        some of them are learned from.
        """
        texts = _Weighted.learn(train, lowercase=lowercase, seconds=seconds)

        def fitted(c: float) -> Self:
            linear = _logistic(c).fit(texts.read, texts.answers)
            return cls(texts.vectorizer, linear, texts.part)

        if (
            len(validation.inputs) < _FEW
            and np.unique(texts.answers, return_counts=True)[1].min() >= _FOLDS
        ):
            return fitted(_by_folds(texts))
        judged_by = texts.vectorizer.transform(validation.inputs)

        def loss(model: Self) -> float:
            log_p = model._linear.predict_log_proba(judged_by)
            return float(model._losses(log_p, validation.answers).mean())

        return min(map(fitted, _INVERSE_PENALTIES), key=loss)

    def log_probabilities(self, inputs: list[str]) -> np.ndarray:
        return self._linear.predict_log_proba(self._vectorizer.transform(inputs))


def _logistic(c: float) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=c, max_iter=1000)


def _by_folds(texts: _Weighted) -> float:
    """The inverse penalty with the least cross-entropy over five folds."""
    from sklearn.model_selection import StratifiedKFold, cross_val_score

    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=0)

    def score(c: float) -> float:
        scores = cross_val_score(
            _logistic(c), texts.read, texts.answers, cv=folds, scoring="neg_log_loss"
        )
        return scores.mean()

    return max(_INVERSE_PENALTIES, key=score)


class RidgeTexts(Valued):
    """Ridge regression of words and pairs of words."""

    name = "TF-IDF + ridge regression"

    def __init__(self, vectorizer: _Vectorizer, linear: Any, part: str) -> None:
        self._vectorizer, self._linear = vectorizer, linear
        self.about, self.part = f"{_ABOUT}, penalty {linear.alpha:g}", part
        self.parameters = linear.coef_.size + 1

    @classmethod
    def fit(
        cls,
        train: Answered,
        validation: Answered,
        *,
        lowercase: bool = True,
        seconds: float = math.inf,
    ) -> Self:
        """The model of ``train`` whose penalty has the least squared error on ``validation``.

        As of `LinearTexts`: over five folds of ``train`` where ``validation`` has few texts, and of
        some of the texts where all would take too long.
        """
        from sklearn.linear_model import Ridge
        from sklearn.model_selection import KFold, cross_val_score

        texts = _Weighted.learn(train, lowercase=lowercase, seconds=seconds)

        def fitted(penalty: float) -> Self:
            linear = Ridge(penalty, solver="sparse_cg").fit(texts.read, texts.answers)
            return cls(texts.vectorizer, linear, texts.part)

        def score(penalty: float) -> float:
            linear, folds = (
                Ridge(penalty, solver="sparse_cg"),
                KFold(_FOLDS, shuffle=True, random_state=0),
            )
            error = "neg_mean_squared_error"
            return cross_val_score(
                linear, texts.read, texts.answers, cv=folds, scoring=error
            ).mean()

        if len(validation.inputs) < _FEW and len(texts.answers) >= _FOLDS:
            return fitted(max(_PENALTIES, key=score))
        judged_by = texts.vectorizer.transform(validation.inputs)

        def loss(model: Self) -> float:
            told = model._linear.predict(judged_by)
            return float(((told - validation.answers) ** 2).mean())

        return min(map(fitted, _PENALTIES), key=loss)

    def predict(self, inputs: list[str]) -> np.ndarray:
        return self._linear.predict(self._vectorizer.transform(inputs))


class LinearLabelSets(Holding):
    """A logistic regression for each label, which a text may have or not; thresholds as ours."""

    name = "TF-IDF + logistic regressions"

    def __init__(self, vectorizer: _Vectorizer, linears: list[Any], c: float, part: str) -> None:
        self._vectorizer, self._linears = vectorizer, linears
        self.thresholds = np.full(len(linears), 0.5)
        self.about, self.part = f"{_ABOUT}, one for each label, C = {c:g}", part
        self.parameters = sum(one.coef_.size + 1 for one in linears if not isinstance(one, float))

    @classmethod
    def fit(
        cls,
        train: Answered,
        validation: Answered,
        *,
        lowercase: bool = True,
        seconds: float = math.inf,
    ) -> Self:
        """The models of ``train`` whose penalty has the least cross-entropy on ``validation``.

        Thresholds are chosen there, too.  Where ``validation`` is empty, the last fifth of
        ``train`` chooses both, and all of it is learned from.
        """
        labels = train.answers.shape[1]
        texts = _Weighted.learn(train, lowercase=lowercase, seconds=seconds / max(1, labels / 2))

        def fitted(c: float, rows: slice) -> Self:
            x, held = texts.read[rows], texts.answers[rows].T > 0
            linears = [
                _logistic(c).fit(x, of) if 0 < of.mean() < 1 else log_odds(of) for of in held
            ]
            return cls(texts.vectorizer, linears, c, texts.part)

        everything, most = slice(None), 4 * len(texts.answers) // 5
        alone = not len(validation.inputs)
        part = slice(most) if alone else everything
        models = [fitted(c, part) for c in _INVERSE_PENALTIES]
        held = texts.answers[most:] if alone else validation.answers
        read = texts.read[most:] if alone else texts.vectorizer.transform(validation.inputs)
        logits = [model._logits(read) for model in models]
        best = int(np.argmin([binary_losses(of_model, held).sum() for of_model in logits]))
        chosen = fitted(_INVERSE_PENALTIES[best], everything) if alone else models[best]
        chosen.thresholds = thresholds_of(1 / (1 + np.exp(-logits[best])), held > 0)
        return chosen

    def logits(self, inputs: list[str]) -> np.ndarray:
        return self._logits(self._vectorizer.transform(inputs))

    def _logits(self, read: Any) -> np.ndarray:
        columns = [
            np.full(read.shape[0], one) if isinstance(one, float) else one.decision_function(read)
            for one in self._linears
        ]
        return np.stack(columns, axis=1)
