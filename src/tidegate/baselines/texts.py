"""A linear model of what stands in a text: TF-IDF and logistic regression."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from tidegate.baselines.baseline import Answered, Labelling

_INVERSE_PENALTIES = (1.0, 10.0, 100.0)


class LinearTexts(Labelling):
    """Logistic regression of words and pairs of words (Wang & Manning 2012), TF-IDF weighted."""

    name = "TF-IDF + logistic regression"

    def __init__(self, vectorizer: Any, linear: Any) -> None:
        self._vectorizer, self._linear = vectorizer, linear
        self.classes = linear.classes_
        self.about = f"words and pairs of words, C = {linear.get_params()['C']:g}"
        self.parameters = linear.coef_.size + linear.intercept_.size

    @classmethod
    def fit(cls, train: Answered, validation: Answered, *, lowercase: bool = True) -> Self:
        """The model of ``train`` whose penalty has the least cross-entropy on ``validation``."""
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression

        vectorizer = TfidfVectorizer(
            lowercase=lowercase, ngram_range=(1, 2), token_pattern=r"(?u)\b\w+\b"
        )
        counted = vectorizer.fit_transform(train.inputs)
        fitted = [
            cls(vectorizer, LogisticRegression(C=c, max_iter=1000).fit(counted, train.answers))
            for c in _INVERSE_PENALTIES
        ]
        return min(fitted, key=lambda model: float(model.losses(validation).mean()))

    def log_probabilities(self, inputs: list[str]) -> np.ndarray:
        return self._linear.predict_log_proba(self._vectorizer.transform(inputs))
