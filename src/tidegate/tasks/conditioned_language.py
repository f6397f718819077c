"""Language models of texts with conditions, each from its start to its end."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tidegate.baselines.language import CountedTokens
from tidegate.data.sequences.sequences import with_condition
from tidegate.data.text.conditions import END, START, ConditionedTexts, Conditions
from tidegate.data.text.encoders import TextEncoder, WordEncoder
from tidegate.errors import InputError, spelled
from tidegate.runtime.conditioned_stream import ConditionedStream, tokens_of
from tidegate.runtime.network import Network
from tidegate.runtime.scoring import TextsAndConditions, text_nats, total
from tidegate.runtime.writing import Watch, text_to_its_end
from tidegate.tasks.architectures import cell_names
from tidegate.tasks.by_level import by_level
from tidegate.tasks.conditioned import Conditioned
from tidegate.tasks.language_options import LanguageOptions
from tidegate.tasks.model_file import encoder_of
from tidegate.tasks.splitting import split_rows
from tidegate.tasks.start import Start
from tidegate.training.budget import Closing

if TYPE_CHECKING:
    from tidegate.model.checkpoint import ModelFile
    from tidegate.nn.network import SequenceNetwork
    from tidegate.runtime.stream import Stream
    from tidegate.training.text_modelling import TextModelling

Parts = tuple[ConditionedTexts, ConditionedTexts, ConditionedTexts]


@dataclass(kw_only=True, eq=False, repr=False)
class ConditionedLanguage(Conditioned, LanguageOptions):
    """What a language model does where texts have conditions; ``conditions_`` is None else."""

    INPUTS: ClassVar[str] = "texts"

    def _fit_conditioned(self, texts: ConditionedTexts, validation: Any) -> None:
        """Train on texts with conditions; the figures are kept, but for those of a test part."""
        self._check_conditioned()
        if self.level != "word":
            _refuse_frames(texts.texts)
        held_out = validation is None
        train, judged, test = parts = self._split_conditioned(texts, validation)
        self.conditions_ = Conditions.learn(train.columns)
        start = self._framed_start(train.texts)
        self.encoder_: TextEncoder = start.encoder
        conditions = self.conditions_
        learned, validated, tested = (self.texts_and_conditions(part) for part in parts)
        opening, _ = self._text_frame()

        def baseline(seconds: float) -> CountedTokens:
            parts = np.concatenate(learned[0]), np.concatenate(validated[0])
            size = start.encoder.size
            return CountedTokens.fit(*parts, size=size, never_target=opening, seconds=seconds)

        self._stand_beside(
            baseline,
            np.concatenate(validated[0]),
            np.concatenate(tested[0]) if len(test) else None,
        )

        def everything(network: SequenceNetwork) -> TextModelling:
            both = [*learned[0], *validated[0]], np.concatenate([learned[1], validated[1]])
            return self._text_objective(network, both, validated, judged)

        tokens = sum(map(len, learned[0]))
        result = self._train_from(
            start,
            self._text_architecture(
                start,
                bidirectional=False,  # it would see what it is to predict
                readout="every",
                output_size=start.encoder.size,
                condition_size=conditions.size,
            ),
            lambda network: self._text_objective(network, learned, validated, judged),
            {
                "training_texts": len(train),
                "validation_texts": len(judged),
                "training_tokens": tokens,
                "validation_tokens": sum(map(len, validated[0])),
                "conditions": ", ".join(conditions.names),
            },
            everything_of=everything if held_out else None,
            closing=Closing(tested=len(test) / len(train) * tokens, again=0, refit_s=0.0),
        )
        if result.share < 1:
            from tidegate.training.text_modelling import judged_rows

            kept = judged_rows(len(judged), self.seed, result.share)
            part = np.concatenate([validated[0][i] for i in kept])
            self._stand_beside_part(part, result.share)
        self._conclude(self._evaluate_conditioned(test) if len(test) else {})

    def _check_conditioned(self) -> None:
        """Raise InputError for an option that texts with conditions cannot have."""
        reasons = {
            "reverse": "since texts with conditions are read from their start",
            "counts": "since counted n-grams know no conditions",
            "init_from": "since a model of one long text knows no conditions",
        }
        for name, reason in reasons.items():
            if value := getattr(self, name):
                problem = f"expected none beside conditions, {reason}, got {value}"
                raise InputError(f"{problem}; leave it out", option=name)

    def _split_conditioned(self, texts: ConditionedTexts, validation: Any) -> Parts:
        """Training, validation and test part, drawn by the seed."""
        of_parts = {"validation": self.validation_fraction, "test": self.test_fraction}
        if validation is not None:
            of_parts["validation"] = 0.0
            validation = as_conditioned(validation, "validation")
        if (held_out := sum(of_parts.values())) >= 1:
            problem = f"expected a sum with {spelled('test_fraction')} below 1, got {held_out:g}"
            raise InputError(f"{problem}; lower one of them", option="validation_fraction")
        rows = split_rows(len(texts), self.seed, **of_parts, what="texts")
        train, drawn, test = (texts.part(part) for part in rows)
        validation = drawn if validation is None else validation
        for name, part in (("training", train), ("validation", validation)):
            if not len(part):
                problem = f"expected {name} texts, got none"
                raise InputError(f"{problem}; give at least one with its conditions")
        return train, validation, test

    def _framed_start(self, texts: list[str]) -> Start:
        """The start with the vocabulary of the texts, among it what frames each of them."""
        if self.level == "char":
            start = self._learned_start([f"{START}{text}{END}" for text in texts], sentences=False)
            if not start.encoder.encode(START + END).all():
                option = "vocabulary_size" if self.min_count == 1 else "min_count"
                change = "raise it" if option == "vocabulary_size" else "lower it"
                problem = "expected a vocabulary with a text's start and end in it, got one without"
                raise InputError(f"{problem}; {change}", option=option)
        else:
            start = self._learned_start(
                [" ".join(text.splitlines()) for text in texts], sentences=self.level == "word"
            )
        given = {**vars(self), **start.decides}
        decided = by_level(self.level, given, self.projection_size if self._projects() else 0)
        return replace(start, decides={**start.decides, **decided, "counts": False})

    def _projects(self) -> bool:
        from tidegate.cells import get_cell

        return get_cell(cell_names(self.cell)[-1]).is_projected

    def _text_frame(self) -> tuple[int, int]:
        """The tokens that open and close a text."""
        encoder = self.encoder_
        if isinstance(encoder, WordEncoder):
            assert encoder.start_id is not None
            assert encoder.end_id is not None
            return encoder.start_id, encoder.end_id
        (opening,), (closing,) = encoder.encode(START), encoder.encode(END)
        return int(opening), int(closing)

    def _restore_encoder(self, model: ModelFile) -> None:
        """Take encoder and conditions from a file.  Raises ValueError unless they fit."""
        held = dict(model.encoder or {})
        found = held.pop("conditions", None)
        self.conditions_ = None if found is None else Conditions.from_json(found)
        size = 0 if self.conditions_ is None else self.conditions_.size
        expected = getattr(model.architecture, "condition_size", 0)
        if size != expected:
            raise ValueError(f"expected conditions of {expected} numbers, got {size}")
        self.encoder_ = encoder = encoder_of(replace(model, encoder=held))
        if self.conditions_ is not None:
            framed = encoder.start_id is not None or encoder.level != "word"
            if not framed or encoder.unknown_id in self._text_frame():
                raise ValueError("expected tokens that open and close a text, got none")

    def texts_and_conditions(self, texts: ConditionedTexts) -> TextsAndConditions:
        """Tokens of each text, framed, int32 [T], and the conditions, float32 [N, C].

        Raises InputError.
        """
        assert self.conditions_ is not None
        if self.level != "word":
            _refuse_frames(texts.texts)
        frame = self._text_frame()
        framed = [self._framed(text, frame) for text in texts.texts]
        return framed, self.conditions_.numbers(texts.columns)

    def _framed(self, text: str, frame: tuple[int, int]) -> np.ndarray:
        opening, closing = frame
        tokens = tokens_of(self.encoder_, text)
        return np.concatenate([[opening], tokens, [closing]]).astype(np.int32)

    def _evaluate_conditioned(self, texts: ConditionedTexts) -> dict[str, float]:
        """What ``evaluate`` says of texts with conditions."""
        if not len(texts):
            raise InputError("expected a text or more to predict, got none; give some")
        nats = text_nats(self.runtime_, *self.texts_and_conditions(texts))
        result = total(np.concatenate(nats))
        characters = sum(len(text) + 1 for text in texts.texts)  # the end is one, too
        return {
            "cross_entropy": result.cross_entropy,
            "bits_per_character": result.nats / math.log(2) / characters,
            "perplexity": math.exp(min(result.cross_entropy, 700.0)),
            "tokens": result.tokens,
        }

    def _written_to_its_end(
        self,
        network: Network,
        prompt: str,
        length: int,
        rng: np.random.Generator,
        choice: Mapping[str, Any],
        condition: np.ndarray,
        watch: Watch | None = None,
    ) -> Iterator[int]:
        """The tokens after the prompt of a text with this condition, to its end."""
        opening, closing = self._text_frame()
        read = self._framed(prompt, (opening, closing))[:-1]
        never = [i for i in (self.encoder_.unknown_id, opening) if i is not None]
        how = {**choice, "forbidden": never}
        return text_to_its_end(network, read, length, closing, condition, rng, how, watch)

    def stream(
        self, batch_size: int | None = None, *, given: Mapping[str, Any] | None = None
    ) -> Stream:
        """A text that arrives piece by piece, or ``batch_size`` of them, whose next token is asked.

        ``given``: of a model of texts with conditions what all of them are, as ``generate`` has it.
        Texts of several conditions are streams that are put among one another:
        ``streams.put(id, model.stream(given=...))``.
        See the class of what comes back for what a piece is.  Raises InputError for a model that
        needs a text's end before its beginning, and for conditions that it does not know.
        """
        if given is not None:
            self._check_conditions_fit(True)
        if self.conditions_ is None:
            return super().stream(batch_size)
        opening, _ = self._text_frame()
        condition = self.conditions_.given(given)
        return ConditionedStream(self.runtime_, batch_size, self.encoder_, opening, condition)

    def _read_conditioned(self, x: Any) -> tuple[dict[str, np.ndarray], list[str]]:
        """What ``inspect`` reads: one text with conditions, or one whose are unknown."""
        assert self.conditions_ is not None
        if isinstance(x, ConditionedTexts):
            (tokens,), (condition,) = self.texts_and_conditions(x)
        else:
            tokens, condition = self._framed(x, self._text_frame()), self.conditions_.given(None)
        read = tokens[:-1]
        steps = ["(start)", *(self.encoder_.decode([int(token)]) for token in read[1:])]
        return {"": with_condition(read, condition)}, steps

    def _text_objective(
        self,
        network: SequenceNetwork,
        train: TextsAndConditions,
        validation: TextsAndConditions,
        judged: ConditionedTexts,
    ) -> TextModelling:
        from tidegate.nn.arrays import network_on_arrays
        from tidegate.training.text_modelling import TextModelling

        assert self.conditions_ is not None
        opening, _ = self._text_frame()

        def sample_text(network: SequenceNetwork, step: int) -> str:
            rng = np.random.default_rng((self.seed, step))
            row = int(rng.integers(len(judged)))
            told = ", ".join(f"{name}: {cells[row]}" for name, cells in judged.columns.items())
            tokens = self._written_to_its_end(
                network_on_arrays(network),
                "",
                self.sample_length,
                rng,
                {"temperature": 0.8},
                validation[1][row],
            )
            return f"--- step {step}, {told} ---\n{self.encoder_.decode(tokens).strip()}\n"

        sample: Callable[[SequenceNetwork, int], str] = sample_text
        return TextModelling(
            network,
            train,
            validation,
            columns=self.conditions_.columns_of_numbers(),
            batch_size=self.batch_size,
            seed=self.seed,
            opening=opening,
            unknown=self.encoder_.unknown_id,
            sample_steps=tuple(self.sample_steps),
            sample=sample,
        )


def as_conditioned(given: Any, what: str) -> ConditionedTexts:
    """Texts with conditions that are given apart, or a pair of the two.  Raises InputError."""
    if isinstance(given, ConditionedTexts):
        return given
    if not isinstance(given, tuple | list) or len(given) != 2:
        problem = f"{what}: expected a pair of texts and conditions"
        raise InputError(f"{problem}, got {type(given).__name__}; give (texts, conditions)")
    return ConditionedTexts.of(*given)


def _refuse_frames(texts: list[str]) -> None:
    """Raise InputError for a text that holds a character which marks a start or an end."""
    for i, text in enumerate(texts):
        if START in text or END in text:
            problem = "expected no U+0002 and no U+0003, which mark a text's start and end"
            raise InputError(f"texts: {problem}, got one at index {i}; take it out")
