"""A linear model of what stands in a text: TF-IDF and logistic regression."""

from __future__ import annotations

import math
from typing import Any, Self

import numpy as np

from tidegate.baselines.baseline import Answered, Labelling, sampled, told_of

_INVERSE_PENALTIES = (1.0, 10.0, 100.0)
_FEW = 100  # texts to choose a penalty by: of fewer, the training part chooses by five folds
_CHARACTERS_A_SECOND = 400_000  # counted and fitted, all penalties together, on one core


class LinearTexts(Labelling):
    """Logistic regression of words and pairs of words (Wang & Manning 2012), TF-IDF weighted."""

    name = "TF-IDF + logistic regression"

    def __init__(self, vectorizer: Any, linear: Any, of: str) -> None:
        self._vectorizer, self._linear = vectorizer, linear
        self.classes = linear.classes_
        self.about = f"words and pairs of words, C = {linear.get_params()['C']:g}{of}"
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
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression

        characters = sum(map(len, train.inputs))
        some = sampled(train, seconds * _CHARACTERS_A_SECOND / max(characters, 1))
        vectorizer = TfidfVectorizer(
            lowercase=lowercase, ngram_range=(1, 2), token_pattern=r"(?u)\b\w+\b"
        )
        read = vectorizer.fit_transform(some.inputs)
        of = told_of(len(some.inputs), len(train.inputs), "texts")

        def fitted(c: float) -> Self:
            linear = LogisticRegression(C=c, max_iter=1000)
            return cls(vectorizer, linear.fit(read, some.answers), of)

        if (
            len(validation.inputs) < _FEW
            and np.unique(some.answers, return_counts=True)[1].min() >= 5
        ):
            return fitted(_by_folds(read, some.answers))
        judged_by = vectorizer.transform(validation.inputs)

        def loss(model: Self) -> float:
            log_p = model._linear.predict_log_proba(judged_by)
            return float(model._losses(log_p, validation.answers).mean())

        return min(map(fitted, _INVERSE_PENALTIES), key=loss)

    def log_probabilities(self, inputs: list[str]) -> np.ndarray:
        return self._linear.predict_log_proba(self._vectorizer.transform(inputs))


def _by_folds(read: Any, answers: np.ndarray) -> float:
    """The inverse penalty with the least cross-entropy over five folds."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_score

    folds = StratifiedKFold(5, shuffle=True, random_state=0)

    def score(c: float) -> float:
        linear = LogisticRegression(C=c, max_iter=1000)
        return cross_val_score(linear, read, answers, cv=folds, scoring="neg_log_loss").mean()

    return max(_INVERSE_PENALTIES, key=score)
