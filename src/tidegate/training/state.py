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

from tidegate.errors import shown, spelled
from tidegate.model.container import ModelFileError, TensorInfo, pack, parse_json, unpack
from tidegate.output.writing import write_atomically

FORMAT = 3


def remedy() -> str:
    """What helps where a state cannot be used."""
    return (
        f"begin a new run: leave out {spelled('resume', True)} and name another "
        f"{spelled('run_folder')}"
    )


_MOST = 2**53  # of a count: float64 holds each whole number up to it
_DEEPEST = 8  # nesting of a carry
# Options that end a run.
LIMITS = ("epochs", "fewest_steps", "max_steps", "max_minutes", "patience")

_TAIL = ("tail_from", "tail_steps", "went_back_to")
_REFIT = ("refit_from", "refit_steps")
_WHOLE = ("step", "epoch", "batch", "best_step", "waited", *_TAIL, *_REFIT)
_SETTINGS = {"options": dict, "objective": dict, "fingerprint": str, "processes": int}


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
    waited: int = 0  # evaluations since the last that was better
    tail_from: int = 0  # step after which the learning rate falls to 0; 0: not out of patience
    tail_steps: int = 0  # in which it does
    went_back_to: int = 0  # the step of the weights that the tail began with
    share: float = 1.0  # of the validation part that is evaluated
    stopped: str = ""  # the limit that has ended the run; "": none yet
    exact_from: int | None = None  # step after which products are float32's; None: not yet
    refit_from: int = 0  # step after which all data are learned from; 0: not yet, or never
    refit_steps: int = 0  # in which they are
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
    position = asdict(state.position)
    rows = position.pop("history")
    columns = {name: type(value).__name__ for name, value in rows[0].items()} if rows else {}
    # a tensor, since a long run has more rows than a header may have lists
    table = np.array([[row[name] for name in columns] for row in rows], np.float64)
    values = {
        "format": FORMAT,
        "position": position,
        "columns": columns,
        "carries": state.carries,
        "settings": state.settings,
    }
    tensors = state.tensors | {"history": table.reshape(len(rows), len(columns))}
    write_atomically(path, pack(tensors, json.dumps(values)))


def read_state(path: str | os.PathLike[str]) -> TrainingState:
    """The state at ``path``.  Raises ModelFileError for whatever ``write_state`` did not write.

    What only the run itself knows, such as the shapes of its weights, is checked by resuming.py.
    """
    values: dict[str, Any] = {}

    def check(entries: dict[str, TensorInfo], text: str) -> None:
        # a validation figure may be NaN
        values.update(_checked(parse_json(text, "training state", strict=False), entries))

    tensors, _ = unpack(path, check, remedy())
    try:
        position = _position(values["position"], values["columns"], tensors.pop("history"))
    except ValueError as e:
        raise ModelFileError(f"{e}; {remedy()}", file=path) from e
    return TrainingState(position, values["carries"], values["settings"], tensors)


def _checked(values: Any, entries: dict[str, TensorInfo]) -> dict[str, Any]:
    """The parsed JSON text.  Raises ValueError unless types and counts are as written."""
    kinds = {"format": int, "position": dict, "columns": dict, "carries": list, "settings": dict}
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        found = values.get("format") if isinstance(values, dict) else values
        raise ValueError(f"expected a training state of format {FORMAT}, got {shown(found)}")
    _need_types(values, kinds, "training state")
    settings, columns = values["settings"], values["columns"]
    _need_types(settings, _SETTINGS, "settings")
    if settings["processes"] != len(values["carries"]):
        raise ValueError(f"carries: expected one for each process, got {len(values['carries'])}")
    if not all(kind in ("int", "float") for kind in columns.values()):
        raise ValueError(f"columns: expected int or float for each, got {shown(columns)}")
    table = entries.get("history", TensorInfo("", (0,)))
    if table != TensorInfo("F64", (table.shape[0] if table.shape else 0, len(columns))):
        raise ValueError(f"tensor 'history': expected F64 [rows, {len(columns)}], got another")
    carried = {
        f"carry.{rank}.{i}"
        for rank, nesting in enumerate(values["carries"])
        for i in range(_leaves(nesting))
    }
    if different := sorted(carried ^ {n for n in entries if n.startswith("carry.")}):
        raise ValueError(f"carries: expected the tensors they name, got or missed {different[0]!r}")
    return values


def _need_types(values: dict[str, Any], kinds: dict[str, Any], subject: str) -> None:
    if set(values) != set(kinds):
        different = shown(sorted(set(values) ^ set(kinds)))
        raise ValueError(f"{subject}: expected exactly its keys, got or missed {different}")
    for name, kind in kinds.items():
        allowed = kind if isinstance(kind, tuple) else (kind,)
        if type(values[name]) not in allowed:
            expected = " or ".join(k.__name__ for k in allowed)
            raise ValueError(f"{subject} {name}: expected {expected}, got {shown(values[name])}")


def _leaves(nesting: Any, depth: int = 0) -> int:
    """How many tensors a nesting, as ``flatten`` gives it, has."""
    if nesting is None:
        return 0
    if nesting == "tensor":
        return 1
    if isinstance(nesting, dict) and len(nesting) == 1 and depth < _DEEPEST:
        ((kind, parts),) = nesting.items()
        if kind in ("tuple", "list") and isinstance(parts, list):
            return sum(_leaves(part, depth + 1) for part in parts)
    raise ValueError(f"carries: expected tuples and lists of tensors, got {shown(nesting)}")


def _position(values: dict[str, Any], columns: dict[str, str], table: np.ndarray) -> Position:
    """The position, its history from the table.  Raises ValueError for what cannot have been."""
    whole = dict.fromkeys(_WHOLE, int)
    real = dict.fromkeys(("seconds", "loss_sum", "units", "learning_rate", "share"), (float, int))
    others: dict[str, Any] = {
        "best_value": (float, int, type(None)),
        "exact_from": (int, type(None)),
        "stopped": str,
    }
    _need_types(values, {**whole, **real, **others}, "position")
    for name in (*_WHOLE, "seconds", "units", "learning_rate"):
        if not 0 <= values[name] <= _MOST:
            raise ValueError(f"position {name}: expected 0 or more, got {values[name]}")
    if not np.isfinite(values["loss_sum"]):
        raise ValueError(f"position loss_sum: expected a finite number, got {values['loss_sum']}")
    for i, (name, kind) in enumerate(columns.items()):
        column = table[:, i]
        if kind == "int" and not ((column % 1 == 0) & (abs(column) <= _MOST)).all():
            raise ValueError(f"history {name}: expected whole numbers, got others")
    history: list[Any] = [
        {n: int(v) if columns[n] == "int" else v for n, v in zip(columns, row, strict=True)}
        for row in table.tolist()
    ]
    step, best_step = values["step"], values["best_step"]
    steps = [row.get("step") for row in history]
    if history and columns.get("step") != "int":
        raise ValueError("history: expected a column of steps, got none")
    if not all(a < b for a, b in zip([0, *steps], [*steps, step + 1], strict=True)):
        raise ValueError(f"history: expected rising steps from 1 to {step}, got others")
    if best_step not in (steps or [0]):
        raise ValueError(f"position best_step: expected a step of the history, got {best_step}")
    if (values["best_value"] is None) != (not history):
        raise ValueError("position best_value: expected a number just where there is a history")
    if not 0 <= (values["exact_from"] or 0) <= step:
        problem = f"expected a step of the run, got {values['exact_from']}"
        raise ValueError(f"position exact_from: {problem}")
    if not 0 < values["share"] <= 1:
        raise ValueError(f"position share: expected a share above 0, got {values['share']}")
    tail_from, tail_steps, went_back_to = (values[name] for name in _TAIL)
    if tail_from > step or (tail_from > 0) != (tail_steps > 0):
        raise ValueError("position tail_from: expected a step of the run, and a length")
    if went_back_to not in (steps if tail_from else [0]) or went_back_to > tail_from:
        problem = f"expected a step of the history before the tail, got {went_back_to}"
        raise ValueError(f"position went_back_to: {problem}")
    refit_from, refit_steps = (values[name] for name in _REFIT)
    if (refit_from > 0) != (refit_steps > 0) or refit_from not in (0, steps[-1] if steps else 0):
        raise ValueError(f"position refit_from: expected the last evaluation's, got {refit_from}")
    if refit_from and step > refit_from + refit_steps:
        raise ValueError(f"position refit_steps: expected {step - refit_from} or more, got fewer")
    if values["stopped"] not in ("", *LIMITS):
        raise ValueError(f"position stopped: expected a limit, got {shown(values['stopped'])}")
    if values["waited"] > len(history):
        raise ValueError(f"position waited: expected {len(history)} at most, got more")
    return Position(**values, history=history)


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
