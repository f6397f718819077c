"""Series to series: an encoder reads numbers, a decoder with attention answers with others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from tidegate.baselines.series_pairs import StretchedRidge
from tidegate.data.sequences.inputs import SequenceInputs, as_sequences
from tidegate.data.sequences.series_pairs import SeriesPairs, as_series_pairs
from tidegate.data.series.scaling import Scaler
from tidegate.errors import InputError
from tidegate.model.encoder_decoder import MAX_ANSWER, SCORES, EncoderDecoder
from tidegate.runtime.series_answers import (
    ReadPairs,
    ends,
    outputs_to,
    places,
    series_figures,
    waves,
)
from tidegate.tasks.measured import Measured
from tidegate.tasks.splitting import split_parts
from tidegate.tasks.two_networks import TwoNetworks
from tidegate.training.budget import Closing
from tidegate.training.options import documented, option

if TYPE_CHECKING:
    from tidegate.model.checkpoint import ModelFile
    from tidegate.training.series_transduction import SeriesTransduction


@documented
@dataclass(kw_only=True, eq=False, repr=False)
class SeriesToSeries(TwoNetworks):
    """Answers a sequence of numbers with a sequence of numbers of another length.

    X and Y are lists of N arrays, [T, C] or [T] and [U, O] or [U], or arrays [N, T, C] and [N, U,
    O]; a pair may have any lengths.  NaN in X is a missing value, for which the last known one is
    read.  All steps of an answer are told at once, from the whole of X.  Where the lengths of Y
    differ, how long an answer is to be is learned, too.  ``inputs_`` scales X and ``target_`` Y;
    both are learned from the training part only.  `fit` raises InputError for options or data that
    cannot be used.

    >>> import numpy as np, tidegate as tg
    >>> X = np.random.default_rng(0).normal(size=(80, 12)).cumsum(axis=1)  # [N, T]
    >>> model = tg.SeriesToSeries(hidden_sizes=(16,), max_steps=20, verbose=0).fit(X, X[:, ::3])
    >>> model.predict(X[:2])[0].shape
    (4, 1)
    """

    TASK: ClassVar[str] = "series-to-series"
    INPUTS: ClassVar[str] = "pairs"
    DEFAULT_EPOCHS: ClassVar[int] = 40
    DEFAULT_STEPS: ClassVar[int] = 2000

    bidirectional: bool = option(True, "read sources forwards and backwards")
    attention: str = option(
        "general",
        "how well a place of the source fits a step of the answer. dot: the product of the two "
        "states; general: with a matrix between them; additive: a small network (Bahdanau)",
        choices=SCORES,
        common=True,
    )
    learning_rate: float | None = option(4e-3, "peak learning rate", above=0)
    batch_size: int = option(
        32, "pairs in one optimiser step, over all processes together", at_least=1
    )
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

    def fit(self, X: Any, Y: Any, validation: tuple[Any, Any] | None = None) -> Self:
        """Train on N sequences ``X`` and the N that answer them, ``Y``.

        ``validation``: X and Y that choose the best weights; by default ``validation_fraction`` of
        the pairs is held out for this.  Raises InputError for options or data that cannot be used,
        and TrainingError for a loss that is not finite.
        """
        self.check_training()
        train, judges, test = self.split(X, Y, validation)
        self.inputs_ = SequenceInputs.fit(train.sources, 1, own_scale=False)
        self.target_ = Scaler.fit(np.concatenate(train.targets))
        lengths = [len(target) for target in train.targets]
        shortest, longest = min(lengths), max(lengths)
        if longest > MAX_ANSWER:
            problem = f"targets: expected at most {MAX_ANSWER} steps, got {longest}"
            raise InputError(f"{problem}; give every second one, or shorter pairs")
        self.shortest_ = None if shortest == longest else shortest
        wrong = [n for t in judges.targets if (n := len(t)) > longest or n < shortest]
        if wrong and self.shortest_ is None:
            problem = f"validation: expected targets of {longest} steps, as in training, got "
            raise InputError(f"{problem}{wrong[0]}; give more pairs, or others to validate with")
        self._stand_beside(
            lambda _: StretchedRidge.fit(train, judges),
            judges,
            test if test.sources else None,
        )
        from tidegate.training.series_transduction import SeriesTransduction

        width = waves(max(longest, *(len(source) for source in train.sources)))
        learned, judged = (self._scaled(part, width) for part in (train, judges))

        def learning(network: Any, read: ReadPairs) -> SeriesTransduction:
            return SeriesTransduction(
                network,
                read,
                judged,
                scaler=self.target_,
                shortest=self.shortest_,
                batch_size=self.batch_size,
                seed=self.seed,
            )

        both = ReadPairs(*([*a, *b] for a, b in zip(learned, judged, strict=True)))
        self._train(
            self._two_networks(longest, width),  # pyright: ignore[reportArgumentType]
            lambda network: learning(network, learned),
            {"training_pairs": len(train.sources), "validation_pairs": len(judges.sources)},
            everything_of=(lambda network: learning(network, both)) if validation is None else None,
            closing=Closing(tested=len(test.sources)),
        )
        return self._conclude(self.evaluate(*test) if test.sources else {})

    def split(
        self, X: Any, Y: Any, validation: tuple[Any, Any] | None
    ) -> tuple[SeriesPairs, SeriesPairs, SeriesPairs]:
        """Training, validation and test pairs, as ``fit`` parts them.  Raises InputError."""
        whole = as_series_pairs(X, Y)
        others = None
        if validation is not None:
            channels = (side[0].shape[1] for side in whole)
            others = as_series_pairs(*validation, *channels)
        return split_parts(self, whole, len(whole.sources), others)

    def predict(self, X: Any) -> list[np.ndarray]:
        """Answer each sequence, float64 [U, O] each, in units of ``Y``.  Raises InputError."""
        sources = self._read_sources(as_sequences(X, self.inputs_.channels))
        found = self._outputs(sources, [self._longest] * len(sources))
        if self.shortest_ is not None:
            found = [one[: ends(one[:, -1], self.shortest_), :-1] for one in found]
        return [self.target_.inverse(one.astype(np.float64)) for one in found]

    def evaluate(self, X: Any, Y: Any) -> dict[str, float]:
        """Measure how good answers are where true ones are known, by name.

        ``mse``, ``mae``: mean squared and absolute errors over all steps of the true answers, in
        their units.  ``scaled_mse``: the same in deviations of the training part, each channel's
        own: 1 is what the mean comes to.  ``length_accuracy``: the share of answers as long as they
        should be, where lengths differ.  ``n``: number of pairs.  Raises InputError.
        """
        pairs = as_series_pairs(X, Y, self.inputs_.channels, len(self.target_.mean))
        return Measured({**self._figures(pairs), "n": len(pairs.sources)})

    def score(self, X: Any, Y: Any) -> float:
        """Measure minus the mean squared error in deviations of the training part."""
        return -self.evaluate(X, Y)["scaled_mse"]

    def losses(self, pairs: SeriesPairs) -> np.ndarray:
        """The mean squared error of each pair, in deviations of the training part, float64 [N]."""
        found, targets = self._against(pairs)
        errors = (o[: len(t), : t.shape[1]] - t for o, t in zip(found, targets, strict=True))
        return np.array([np.mean(one.astype(np.float64) ** 2) for one in errors])

    def sources_read(self, X: Any) -> list[np.ndarray]:
        """What the encoder reads of sequences, float32 [T, I] each."""
        return self._read_sources(as_sequences(X, self.inputs_.channels))

    def _figures(self, pairs: SeriesPairs) -> dict[str, float]:
        return series_figures(*self._against(pairs), self.target_, self.shortest_)

    def _against(self, pairs: SeriesPairs) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Outputs for as many steps as the targets have, or any has; and the targets scaled."""
        read = self._scaled(pairs, self._width)
        most = 0 if self.shortest_ is None else self._longest
        return self._outputs(read.sources, [max(most, len(t)) for t in read.targets]), read.targets

    def _outputs(self, sources: Sequence[np.ndarray], steps: Sequence[int]) -> list[np.ndarray]:
        return outputs_to(self.runtime_, sources, steps, self._width)

    @property
    def _width(self) -> int:
        """How many numbers tell where a step stands."""
        return self.runtime_.architecture.target.input_size or 0

    @property
    def _longest(self) -> int:
        return self.runtime_.architecture.longest

    def _read_sources(
        self, sequences: Sequence[np.ndarray], width: int | None = None
    ) -> list[np.ndarray]:
        width = self._width if width is None else width
        found = []
        for i, sequence in enumerate(sequences):
            try:
                scaled = self.inputs_.scaled(sequence)
            except InputError as e:
                raise InputError(f"sequence {i}: {e}") from None
            found.append(np.concatenate([scaled, places(len(scaled), width)], axis=1))
        return found

    def _scaled(self, pairs: SeriesPairs, width: int) -> ReadPairs:
        targets = [self.target_.transform(t).astype(np.float32) for t in pairs.targets]
        return ReadPairs(self._read_sources(pairs.sources, width), targets)

    def _two_networks(self, longest: int, width: int) -> EncoderDecoder:
        outputs = len(self.target_.mean) + (self.shortest_ is not None)
        target = self._architecture(
            input_size=width, bidirectional=False, readout="every", output_size=outputs
        )
        source = self._architecture(
            input_size=self.inputs_.channels + width,
            readout="every",
            output_size=target.feature_size,
        )
        return EncoderDecoder(source=source, target=target, score=self.attention, longest=longest)

    def _read_one(self, x: Any) -> tuple[dict[str, np.ndarray], list[str]]:
        (read,) = self.sources_read([x])
        return {"": read}, [str(step) for step in range(len(read))]

    def _learned(self) -> dict[str, Any]:
        scaling = {"inputs": self.inputs_.to_json(), "target": self.target_.to_json()}
        return {"scaling": {**scaling, "shortest": self.shortest_}}

    def _restore(self, model: ModelFile) -> None:
        scaling, a = model.scaling or {}, model.architecture
        assert isinstance(a, EncoderDecoder)  # held by the file's schema
        if set(scaling) != {"inputs", "target", "shortest"}:
            raise ValueError("scaling: expected exactly the keys inputs, target and shortest")
        self.inputs_ = SequenceInputs.from_json(scaling["inputs"])
        self.target_, shortest = Scaler.from_json(scaling["target"]), scaling["shortest"]
        if shortest is not None and not (type(shortest) is int and 1 <= shortest < a.longest):
            raise ValueError(f"shortest: expected null or 1 to {a.longest - 1}, got {shortest!r}")
        self.shortest_ = shortest
        width, outputs = a.target.input_size or 0, len(self.target_.mean) + (shortest is not None)
        if self.inputs_.own_scale or self.inputs_.segment != 1:
            raise ValueError("inputs: expected steps as they are, in the training's deviations")
        if width % 2 or a.source.input_size != self.inputs_.channels + width:
            raise ValueError("inputs: expected the channels and where a step stands")
        if a.output_size != outputs:
            raise ValueError(f"target: expected {outputs} outputs, got {a.output_size}")
