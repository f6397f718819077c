"""Texts to texts: an encoder reads a source, a decoder with attention writes the answer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from tidegate.baselines.baseline import Answered
from tidegate.baselines.pairs import NearestAnswer
from tidegate.data.files.items import as_texts
from tidegate.data.text.pairs import Pairs, copied_from
from tidegate.data.text.reading import LEVELS, encoder_from_json, train_encoder
from tidegate.model.encoder_decoder import MAX_ANSWER, SCORES, EncoderDecoder
from tidegate.runtime.encoder_decoder import EncoderDecoderRuntime
from tidegate.runtime.pair_scoring import nats_of_pairs
from tidegate.tasks.answering import MOST_BEAMS, MOST_PENALTY, Answers
from tidegate.tasks.estimator import with_default
from tidegate.tasks.measured import Measured
from tidegate.tasks.pairs import as_pairs, check_lengths, figures_of
from tidegate.tasks.splitting import split_parts, thinned
from tidegate.tasks.two_networks import TwoNetworks
from tidegate.training.budget import Closing
from tidegate.training.options import documented, option

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tidegate.model.checkpoint import ModelFile
    from tidegate.training.transduction import Transduction


@documented
@dataclass(kw_only=True, eq=False, repr=False)
class SequenceToSequence(Answers, TwoNetworks):
    """Writes a text in answer to a text: encoder, decoder and attention, learned from pairs.

    ``source_encoder_`` and ``target_encoder_`` hold the vocabularies, which are learned from the
    training part only.  `fit` raises InputError for options or texts that cannot be used.

    >>> import tidegate as tg
    >>> words = ["abc", "bca", "cab", "acb", "bac", "cba"] * 20
    >>> model = tg.SequenceToSequence(hidden_sizes=(32,), max_steps=100, verbose=0, baseline=False)
    >>> model = model.fit(words, [word.upper() for word in words])
    >>> model.predict(["cab"])
    ['CAB']
    """

    TASK: ClassVar[str] = "sequence-to-sequence"
    INPUTS: ClassVar[str] = "pairs"
    DEFAULT_EPOCHS: ClassVar[int] = 20
    DEFAULT_STEPS: ClassVar[int] = 2000

    level: str = option(
        "char",
        "unit of text, called a token, that is read and written in one step",
        choices=LEVELS,
        common=True,
    )
    vocabulary_size: int | None = option(
        None,
        "how many different tokens are known of sources, and of targets; rarer ones are read as "
        "unknown (default: all characters or words; 8192 for bpe)",
    )
    min_count: int = option(
        1, "read a token as unknown if it occurs fewer times than this", at_least=1
    )
    lowercase: bool = option(False, "read capitals of sources as small letters")
    embedding_size: int = option(
        64, "how many numbers stand for a token, the length of its vector", at_least=1
    )
    embedding_dropout: float = option(
        0.0, "probability of dropping a value of a token's vector", at_least=0, below=1
    )
    bidirectional: bool = option(True, "read sources forwards and backwards")
    attention: str = option(
        "dot",
        "how well a place of the source fits what is to be written. dot: the product of the two "
        "states; general: with a matrix between them; additive: a small network (Bahdanau)",
        choices=SCORES,
        common=True,
    )
    scheduled_sampling: float = option(
        0.0,
        "in training let the decoder read its own likeliest tokens in place of this fraction of "
        "the true ones; it rises from 0 over the first epochs",
        at_least=0,
        at_most=1,
    )
    beam: int = option(
        1,
        "answers that are followed at a time when one is written; 1 takes the likeliest token at "
        "each step",
        at_least=1,
        at_most=MOST_BEAMS,
        common=True,
    )
    length_penalty: float = option(
        0.6,
        "with a `beam` of several: how much longer answers are preferred (0: not, so that the "
        "likeliest one is taken)",
        at_least=0,
        at_most=MOST_PENALTY,
    )
    longest: int | None = option(
        None,
        "most tokens of an answer (default: half as many again as the longest target has, and 10)",
        at_least=1,
        at_most=MAX_ANSWER,
    )
    copy_unknown: bool = option(
        True,
        "write the token of the source that is most attended to where an unknown one is the "
        "likeliest; without it, the likeliest known one",
    )
    batch_size: int = option(
        64, "pairs in one optimiser step, over all processes together", at_least=1
    )
    learning_rate: float | None = option(4e-3, "peak learning rate", above=0)
    forget_bias: float = with_default("forget_bias", 1.0)
    validation_fraction: float = option(
        0.1,
        "fraction of the pairs that is held out to choose the best weights",
        above=0,
        below=1,
    )
    test_fraction: float = option(
        0.0,
        "fraction of the pairs that is held out and scored once after training",
        at_least=0,
        below=1,
    )

    def fit(
        self,
        sources: Any,
        targets: Any,
        validation: tuple[Any, Any] | None = None,
    ) -> Self:
        """Train on N ``sources`` and their N ``targets``, texts.

        ``validation``: sources and targets that choose the best weights; by default
        ``validation_fraction`` of the pairs is held out for this.  Raises InputError for options or
        texts that cannot be used, and TrainingError for a loss that is not finite.
        """
        self.check_training()
        train, judges, test = self.split(sources, targets, validation)
        order = np.random.default_rng(0).permutation(len(train.inputs))

        def prepare(count: int) -> None:
            some = train.rows(order[:count])
            self._learn_encoders(some)
            self._tokens(some)

        share = self._part_prepared("pairs", len(order), prepare)
        train, judges = (
            one.rows(thinned(np.arange(len(one.inputs)), share)) for one in (train, judges)
        )
        self._learn_encoders(train)
        from tidegate.training.transduction import Transduction, pairs_to_copy, seen_once

        parts = [self._tokens(part) for part in (train, judges)]
        check_lengths(train, parts[0])
        check_lengths(judges, parts[1])
        both = Pairs(*([*a, *b] for a, b in zip(*parts, strict=True)))
        sides = self.sides
        unknown = self.target_encoder_.unknown_id
        rare = seen_once(parts[0], (sides[0].size, sides[1].size), unknown)
        self._stand_beside(
            lambda seconds: NearestAnswer.fit(train, judges, seconds=seconds),
            judges,
            test if len(test.inputs) else None,
        )

        whole = [*train.inputs, *judges.inputs], [*train.answers, *judges.answers]
        copies = {
            i: copied_from(*sides, whole[0][i], whole[1][i])
            for i in (pairs_to_copy(both, rare) if rare is not None and self.copy_unknown else ())
        }

        def learning(network: Any, learned: Pairs) -> Transduction:
            return Transduction(
                network,
                learned,
                parts[1],
                batch_size=self.batch_size,
                seed=self.seed,
                sampling=self.scheduled_sampling,
                rare=rare,
                copies=copies,
            )

        longest = max(len(target) for target in parts[0].targets) - 1
        result = self._train(
            self._two_networks(self.longest or min(MAX_ANSWER, longest + longest // 2 + 10)),  # pyright: ignore[reportArgumentType]
            lambda network: learning(network, parts[0]),
            {"training_pairs": len(train.inputs), "validation_pairs": len(judges.inputs)},
            everything_of=(lambda network: learning(network, both)) if validation is None else None,
            closing=Closing(
                tested=len(test.inputs),
                again=1,  # what is evaluated is answered, too
                seconds=self._preparation.each_s * len(test.inputs),
            ),
        )
        # what the figures are of, where the weights have learned from all pairs since
        weights = {name: tensor.cpu().numpy() for name, tensor in result.judged.items()}
        judged = EncoderDecoderRuntime(self.runtime_.architecture, weights)
        share = self.provenance_.get("validation_share", 1)  # where the minutes were not enough
        some = judges.rows(np.arange(max(1, round(share * len(judges.inputs)))))
        found = self._written(judged, some.inputs)
        self.metrics_ |= figures_of(found, some.answers.tolist(), self.level)
        return self._conclude(self.evaluate(test.inputs, test.answers) if len(test.inputs) else {})

    def split(
        self, sources: Any, targets: Any, validation: tuple[Any, Any] | None
    ) -> tuple[Answered, Answered, Answered]:
        """Training, validation and test pairs, as ``fit`` parts them.  Raises InputError."""
        whole = as_pairs(sources, targets)
        others = None if validation is None else as_pairs(*validation)
        return split_parts(self, whole, len(whole.inputs), others)

    def evaluate(self, sources: Any, targets: Any) -> dict[str, float]:
        """Measure how good answers are where targets are known, by name.

        ``exact_match``: the share of answers that are their targets (at level ``word`` whatever the
        spaces).  ``character_error_rate``: characters to insert, delete or replace, over all of the
        targets.  ``cross_entropy``: nats per token of the targets and their ends, each predicted
        from the true ones before it; ``perplexity``: e to the power of it.  Where sacrebleu is
        installed ``chrf`` and ``bleu``, from 0 to 100 (Popović 2015; Post 2018, arXiv:1804.08771).
        ``n``: number of pairs.
        """
        pairs = as_pairs(sources, targets)
        tokens = self._tokens(pairs)
        check_lengths(pairs, tokens)
        losses, counts = nats_of_pairs(self.runtime_, *tokens)
        entropy = float(losses.sum() / counts.sum())
        found = self.predict(pairs.inputs)
        return Measured(
            {
                **figures_of(found, pairs.answers.tolist(), self.level),
                "cross_entropy": entropy,
                "perplexity": math.exp(min(entropy, 700.0)),
                "n": len(found),
            }
        )

    def score(self, sources: Any, targets: Any) -> float:
        """Measure the share of answers that are their targets."""
        return self.evaluate(sources, targets)["exact_match"]

    def plot_attention(self, sources: Any, **choice: Any) -> list[Axes]:
        """Draw what the answers to texts looked at, a panel for each of the first ones.

        A text, or several; ``choice``: as ``attend`` takes it.  A notebook shows the picture.
        Raises InputError as ``attend``, and where there is no matplotlib.
        """
        from tidegate.tasks.attention_plot import MOST_PANELS, draw_attention

        texts = as_texts([sources] if isinstance(sources, str) else sources)
        return draw_attention([self.attend(t, **choice) for t in texts[:MOST_PANELS]], shown=True)

    def _read_one(self, x: Any) -> tuple[dict[str, np.ndarray], list[str]]:
        (text,) = as_texts([x])
        side = self.sides[0]
        (tokens,) = side.encode([text])
        return {"": tokens}, [*side.pieces(text), "end"]

    def _two_networks(self, longest: int) -> EncoderDecoder:
        sizes = [side.size for side in self.sides]
        target = self._architecture(
            vocabulary_size=sizes[1], bidirectional=False, readout="every", output_size=sizes[1]
        )
        source = self._architecture(
            vocabulary_size=sizes[0], readout="every", output_size=target.feature_size
        )
        return EncoderDecoder(source=source, target=target, score=self.attention, longest=longest)

    def _learn_encoders(self, pairs: Answered) -> None:
        sides = (pairs.inputs, self.lowercase), (pairs.answers.tolist(), False)
        self.source_encoder_, self.target_encoder_ = (
            train_encoder(
                side,
                self.level,
                self.vocabulary_size,
                self.min_count,
                lowercase,
                sentences=self.level == "word",
            )
            for side, lowercase in sides
        )

    def _tokens(self, pairs: Answered) -> Pairs:
        read, write = self.sides
        return Pairs(read.encode(pairs.inputs), write.encode(pairs.answers.tolist()))

    def _learned(self) -> dict[str, Any]:
        sides = {"source": self.source_encoder_, "target": self.target_encoder_}
        return {"encoder": {name: encoder.to_json() for name, encoder in sides.items()}}

    def _restore(self, model: ModelFile) -> None:
        described, a = model.encoder or {}, model.architecture
        if set(described) != {"source", "target"}:
            raise ValueError("encoder: expected exactly the keys source and target")
        assert isinstance(a, EncoderDecoder)  # held by the file's schema
        self.source_encoder_ = encoder_from_json(described["source"])
        self.target_encoder_ = encoder_from_json(described["target"])
        for side, part in zip(self.sides, (a.source, a.target), strict=True):
            if side.size != part.vocabulary_size:
                raise ValueError(
                    f"expected a vocabulary of {part.vocabulary_size} tokens with the end, got "
                    f"{side.size}"
                )
