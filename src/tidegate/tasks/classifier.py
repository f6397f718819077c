"""Classification of texts: sentiment, topic, language, or any label a text can carry."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from tidegate.baselines.baseline import Answered
from tidegate.baselines.texts import LinearTexts
from tidegate.data.files.items import as_texts
from tidegate.data.text.evidence import MAX_LABELS
from tidegate.data.text.reading import LEVELS, TextEncoder
from tidegate.errors import InputError, spelled
from tidegate.runtime.batches import outputs_of
from tidegate.runtime.probabilities import log_softmax
from tidegate.tasks.architectures import check_readout
from tidegate.tasks.classification import Classifier
from tidegate.tasks.estimator import with_default
from tidegate.tasks.folds import (
    FEW,
    FOLDS,
    believe,
    figures_of_folds,
    folds_of,
    judged_by_folds,
    trained_for,
)
from tidegate.tasks.language_model import LanguageModel
from tidegate.tasks.read_texts import ReadsTexts
from tidegate.tasks.splitting import split_rows, thinned
from tidegate.tasks.start import Start, start_from_models
from tidegate.tasks.text_task import TextTask
from tidegate.tasks.weights import sample_weights
from tidegate.terminal import say
from tidegate.training.budget import Closing
from tidegate.training.options import documented, option
from tidegate.training.search_space import Among, Span

if TYPE_CHECKING:
    from tidegate.nn.network import SequenceNetwork
    from tidegate.runtime.network import Network
    from tidegate.runtime.stream import Stream

Labelled = tuple[Any, Any]  # texts and their labels

_FRACTION = 0.1  # of many texts, to validate by


@documented
@dataclass(kw_only=True, eq=False, repr=False)
class TextClassifier(ReadsTexts, Classifier):
    """Predicts the label of a text, such as its topic or sentiment.

    The network has an embedding, recurrent layers, pooling and a dense layer.  ``classes_`` holds
    the labels in order, which is the order of the columns of ``predict_proba``.  ``encoder_`` holds
    the vocabulary, which is learned from the training texts only.  ``init_from`` takes a text
    classifier, a language model, or two language models.  The second of two must be trained with
    ``reverse``; it starts the reverse direction.  With one language model, the reverse direction
    starts with random weights.  `fit` raises InputError for options or data that cannot be used.

    >>> import tidegate as tg
    >>> texts, labels = ["a good film", "a bad film"] * 20, ["good", "bad"] * 20
    >>> model = tg.TextClassifier(max_steps=60, verbose=0).fit(texts, labels)
    >>> model.predict(["a bad film", "a good film"]).tolist()
    ['bad', 'good']
    """

    TASK: ClassVar[str] = "text-classifier"
    INPUTS: ClassVar[str] = "texts"
    DEFAULT_EPOCHS: ClassVar[int] = 6
    DEFAULT_STEPS: ClassVar[int] = 300

    level: str = option(
        "word", "unit of text, called a token, that is read in one step", choices=LEVELS
    )
    vocabulary_size: int | None = option(
        30_000, "how many different tokens are known; rarer ones are read as unknown"
    )
    lowercase: bool = option(True, "read capitals as small letters")
    max_length: int | None = option(
        400,
        "largest number of tokens to read from a text; the middle of a longer text is left out "
        "(none: no limit)",
        at_least=2,
    )
    embedding_size: int = option(
        128,
        "how many numbers stand for a token (length of its vector)",
        at_least=1,
        search=Span(32, 256, log=True),
    )
    bidirectional: bool = option(
        True, "read texts forwards and backwards", search=Among(True, False)
    )
    readout: str = option(
        "mean+max",
        "how the states of all steps are summed up for the output: last, mean, max, or several, as "
        "in mean+max",
        search=Among("last", "mean", "max", "mean+max"),
    )
    evidence: bool = option(
        True,
        "also read how often each word, word pair and letter group occurs under each label (level "
        f"word, up to {MAX_LABELS} labels)",
    )
    embedding_dropout: float = option(
        0.5,
        "probability of dropping a value of a token's vector",
        at_least=0,
        below=1,
        search=Span(0.0, 0.7),
    )
    dropout: float = with_default("dropout", 0.5)
    recurrent_dropout: float = with_default("recurrent_dropout", 0.2)
    learning_rate: float | None = option(1e-3, "peak learning rate", above=0)
    weight_decay: float | None = option(
        0.1,
        "how strongly weights are pulled towards zero; biases and norms are not",
        at_least=0,
    )
    embedding_moment: str = option(
        "shared",
        "how Adam scales the updates of token vectors. own: each weight by itself. shared: all "
        "alike, so that vectors of rare tokens change less",
        choices=("own", "shared"),
    )
    average: float = option(
        0.99,
        "evaluate and keep a running average of the weights, which decays by this factor in each "
        "step (0: no average)",
        at_least=0,
        below=1,
    )
    validation_fraction: float | None = option(
        None,
        "fraction of the texts that is held out to choose the best weights (default: 0.1; fewer "
        f"than {FEW} texts are all learned from, and {FOLDS} folds of them say how sure to be; 0: "
        "none)",
        at_least=0,
        below=1,
    )
    test_fraction: float = option(
        0.0,
        "fraction of the texts that is held out and scored once after training",
        at_least=0,
        below=1,
    )

    def check(self) -> None:
        """Raise InputError naming the first option whose value cannot be used."""
        super().check()
        check_readout(self.readout)

    def fit(
        self,
        texts: Any,
        labels: Any,
        validation: Labelled | None = None,
        *,
        sample_weight: Any = None,
    ) -> Self:
        """Train on N texts and their N labels.

        ``validation``: texts and labels that choose the best weights; by default a random part of
        ``texts`` is held out for this.  Fewer than 400 texts are all learned from instead; then
        ``metrics_`` are those of five-fold cross-validation, which takes five times as long again.
        ``sample_weight`` [N]: how much each text counts in the loss; 0 means not at all.

        Raises InputError for options or data that cannot be used, and TrainingError for a loss
        that is not finite.
        """
        self.check_training()
        known = as_texts(texts)
        truth = self._labels(known, labels)
        self._learn_classes(truth)
        start = self._known_start()
        answers = self._indices(truth)
        train, held_out, test, folds = self._parted(answers, drawn=validation is None)
        some = np.random.default_rng(0).permutation(train)

        def prepare(count: int) -> None:
            texts = [known[i] for i in some[:count]]
            encoder = None if start is None else start.encoder
            self.encoder_ = encoder or self._learned_encoder(texts, sentences=False)
            self._learn_evidence(texts, answers[some[:count]], len(self.classes_))

        part = self._part_prepared("texts", len(train), prepare) if folds is None else 1
        train, held_out = thinned(train, part, answers), thinned(held_out, part, answers)
        learned, judged, tested = (
            ([known[i] for i in rows], answers[rows]) for rows in (train, held_out, test)
        )
        if validation is not None:
            others = as_texts(validation[0])
            of_others = self._indices(self._labels(others, validation[1]))
            kept = thinned(np.arange(len(others)), part, of_others)
            judged = [others[i] for i in kept], of_others[kept]
        of_samples = sample_weights(sample_weight, len(known))[train]
        alone = not len(judged[1])  # then the weights that fit the training part best are kept
        judged = learned if alone else judged
        weights = self._weights(learned[1], judged[1], of_samples)
        weights = (weights[0], weights[0]) if alone else weights
        start = start or self._learned_start(learned[0], sentences=False)
        self.encoder_: TextEncoder = start.encoder
        by_fold = None
        if folds is not None:
            if self.speaks:
                say(
                    f"{len(train)} texts are few: all are learned from, and {FOLDS} folds of them "
                    "say how long to train and how sure to be; "
                    f"{spelled('validation_fraction', 0.1)} holds out a tenth instead"
                )
            by_fold = judged_by_folds(self, *learned, of_samples, folds)

        def linear(part: Answered, seconds: float = math.inf) -> LinearTexts:
            chosen_by = Answered([], learned[1][:0]) if alone else Answered(*judged)
            return LinearTexts.fit(part, chosen_by, lowercase=self.lowercase, seconds=seconds)

        def by_folds() -> dict[str, float]:
            assert folds is not None
            return figures_of_folds(linear, Answered(*learned), folds)

        self._stand_beside(
            lambda seconds: linear(Answered(*learned), seconds),
            None if alone else Answered(*judged),
            Answered(*tested) if len(test) else None,
            by_folds if folds is not None else None,
        )
        parts = [
            (self._learn_evidence(*learned, len(self.classes_)), learned[1]),
            (self.encode(judged[0]), judged[1]),
        ]

        from tidegate.training.classification import Classification

        def objective(network: SequenceNetwork, learned: Any, weights: Any) -> Classification:
            return Classification(
                network,
                learned,
                parts[1],
                unit=self.INPUTS,
                batch_size=self.batch_size,
                seed=self.seed,
                weights=weights,
                prefix="training_" if alone else "",
                by="cross_entropy" if alone else "accuracy",
            )

        def everything(network: SequenceNetwork) -> Classification:
            (texts, answers), (others, of_others) = parts
            whole = texts + others, np.concatenate([answers, of_others])
            counts = sample_weights(sample_weight, len(known))
            counts = np.concatenate([counts[train], counts[held_out]])
            return objective(network, whole, self._weights(whole[1], of_others, counts))

        with trained_for(self, by_fold):
            self._train_from(
                start,
                self._text_architecture(
                    start,
                    output_size=len(self.classes_),
                    evidence_size=0 if self.evidence_ is None else self.evidence_.width,
                ),
                lambda network: objective(network, parts[0], weights),
                {
                    "training_texts": len(learned[1]),
                    "validation_texts": 0 if alone else len(judged[1]),
                },
                everything_of=everything if validation is None and not alone else None,
                closing=Closing(tested=len(test), seconds=self._preparation.each_s * len(test)),
            )
        if by_fold is not None:
            believe(self, by_fold, learned[1])
        figures = self.evaluate(tested[0], self.classes_[tested[1]]) if len(test) else {}
        return self._conclude(figures)

    def _parted(
        self, answers: np.ndarray, *, drawn: bool
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]:
        """Rows to train on, to validate by and to test on, and the folds of the first, or None.

        ``drawn``: those to validate by are drawn from these, or folds are.
        """
        fraction = self.validation_fraction if drawn else 0
        rows = {"test": self.test_fraction, "what": self.INPUTS}
        if fraction is None:
            train, none, test = split_rows(len(answers), self.seed, validation=0, **rows)
            folds = folds_of(answers[train], self.seed)
            if folds is not None:
                return train, none, test, folds
            fraction = _FRACTION
        return *split_rows(len(answers), self.seed, validation=fraction, **rows), None

    def _known(self, inputs: Any) -> list[str]:
        return as_texts(inputs)

    def _log_probabilities(self, inputs: Any) -> np.ndarray:
        network = self.runtime_
        sequences = self.encode(as_texts(inputs))
        return log_softmax(outputs_of(network, sequences, len(self.classes_)))

    def _read_one(self, x: Any) -> tuple[dict[str, np.ndarray], list[str]]:
        (read,) = self.encode(as_texts([x]))
        tokens = read if read.dtype.names is None else read["token"]
        return {"": read}, [self.encoder_.decode([int(token)]) for token in tokens]

    def _stream(self, network: Network, batch_size: int | None) -> Stream:
        from tidegate.runtime.text_streams import TextClassifierStream

        return TextClassifierStream(
            network, batch_size, self.encoder_, self.evidence_, self.max_length
        )

    @classmethod
    def _starts_with(cls) -> tuple[type[TextTask], ...]:
        return cls, LanguageModel

    def _start_from(self, models: Sequence[Any], origin: str) -> Start:
        tasks = [model.TASK for model in models]
        if tasks == ["text-classifier"]:
            (model,) = models
            a = model.runtime_.architecture
            readout = a.readout if self._left_open("readout") else self.readout
            labels = self.classes_.tolist()
            return start_from_models(
                models,
                origin,
                whole=readout == a.readout and labels == model.classes_.tolist(),
                bidirectional=a.bidirectional,
                readout=readout,
            )
        if set(tasks) == {"language-model"}:
            backward = [model.reverse for model in models]
            if backward == [False]:
                return start_from_models(models, origin, whole=False)
            if backward == [False, True]:
                return start_from_models(models, origin, whole=False, bidirectional=True)
        raise InputError(
            "expected a classifier of texts, a language model, or one that reads "
            f"forward and one trained with {spelled('reverse', True)}, in this order, got "
            f"{origin}; name these",
            option="init_from",
        )
