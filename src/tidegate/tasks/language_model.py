"""Language models of characters, words or BPE tokens: perplexity, and text that goes on."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from tidegate.architecture import Architecture
from tidegate.cells import get_cell
from tidegate.data.text import LEVELS, TextEncoder, train_encoder
from tidegate.errors import InputError
from tidegate.sampling import sample
from tidegate.tasks.estimator import Estimator, encoder_of
from tidegate.training.options import option

if TYPE_CHECKING:
    from tidegate.checkpoint import ModelFile
    from tidegate.nn.network import SequenceNetwork


@dataclass(kw_only=True, eq=False, repr=False)
class LanguageModel(Estimator):
    """Predicts the next character, word or BPE token of a text, and writes on from a prompt.

    ``encoder_`` holds the vocabulary, made of the training part alone.  At level ``word`` each
    line of the text is a sentence, framed by a start and an end.
    """

    TASK: ClassVar[str] = "language-model"

    level: str = option("char", "what a token is", choices=LEVELS)
    vocabulary_size: int | None = option(
        None, "most frequent tokens kept (default: every character or word; 8192 for bpe)"
    )
    min_count: int = option(1, "occurrences below which a token is unknown", at_least=1)
    lowercase: bool = option(False, "fold capitals")
    embedding_size: int = option(128, "width of a token's vector", at_least=1)
    hidden_sizes: tuple[int, ...] = option(
        (384,), "units of each recurrent layer: 384 or 384,384", at_least=1
    )
    embedding_dropout: float = option(0.0, "on the tokens' vectors", at_least=0, below=1)
    bptt: int = option(100, "steps of back-propagation through time", at_least=1)
    learning_rate: float | None = option(4e-3, "peak learning rate", above=0)
    dropout: float = option(
        0.1, "between recurrent layers and before the output", at_least=0, below=1
    )
    validation_fraction: float = option(
        0.1, "part of the text, next to last, that chooses the best weights", above=0, below=1
    )
    test_fraction: float = option(
        0.0, "last part of the text, scored once after training", at_least=0, below=1
    )
    sample_steps: tuple[int, ...] = option(
        (100, 300, 500, 700, 1200, 2000),
        "optimiser steps after which a sample is printed",
        at_least=1,
    )
    sample_length: int = option(200, "tokens of such a sample", at_least=1)

    def fit(self, text: str, validation: str | None = None) -> Self:
        """Learn from ``text``; its last parts (or ``validation``) are held out.

        Raises InputError for options or texts that cannot be used, TrainingError for a loss that
        is not finite.
        """
        self.check()
        train, validation, test = self._split(text, validation)
        encoder = train_encoder(
            train,
            self.level,
            self.vocabulary_size,
            self.min_count,
            self.lowercase,
            sentences=self.level == "word",
        )
        parts = [encoder.encode(part) for part in (train, validation)]
        for name, tokens in zip(("training", "validation"), parts, strict=True):
            if len(tokens) < 2:
                raise InputError(
                    f"expected at least 2 tokens of {name} text, got {len(tokens)}; give more text"
                )
        self.encoder_: TextEncoder = encoder
        self._train(
            self._architecture(encoder.size),
            lambda network: self._objective(network, *parts),
            {"training_tokens": len(parts[0]), "validation_tokens": len(parts[1])},
        )
        if test:
            self.metrics_ |= {f"test_{k}": v for k, v in self.evaluate(test).items()}
        return self

    def evaluate(self, text: str) -> dict[str, float]:
        """How well the text is predicted.

        ``cross_entropy``: nats per token, every token of the text but its first given all before
        it (a sentence's start is given, not predicted; its end is); ``perplexity``: e to that
        power; ``bits_per_character``: the same nats in bits over the text's characters;
        ``tokens``: how many were predicted.
        """
        from tidegate.training.language_modelling import score

        network = self.network_
        tokens = self.encoder_.encode(text)
        result = score(network, tokens, self.encoder_.start_id)
        if result.tokens == 0:
            raise InputError("expected a text of at least 2 tokens to predict, got less")
        characters = result.tokens if self.level == "char" else len(text)
        return {
            "cross_entropy": result.cross_entropy,
            "bits_per_character": result.nats / math.log(2) / characters,
            "perplexity": math.exp(min(result.cross_entropy, 700.0)),
            "tokens": result.tokens,
        }

    def score(self, text: str) -> float:
        """Minus the cross-entropy, in nats per token: scikit-learn's larger is better."""
        return -self.evaluate(text)["cross_entropy"]

    def generate(
        self,
        prompt: str = "",
        length: int = 500,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        greedy: bool = False,
        seed: int | None = None,
    ) -> Iterator[str]:
        """Text that follows ``prompt``, piece by piece: ``length`` tokens.

        ``temperature`` below 1 plays safe, above 1 dares; ``top_k`` and ``top_p`` (nucleus) keep
        the likeliest tokens only; ``greedy`` takes the likeliest.  The unknown token is never
        written.  ``seed`` None draws another text each time.
        """
        network = self.network_
        if length < 0:
            raise InputError(f"expected a length of 0 or more tokens, got {length}")
        choice = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "greedy": greedy}
        rng = np.random.default_rng(seed)
        tokens = _next_tokens(network, self.encoder_, prompt, length, rng, choice)
        return self.encoder_.decode_stream(tokens)

    def _split(self, text: str, validation: str | None) -> tuple[str, str, str]:
        """Training, validation and test text; cuts at level word fall between lines."""
        if not isinstance(text, str):
            raise InputError(f"text: expected a str, got {type(text).__name__}")
        held_out = self.test_fraction + (self.validation_fraction if validation is None else 0)
        if held_out >= 1:
            raise InputError(
                "options validation_fraction and test_fraction: expected a sum below 1, "
                f"got {held_out:g}"
            )

        def cut(fraction: float) -> int:
            at = round(len(text) * fraction)
            if self.level == "word" and (line := text.find("\n", at)) >= 0:
                return line + 1
            return at

        end = cut(1 - self.test_fraction) if self.test_fraction else len(text)
        if validation is not None:
            return text[:end], validation, text[end:]
        start = cut(1 - held_out)
        return text[:start], text[start:end], text[end:]

    def _architecture(self, vocabulary_size: int) -> Architecture:
        return Architecture(
            cell=get_cell(self.cell).name,
            vocabulary_size=vocabulary_size,
            input_size=None,
            embedding_size=self.embedding_size,
            hidden_sizes=tuple(self.hidden_sizes),
            bidirectional=False,  # it would see what it is to predict
            readout="every",
            output_size=vocabulary_size,
            batch_norm=self.batch_norm,
            embedding_dropout=self.embedding_dropout,
            dropout=self.dropout,
            recurrent_dropout=self.recurrent_dropout,
        )

    def _objective(self, network: SequenceNetwork, train: np.ndarray, validation: np.ndarray):
        from tidegate.training.language_modelling import LanguageModelling, score

        encoder = self.encoder_

        def sample_text(network: SequenceNetwork, step: int) -> str:
            entropy = score(network, validation[:20_000], encoder.start_id).cross_entropy
            rng = np.random.default_rng((self.seed, step))
            choice = {"temperature": 0.8}
            tokens = _next_tokens(network, encoder, "", self.sample_length, rng, choice)
            head = f"--- step {step}, held-out perplexity {math.exp(min(entropy, 700.0)):.2f} ---"
            return f"{head}\n{encoder.decode(tokens).strip()}\n"

        return LanguageModelling(
            network,
            train,
            validation,
            batch_size=self.batch_size,
            bptt=self.bptt,
            seed=self.seed,
            never_target=encoder.start_id,
            sample_steps=tuple(self.sample_steps),
            sample=sample_text,
        )

    def _learned(self) -> dict[str, Any]:
        return {"encoder": self.encoder_.to_json()}

    def _restore(self, model: ModelFile) -> None:
        self.encoder_ = encoder_of(model)


def _next_tokens(
    network: SequenceNetwork,
    encoder: TextEncoder,
    prompt: str,
    length: int,
    rng: np.random.Generator,
    choice: dict[str, Any],
) -> Iterator[int]:
    """Token after token, each read back in by the network."""
    import torch

    read = encoder.encode_prompt(prompt)
    if len(read) == 0:  # begin as after a line's end
        read = encoder.encode("\n")[:1]
    forbidden = [i for i in (encoder.unknown_id, encoder.start_id) if i is not None]
    state = None
    device = network.device
    for _ in range(length):
        with torch.no_grad():
            inputs = torch.as_tensor(read.astype(np.int64), device=device).unsqueeze(1)
            outputs, state = network(inputs, state=state)
        logits = outputs[-1, 0].float().cpu().numpy()
        token = sample(logits, rng, forbidden=forbidden, **choice)
        yield token
        read = np.array([token])
        if token == encoder.end_id:  # the next sentence's start is given
            read = np.array([token, encoder.start_id])
