"""What the tasks that read text share: an encoder, and a network that starts from what is known."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tidegate.data.text.reading import TextEncoder, train_encoder
from tidegate.errors import InputError, shown, spelled, written
from tidegate.model.architecture import Architecture
from tidegate.tasks.architectures import cells_of
from tidegate.tasks.estimator import Estimator
from tidegate.tasks.start import Start, load_models, model_names, start_from_vectors
from tidegate.terminal import say
from tidegate.training.options import option

if TYPE_CHECKING:
    from tidegate.nn.network import SequenceNetwork
    from tidegate.training.budget import Closing
    from tidegate.training.objective import Objective, TrainingResult


@dataclass(kw_only=True, eq=False, repr=False)
class TextTask(Estimator):
    """A task that reads text: embedding, recurrent layers, dense layer.

    ``init_from``: trained models, as paths or fitted estimators.  This model starts with their
    encoder, sizes and weights (Dai & Le 2015, arXiv:1511.01432); options that are left at their
    defaults take the values of these models.  ``embeddings``: a file of word vectors that the
    embedding starts with.
    """

    level: str
    vocabulary_size: int | None
    lowercase: bool
    embedding_size: int
    embedding_dropout: float
    embedding_scale: float | None = option(
        None,
        "standard deviation of the initial token vectors (default: 1 / sqrt of `embedding_size`)",
        above=0,
    )
    min_count: int = option(
        1, "read a token as unknown if it occurs fewer times than this", at_least=1
    )
    init_from: tuple[Path | str | Estimator, ...] | Path | str | Estimator | None = option(
        None, "trained models whose weights, vocabulary and sizes this one starts with"
    )
    embeddings: Path | str | None = option(
        None,
        "file of word vectors to start with, in the text format of GloVe, word2vec or fastText; it "
        "may be gzipped",
    )
    freeze_embeddings: bool = option(
        False,
        "do not train the token vectors, if they come from a file of vectors or a model",
    )

    def check(self) -> None:
        """Raise InputError naming the first option whose value cannot be used."""
        super().check()
        if self.embeddings is not None and self.init_from is not None:
            raise InputError(
                f"expected none beside {spelled('init_from')}, which brings its own, got "
                f"{shown(self.embeddings)}; leave out one of them",
                option="embeddings",
            )
        if self.embeddings is not None and self.level != "word":
            raise InputError(
                f"expected none at level {self.level}, got {shown(self.embeddings)}; leave it "
                f"out, or give {spelled('level', 'word')}",
                option="embeddings",
            )
        if self.freeze_embeddings and self.embeddings is None and self.init_from is None:
            raise InputError(
                f"expected {spelled('embeddings')} or {spelled('init_from')} beside it, got "
                "neither; leave it out, since random vectors are better trained",
                option="freeze_embeddings",
            )

    def to_json(self) -> dict[str, Any]:
        """Every option by name; paths and models by theirs."""
        names = None if self.init_from is None else model_names(self.init_from)
        return super().to_json() | {"init_from": names}

    # what the two tasks build on

    @classmethod
    @abstractmethod
    def _starts_with(cls) -> tuple[type[TextTask], ...]:
        """The kinds of models that ``init_from`` takes."""

    @abstractmethod
    def _start_from(self, models: Sequence[Any], origin: str) -> Start:
        """The start from trained models.  Raises InputError for those that are of no use here."""

    def _known_start(self) -> Start | None:
        """The start from ``init_from``, None where none is given.  Raises InputError."""
        if self.init_from is None:
            return None
        models = load_models(self.init_from, self._starts_with())
        return self._agreed(self._start_from(models, " and ".join(model_names(self.init_from))))

    def _learned_start(self, texts: str | Sequence[str], *, sentences: bool) -> Start:
        """A start with the vocabulary of ``texts``, and with word vectors if there are."""
        encoder = self._learned_encoder(texts, sentences=sentences)
        if self.embeddings is None:
            return Start(encoder=encoder)
        title = "word vectors" if self.speaks else None
        return self._agreed(start_from_vectors(self.embeddings, encoder, title))

    def _learned_encoder(self, texts: str | Sequence[str], *, sentences: bool) -> TextEncoder:
        return train_encoder(
            texts,
            self.level,
            self.vocabulary_size,
            self.min_count,
            self.lowercase,
            sentences=sentences,
        )

    def _agreed(self, start: Start) -> Start:
        """``start``.  Raises InputError for an option that was given and contradicts it."""
        for name, expected in start.decides.items():
            own = getattr(self, name)
            if name == "cell":
                own = cells_of(own)
            elif name == "hidden_sizes" and own is not None:
                own = tuple(own)
            if own != expected and not self._left_open(name):
                raise InputError(
                    f"expected {written(expected)}, as in {start.origin}, got {written(own)}; "
                    "leave it out",
                    option=name,
                )
        return start

    def _left_open(self, name: str) -> bool:
        """Whether an option is at its default."""
        return getattr(self, name) == next(f.default for f in fields(self) if f.name == name)

    def _initial(self, architecture: Architecture) -> dict[str, Any]:
        return super()._initial(architecture) | {"embedding_scale": self.embedding_scale}

    def _text_architecture(self, start: Start, **of_task: Any) -> Architecture:
        vocabulary = {"vocabulary_size": start.encoder.size}
        return self._architecture(**start.decides | of_task | vocabulary)

    def _train_from(
        self,
        start: Start,
        architecture: Architecture,
        objective_of: Callable[[SequenceNetwork], Objective],
        data: dict[str, str | int | float],
        *,
        everything_of: Callable[[SequenceNetwork], Objective] | None,
        closing: Closing,
    ) -> TrainingResult:
        def initialise(network: SequenceNetwork) -> dict[str, Any]:
            told = start.initialise(network, self.seed)
            if self.speaks:
                for name, value in told.items():
                    say(f"{name.replace('_', ' ')}: {value}")
            if self.freeze_embeddings:
                assert network.embedding is not None
                network.embedding.weight.requires_grad_(False)
            return told

        return self._train(
            architecture,
            objective_of,
            data,
            initialise,
            everything_of=everything_of,
            closing=closing,
        )
