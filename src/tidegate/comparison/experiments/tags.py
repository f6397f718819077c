"""Taggers, beside the most frequent tag of each word."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from tidegate.baselines.tags import MostFrequentTag, TaggedTokens
from tidegate.comparison.experiments.experiment import (
    MOST_SEQUENCES,
    BaselineScores,
    Batch,
    Experiment,
    Figures,
    Metric,
    padded,
)
from tidegate.errors import InputError, spelled
from tidegate.tasks.splitting import split_rows


class Tags(Experiment):
    """The experiment on sentences, lists of tokens, and the labels of each.

    A sentence with a label that the training part has not is learned from, or left out where it
    is held out by another file.
    """

    metric: ClassVar[Metric] = Metric(name="cross_entropy", label="cross-entropy (nats per token)")
    unit: str = "sentences"
    examples: str = "sentences"

    def __init__(self, model: Any, tokens: Any, labels: Any, *, validation: Any, test: Any) -> None:
        whole = TaggedTokens(*model.pairs(tokens, labels))
        if validation is None and not model.validation_fraction:
            raise InputError(
                "expected more than 0, since cells are compared on that part, got 0; give it, such "
                f"as {spelled('validation_fraction', 0.1)}",
                option="validation_fraction",
            )
        rows = split_rows(
            len(whole.tokens),
            model.seed,
            validation=0 if validation is not None else model.validation_fraction,
            test=model.test_fraction,
            what="sentences",
        )
        known = {label for i in rows[0] for label in whole.labels[i]}
        held_out = [[i for i in part if known.issuperset(whole.labels[i])] for part in rows[1:]]
        train = sorted({*range(len(whole.tokens))}.difference(*held_out))
        self.train = whole.rows(train)
        known = {label for of_one in self.train.labels for label in of_one}
        parts = [whole.rows(part) for part in held_out]
        for k, given in enumerate((validation, test)):
            if given is not None:
                parts[k] = _known(TaggedTokens(*model.pairs(*given)), known)
        self.validation = parts[0]
        self.held_out = "test" if parts[1].tokens else "validation"
        self.scored = parts[1] if parts[1].tokens else parts[0]
        self.size = len(self.scored.tokens)

    def fit(self, model: Any) -> None:
        model.set_params(test_fraction=0.0)  # it is set aside already, the same for every seed
        model.fit(*self.train, validation=self.validation)

    def score(self, model: Any) -> tuple[Figures, Figures]:
        return model.evaluate(*self.scored), model.evaluate(*self.train)

    def losses(self, model: Any) -> tuple[np.ndarray, np.ndarray]:
        validation, scored = (
            _per_token(model.losses(*part), part) for part in (self.validation, self.scored)
        )
        return validation, scored

    def baselines(self, model: Any) -> list[BaselineScores]:  # noqa: ARG002
        fitted = MostFrequentTag.fit(self.train)
        losses = _per_token(fitted.losses(self.scored), self.scored)
        return [BaselineScores.of(fitted, self.metric, self.validation, self.scored, losses)]

    def batch(self, model: Any) -> Batch:
        """Some sentences, the label of the last token being the target."""
        some = [i for i, one in enumerate(self.scored.tokens) if one][:MOST_SEQUENCES]
        part = self.scored.rows(some)
        targets = np.searchsorted(model.classes_, [of_one[-1] for of_one in part.labels])
        return padded(model.encode(part.tokens), targets.astype(np.int64))


def _known(part: TaggedTokens, labels: set[Any]) -> TaggedTokens:
    """The sentences whose labels are all known.  Raises InputError where there are none."""
    kept = [i for i, of_one in enumerate(part.labels) if labels.issuperset(of_one)]
    if not any(part.tokens[i] for i in kept):
        other = next(x for of_one in part.labels for x in of_one if x not in labels)
        raise InputError(
            f"expected held-out sentences with labels of the training part, got others, such as "
            f"{other!r}; mend the labels"
        )
    return part.rows(kept)


def _per_token(nats: np.ndarray, part: TaggedTokens) -> np.ndarray:
    """Nats of whole sentences [N] as numbers whose mean is that over tokens."""
    return nats * (len(nats) / sum(map(len, part.tokens)))
