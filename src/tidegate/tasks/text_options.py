"""The options of the tasks on whole texts: what is read of one, and by which network."""

from __future__ import annotations

from dataclasses import dataclass

from tidegate.data.text.evidence import MAX_LABELS
from tidegate.data.text.reading import LEVELS
from tidegate.tasks.architectures import check_readout
from tidegate.tasks.estimator import with_default
from tidegate.tasks.folds import FEW, FOLDS
from tidegate.tasks.read_texts import ReadsTexts
from tidegate.training.options import option
from tidegate.training.search_space import Among, Span


@dataclass(kw_only=True, eq=False, repr=False)
class TextOptions(ReadsTexts):
    """What may be chosen of a task that answers whole texts."""

    level: str = option(
        "word", "unit of text, called a token, that is read in one step", choices=LEVELS
    )
    vocabulary_size: int | None = option(
        30_000, "how many different tokens are known; rarer ones are read as unknown"
    )
    lowercase: bool = option(True, "read capitals as small letters")
    max_length: int | None = option(
        400,
        "largest number of tokens to read from a text; the middle of a longer text is left out "
        "(none: no limit)",
        at_least=2,
    )
    embedding_size: int = option(
        128,
        "how many numbers stand for a token (length of its vector)",
        at_least=1,
        search=Span(32, 256, log=True),
    )
    bidirectional: bool = option(
        True, "read texts forwards and backwards", search=Among(True, False)
    )
    readout: str = option(
        "mean+max",
        "how the states of all steps are summed up for the output: last, mean, max, or several, as "
        "in mean+max",
        search=Among("last", "mean", "max", "mean+max"),
    )
    evidence: bool = option(
        True,
        "also read how often each word, word pair and letter group occurs under each label (level "
        f"word, up to {MAX_LABELS} labels)",
    )
    linear: bool = option(
        True,
        "also weigh all words and word pairs of a text against each other by a logistic "
        "regression, whose answer is added to the network's where that does better on held-out "
        "texts (of labels, with `evidence`, where texts are read in both directions)",
    )
    hierarchical: bool = option(
        False,
        "read each sentence by itself with the first layer, and then what it comes to, sentence by "
        "sentence, with the others: for long documents, with `max_length` none; one hidden size is "
        "taken for both",
    )
    embedding_dropout: float = option(
        0.5,
        "probability of dropping a value of a token's vector",
        at_least=0,
        below=1,
        search=Span(0.0, 0.7),
    )
    dropout: float = with_default("dropout", 0.5)
    recurrent_dropout: float = with_default("recurrent_dropout", 0.2)
    learning_rate: float | None = option(1e-3, "peak learning rate", above=0)
    weight_decay: float | None = option(
        0.1,
        "how strongly weights are pulled towards zero; biases and norms are not",
        at_least=0,
    )
    embedding_moment: str = option(
        "shared",
        "how Adam scales the updates of token vectors. own: each weight by itself. shared: all "
        "alike, so that vectors of rare tokens change less",
        choices=("own", "shared"),
    )
    average: float = option(
        0.99,
        "evaluate and keep a running average of the weights, which decays by this factor in each "
        "step (0: no average)",
        at_least=0,
        below=1,
    )
    validation_fraction: float | None = option(
        None,
        "fraction of the texts that is held out to choose the best weights (default: 0.1; fewer "
        f"than {FEW} texts are all learned from, and {FOLDS} folds of them say how sure to be; 0: "
        "none)",
        at_least=0,
        below=1,
    )
    test_fraction: float = option(
        0.0,
        "fraction of the texts that is held out and scored once after training",
        at_least=0,
        below=1,
    )

    def check(self) -> None:
        """Raise InputError naming the first option whose value cannot be used."""
        super().check()
        check_readout(self.readout)
