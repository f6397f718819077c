"""Classifiers of texts, beside TF-IDF and logistic regression."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from tidegate.comparison.experiments.answered import ACCURACY, AnsweredExperiment, Part
from tidegate.comparison.experiments.experiment import Baseline, Metric
from tidegate.data.files.items import as_labels, as_texts

_INVERSE_PENALTIES = (1.0, 10.0, 100.0)


class TextClassification(AnsweredExperiment):
    """The experiment on texts and their labels."""

    metric: ClassVar[Metric] = ACCURACY

    def baselines(self, model: Any) -> list[Baseline]:
        """A linear model of words and pairs of words (Wang & Manning 2012), TF-IDF weighted.

        Its penalty is the one that does best on the validation part.
        """
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression

        vectorizer = TfidfVectorizer(
            lowercase=model.lowercase, ngram_range=(1, 2), token_pattern=r"(?u)\b\w+\b"
        )
        train = vectorizer.fit_transform(self.train.inputs)
        validation, scored = (
            vectorizer.transform(p.inputs) for p in (self.validation, self.scored)
        )
        fitted = {
            c: LogisticRegression(C=c, max_iter=1000).fit(train, self.train.answers)
            for c in _INVERSE_PENALTIES
        }
        accuracy = {c: m.score(validation, self.validation.answers) for c, m in fitted.items()}
        best = max(accuracy, key=lambda c: accuracy[c])
        linear = fitted[best]
        return [
            Baseline(
                name="TF-IDF + logistic regression",
                about=f"words and pairs of words, C = {best:g}",
                validation=float(accuracy[best]),
                held_out=float(linear.score(scored, self.scored.answers)),
                losses=self.losses_of(linear.predict(scored), self.scored.answers),
                parameters=linear.coef_.size + linear.intercept_.size,
            )
        ]

    def _part(self, inputs: Any, answers: Any) -> Part:
        return Part(as_texts(inputs), np.array(as_labels(answers)))

    def _read(self, model: Any, inputs: list[Any]) -> list[np.ndarray]:
        return model.encode(inputs)

    def _targets(self, model: Any, answers: np.ndarray) -> np.ndarray:
        return np.searchsorted(model.classes_, answers)
