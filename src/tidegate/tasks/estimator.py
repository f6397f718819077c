"""What every task shares: the network's options, training and the file."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from tidegate.cells import HEADED, PROJECTED, TO_TRY, USES
from tidegate.errors import InputError, spelled
from tidegate.model.architecture import Architecture
from tidegate.tasks.architectures import cells_as_given, cells_of, check_layers, need_memory
from tidegate.tasks.beside import StandsBeside
from tidegate.tasks.model_file import version_of
from tidegate.tasks.shown import Shown
from tidegate.terminal import say
from tidegate.training.clock import work_began
from tidegate.training.options import option
from tidegate.training.preparation import Preparation
from tidegate.training.search_space import Among, Span, Widths

if TYPE_CHECKING:
    from tidegate.nn.network import SequenceNetwork
    from tidegate.runtime.network import Network
    from tidegate.training.budget import Closing
    from tidegate.training.objective import Objective, TrainingResult


_PREPARING = 0.7  # of the time for preparing: the rest is the baseline's and the network's start


class NotFittedError(InputError, AttributeError):
    """A model that has learned nothing yet was asked for an answer."""


@dataclass(kw_only=True, eq=False, repr=False)
class Estimator(StandsBeside, Shown):
    """A task as an estimator: options are constructor arguments, learned attributes end in ``_``.

    ``runtime_`` is the trained network on numpy arrays, which predicts, with or without torch;
    ``network_`` is a copy of it as a torch module.  ``metrics_`` holds its validation figures, and
    its test figures if a test part was held out.  ``history_`` holds a list each of the step,
    epoch, losses and figures of every evaluation during training.  ``provenance_`` holds versions,
    data and date.
    """

    MOST_REFIT: ClassVar[str] = "up to 10,000 to train on"
    FEW: ClassVar[int] = 10_000  # of more, a tenth held out is not what lacks

    cell: str | tuple[str, ...] = option(
        "gru",
        "recurrent cell of all layers, or one for each: lstm,gru; your own as path/to/file.py:name "
        f"or package.module:name. {USES}",
        common=True,
        search=Among(*TO_TRY),
    )
    hidden_sizes: tuple[int, ...] = option(
        (128,),
        "units in each recurrent layer: 128 is one layer, 128,64 are two",
        at_least=1,
        common=True,
        search=Widths(32, 512, layers=3),
    )
    projection_size: int | None = option(
        None,
        "size of what each recurrent layer puts out, for cells that project it "
        f"({PROJECTED}; default: half of the layer's units)",
        at_least=1,
    )
    num_heads: int = option(
        1,
        f"heads of layers whose cell has them ({HEADED}), a divisor of its units: the recurrent "
        "weights of each see its own units alone, which saves weights, not time",
        at_least=1,
    )
    batch_norm: bool = option(False, "add batch normalisation between recurrent layers")
    layer_norm: bool = option(False, "add layer normalisation between recurrent layers")
    residual: bool = option(
        False,
        "from the second recurrent layer on, add what a layer reads to what it puts out, by way of "
        "a linear map where their widths differ; what is added passes by layer normalisation",
    )
    dropout: float = option(
        0.0,
        "probability of dropping a value between recurrent layers and before the output",
        at_least=0,
        below=1,
        search=Span(0.0, 0.7),
    )
    recurrent_dropout: float = option(
        0.0,
        "probability of dropping a unit of the recurrent state, for a whole sequence at a time; "
        "none where no weights of a cell read the state, as of indrnn and mingru",
        at_least=0,
        below=1,
    )
    candidate_dropout: float = option(
        0.0,
        "probability of dropping a value that a cell proposes for its state, never one that it "
        "keeps (recurrent dropout without memory loss)",
        at_least=0,
        below=1,
    )
    zoneout: float = option(
        0.0,
        "probability that a unit of each state stays as it was at a step of training; such a "
        "network's layers are compiled at their first use on a machine",
        at_least=0,
        below=1,
    )
    weight_dropout: float = option(
        0.0,
        "probability of hiding a recurrent weight, for all steps of a batch at a time",
        at_least=0,
        below=1,
    )
    chrono: int | None = option(
        None,
        "start with gates that remember up to this many recurrent steps (chrono initialisation), "
        "for data with long memories; cells without gates start as ever (default: off)",
        at_least=3,
    )
    refit: bool = option(
        True,
        "where data are few (MOST_REFIT), let the best weights learn at the end from all of them, "
        "the validation part too; the figures stay those from before",
    )
    forget_bias: float = option(
        1.0,
        "initial bias of a forget gate, where a cell has one beside its input gate; a larger one "
        "remembers longer at first; `chrono` replaces it",
    )

    def __setattr__(self, name: str, value: Any) -> None:
        """A reader's own cell becomes an option, and later stands in a file, by its key."""
        super().__setattr__(name, cells_as_given(value) if name == "cell" else value)

    def check(self) -> None:
        """Raise InputError naming the first option whose value cannot be used."""
        super().check()
        check_layers(self.cell, self.hidden_sizes, self.projection_size, self.num_heads)
        if self.layer_norm and self.batch_norm:
            raise InputError(
                f"expected it without {spelled('batch_norm')}, got both; leave one of them out",
                option="layer_norm",
            )

    def check_training(self) -> None:
        """Raise InputError for an option that cannot be used, and where there is no torch.

        With this ``fit`` begins: the minutes of ``max_minutes`` count from here.
        """
        self._preparation = Preparation(self, work_began())
        self.check()
        try:
            importlib.import_module("torch")
        except ModuleNotFoundError as e:
            raise InputError(
                f"expected torch to train with on {self.device!r}, got none; install it with: pip "
                "install 'tidegate[train]'; a trained model predicts without it",
                option="device",
            ) from e

    def _part_prepared(
        self, name: str, count: int, work: Callable[[int], object], share: float = _PREPARING
    ) -> float:
        """Which part of ``count`` things there is time to prepare; say so if that is not all.

        ``name``: what they are, in the plural; ``work`` prepares so many of them, and ``share`` is
        that of the time for preparing which it may take.
        """
        part = self._preparation.part(name, count, work, share)
        if part < 1 and self.speaks:
            say(
                f"{self.max_minutes:g} minutes leave time to prepare about {part * count:,.0f} of "
                f"{count:,} {name}, which are learned from; give more minutes to learn from all"
            )
        return part

    @property
    def _baseline_s(self) -> float:
        # baselines know what they take on a core that does nothing else
        slowness = 1.0 if self.max_minutes is None else self._preparation.slowness
        return super()._baseline_s / slowness

    # the network, and what the tasks build on

    @property
    def network_(self) -> SequenceNetwork:
        """The trained network as a torch module of its own, in evaluation mode on the CPU.

        To predict with weights that were changed in torch, set it: ``model.network_ = network``.
        """
        from tidegate.nn.arrays import torch_network

        return torch_network(self.runtime_.architecture, self.runtime_.tensors)

    @network_.setter
    def network_(self, network: SequenceNetwork) -> None:
        from tidegate.nn.arrays import network_on_arrays

        self.runtime_: Network = network_on_arrays(network)

    def _architecture(self, **of_task: Any) -> Architecture:
        """The network that the options name, with the sizes and values that the task decides.

        Raises InputError naming the option that cannot be used.
        """
        # what a task leaves out it does not have
        none = {"vocabulary_size": None, "input_size": None, "embedding_size": None}
        values: dict[str, Any] = none | {"embedding_dropout": 0.0} | self.get_params() | of_task
        values["cell"] = cells_of(values["cell"])
        values["hidden_sizes"] = tuple(values["hidden_sizes"])
        known = {f.name for f in fields(Architecture)}
        try:
            return Architecture(**{n: v for n, v in values.items() if n in known})
        except ValueError as e:
            option, _, problem = str(e).partition(": ")
            raise InputError(problem, option=option) from e

    def initial_network(self, architecture: Architecture) -> SequenceNetwork:
        """The network that training begins with, from the seed: before any weights taken over."""
        import torch

        from tidegate.nn.network import SequenceNetwork

        need_memory(architecture)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return SequenceNetwork(architecture, **self._initial(architecture))

    def _initial(self, architecture: Architecture) -> dict[str, Any]:  # noqa: ARG002
        """How the network starts: arguments of SequenceNetwork."""
        return {"chrono": self.chrono, "forget_bias": self.forget_bias}

    def __getattr__(self, name: str) -> Any:
        if name.endswith("_") and not name.startswith("_"):
            raise NotFittedError(
                f"expected a fitted {type(self).__name__}, got one that has learned nothing; "
                "call fit or load first"
            )
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def _train(
        self,
        architecture: Architecture,
        objective_of: Callable[[SequenceNetwork], Objective],
        data: dict[str, str | int | float],
        initialise: Callable[[SequenceNetwork], dict[str, Any]] | None = None,
        *,
        everything_of: Callable[[SequenceNetwork], Objective] | None = None,
        closing: Closing | None = None,
    ) -> TrainingResult:
        """Build the network from the seed, train it, keep what was learned.

        ``data`` says in a few scalars what it is trained on, for the provenance; ``initialise``
        sets weights that are known before, and says in the same way which.  ``everything_of``:
        the same with the part held out of what was given as training data learned from, too; None
        where nothing was.  ``closing``: what is done afterwards.
        """
        from tidegate.training.curve import as_columns
        from tidegate.training.loop import fit

        network = self.initial_network(architecture)
        started = {} if initialise is None else initialise(network)
        objective = objective_of(network)
        few = self.refit and sum(objective.sizes()) <= self.FEW
        all_of_it = everything_of if few else None
        everything = None if all_of_it is None else lambda: all_of_it(network)
        result = fit(
            objective,
            self,
            everything=everything,
            closing=closing,
            preparation=self._preparation,
        )
        self.network_ = network
        self.metrics_ = dict(result.metrics)
        self.history_ = as_columns(result.history)
        self.gradients_ = list(result.gradients)
        self.provenance_ = {
            **data,
            **started,
            "tidegate": version_of("tidegate"),
            "torch": version_of("torch"),
            "created": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "steps": result.steps,
            "epochs": round(result.epochs, 3),
            "best_step": result.best_step,
            "training_seconds": round(result.seconds, 1),
            "stopped_by": result.stopped,
            "precision": result.precision,
        }
        if result.refit_steps:
            self.provenance_["refit_steps"] = result.refit_steps
        if result.share < 1:
            self.provenance_["validation_share"] = round(result.share, 6)
        return result


def with_default(name: str, default: Any) -> Any:
    """The option ``name`` of every estimator, with another default."""
    (shared,) = (f for f in fields(Estimator) if f.name == name)
    return field(default=default, metadata=shared.metadata)


def default_model_path(task: str, data: str | PathLike[str]) -> Path:
    """Where the command line puts a model of ``task`` learned from ``data``: beside the caller."""
    # of .txt: txt; a name that begins with a dash would be taken for an option
    name = Path(data).name.lstrip(".-").split(".")[0] or "model"
    return Path(f"{name}-{task}.safetensors")
