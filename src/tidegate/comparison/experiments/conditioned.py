"""Language models of texts with conditions, beside counted n-grams that know none."""

from __future__ import annotations

from typing import Any

import numpy as np

from tidegate.baselines.language import CountedTokens
from tidegate.comparison.experiments.experiment import (
    MOST_SEQUENCES,
    BaselineScores,
    Batch,
    Figures,
    padded,
)
from tidegate.comparison.experiments.language import LanguageModelling, by_stretch
from tidegate.data.sequences.sequences import with_condition
from tidegate.data.text.conditions import ConditionedTexts
from tidegate.runtime.scoring import text_nats
from tidegate.tasks.conditioned_language import as_conditioned


class ConditionedModelling(LanguageModelling):
    """The experiment on texts that each begin and end by themselves."""

    unit: str = "texts"
    examples: str = "texts"

    def __init__(self, model: Any, text: ConditionedTexts, *, validation: Any, test: Any) -> None:
        self.train, self.validation, last = model.split(text, validation, model.level)
        if test is not None:
            last = as_conditioned(test, "test")
        self.held_out = "test" if len(last) else "validation"
        self.scored = last if len(last) else self.validation
        self.size = len(self.scored)

    def score(self, model: Any) -> tuple[Figures, Figures]:
        """The training figure is of as many training texts as are held out."""
        some = self.train.part(np.arange(min(self.size, len(self.train))))
        return model.evaluate(self.scored), model.evaluate(some)

    def _losses(self, model: Any, text: ConditionedTexts) -> np.ndarray:
        nats = text_nats(model.runtime_, *model.texts_and_conditions(text))
        sums = np.array([one.sum(dtype=np.float64) for one in nats])
        return by_stretch(sums, np.array([len(one) for one in nats]))

    def baselines(self, model: Any) -> list[BaselineScores]:
        parts = (self.train, self.validation, self.scored)
        texts = [model.texts_and_conditions(part)[0] for part in parts]
        train, validation, scored = map(np.concatenate, texts)
        opening = int(train[0])
        counted = CountedTokens.fit(
            train, validation, size=model.encoder_.size, never_target=opening
        )
        lengths = np.array([len(one) for one in texts[2]])
        nats = np.concatenate([[0.0], counted.losses(scored)])  # of each text's start, too: 0
        sums = np.add.reduceat(nats, np.cumsum(lengths) - lengths)
        losses = by_stretch(sums, lengths - 1)
        return [BaselineScores.of(counted, self.metric, validation, scored, losses)]

    def batch(self, model: Any) -> Batch:
        """Texts, the end of each being the target."""
        texts, conditions = model.texts_and_conditions(self.scored)
        read = [
            with_condition(text[:-1], condition)
            for text, condition in zip(texts[:MOST_SEQUENCES], conditions, strict=False)
        ]
        return padded(read, np.array([text[-1] for text in texts[:MOST_SEQUENCES]], np.int64))
