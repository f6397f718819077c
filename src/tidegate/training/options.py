"""The options of a training run, each listed once; free of torch, so that help texts are fast."""

from __future__ import annotations

import inspect
import os
import re
import textwrap
from collections.abc import Sequence
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, TypeVar, get_type_hints

from tidegate.errors import InputError, spelled
from tidegate.terminal import path_text
from tidegate.training.option_values import check_value, plain
from tidegate.training.schedules import SCHEDULES
from tidegate.training.search_space import Around, Search, Span

# Names of the optimisers, with a learning rate at which recurrent networks of 64 to 512 units
# train; for sgd and nesterov it is multiplied by 1 - momentum.
LEARNING_RATES = {
    "adamw": 2e-3,
    "adam": 2e-3,
    "sgd": 0.2,
    "nesterov": 0.2,
    "adagrad": 2e-2,
    "adadelta": 1.0,
    "rmsprop": 1e-3,
}
# Evaluations without a better one, after which a run that overfits is brought to its end ...
PATIENCE = 3
# ... if they are this part of all steps, and so many, too: of few data evaluations follow one
# another closely.
PATIENT_PART, PATIENT_STEPS = 1 / 3, 50
LARGEST_SEED = 2**63 - 1
MOMENTUM = {"sgd": 0.0, "nesterov": 0.9, "rmsprop": 0.0}


def option(
    default: Any,
    help: str,
    *,
    choices: Sequence[str] = (),
    above: float | None = None,
    at_least: float | None = None,
    below: float | None = None,
    at_most: float | None = None,
    common: bool = False,
    search: Search | None = None,
) -> Any:
    """A dataclass field with its help text and the values it takes, which ``check`` holds it to.

    Other options stand in backticks in the help, which spells them as its reader does.
    ``common``: people use it first, so that ``--help`` shows it, not ``--help-all`` alone.
    ``search``: what ``tune`` tries; a subclass that lists the option again keeps it.
    """
    bounds = {"above": above, "at least": at_least, "below": below, "at most": at_most}
    given = {name: bound for name, bound in bounds.items() if bound is not None}
    about = {"help": help, "choices": choices, "bounds": given, "common": common}
    about["search"] = search
    return field(default=default, metadata=about)


AnyOptions = TypeVar("AnyOptions", bound="TrainingOptions")


def help_of(f: Field[Any], of: type[TrainingOptions]) -> str:
    """What an option does, in words, with the defaults of the class it is listed for."""
    text = f.metadata["help"].replace("DEFAULT_EPOCHS", str(of.DEFAULT_EPOCHS))
    steps, spacing = of.DEFAULT_STEPS, of.default_spacing()
    text = text.replace("DEFAULT_STEPS", f"{steps} if no limit is given" if steps else "no limit")
    least = f"; if `epochs` is not given, also at least {spacing} steps" if spacing else ""
    text = text.replace("; DEFAULT_SPACING", least)
    text = re.sub("`([a-z_]+)`", lambda other: spelled(other[1]), text)
    text = text.replace("MOST_REFIT", getattr(of, "MOST_REFIT", ""))
    choices = f.metadata["choices"]
    if any(choice not in text for choice in choices):
        text += ": " + ", ".join(choices)
    return text


def documented(estimator: type[AnyOptions]) -> type[AnyOptions]:
    """The class, its docstring ending with what each of its options does and its default."""
    lines = [inspect.cleandoc(estimator.__doc__ or ""), "", "Parameters", "----------"]
    for f in fields(estimator):
        lines.append(f"{f.name} : {f.type}, default {f.default!r}")
        lines += textwrap.wrap(help_of(f, estimator), 96, initial_indent=_IN, subsequent_indent=_IN)
    estimator.__doc__ = "\n".join(lines)
    # without types, which stand below: so the options can be read at a glance
    signature = inspect.signature(estimator)
    plain = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
    made: Any = signature.replace(parameters=plain, return_annotation=signature.empty)
    estimator.__signature__ = made  # pyright: ignore[reportAttributeAccessIssue]
    return estimator


_IN = "    "


@dataclass(kw_only=True)
class TrainingOptions:
    """How to train.  A subclass adds options with ``option``; ``check`` holds for those too.

    A run that is stopped and resumed gives the bits of one never stopped if ``epochs`` and
    ``max_steps`` are its only limits; ``max_minutes`` depends on the clock, and so do its weights.
    """

    DEFAULT_EPOCHS: ClassVar[int] = 10
    DEFAULT_STEPS: ClassVar[int] = 0

    optimizer: str = option(
        "adamw", "algorithm that updates the weights", choices=tuple(LEARNING_RATES)
    )
    learning_rate: float | None = option(
        None,
        "peak learning rate (default: one that suits the optimizer)",
        above=0,
        search=Around(10),
    )
    momentum: float | None = option(
        None,
        "momentum of sgd, nesterov or rmsprop (default: 0.9 for nesterov, 0 for the others)",
        at_least=0,
        below=1,
    )
    weight_decay: float | None = option(
        None,
        "how strongly weights are pulled towards zero; biases and norms are not (default: 0.01 for "
        "adamw, 0 for the others)",
        at_least=0,
        search=Span(1e-3, 1.0, log=True),
    )
    embedding_moment: str = option(
        "own",
        "how Adam scales the updates of token vectors. own: each weight by itself. shared: all "
        "alike, so that vectors of rare tokens change less",
        choices=("own", "shared"),
    )
    schedule: str = option(
        "cosine", "how the learning rate changes after the warm-up", choices=tuple(SCHEDULES)
    )
    warmup: float = option(
        0.02,
        "fraction of the run, at its start, in which the learning rate rises from 0 to its peak",
        at_least=0,
        at_most=1,
    )
    clip_norm: float | None = option(
        1.0,
        "largest norm of the gradient over all weights; a longer gradient is scaled down to it "
        "(none: no limit)",
        above=0,
    )
    batch_size: int = option(
        32,
        "sequences in one optimiser step, over all processes together",
        at_least=1,
        search=Around(4),
    )
    epochs: int | None = option(
        None,
        "stop after this many epochs, which are passes over the training data (default: "
        "DEFAULT_EPOCHS if no limit is given)",
        at_least=1,
        common=True,
    )
    fewest_steps: int | None = option(
        None,
        "train for at least this many optimiser steps, even if this takes more epochs; for small "
        "data (default: DEFAULT_STEPS)",
        at_least=0,
    )
    max_steps: int | None = option(None, "stop after this many optimiser steps", at_least=1)
    max_minutes: float | None = option(None, "stop after this many minutes", above=0, common=True)
    patience: int | None = option(
        None,
        "end the run when this many evaluations in a row bring no better result: go back to the "
        "best weights, and let the learning rate fall to 0 in a fifth of the steps so far "
        f"(default: {PATIENCE} that are also a third of all steps, as the training loss falls on; "
        "a large number: never)",
        at_least=1,
    )
    evaluate_every: int | None = option(
        None,
        "optimiser steps from one evaluation on the validation part to the next (default: one "
        "epoch; DEFAULT_SPACING)",
        at_least=1,
    )
    average: float = option(
        0.0,
        "evaluate and keep a running average of the weights, which decays by this factor in each "
        "step, such as 0.999 (0: no average)",
        at_least=0,
        below=1,
    )
    precision: str = option(
        "auto",
        "number format of large matrix products in training: float32, bfloat16, or auto. Weights, "
        "states and sums stay float32. bfloat16 is up to twice as fast on CPUs with AMX or AMD's "
        "AVX-512 BF16, and has no effect on others. auto: bfloat16 on such a CPU, until the "
        "validation part shows a difference, then float32; the model file says which",
        choices=("float32", "bfloat16", "auto"),
    )
    seed: int = option(
        0,
        "seed of all random choices: initial weights, held-out parts, order of the data, dropout",
        at_least=0,
        at_most=LARGEST_SEED,
    )
    device: str = option(
        "auto",
        "where to train: cpu, cuda, cuda:1, ...; auto takes a GPU if there is one and it has fast "
        "kernels for every layer, else the CPU",
    )
    run_folder: Path | None = option(
        None, "folder for the settings, metrics, curve and training state of the run"
    )
    gradient_norms: bool = option(
        False,
        "at each evaluation say how long the gradient of each layer is, and how much of it is left "
        "so many steps back: whether gradients explode or vanish. The folder of the run gets "
        "gradients.csv and gradients.png; the weights stay the same",
    )
    checkpoint_seconds: float = option(
        60.0,
        "seconds between two saves of the training state (0: save after every step)",
        at_least=0,
    )
    resume: bool = option(False, "continue the run that is kept in the run folder", common=True)
    force: bool = option(
        False,
        "replace files that tidegate did not write; without `resume`, also replace a run in the "
        "run folder",
    )
    verbose: int | bool = option(
        1,
        "what to print. 0: nothing; 1: a live progress bar, on a terminal or in a notebook; 2: a "
        "line for each evaluation",
        at_least=0,
        at_most=2,
    )

    def check(self) -> None:
        """Raise InputError naming the first option whose value cannot be used.

        NumPy's numbers become Python's: theirs overflow, and JSON cannot hold them.
        """
        hints = get_type_hints(type(self))
        for f in fields(self):
            value = plain(getattr(self, f.name))
            setattr(self, f.name, value)
            check_value(f.name, value, hints[f.name], f.metadata)
        if self.momentum is not None and self.optimizer not in MOMENTUM:
            raise InputError(
                f"expected none for {self.optimizer}, got "
                f"{self.momentum}; leave it out, or choose {' or '.join(MOMENTUM)} as "
                f"{spelled('optimizer')}",
                option="momentum",
            )
        if self.max_steps is not None and (self.fewest_steps or 0) > self.max_steps:
            raise InputError(
                f"expected at most {spelled('max_steps')}, "
                f"{self.max_steps}, got {self.fewest_steps}; lower it",
                option="fewest_steps",
            )
        if self.resume and self.run_folder is None:
            raise InputError(
                f"expected a {spelled('run_folder')} to go on with, got none; name it",
                option="resume",
            )

    @property
    def speaks(self) -> bool:
        """Whether this process says anything: among several, the first."""
        return self.verbose > 0 and self.is_first_process

    @property
    def is_first_process(self) -> bool:
        """Whether this is the one of several processes that writes."""
        return os.environ.get("RANK", "0") == "0"

    def epoch_limit(self) -> int | None:
        """``epochs``, or DEFAULT_EPOCHS when no limit at all is given."""
        return self.DEFAULT_EPOCHS if self.is_unlimited else self.epochs

    def step_limit(self, steps_in_epoch: int) -> int | None:
        """Steps after which ``epochs`` and ``fewest_steps`` end the run."""
        epochs = self.epoch_limit()
        if epochs is None:
            return None
        fewest = self.DEFAULT_STEPS if self.is_unlimited else 0
        fewest = fewest if self.fewest_steps is None else self.fewest_steps
        return max(epochs * steps_in_epoch, fewest)

    def steps_between_evaluations(self, steps_in_epoch: int) -> int:
        """``evaluate_every``, or an epoch; of few data, and unless ``epochs`` is given, several.

        So evaluating stays the lesser part of the work.
        """
        if self.evaluate_every is not None:
            return self.evaluate_every
        return max(steps_in_epoch, 0 if self.epochs is not None else self.default_spacing())

    @classmethod
    def default_spacing(cls) -> int:
        """Fewest steps between evaluations, unless it is told how many."""
        return cls.DEFAULT_STEPS // cls.DEFAULT_EPOCHS

    @property
    def is_unlimited(self) -> bool:
        return self.epochs is None and self.max_steps is None and self.max_minutes is None

    def resolved_momentum(self) -> float:
        return MOMENTUM.get(self.optimizer, 0.0) if self.momentum is None else self.momentum

    def resolved_learning_rate(self) -> float:
        if self.learning_rate is not None:
            return self.learning_rate
        # the momentum buffer sums 1 / (1 - momentum) gradients, so a step is that much longer
        scale = 1.0 - self.resolved_momentum() if self.optimizer in ("sgd", "nesterov") else 1.0
        return LEARNING_RATES[self.optimizer] * scale

    def resolved_weight_decay(self) -> float:
        if self.weight_decay is not None:
            return self.weight_decay
        return 0.01 if self.optimizer == "adamw" else 0.0

    def to_json(self) -> dict[str, Any]:
        """Every option by name; a path as its text."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {n: path_text(v) if isinstance(v, Path | str) else v for n, v in values.items()}


def check_seed(seed: int | None) -> None:
    """Raise InputError unless ``seed`` is None or one that random numbers can be drawn by."""
    about = next(f for f in fields(TrainingOptions) if f.name == "seed")
    check_value("seed", plain(seed), int | None, about.metadata)
