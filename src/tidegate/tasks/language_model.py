"""Language models of characters, words or BPE tokens: perplexity, and text that goes on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from tidegate.baselines.language import CountedTokens
from tidegate.cells import get_cell
from tidegate.data.files.items import as_texts
from tidegate.data.text.conditions import ConditionedTexts, Conditions
from tidegate.data.text.reading import TextEncoder
from tidegate.data.text.sound import Sound
from tidegate.errors import InputError, spelled
from tidegate.model.architecture import Architecture
from tidegate.runtime.connectivity import Question
from tidegate.runtime.mixture import Mixture
from tidegate.runtime.network import Network
from tidegate.runtime.scoring import Score, score, total
from tidegate.tasks.architectures import cell_names
from tidegate.tasks.by_level import by_level
from tidegate.tasks.counting import Counted
from tidegate.tasks.language_writing import WritesLanguage
from tidegate.tasks.measured import Measured
from tidegate.tasks.sound_files import RATE
from tidegate.tasks.splitting import one_text, split_text
from tidegate.tasks.start import Start, start_from_models
from tidegate.tasks.text_task import TextTask
from tidegate.terminal import say
from tidegate.training.budget import Closing
from tidegate.training.options import documented

if TYPE_CHECKING:
    from tidegate.model.checkpoint import ModelFile
    from tidegate.nn.network import SequenceNetwork
    from tidegate.training.language_modelling import LanguageModelling

_SMALL = 2_000_000  # tokens: of a text of more characters, a network learns what can be counted
_WORTH = 0.05  # part by which counting must lower the perplexity of characters
_BLOCK = 1000  # characters, of which reading is timed
_READING = 0.5  # of the time for preparing: what reading a text may take ...
_COUNTING = 0.4  # ... and of the rest counting: what is counted then is worth more than steps are


@documented
@dataclass(kw_only=True, eq=False, repr=False)
class LanguageModel(WritesLanguage):
    """Predicts the next character, word or BPE token of a text, and continues a prompt.

    ``encoder_`` holds the vocabulary, which is learned from the training part only.  At level
    ``word`` each line of the text is a sentence, with a start and an end.  ``init_from`` takes one
    language model; training continues with its weights and its vocabulary.  `fit` raises InputError
    for options or a text that cannot be used.

    >>> import tidegate as tg
    >>> model = tg.LanguageModel(hidden_sizes=(32,), bptt=16, max_steps=200, verbose=0)
    >>> model = model.fit("one two three four. " * 100)
    >>> "".join(model.generate("one two ", 12, greedy=True))
    'three four. '
    """

    TASK: ClassVar[str] = "language-model"
    MOST_REFIT: ClassVar[str] = "up to a million tokens"
    FEW: ClassVar[int] = 1_000_000

    def fit(self, text: Any, validation: Any = None, *, conditions: Any = None) -> Self:
        """Train on one text or on several.

        Of one text, the last parts are held out to choose the best weights and to test them.
        Sound, as ``tidegate.data.text.sound.read_wav`` reads it, is a text, too: each sample is one
        of 256 characters.
        Several texts are read one after another, each ended by a line break; texts to hold out are
        drawn with the seed.  ``validation`` is held out instead, if it is given.

        With ``conditions`` each of several texts is by itself, from its start to its end, and they
        say what it is to be: a frame or a dict of lists with one cell for each text, or one list,
        which is called ``condition``.  A column of numbers alone is scaled, others are categories;
        a missing cell is unknown.  ``validation`` is then a pair of texts and conditions.
        Gradients flow over whole texts, so that ``bptt`` does not count; ``counts`` are off.

        Raises InputError for options or texts that cannot be used, and TrainingError for a loss
        that is not finite.
        """
        self.check_training()
        self.conditions_: Conditions | None = None
        self.counts_: Mixture | None = None
        if conditions is not None:
            text = ConditionedTexts.of(text, conditions)
        if isinstance(text, ConditionedTexts):
            self._fit_conditioned(text, validation)
            return self
        self._rate = text.rate if isinstance(text, Sound) else None
        start = self._known_start()
        level = self.level if start is None else start.encoder.level
        held_out = validation is None
        train, validation, test = self.split(text, validation, level)
        train, validation = self._some_read(train, validation, start, level)
        start = start or self._learned_start(train, sentences=level == "word")
        start = replace(start, decides=self._decided(level, start.decides))
        self.encoder_: TextEncoder = start.encoder
        mixed = start.decides["counts"]
        parts = [self._tokens(part) for part in (train, validation)]
        for name, tokens in zip(("training", "validation"), parts, strict=True):
            if len(tokens) < 2:
                raise InputError(
                    f"expected at least 2 tokens of {name} text, got {len(tokens)}; give more text"
                )

        # as they are read: backwards, what was held out comes first
        whole = np.concatenate(parts[::-1] if self.reverse else parts)

        def everything(network: SequenceNetwork) -> LanguageModelling:
            return self._objective(network, whole, parts[1], bptt=start.decides["bptt"])

        opening, _ = self._frame()
        kinds = start.encoder.size, opening
        counted = None
        if mixed or (mixed is None and len(parts[0]) <= _SMALL and self._rate is None):
            longest = 9 if level == "char" else 5
            seconds = self._preparation.seconds(_COUNTING)
            counted = Counted.of(parts[0], parts[1], kinds, longest, seconds)

        def baseline(seconds: float) -> CountedTokens:
            if counted is not None:  # all there is to count is counted already
                return CountedTokens(counted.whole, counted.of_what)
            return CountedTokens.fit(*parts, size=kinds[0], never_target=kinds[1], seconds=seconds)

        tested = self._tokens(test) if test else None
        spent_s = 0.0 if counted is None else counted.seconds
        told: dict[str, Any] = {"spent_s": spent_s}
        if not mixed:
            told["cheaper"] = f"mix the two with {spelled('counts', True)}"
        self._stand_beside(baseline, parts[1], tested, **told)
        result = self._train_from(
            start,
            self._text_architecture(
                start,
                bidirectional=False,  # it would see what it is to predict
                readout="every",
                output_size=start.encoder.size,
            ),
            lambda network: self._objective(network, *parts, bptt=start.decides["bptt"]),
            {"training_tokens": len(parts[0]), "validation_tokens": len(parts[1])},
            everything_of=everything if held_out else None,
            closing=Closing(
                tested=len(test) / max(len(train), 1) * len(parts[0]),
                again=0 if counted is None else 1,  # to mix counts with the network
                seconds=self._read_again_s(test, tested, counted),
                refit_s=spent_s,  # to count once more
            ),
        )
        judged = parts[1][: max(2, round(result.share * len(parts[1])))]
        self._stand_beside_part(judged, result.share)
        if self._rate is not None:
            self.provenance_[RATE] = self._rate
        if counted is not None:
            weights = {name: t.cpu().numpy() for name, t in result.judged.items()}
            self.counts_, figures = counted.mixed_with(
                Network(self.runtime_.architecture, weights),
                judged,
                everything=whole if result.refit_steps else None,
                speaks=self.speaks,
            )
            if mixed or self._counts_pay(figures):
                self.metrics_ |= figures
            else:
                self.counts_ = None
        return self._conclude(self.evaluate(test) if test else {})

    def _some_read(
        self, train: str, validation: str, start: Start | None, level: str
    ) -> tuple[str, str]:
        """As much of the two texts as there is time to read: the end of the first."""

        def prepare(count: int) -> None:
            some = train[len(train) - _BLOCK * count :]
            encoder = None if start is None else start.encoder
            (encoder or self._learned_encoder(some, sentences=level == "word")).encode(some)

        blocks = len(train) // _BLOCK
        part = self._part_prepared("thousand characters", blocks, prepare, _READING)
        if part == 1:
            return train, validation
        cut = round((1 - part) * len(train))
        if level == "word":  # between lines
            cut = train.find("\n", cut) + 1 or cut
        return train[cut:], validation[: max(2, round(part * len(validation)))]

    def _read_again_s(self, test: str, tested: np.ndarray | None, counted: Counted | None) -> float:
        """Seconds for the test part beside what the network takes."""
        read_s = self._preparation.each_s * len(test) / _BLOCK
        if counted is None or tested is None:
            return read_s
        return read_s + counted.token_s * len(tested)

    def _counts_pay(self, figures: dict[str, float]) -> bool:
        """Whether a mixture of these figures is worth that text is written more slowly; say so."""
        lower = 1 - figures["perplexity"] / figures["network_perplexity"]
        pays = lower >= _WORTH
        if self.speaks:
            told = (
                f"kept, though text is written several times more slowly: "
                f"{spelled('counts', False)} leaves them out"
                if pays
                else f"left out, since text would be written several times more slowly: "
                f"{spelled('counts', True)} keeps them"
            )
            say(f"counts lower the perplexity by {max(lower, 0.0):.1%} and are {told}")
        return pays

    def split(self, text: Any, validation: Any, level: str) -> tuple[Any, Any, Any]:
        """Training, validation and test text, as ``fit`` parts them for an encoder of this level.

        Cuts at level word fall between lines.  Of texts with conditions, some are drawn.  Raises
        InputError.
        """
        if isinstance(text, ConditionedTexts):
            return self._split_conditioned(text, validation)
        return split_text(
            text,
            validation,
            self.seed,
            validation_fraction=self.validation_fraction,
            test_fraction=self.test_fraction,
            between_lines=level == "word",
        )

    def evaluate(
        self, text: Any, *, conditions: Any = None, adapt: bool = False
    ) -> dict[str, float]:
        """Measure how well a text, or several texts one after another, is predicted, by name.

        ``cross_entropy``: nats per token; each token but the first is predicted from all tokens
        before it.  ``perplexity``: e to the power of ``cross_entropy``.  ``bits_per_character``:
        the total in bits, divided by the characters of the text.  ``tokens``: number of tokens that
        were predicted.  At level ``word`` the end of a sentence is predicted, but its start is
        given.  So the number of tokens is that of words and lines, as is usual for perplexity on
        the Penn Treebank (Mikolov et al. 2010).

        With ``adapt`` a copy of the network goes on learning from the text: it predicts some tokens
        and then learns them, by PyTorch (dynamic evaluation, Krause et al. 2018, arXiv:1709.07432).

        A model of texts with conditions is given them as ``fit`` is; the end of each text is
        predicted, and is a character.  A category that training did not have is unknown.

        Raises InputError for a text of fewer than 2 tokens, and for ``adapt`` with conditions.
        """
        if conditions is not None:
            text = ConditionedTexts.of(text, conditions)
        self._check_conditions_fit(isinstance(text, ConditionedTexts))
        if isinstance(text, ConditionedTexts):
            if adapt:
                raise InputError(
                    "expected none for texts with conditions, each of which is by itself, got "
                    "True; leave it out",
                    option="adapt",
                )
            return Measured(self._evaluate_conditioned(text))
        text = one_text(text)
        opening, _ = self._frame()
        result = self._score(self._tokens(text), opening, adapt)
        if result.tokens == 0:
            raise InputError("expected a text of at least 2 tokens to predict, got less; give more")
        characters = result.tokens if self.encoder_.level == "char" else len(text)
        return Measured(
            {
                "cross_entropy": result.cross_entropy,
                "bits_per_character": result.nats / math.log(2) / characters,
                "perplexity": math.exp(min(result.cross_entropy, 700.0)),
                "tokens": result.tokens,
            }
        )

    def _score(self, tokens: np.ndarray, opening: int | None, adapt: bool) -> Score:
        if not adapt:
            return score(self.runtime_, tokens, opening, self.counts_)
        from tidegate.training.adapting import adapted_nats

        nats = adapted_nats(self.network_, tokens, opening, speaks=self.speaks)
        return total(nats if self.counts_ is None else self.counts_.nats(tokens, nats))

    def score(self, text: Any, *, conditions: Any = None) -> float:
        """Measure minus the cross-entropy, in nats per token; larger is better."""
        return -self.evaluate(text, conditions=conditions)["cross_entropy"]

    def _read_one(self, x: Any) -> tuple[dict[str, np.ndarray], list[str]]:
        if self.conditions_ is not None:
            one = x if isinstance(x, ConditionedTexts) else as_texts([x])[0]
            return self._read_conditioned(one)
        (text,) = as_texts([x])
        tokens = self._tokens(text)
        return {"": tokens}, [self.encoder_.decode([int(token)]) for token in tokens]

    def _questions(self, read: dict[str, np.ndarray], steps: list[str]) -> list[Question]:
        tokens = read[""] if read[""].dtype.names is None else read[""]["token"]
        return [
            Question(t, t - 1, int(token), steps[t], t) for t, token in enumerate(tokens) if t > 0
        ]

    @classmethod
    def _starts_with(cls) -> tuple[type[TextTask], ...]:
        return (cls,)

    def _start_from(self, models: Sequence[Any], origin: str) -> Start:
        if [(model.TASK, getattr(model, "reverse", None)) for model in models] != [
            (self.TASK, self.reverse)
        ]:
            kind = (
                f"trained with {spelled('reverse', True)}" if self.reverse else "that reads forward"
            )
            raise InputError(
                f"expected one language model {kind}, got {origin}; name such a one",
                option="init_from",
            )
        tied = models[0].runtime_.architecture.tie_embeddings
        return start_from_models(models, origin, whole=True, tie_embeddings=tied)

    def _decided(self, level: str, decided: dict[str, Any]) -> dict[str, Any]:
        """The options that are decided already, and those that the level decides."""
        given = {**vars(self), **decided}
        projected = get_cell(cell_names(given["cell"])[-1]).is_projected
        return decided | by_level(level, given, given["projection_size"] if projected else 0)

    def _initial(self, architecture: Architecture) -> dict[str, Any]:
        initial = super()._initial(architecture)
        # a matrix that is the output's, too, must give logits of size 1
        if self.embedding_scale is None and not architecture.tie_embeddings:
            has_cell_state = len(architecture.layer_cells[0].states) > 1
            initial["embedding_scale"] = 1.0 if has_cell_state else 0.3  # docs/results.md
        return initial

    def _objective(
        self, network: SequenceNetwork, train: np.ndarray, validation: np.ndarray, *, bptt: int
    ) -> LanguageModelling:
        from tidegate.nn.arrays import network_on_arrays
        from tidegate.training.judging import TorchReader
        from tidegate.training.language_modelling import LanguageModelling

        opening, _ = self._frame()

        def sample_text(network: SequenceNetwork, step: int) -> str:
            reader = TorchReader(network)
            entropy = score(reader, validation[:20_000], opening).cross_entropy
            rng = np.random.default_rng((self.seed, step))
            writer = network_on_arrays(network)
            tokens = self._written(writer, "", self.sample_length, rng, {"temperature": 0.8})
            head = f"--- step {step}, held-out perplexity {math.exp(min(entropy, 700.0)):.2f} ---"
            return f"{head}\n{self.encoder_.decode(tokens).strip()}\n"

        return LanguageModelling(
            network,
            train,
            validation,
            batch_size=self.batch_size,
            bptt=bptt,
            seed=self.seed,
            never_target=opening,
            unknown=self.encoder_.unknown_id,
            sample_steps=() if self._rate else tuple(self.sample_steps),  # none can read sound
            sample=sample_text,
        )

    def _learned(self) -> dict[str, Any]:
        known = self.conditions_
        conditions = {} if known is None else {"conditions": known.to_json()}
        return {
            "encoder": self.encoder_.to_json() | conditions,
            "counts": {} if self.counts_ is None else self.counts_.arrays(),
        }

    def _restore(self, model: ModelFile) -> None:
        self._restore_encoder(model)
        opening, _ = self._frame()
        self.counts_ = Mixture.from_arrays(model.counts, self.encoder_.size, opening)
