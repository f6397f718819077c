"""What a tagger says of sentences: labels, how sure it is of them, and how good that is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tidegate.baselines.tags import TaggedTokens
from tidegate.data.files.items import Label, as_items, as_labels
from tidegate.data.sequences.sequences import with_evidence, with_letters
from tidegate.data.text.entities import are_entity_labels
from tidegate.data.text.evidence import MAX_LABELS, Evidence, learn_token_evidence
from tidegate.data.text.tokens import TokenEncoder, as_sentences
from tidegate.errors import InputError, shown, spelled
from tidegate.runtime.batches import step_outputs
from tidegate.runtime.tags import decoded, log_probabilities, losses
from tidegate.tasks.estimator import Estimator
from tidegate.tasks.tag_figures import table_of, tag_figures

if TYPE_CHECKING:
    from tidegate.model.checkpoint import ModelFile
    from tidegate.runtime.network import Network
    from tidegate.runtime.stream import Stream

UNKNOWN = -100  # in place of a label that the model does not know; training leaves it out, too


class TagsTokens(Estimator):
    """A task that gives each token one of ``classes_``; ``encoder_`` says how tokens are read."""

    INPUTS: ClassVar[str] = "tokens"
    evidence: bool  # an option of the task
    encoder_: TokenEncoder
    evidence_: Evidence | None

    def predict(self, tokens: Any) -> list[list[Label]]:
        """Predict the label of each token: N lists, of the sentences' lengths."""
        classes = self.classes_.tolist()
        outputs = self._outputs(as_sentences(tokens))
        found = decoded(outputs, self.transitions_)
        return [[classes[i] for i in of_one.tolist()] for of_one in found]

    def predict_proba(self, tokens: Any) -> list[np.ndarray]:
        """Predict the probability of each label, N arrays [T, labels], in ``classes_``' order."""
        return [np.exp(logs) for logs in self.predict_log_proba(tokens)]

    def predict_log_proba(self, tokens: Any) -> list[np.ndarray]:
        """Predict the natural logarithm of ``predict_proba``, N arrays [T, labels]."""
        return log_probabilities(self._outputs(as_sentences(tokens)), self.transitions_)

    def score(self, tokens: Any, labels: Any) -> float:
        """Measure the F1 of entities, where labels name such; else the accuracy, 0 to 1."""
        figures = self.evaluate(tokens, labels)
        return figures["f1" if self._are_entities else "accuracy"]

    def evaluate(self, tokens: Any, labels: Any) -> dict[str, float]:
        """Measure figures on labelled sentences, by name.

        ``accuracy``: fraction of tokens whose label is predicted.  ``cross_entropy``: mean of
        -log p of the true labels, in nats per token.  Where labels name entities (B-PER, I-PER, O),
        ``f1``, ``precision`` and ``recall`` of these, as conlleval counts them: an entity is right
        if its kind and all of its tokens are.  ``unknown_labels``: tokens whose label was not in
        the training data; they count as wrong, and their sentences not in the cross-entropy.
        ``sentences``, ``n``: number of sentences and tokens.
        """
        sentences, truth = self._judged(tokens, labels)
        outputs = self._outputs(sentences)
        figures = tag_figures(outputs, self.transitions_, truth, self.classes_.tolist())
        unknown = int(sum((of_one == UNKNOWN).sum() for of_one in truth))
        if unknown:
            figures["unknown_labels"] = unknown
        return {**figures, "sentences": len(sentences), "n": sum(map(len, sentences))}

    def table(self, tokens: Any, labels: Any) -> dict[str, dict[str, float]]:
        """Measure precision, recall, F1 and number of each kind of entity, or of each label."""
        sentences, truth = self._judged(tokens, labels)
        predicted = decoded(self._outputs(sentences), self.transitions_)
        return table_of(predicted, truth, self.classes_.tolist())

    def losses(self, tokens: Any, labels: Any) -> np.ndarray:
        """Measure -log p of the labels of each sentence, in nats, [N].

        NaN for a sentence with a label that was not in the training data.
        """
        sentences, truth = self._judged(tokens, labels)
        return losses(self._outputs(sentences), self.transitions_, truth)

    @property
    def transitions_(self) -> np.ndarray | None:
        """Weights of neighbouring labels, float32 [L + 1, L + 1], or None without a CRF.

        Rows are labels as in ``classes_``, and at last the start of a sentence; columns are the
        labels that follow, and at last the end.
        """
        return self.runtime_.tensors.get("transitions.weight")

    # what is read

    def encode(self, sentences: Sequence[Sequence[str]]) -> list[np.ndarray]:
        """The sentences as the network reads them: int32 [T], or records of words, letters and
        evidence.
        """
        return self.read_with(sentences, self.evidence_and_before(sentences))

    def evidence_and_before(
        self, sentences: Sequence[Sequence[str]], before: Sequence[int] | None = None
    ) -> list[np.ndarray] | None:
        """The evidence beside each token; ``before``: of each sentence the hash of the word that
        stands before.
        """
        return None if self.evidence_ is None else self.evidence_.of(sentences, before)

    def read_with(
        self, sentences: Sequence[Sequence[str]], evidence: Sequence[np.ndarray] | None
    ) -> list[np.ndarray]:
        """The sentences with this evidence, [T, E] of each, as the network reads them."""
        found = []
        for i, sentence in enumerate(sentences):
            tokens, letters = self.encoder_.encode(sentence)
            beside = None if evidence is None else evidence[i]
            if letters is not None:
                found.append(with_letters(tokens, letters, beside))
            else:
                found.append(tokens if beside is None else with_evidence(tokens, beside))
        return found

    def _read_labelled(self, part: TaggedTokens) -> tuple[list[np.ndarray], list[np.ndarray]]:
        return self.encode(part.tokens), self._indices(part.labels)

    def _learn_evidence(self, part: TaggedTokens) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Set ``evidence_``; the training part as the network reads it, and its labels."""
        self.evidence_ = None
        if not self.evidence or len(self.classes_) > MAX_LABELS:
            return self._read_labelled(part)
        answers = self._indices(part.labels)
        found = learn_token_evidence(part.tokens, answers, len(self.classes_))
        self.evidence_, of_sentences = found
        return self.read_with(part.tokens, of_sentences), answers

    def _outputs(self, sentences: list[list[str]]) -> list[np.ndarray]:
        network = self.runtime_
        return step_outputs(network, self.encode(sentences), len(self.classes_))

    @staticmethod
    def _tokens_of(read: np.ndarray) -> np.ndarray:
        return read if read.dtype.names is None else read["token"]

    def _read_one(self, x: Any) -> tuple[dict[str, np.ndarray], list[str]]:
        (sentence,) = as_sentences([x])
        (read,) = self.encode([sentence])
        return {"": read}, sentence

    def _stream(self, network: Network, batch_size: int | None) -> Stream:
        from tidegate.runtime.tag_streams import TaggerStream

        return TaggerStream(network, batch_size, self)

    def _ends_first(self) -> list[tuple[str, str]]:
        found = super()._ends_first()
        if self.runtime_.architecture.crf:
            reason = "chooses the labels of a whole sentence together"
            found.append((reason, spelled("crf", False)))
        return found

    # labels

    @property
    def _are_entities(self) -> bool:
        return are_entity_labels(self.classes_.tolist())

    def pairs(self, tokens: Any, labels: Any) -> tuple[list[list[str]], list[list[Label]]]:
        """Tokens and labels.  Raises InputError unless there is a label for each token."""
        sentences, given = as_sentences(tokens), as_items(labels, "labels")
        if len(given) != len(sentences):
            raise InputError(
                f"labels: expected one list per sentence, {len(sentences)}, got {len(given)}; give "
                "one for each"
            )
        truth = []
        for i, (sentence, one) in enumerate(zip(sentences, given, strict=True)):
            try:
                found = as_labels(one)
            except InputError as e:
                raise InputError(f"sentence {i}: {e}") from None
            if len(found) != len(sentence):
                raise InputError(
                    f"labels: expected one per token of sentence {i}, {len(sentence)}, got "
                    f"{len(found)}; give one for each"
                )
            truth.append(found)
        if not any(sentences):
            raise InputError("tokens: expected at least one, got none; give some sentences")
        return sentences, truth

    def _judged(self, tokens: Any, labels: Any) -> tuple[list[list[str]], list[np.ndarray]]:
        """Tokens, and the positions of their labels; UNKNOWN for others.

        Raises InputError if none of the labels was in the training data.
        """
        sentences, truth = self.pairs(tokens, labels)
        found = self._indices(truth)
        if all((of_one == UNKNOWN).all() for of_one in found):
            known = ", ".join(repr(label) for label in self.classes_[:10].tolist())
            other = next(label for of_one in truth for label in of_one)
            raise InputError(
                f"labels: expected those of the training tokens ({known}), got others, such as "
                f"{shown(other)}; mend the labels, or train with them"
            )
        return sentences, found

    def _learn_classes(self, labels: Sequence[Sequence[Label]]) -> None:
        """Set ``classes_``.  Raises InputError for fewer than two, and for labels of two types."""
        every = [label for of_one in labels for label in of_one]
        for label in every:
            if type(label) is not type(every[0]):
                first, other = (type(one).__name__ for one in (every[0], label))
                raise InputError(
                    f"labels: expected all of one type, got {first} {every[0]!r} and {other} "
                    f"{label!r}; make them all str"
                )
        classes = sorted(set(every))
        if len(classes) < 2:
            got = f"only {classes[0]!r}" if classes else "none"
            raise InputError(
                f"labels: expected at least two different ones, got {got}; give sentences with "
                "another, too"
            )
        self.classes_ = np.array(classes)

    def _indices(self, labels: Sequence[Sequence[Label]]) -> list[np.ndarray]:
        """Of each sentence the labels' positions in ``classes_``, int64 [T]; UNKNOWN for others."""
        positions = {label: i for i, label in enumerate(self.classes_.tolist())}
        return [np.array([positions.get(x, UNKNOWN) for x in one], np.int64) for one in labels]

    # the file

    def _learned(self) -> dict[str, Any]:
        learned = {"labels": self.classes_.tolist(), "encoder": self.encoder_.to_json()}
        if (evidence := self.evidence_) is not None:
            tables = {"buckets": evidence.buckets, "log_odds": evidence.log_odds}
            learned["evidence"] = tables
        return learned

    def _restore(self, model: ModelFile) -> None:
        assert model.labels is not None  # held by the file's schema
        self.classes_ = np.array(model.labels)
        self.encoder_ = TokenEncoder.from_json(model.encoder)
        self.evidence_ = Evidence(**model.evidence) if model.evidence else None
        a = model.architecture
        fits = {
            "vocabulary_size": self.encoder_.words.size,
            "letters": self.encoder_.letter_count,
            "word_length": self.encoder_.word_length,
        }
        for name, size in fits.items():
            if getattr(a, name) != size:
                raise ValueError(f"expected {name} {getattr(a, name)} of the encoder, got {size}")
