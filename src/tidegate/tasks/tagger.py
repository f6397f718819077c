"""Labels of tokens: parts of speech, names of people and places, chunks, corrections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from tidegate.baselines.tagged import Tagged
from tidegate.baselines.tags import MostFrequentTag
from tidegate.data.text.evidence import MAX_LABELS
from tidegate.data.text.tokens import TokenEncoder
from tidegate.errors import InputError, spelled
from tidegate.tasks.estimator import with_default
from tidegate.tasks.start import Start, start_from_vectors
from tidegate.tasks.tags_tokens import TagsTokens
from tidegate.terminal import say
from tidegate.training.options import documented, option

if TYPE_CHECKING:
    from tidegate.nn.network import SequenceNetwork

Pairs = tuple[Any, Any]  # tokens of sentences, and their labels


@documented
@dataclass(kw_only=True, eq=False, repr=False)
class SequenceTagger(TagsTokens):
    """Predicts a label for each token of a sentence, such as its part of speech.

    The network reads each word whole and letter by letter, has recurrent layers over the words, and
    tells the labels one by one, or all of a sentence together (``crf``).  Tokens are N lists of
    str, labels N lists of as many str, int, float or bool; of a frame with a row for each token,
    ``frame.groupby("sentence")["token"].agg(list)``.  ``classes_`` holds the labels in order, which
    is the order of the columns of ``predict_proba``.  ``encoder_`` holds the words and letters,
    which are learned from the training part only.  `fit` raises InputError for options or data that
    cannot be used.

    >>> import tidegate as tg
    >>> tokens = [["the", "dog", "barks"], ["a", "cat", "sleeps"]] * 20
    >>> labels = [["DET", "NOUN", "VERB"]] * 40
    >>> model = tg.SequenceTagger(max_steps=60, verbose=0).fit(tokens, labels)
    >>> model.predict([["a", "dog", "sleeps"]])
    [['DET', 'NOUN', 'VERB']]
    """

    TASK: ClassVar[str] = "tagger"
    INPUTS: ClassVar[str] = "tokens"
    DEFAULT_EPOCHS: ClassVar[int] = 15
    DEFAULT_STEPS: ClassVar[int] = 300
    MOST_REFIT: ClassVar[str] = "up to 200,000 tokens"
    FEW: ClassVar[int] = 200_000

    vocabulary_size: int | None = option(
        30_000, "how many different words are known; rarer ones are read as unknown"
    )
    min_count: int = option(
        1, "read a word as unknown if it occurs fewer times than this", at_least=1
    )
    lowercase: bool = option(True, "look words up in small letters; their letters stay as they are")
    embedding_size: int = option(
        128, "how many numbers stand for a word (length of its vector)", at_least=1
    )
    letter_embedding_size: int = option(32, "how many numbers stand for a letter", at_least=1)
    letter_hidden_size: int = option(
        64,
        "units, in each direction, of the layer that reads words letter by letter (0: words are "
        "read whole only)",
        at_least=0,
    )
    word_length: int = option(
        24,
        "largest number of letters to read from a word; the middle of a longer one is left out",
        at_least=2,
    )
    hidden_sizes: tuple[int, ...] = with_default("hidden_sizes", (200,))
    bidirectional: bool = option(True, "read sentences forwards and backwards")
    crf: bool | None = option(
        None,
        "choose the labels of a sentence together, by a conditional random field, which learns "
        "which labels follow which (default: where labels name entities: B-..., I-..., O)",
    )
    evidence: bool = option(
        True,
        "also read how often each word, word pair and letter group occurs under each label (up to "
        f"{MAX_LABELS} labels)",
    )
    word_dropout: float = option(
        0.25,
        "how often a word that occurs c times is read as unknown in training, so that its letters "
        "must tell: X / (X + c)",
        at_least=0,
    )
    embedding_dropout: float = option(
        0.5, "probability of dropping a value of a word's vector", at_least=0, below=1
    )
    dropout: float = with_default("dropout", 0.5)
    average: float = with_default("average", 0.99)
    embeddings: Path | str | None = option(
        None,
        "file of word vectors to start with, in the text format of GloVe, word2vec or fastText; it "
        "may be gzipped",
    )
    freeze_embeddings: bool = option(
        False, "do not train the token vectors, if they come from a file of vectors"
    )
    validation_fraction: float = option(
        0.1,
        "fraction of the sentences that is held out to choose the best weights (0: none)",
        at_least=0,
        below=1,
    )
    test_fraction: float = option(
        0.0,
        "fraction of the sentences that is held out and scored once after training",
        at_least=0,
        below=1,
    )

    def check(self) -> None:
        """Raise InputError naming the first option whose value cannot be used."""
        super().check()
        if self.freeze_embeddings and self.embeddings is None:
            raise InputError(
                f"expected {spelled('embeddings')} beside it, got none; leave it out, since random "
                "vectors are better trained",
                option="freeze_embeddings",
            )

    def fit(self, tokens: Any, labels: Any, validation: Pairs | None = None) -> Self:
        """Train on the tokens of N sentences, lists of str, and their labels, lists as long.

        ``validation``: tokens and labels that choose the best weights; by default
        ``validation_fraction`` of the sentences is held out for this.

        Raises InputError for options or data that cannot be used, and TrainingError for a loss
        that is not finite.
        """
        self.check_training()
        whole = self._parted(tokens, labels, validation)
        self._learn_classes(whole[0].labels)

        def prepare(some: Tagged) -> None:
            self._learn_encoder(some.inputs)
            self._learn_evidence(some)

        parts = train, held_out, test = self._some_prepared(whole, prepare)
        alone = not held_out.steps  # then the weights that fit the training part best
        self._stand_beside(
            lambda seconds: MostFrequentTag.fit(train),  # noqa: ARG005
            None if alone else held_out,
            test if test.steps else None,
        )
        start = self._learned_start(train.inputs)
        learned = self._learn_evidence(train)
        counts = np.bincount(
            np.concatenate([self._tokens_of(s) for s in learned[0]]), minlength=start.encoder.size
        )

        def initialise(network: SequenceNetwork) -> dict[str, Any]:
            told = start.initialise(network, self.seed)
            if self.freeze_embeddings:
                assert network.embedding is not None
                network.embedding.weight.requires_grad_(False)
            return told

        self._learn_tags(
            self._tagger_architecture(start),
            parts,
            learned,
            learned if alone else self._read_labelled(held_out),
            by="f1" if self._are_entities else "accuracy",
            drawn=validation is None,
            vary=_Unknown.of(self.word_dropout, counts),
            initialise=initialise,
        )
        return self._conclude(self.evaluate(*test) if test.steps else {})

    # the network and its file

    def _learned_start(self, sentences: Sequence[Sequence[str]]) -> Start:
        """Set ``encoder_``; what the words' vectors start with.  Raises InputError."""
        self._learn_encoder(sentences)
        if self.embeddings is None:
            return Start(encoder=self.encoder_.words)
        title = "word vectors" if self.speaks else None
        start = start_from_vectors(self.embeddings, self.encoder_.words, title)
        if self.speaks:
            say(f"word vectors: {start.decides['embedding_size']} numbers each")
        return start

    def _learn_encoder(self, sentences: Sequence[Sequence[str]]) -> None:
        self.encoder_ = TokenEncoder.learn(
            sentences,
            vocabulary_size=self.vocabulary_size,
            min_count=self.min_count,
            lowercase=self.lowercase,
            word_length=self.word_length if self.letter_hidden_size else 0,
        )

    def _tagger_architecture(self, start: Start) -> Any:
        letters = self.encoder_.letter_count
        of_letters = {
            "letters": letters,
            "letter_embedding_size": self.letter_embedding_size if letters else 0,
            "letter_hidden_size": self.letter_hidden_size if letters else 0,
            "word_length": self.word_length if letters else 0,
        }
        return self._architecture(
            **start.decides,
            **of_letters,
            vocabulary_size=start.encoder.size,
            output_size=len(self.classes_),
            readout="every",
            evidence_size=0 if self.evidence_ is None else self.evidence_.width,
            crf=self._are_entities if self.crf is None else self.crf,
        )


class _Unknown:
    """A sentence with some of its words read as unknown, the rare ones more often."""

    def __init__(self, chances: np.ndarray) -> None:
        self._chances = chances

    @classmethod
    def of(cls, strength: float, counts: np.ndarray) -> Self | None:
        """``counts`` [V]: how often each word occurs in training; None for no strength."""
        return cls(strength / (strength + np.maximum(counts, 1))) if strength else None

    def __call__(self, read: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        tokens = read if read.dtype.names is None else read["token"]
        hidden = rng.random(len(tokens)) < self._chances[tokens]
        if not hidden.any():
            return read
        varied = read.copy()
        (varied if varied.dtype.names is None else varied["token"])[hidden] = 0
        return varied
