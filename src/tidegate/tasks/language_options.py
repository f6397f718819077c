"""The options of a language model: its unit of text, its network, what is held out and counted."""

from __future__ import annotations

from dataclasses import dataclass

from tidegate.data.text.reading import LEVELS
from tidegate.tasks.estimator import with_default
from tidegate.tasks.text_task import TextTask
from tidegate.training.options import option
from tidegate.training.search_space import Span


@dataclass(kw_only=True, eq=False, repr=False)
class LanguageOptions(TextTask):
    """The options of a language model; those left at None are decided by ``level``."""

    level: str = option(
        "char",
        "unit of text, called a token, that is read and written in one step",
        choices=LEVELS,
        common=True,
    )
    vocabulary_size: int | None = option(
        None,
        "how many different tokens are known; rarer ones are read as unknown (default: all "
        "characters or words; 8192 for bpe)",
    )
    lowercase: bool = option(False, "read capitals as small letters")
    embedding_size: int | None = option(  # pyright: ignore[reportIncompatibleVariableOverride]
        None,
        "how many numbers stand for a token, the length of its vector (default: 128, or with "
        "`tie_embeddings` what the last of `hidden_sizes` is)",
        at_least=1,
        search=Span(32, 512, log=True),
    )
    hidden_sizes: tuple[int, ...] | None = option(  # pyright: ignore[reportIncompatibleVariableOverride]
        None,
        "units in each recurrent layer: 384 is one layer, 384,384 are two (default: 384 at level "
        "char, else 200)",
        at_least=1,
        common=True,
    )
    tie_embeddings: bool | None = option(
        None,
        "use one matrix for the embedding and the output layer; `embedding_size` must equal the "
        "last of `hidden_sizes` (default: not at level char, else where they are equal)",
    )
    counts: bool | None = option(
        None,
        "mix what the network expects with counted n-grams of the training text (Kneser-Ney) and "
        "with the tokens just read, in shares that are fitted on the validation part (default: at "
        "level char, where it makes writing slow, if that lowers the perplexity by 5 % or more)",
    )
    reverse: bool = option(
        False,
        "read and write text backwards; a text classifier's backward direction can start from such "
        "a model",
    )
    embedding_scale: float | None = option(
        None,
        "standard deviation of the initial token vectors (default: 1 for cells with a cell state "
        "beside the output, as an LSTM, 0.3 for others; with `tie_embeddings`, 1 / sqrt of "
        "`embedding_size`)",
        above=0,
    )
    embedding_dropout: float = option(
        0.0,
        "probability of dropping a value of a token's vector",
        at_least=0,
        below=1,
        search=Span(0.0, 0.5),
    )
    forget_bias: float = with_default("forget_bias", 0.0)
    bptt: int | None = option(
        None,
        "tokens read in one optimiser step; gradients flow back through these only (default: 100 "
        "at level char, else 35)",
        at_least=1,
    )
    learning_rate: float | None = option(4e-3, "peak learning rate", above=0)
    dropout: float | None = option(  # pyright: ignore[reportIncompatibleVariableOverride]
        None,
        "probability of dropping a value between recurrent layers and before the output (default: "
        "0.1 at level char, else 0.3)",
        at_least=0,
        below=1,
    )
    validation_fraction: float = option(
        0.1,
        "fraction of the text that is held out to choose the best weights; it stands at the end, "
        "before the test part",
        above=0,
        below=1,
    )
    test_fraction: float = option(
        0.0,
        "fraction of the text, at its end, that is held out and scored once after training",
        at_least=0,
        below=1,
    )
    sample_steps: tuple[int, ...] = option(
        (100, 300, 500, 700, 1200, 2000),
        "optimiser steps after which a sample of generated text is printed",
        at_least=1,
    )
    sample_length: int = option(200, "tokens in each printed sample", at_least=1)
