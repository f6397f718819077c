"""What the tasks on whole texts share: their options, and how they learn and answer."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tidegate.baselines.baseline import Answered, Baseline
from tidegate.data.text.evidence import Evidence
from tidegate.data.text.reading import TextEncoder
from tidegate.data.text.rows import learned_conditions, rows_of, text_of
from tidegate.errors import InputError, spelled
from tidegate.runtime.batches import outputs_of
from tidegate.tasks.beside import Candidate
from tidegate.tasks.folds import (
    FOLDS,
    believe,
    figures_of_folds,
    judged_by_folds,
    trained_for,
)
from tidegate.tasks.forecast_blend import with_weights
from tidegate.tasks.language_model import LanguageModel
from tidegate.tasks.splitting import split_rows, thinned
from tidegate.tasks.start import Start, start_from_models
from tidegate.tasks.text_line import FEWEST, LineBeside, lifted, trust, with_line
from tidegate.tasks.text_options import TextOptions
from tidegate.tasks.text_task import TextTask
from tidegate.tasks.weights import normalised, sample_weights
from tidegate.terminal import say
from tidegate.training.budget import Closing

if TYPE_CHECKING:
    from tidegate.nn.network import SequenceNetwork
    from tidegate.runtime.network import Network
    from tidegate.runtime.stream import Stream
    from tidegate.tasks.explaining import Explanation, Faithfulness
    from tidegate.training.many_to_one import ManyToOne, Weights
    from tidegate.training.objective import TrainingResult

Told = tuple[Any, Any]  # texts and their answers

_FRACTION = 0.1  # of many texts, to validate by


@dataclass(kw_only=True, eq=False, repr=False)
class TextEstimator(TextOptions):
    """Answers a whole text: an embedding, recurrent layers, pooling and a dense layer.

    ``kind_`` says what with, and knows what differs from kind to kind.  ``encoder_`` holds the
    vocabulary, which is learned from the training texts only.
    """

    INPUTS: ClassVar[str] = "texts"
    DEFAULT_EPOCHS: ClassVar[int] = 6
    DEFAULT_STEPS: ClassVar[int] = 300

    def _sentence_sizes(self, start: Start) -> dict[str, Any]:
        """Of the architecture, where sentences are read: a layer for them, and one above."""
        if not self.hierarchical:
            return {}
        sizes = tuple(start.decides.get("hidden_sizes", self.hidden_sizes))
        return {"sentences": True, "hidden_sizes": sizes * 2 if len(sizes) == 1 else sizes}

    @abstractmethod
    def _learn_answers(self, texts: list[str], answers: Any) -> np.ndarray:
        """Set ``kind_`` by the answers to all texts; these as an array.  Raises InputError."""

    @abstractmethod
    def _answers(self, texts: list[str], answers: Any) -> np.ndarray:
        """The answers to texts as an array of the ``kind_``.  Raises InputError."""

    def _weigh(self, train: np.ndarray, judged: np.ndarray, of_samples: np.ndarray) -> Weights:
        """How much training and judging texts count, by their answers; None: all alike.

        ``of_samples`` [N] are the training texts' own weights.
        """
        del train, judged  # of numbers all count alike
        return normalised(of_samples), None

    def _fit(
        self,
        texts: Any,
        answers: Any,
        validation: Told | None,
        conditions: Sequence[str],
        sample_weight: Any,
    ) -> dict[str, float]:
        """Train; the figures of the test part, if one was held out.  Raises InputError."""
        self.check_training()
        known = rows_of(texts, conditions)
        truth = self._learn_answers(known, answers)
        start = self._known_start()
        train, held_out, test, folds = self._parted(truth, drawn=validation is None)
        some = np.random.default_rng(0).permutation(train)

        def prepare(count: int) -> None:
            texts, answers = [known[i] for i in some[:count]], truth[some[:count]]
            encoder = None if start is None else start.encoder
            plain = [text_of(one) for one in texts]
            self.encoder_ = encoder or self._learned_encoder(plain, sentences=False)
            self.conditions_ = learned_conditions(texts)
            self.kind_.learn(answers)
            held = self.kind_.held(answers)
            words = self._words(texts) if self._counts(held) else None
            self._learn_evidence(texts, held, words)
            if words is not None and self._takes_line(answers):
                assert self.evidence_ is not None
                LineBeside(self.evidence_, (words, []), (held, held[:0]), [np.ones(count)] * 2)

        part = self._part_prepared("texts", len(train), prepare) if folds is None else 1
        train, held_out = thinned(train, part, truth), thinned(held_out, part, truth)
        learned, judged, tested = (
            Answered([known[i] for i in rows], truth[rows]) for rows in (train, held_out, test)
        )
        if validation is not None:
            others = rows_of(validation[0], conditions)
            of_others = self._answers(others, validation[1])
            kept = thinned(np.arange(len(others)), part, of_others)
            judged = Answered([others[i] for i in kept], of_others[kept])
        counts = sample_weights(sample_weight, len(known))
        of_samples = counts[train]
        alone = not judged.inputs  # then the weights that fit the training part best are kept
        self.kind_.learn(learned.answers)
        self.conditions_ = learned_conditions(learned.inputs)
        chosen_by = judged
        judged = learned if alone else judged
        weights = self._weigh(learned.answers, judged.answers, of_samples)
        weights = (weights[0], weights[0]) if alone else weights
        plain = [text_of(one) for one in learned.inputs]
        start = start or self._learned_start(plain, sentences=False)
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

        def linear(part: Answered, seconds: float = math.inf) -> Baseline:
            return self.kind_.baseline(part, chosen_by, lowercase=self.lowercase, seconds=seconds)

        self._stand_beside(
            lambda seconds: linear(learned, seconds),
            None if alone else judged,
            tested if len(test) else None,
            None if folds is None else lambda: figures_of_folds(linear, learned, folds),
            constant=Candidate(
                lambda _: self.kind_.constant(learned),
                None
                if folds is None
                else lambda: figures_of_folds(self.kind_.constant, learned, folds),
            ),
        )
        held, of_judged = self.kind_.held(learned.answers), self.kind_.held(judged.answers)
        words = None, None
        if self._counts(held):
            words = self._words(learned.inputs), self._words(judged.inputs)
        parts = [
            (self._learn_evidence(learned.inputs, held, words[0]), learned.answers),
            (self.encode(judged.inputs, words[1]), judged.answers),
        ]
        line = None
        judges = not alone and len(judged.inputs) >= FEWEST
        if words[0] and words[1] and judges and self._takes_line(judged.answers):
            assert self.evidence_ is not None
            each = [
                np.ones(len(part.inputs)) if own is None else own
                for part, own in zip((learned, judged), weights, strict=True)
            ]
            line = LineBeside(self.evidence_, (words[0], words[1]), (held, of_judged), each)
        del words  # which are many

        def objective(network: SequenceNetwork, learned: Any, weights: Any) -> ManyToOne:
            return self.kind_.objective(
                network,
                learned,
                parts[1],
                unit=self.INPUTS,
                batch_size=self.batch_size,
                seed=self.seed,
                weights=weights,
                prefix="training_" if alone else "",
            )

        def everything(network: SequenceNetwork) -> ManyToOne:
            (texts, answers), (others, of_others) = parts
            whole = texts + others, np.concatenate([answers, of_others])
            of_all = np.concatenate([counts[train], counts[held_out]])
            return objective(network, whole, self._weigh(whole[1], of_others, of_all))

        with trained_for(self, by_fold):
            result = self._train_from(
                start,
                self._text_architecture(
                    start,
                    output_size=self.kind_.outputs,
                    **self._evidence_sizes,
                    **self._sentence_sizes(start),
                ),
                lambda network: objective(network, parts[0], weights),
                {
                    "training_texts": len(learned.answers),
                    "validation_texts": 0 if alone else len(judged.answers),
                },
                everything_of=everything if validation is None and not alone else None,
                closing=Closing(
                    tested=len(test),
                    again=0 if alone else self.kind_.SETTLES or line is not None,
                    seconds=self._preparation.each_s * len(test),
                    refit_s=0 if line is None else line.seconds,
                ),
            )
        if by_fold is not None:
            believe(self, by_fold, learned.answers)
        elif line is not None or (not alone and self.kind_.SETTLES):
            self._settle(result, *parts[1], line)
        return self.evaluate(tested.inputs, self.kind_.given(tested.answers)) if len(test) else {}

    def _takes_line(self, answers: np.ndarray) -> bool:
        """Whether a line may stand beside the network: as both directions, it is of whole texts.

        A stream of a text that grows reads neither.
        """
        return self.linear and self.bidirectional and self.kind_.sum_loss(answers) is not None

    def _settle(
        self,
        result: TrainingResult,
        sequences: list[np.ndarray],
        answers: np.ndarray,
        line: LineBeside | None,
    ) -> None:
        """Choose what is chosen after training by the held-out part, and tell its figures so."""
        judged = with_weights(self.runtime_, result.judged)
        outputs = outputs_of(judged, sequences, self.kind_.outputs)
        if line is not None:
            both = self._beside_line(line, outputs, answers, refit=result.refit_steps > 0)
            if both is None and not self.kind_.SETTLES:
                return
            outputs = outputs if both is None else both
        if self.kind_.SETTLES:
            self.kind_.settle(outputs, answers)
        figures = self.kind_.figures(outputs, answers)
        self.metrics_ |= {name: figures[name] for name in self.kind_.FIGURES}

    def _beside_line(
        self, line: LineBeside, own: np.ndarray, answers: np.ndarray, *, refit: bool
    ) -> np.ndarray | None:
        """Set the line beside the network; what both say of the texts that were held out, of which
        the network alone said ``own`` [N, O]; None where that is not worth it.
        """
        told = lifted(line.said(), self.kind_.outputs)
        loss = self.kind_.sum_loss(answers)
        assert loss is not None
        assert self.evidence_ is not None
        trusted = trust(told, own, loss, line.counts)
        if trusted is None:
            return None
        kept = line.of_all() if refit else line.line
        self.runtime_ = with_line(self.runtime_, kept.intercept, trusted)
        tables = self.evidence_.tables | {"line": kept.weights}
        self.evidence_ = Evidence(**tables)
        of_line, of_network = (round(factor, 4) for factor in trusted)
        self.provenance_ |= {"line_weight": of_line, "network_weight": of_network}
        both = trusted[0] * told + trusted[1] * own
        if self.speaks:
            before, after = (self.kind_.losses(some, answers).mean() for some in (own, both))
            say(
                f"a straight line of words and pairs stands beside the network: held-out loss "
                f"{after:.4g}, of the network alone {before:.4g}"
            )
        return both.astype(np.float32)

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
            folds = self.kind_.folds(answers[train], self.seed)
            if folds is not None:
                return train, none, test, folds
            fraction = _FRACTION
        return *split_rows(len(answers), self.seed, validation=fraction, **rows), None

    def _known(self, inputs: Any) -> list[Any]:
        conditions = vars(self).get("conditions_")
        return rows_of(inputs, () if conditions is None else conditions.names, partly=True)

    def _outputs(self, inputs: Any) -> np.ndarray:
        """The network's outputs for texts as a user gives them, float32 [N, O]."""
        return outputs_of(self.runtime_, self.encode(self._known(inputs)), self.kind_.outputs)

    def _read_one(self, x: Any) -> tuple[dict[str, np.ndarray], list[str]]:
        if self.hierarchical:
            raise InputError(
                "expected a model that reads words one after another, got one that reads "
                f"sentences, whose gates are not shown; train with {spelled('hierarchical', False)}"
            )
        (read,) = self.encode(self._known([x]))
        tokens = read if read.dtype.names is None else read["token"]
        return {"": read}, [self.encoder_.decode([int(token)]) for token in tokens]

    def explain(self, texts: Any) -> list[Explanation]:
        """What each word of each text carries of the model's answer, by leaving it out.

        An `Explanation` has ``words`` and ``contributions`` [words, answers]: by how much the
        log-odds of the predicted label fall without the word, or the number; of several labels
        those of each that is predicted.  This reads a text of W words W times anew, without torch.
        Raises InputError as ``predict``.
        """
        from tidegate.tasks.explaining import explained

        return list(explained(self, texts))

    def faithfulness(self, texts: Any, *, seed: int = 0) -> Faithfulness:
        """Whether explanations name what carries answers: how far these fall without it.

        A tenth, a fifth and a half of each text's words are left out, those that carry most, and
        beside them as many random ones, drawn by ``seed``, as are 300 of more texts.  Raises
        InputError as ``predict``, and where fewer than two texts have five words.
        """
        from tidegate.tasks.explaining import faithfulness

        return faithfulness(self, texts, seed=seed)

    def _ends_first(self) -> list[tuple[str, str]]:
        found = super()._ends_first()
        if self.conditions_ is not None:
            found.append(("reads columns beside a text", "the texts alone"))
        if self.hierarchical:
            found.append(("reads whole sentences", spelled("hierarchical", False)))
        return found

    def _stream(self, network: Network, batch_size: int | None) -> Stream:
        from tidegate.runtime.text_streams import TextStream

        return TextStream(
            network,
            batch_size,
            self.TASK,
            self.encoder_,
            self.evidence_,
            self.max_length,
            self.kind_.streamed,
        )

    @classmethod
    def _starts_with(cls) -> tuple[type[TextTask], ...]:
        return cls, LanguageModel

    def _start_from(self, models: Sequence[Any], origin: str) -> Start:
        tasks = [model.TASK for model in models]
        if tasks == [self.TASK]:
            (model,) = models
            a = model.runtime_.architecture
            readout = a.readout if self._left_open("readout") else self.readout
            return start_from_models(
                models,
                origin,
                whole=readout == a.readout and self.kind_.same(model.kind_),
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
            f"expected a {self.TASK}, a language model, or one that reads forward "
            f"and one trained with {spelled('reverse', True)}, in this order, got {origin}; name "
            "these",
            option="init_from",
        )
