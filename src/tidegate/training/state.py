"""The training state: all that a run needs to go on as if it had never stopped."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tidegate.container import ModelFileError, pack, parse_json, unpack, write_atomically

FORMAT = 1


@dataclass
class Position:
    """How far a run has come.  ``batch`` is the next one of ``epoch``, both from 0.

    There is no random state: the generator is seeded at every step from (seed, step, rank).
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    seconds: float = 0.0
    loss_sum: float = 0.0  # over the units since the last evaluation
    units: float = 0.0
    learning_rate: float = 0.0
    best_step: int = 0  # 0: none yet
    best_value: float | None = None
    waited: int = 0  # evaluations since the best one
    history: list[dict[str, float]] = field(default_factory=list)


@dataclass
class TrainingState:
    """``tensors`` are named weights.*, average.*, best.*, optimizer.* and carry.RANK.N.

    ``carries`` has the nesting of each process's carry, ``settings`` what a run must have in
    common with this one to go on with it.
    """

    position: Position
    carries: list[Any]
    settings: dict[str, Any]
    tensors: dict[str, np.ndarray]

    def under(self, prefix: str) -> dict[str, Tensor]:
        """The tensors named ``prefix``.*, as copies of torch's."""
        return {
            name.removeprefix(prefix + "."): torch.from_numpy(array.copy())
            for name, array in self.tensors.items()
            if name.startswith(prefix + ".")
        }


def write_state(path: str | os.PathLike[str], state: TrainingState) -> None:
    """Replace the state at ``path``, atomically."""
    values = {
        "format": FORMAT,
        "position": asdict(state.position),
        "carries": state.carries,
        "settings": state.settings,
    }
    write_atomically(path, pack(state.tensors, json.dumps(values)))


def read_state(path: str | os.PathLike[str]) -> TrainingState:
    """The state at ``path``.  Raises ModelFileError for whatever ``write_state`` did not write."""
    try:
        tensors, text = unpack(path, lambda entries, text: None)  # noqa: ARG005
        values = parse_json(text, "training state", strict=False)  # a validation figure may be NaN
        if values["format"] != FORMAT:
            raise ValueError(f"expected format {FORMAT}, got {values['format']!r}")
        return TrainingState(
            Position(**values["position"]), values["carries"], values["settings"], tensors
        )
    except (KeyError, TypeError, ValueError) as e:
        if isinstance(e, ModelFileError):
            raise
        raise ModelFileError(f"expected a training state, got: {e!r}", file=path) from e


def flatten(carry: Any) -> tuple[Any, list[Tensor]]:
    """The nesting of ``carry`` in JSON's terms, and its tensors in order."""
    if carry is None:
        return None, []
    if isinstance(carry, Tensor):
        return "tensor", [carry]
    if not isinstance(carry, tuple | list):
        raise TypeError(f"carry must nest tensors in tuples and lists, got {type(carry).__name__}")
    parts = [flatten(part) for part in carry]
    kind = "tuple" if isinstance(carry, tuple) else "list"
    return {kind: [nesting for nesting, _ in parts]}, [t for _, ts in parts for t in ts]


def unflatten(nesting: Any, tensors: Iterator[Tensor]) -> Any:
    """The carry that ``flatten`` took apart."""
    if nesting is None:
        return None
    if nesting == "tensor":
        return next(tensors)
    ((kind, parts),) = nesting.items()
    return {"tuple": tuple, "list": list}[kind](unflatten(part, tensors) for part in parts)
