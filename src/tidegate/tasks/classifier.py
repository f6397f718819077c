"""Classification of texts: sentiment, topic, language, or any label a text can carry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from tidegate.architecture import Architecture
from tidegate.cells import get_cell
from tidegate.data.text import LEVELS, TextEncoder, train_encoder
from tidegate.errors import InputError
from tidegate.tasks.estimator import Estimator, encoder_of
from tidegate.training.options import option

if TYPE_CHECKING:
    from tidegate.checkpoint import ModelFile

Labelled = tuple[Sequence[str], Sequence[Any]]


@dataclass(kw_only=True, eq=False, repr=False)
class TextClassifier(Estimator):
    """Tells which label a text carries: embedding, recurrent layers, pooling, dense layer.

    ``classes_`` holds the labels in order (of ``predict_proba``'s columns), ``encoder_`` the
    vocabulary, made of the training texts alone.
    """

    TASK: ClassVar[str] = "text-classifier"
    DEFAULT_EPOCHS: ClassVar[int] = 6

    level: str = option("word", "what a token is", choices=LEVELS)
    vocabulary_size: int | None = option(30_000, "most frequent tokens kept")
    min_count: int = option(1, "occurrences below which a token is unknown", at_least=1)
    lowercase: bool = option(True, "fold capitals")
    max_length: int | None = option(
        400, "tokens of a text that are read: of a longer one, both ends", at_least=2
    )
    embedding_size: int = option(128, "width of a token's vector", at_least=1)
    hidden_sizes: tuple[int, ...] = option(
        (128,), "units of each recurrent layer: 128 or 128,64", at_least=1
    )
    bidirectional: bool = option(True, "read in both directions")
    readout: str = option(
        "mean+max", "what of the states the output sees: last, mean, max or a sum of these"
    )
    embedding_dropout: float = option(0.5, "on the tokens' vectors", at_least=0, below=1)
    dropout: float = option(
        0.5, "between recurrent layers and before the output", at_least=0, below=1
    )
    recurrent_dropout: float = option(
        0.2, "on the recurrent state, one mask per sequence", at_least=0, below=1
    )
    learning_rate: float | None = option(1e-3, "peak learning rate", above=0)
    weight_decay: float | None = option(0.1, "on matrices, never on biases and norms", at_least=0)
    average: float = option(
        0.99, "decay of a running average of the weights (0: none)", at_least=0, below=1
    )
    validation_fraction: float = option(
        0.1, "part of the texts that chooses the best weights", above=0, below=1
    )
    test_fraction: float = option(
        0.0, "part of the texts scored once after training", at_least=0, below=1
    )

    def fit(
        self, texts: Sequence[str], labels: Sequence[Any], validation: Labelled | None = None
    ) -> Self:
        """Learn from texts and their labels; random parts (or ``validation``) are held out.

        Raises InputError for options or data that cannot be used, TrainingError for a loss that
        is not finite.
        """
        self.check()
        known, truth = _checked(texts, labels)
        self.classes_ = np.unique(truth)
        if len(self.classes_) < 2:
            raise InputError(
                f"labels: expected at least two different ones, got only {self.classes_[0]!r}; "
                "a classifier needs something to tell apart"
            )
        train, held_out, test = self._split(len(known), validation is None)
        if validation is None:
            validation = [known[i] for i in held_out], truth[held_out].tolist()
        learned = [known[i] for i in train], truth[train]
        self.encoder_: TextEncoder = train_encoder(
            learned[0], self.level, self.vocabulary_size, self.min_count, self.lowercase
        )
        parts = [
            (self._encode(part), self._indices(part_labels))
            for part, part_labels in (learned, _checked(*validation))
        ]

        from tidegate.training.classification import Classification

        self._train(
            self._architecture(),
            lambda network: Classification(
                network, *parts, batch_size=self.batch_size, seed=self.seed
            ),
            {"training_texts": len(parts[0][0]), "validation_texts": len(parts[1][0])},
        )
        if len(test):
            figures = self.evaluate([known[i] for i in test], truth[test].tolist())
            self.metrics_ |= {f"test_{name}": value for name, value in figures.items()}
        return self

    def predict(self, texts: Sequence[str]) -> np.ndarray:
        """The likeliest label of each text, [N]."""
        return self.classes_[self._log_probabilities(texts).argmax(1)]

    def predict_proba(self, texts: Sequence[str]) -> np.ndarray:
        """Probability of each label, [N, labels], in the order of ``classes_``."""
        return np.exp(self._log_probabilities(texts).astype(np.float64))

    def predict_log_proba(self, texts: Sequence[str]) -> np.ndarray:
        """Logarithm of ``predict_proba``, [N, labels]."""
        return self._log_probabilities(texts).astype(np.float64)

    def score(self, texts: Sequence[str], labels: Sequence[Any]) -> float:
        """Accuracy."""
        known, truth = _checked(texts, labels)
        return float((self._log_probabilities(known).argmax(1) == self._indices(truth)).mean())

    def evaluate(self, texts: Sequence[str], labels: Sequence[Any]) -> dict[str, float]:
        """Figures on labelled texts.

        ``accuracy``; ``macro_f1``, the plain mean of each label's F1; ``auroc`` for two labels
        (NaN otherwise, or where only one occurs); ``calibration_error``: mean distance between
        confidence and accuracy over 15 bins (Naeini et al. 2015); ``cross_entropy`` in nats per
        text; ``n`` texts.
        """
        import torch
        from torchmetrics.functional import classification as metrics

        known, truth = _checked(texts, labels)
        indices = torch.from_numpy(self._indices(truth))
        log_p = torch.from_numpy(self._log_probabilities(known))
        p = log_p.exp()
        count = len(self.classes_)
        both = count == 2 and len(indices.unique()) == 2
        figures = {
            "accuracy": metrics.multiclass_accuracy(p, indices, count, average="micro"),
            "macro_f1": metrics.multiclass_f1_score(p, indices, count, average="macro"),
            "auroc": metrics.binary_auroc(p[:, 1], indices) if both else torch.tensor(torch.nan),
            "calibration_error": metrics.multiclass_calibration_error(p, indices, count),
            "cross_entropy": -log_p.gather(1, indices.unsqueeze(1)).mean(),
        }
        return {name: float(value) for name, value in figures.items()} | {"n": len(indices)}

    def confusion_matrix(self, texts: Sequence[str], labels: Sequence[Any]) -> np.ndarray:
        """Texts by true label (row) and predicted label (column), in the order of ``classes_``."""
        known, truth = _checked(texts, labels)
        matrix = np.zeros((len(self.classes_), len(self.classes_)), dtype=np.int64)
        predicted = self._log_probabilities(known).argmax(1)
        np.add.at(matrix, (self._indices(truth), predicted), 1)
        return matrix

    def _log_probabilities(self, texts: Sequence[str]) -> np.ndarray:
        from tidegate.training.classification import log_probabilities

        network = self.network_
        return log_probabilities(network, self._encode(_checked_texts(texts)))

    def _encode(self, texts: list[str]) -> list[np.ndarray]:
        sequences = self.encoder_.encode_batch(texts)
        limit = self.max_length
        if limit is None:
            return sequences
        head, tail = limit - limit // 2, limit // 2
        return [
            s if len(s) <= limit else np.concatenate([s[:head], s[len(s) - tail :]])
            for s in sequences
        ]

    def _indices(self, labels: np.ndarray) -> np.ndarray:
        """Position of each label in ``classes_``, int64 [N]."""
        positions = {str(label): i for i, label in enumerate(self.classes_)}
        try:
            return np.array([positions[str(label)] for label in labels], dtype=np.int64)
        except KeyError as e:
            known = ", ".join(map(str, self.classes_[:10]))
            raise InputError(
                f"labels: expected those of the training texts ({known}), got {e.args[0]!r}; "
                "mend the label, or train with it"
            ) from None

    def _split(self, count: int, with_validation: bool) -> tuple[np.ndarray, ...]:
        """Row numbers of training, validation and test texts, drawn by the seed."""
        order = np.random.default_rng(self.seed).permutation(count)
        test = round(count * self.test_fraction)
        held_out = max(1, round(count * self.validation_fraction)) if with_validation else 0
        if test + held_out >= count:
            raise InputError(
                f"texts: expected enough to train on beside {held_out} for validation and {test} "
                f"for test, got {count} in all; give more, or smaller fractions"
            )
        return np.sort(order[test + held_out :]), order[test : test + held_out], order[:test]

    def _architecture(self) -> Architecture:
        try:
            return Architecture(
                cell=get_cell(self.cell).name,
                vocabulary_size=self.encoder_.size,
                input_size=None,
                embedding_size=self.embedding_size,
                hidden_sizes=tuple(self.hidden_sizes),
                bidirectional=self.bidirectional,
                readout=self.readout,
                output_size=len(self.classes_),
                batch_norm=self.batch_norm,
                embedding_dropout=self.embedding_dropout,
                dropout=self.dropout,
                recurrent_dropout=self.recurrent_dropout,
            )
        except ValueError as e:
            raise InputError(f"option {e}") from e

    def _learned(self) -> dict[str, Any]:
        labels = [str(label) for label in self.classes_]
        return {"encoder": self.encoder_.to_json(), "labels": labels}

    def _restore(self, model: ModelFile) -> None:
        assert model.labels is not None  # held by the file's schema
        self.encoder_ = encoder_of(model)
        self.classes_ = np.array(model.labels)


def _checked_texts(texts: Sequence[str]) -> list[str]:
    if isinstance(texts, str):
        raise InputError("texts: expected a list of texts, got one str; pass [text]")
    texts = list(texts)
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise InputError(f"texts: expected str, got {type(text).__name__} at index {i}")
    return texts


def _checked(texts: Sequence[str], labels: Sequence[Any]) -> tuple[list[str], np.ndarray]:
    known, truth = _checked_texts(texts), np.asarray(labels)
    if truth.ndim != 1 or len(truth) != len(known):
        raise InputError(
            f"labels: expected one per text, {len(known)}, got shape {list(truth.shape)}"
        )
    if not known:
        raise InputError("texts: expected at least one, got none")
    return known, truth
