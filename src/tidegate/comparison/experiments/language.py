"""Language models, beside counted n-grams of the same tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from tidegate.baselines.language import CountedTokens
from tidegate.comparison.experiments.experiment import (
    MOST_SEQUENCES,
    MOST_STEPS,
    BaselineScores,
    Batch,
    Experiment,
    Figures,
    Metric,
    padded,
)
from tidegate.comparison.experiments.paired import in_blocks
from tidegate.runtime.scoring import stretches

Text = str | Sequence[str]


class LanguageModelling(Experiment):
    """The experiment on one text, or several one after another."""

    metric: ClassVar[Metric] = Metric(name="cross_entropy", label="nats per token")
    unit: str = "characters"
    examples: str = "stretches of text"

    def __init__(self, model: Any, text: Text, *, validation: Any, test: Any) -> None:
        self.train, self.validation, last = model.split(text, validation, model.level)
        if test is not None:
            last = test if isinstance(test, str) else "".join(f"{one}\n" for one in test)
        self.held_out = "test" if last else "validation"
        self.scored = last or self.validation
        self.size = len(self.scored)

    def fit(self, model: Any) -> None:
        model.set_params(test_fraction=0.0)  # it is set aside already
        model.fit(self.train, validation=self.validation)

    def score(self, model: Any) -> tuple[Figures, Figures]:
        """The training figure is of the end of the training text, as much as is held out."""
        return model.evaluate(self.scored), model.evaluate(self.train[-self.size :])

    def losses(self, model: Any) -> tuple[np.ndarray, np.ndarray]:
        return self._losses(model, self.validation), self.held_out_losses(model)

    def held_out_losses(self, model: Any) -> np.ndarray:
        return self._losses(model, self.scored)

    def _losses(self, model: Any, text: str) -> np.ndarray:
        tokens, opening = model.encoder_.encode(text), model.encoder_.start_id
        return by_stretch(*stretches(model.runtime_, tokens, opening, model.counts_)[1:])

    def baselines(self, model: Any) -> list[BaselineScores]:
        encoder = model.encoder_
        train, validation, scored = map(encoder.encode, (self.train, self.validation, self.scored))
        counted = CountedTokens.fit(
            train, validation, size=encoder.size, never_target=encoder.start_id
        )
        starts, _, counts = stretches(model.runtime_, scored, encoder.start_id)
        losses = by_stretch(np.add.reduceat(counted.losses(scored), starts), counts)
        return [BaselineScores.of(counted, self.metric, validation, scored, losses)]

    def batch(self, model: Any) -> Batch:
        """Stretches of the text, the token after each being the target."""
        tokens = model.encoder_.encode(self.scored).astype(np.int64)
        steps = max(1, min(MOST_STEPS, len(tokens) // 2))
        starts = np.linspace(0, len(tokens) - steps - 1, MOST_SEQUENCES).astype(int)
        stretches = tokens[np.unique(starts)[:, None] + np.arange(steps + 1)]
        return padded(list(stretches[:, :-1]), stretches[:, -1])


def by_stretch(nats: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Nats per token of stretches that are scored one after another, joined to 100 at most."""
    return in_blocks(nats * (len(nats) / counts.sum()), 1)
