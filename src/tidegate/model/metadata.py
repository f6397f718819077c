"""What the JSON text of a model file says: its keys, and which values they have by its task.

`checkpoint.py` specifies it in words.
"""

from __future__ import annotations

import math
from typing import Any

from tidegate.errors import shown
from tidegate.model.architecture import Architecture
from tidegate.model.container import TensorInfo, parse_json
from tidegate.model.encoder_decoder import EncoderDecoder
from tidegate.model.own_cells import add_own_cells, own_keys
from tidegate.model.tensors import SEQUENCE_TASKS

FORMAT = 2
# Which of encoder, labels and scaling a task has; the others are null.
TASK_PARTS = {
    "text-classifier": ("encoder", "labels"),
    "text-regressor": ("encoder", "scaling"),
    "language-model": ("encoder",),
    "forecaster": ("scaling",),
    "series-classifier": ("labels", "scaling"),
    "series-tagger": ("labels", "scaling"),
    "tagger": ("encoder", "labels"),
    "series-regressor": ("scaling",),
    "music": ("labels",),
    "sequence-to-sequence": ("encoder",),
    "series-to-series": ("scaling",),
}
# Those that may read evidence beside tokens.
EVIDENT = ("text-classifier", "text-regressor", "tagger")
# Those whose ``scaling`` may be null or an object.
_MAY_SCALE = ("text-classifier", "music")
TWO_NETWORKS = ("sequence-to-sequence", "series-to-series")
KEYS = (
    *("task", "architecture", "encoder", "labels", "scaling"),
    *("options", "metrics", "history", "provenance"),
)
MAX_EVALUATIONS = 10_000


def checked_metadata(text: str, entries: dict[str, TensorInfo]) -> dict[str, Any]:
    """Arguments of ModelFile, of the ``text`` in a file with these tensors.

    Raises ValueError unless it is as specified.
    """
    # every word has a vector and every label an output: so many values
    numbers = sum(math.prod(info.shape) for info in entries.values())
    return _checked(parse_json(text, "metadata", most_values=200_000 + numbers))


def _checked(values: Any) -> dict[str, Any]:
    if not isinstance(values, dict):
        raise ValueError("metadata: expected an object, got another value")
    if "stream" in values:
        raise ValueError(
            "expected a model, got what a stream remembers; load its model, and then this file by "
            "model.stream().load(path)"
        )
    found = values.get("format")
    if type(found) is not int or found != FORMAT:
        older = type(found) is int and found < FORMAT
        remedy = "train the model again" if older else "a newer tidegate may read it"
        raise ValueError(f"format: expected {FORMAT}, got {shown(found)}; {remedy}")
    if set(values) - {"cells"} != {"format", *KEYS}:
        different = sorted((set(values) - {"cells"}) ^ {"format", *KEYS})
        raise ValueError(
            f"metadata: expected exactly the specified keys, got or missed {shown(different)}"
        )
    task = values["task"]
    if not isinstance(task, str) or task not in TASK_PARTS:
        raise ValueError(f"task: expected one of {', '.join(TASK_PARTS)}, got {shown(task)}")
    for part, kind in {"encoder": dict, "labels": list, "scaling": dict}.items():
        wanted = kind if part in TASK_PARTS[task] else type(None)
        if part == "scaling" and task in _MAY_SCALE and values[part] is not None:
            wanted = kind
        if not isinstance(values[part], wanted):
            raise ValueError(f"{part}: expected {_NAMES[wanted]} for a {task}, got another value")
    own = add_own_cells(values["cells"]) if "cells" in values else []
    two = task in TWO_NETWORKS
    architecture = (EncoderDecoder if two else Architecture).from_json(values["architecture"])
    if own and own != own_keys(architecture):
        raise ValueError("cells: expected those that the architecture names, got others")
    of_tokens = "encoder" in TASK_PARTS[task]
    if two and of_tokens != (architecture.vocabulary_size is not None):
        read = "tokens" if of_tokens else "numbers"
        raise ValueError(f"architecture: expected networks of {read} for a {task}")
    if task != "tagger" and (architecture.letters or architecture.crf):
        raise ValueError(f"letters and crf: expected none for a {task}")
    if task != "language-model" and architecture.condition_size:
        raise ValueError(f"condition_size: expected 0 for a {task}")
    if architecture.evidence_size and task not in EVIDENT:
        raise ValueError(f"evidence_size: expected 0 for a {task}")
    beside = architecture.columns_size or architecture.sentences
    if beside and task not in ("text-classifier", "text-regressor"):
        raise ValueError(f"columns_size and sentences: expected none for a {task}")
    most = int(task in (*SEQUENCE_TASKS, "text-classifier"))
    most = architecture.linear_steps if task == "forecaster" else most
    if architecture.linear_steps > most:
        raise ValueError(f"linear_steps: expected at most {most} for a {task}")
    labels = values["labels"]
    if labels is not None and not _are_labels(labels, architecture.output_size):
        raise ValueError(
            f"labels: expected {architecture.output_size} different strings, whole numbers, "
            f"numbers or booleans, all of one kind, got {len(labels)} values"
        )
    outputs = architecture.output_size
    if task == "text-classifier" and not _are_thresholds(values["scaling"], outputs):
        raise ValueError(
            f"scaling: expected null for a {task}, or thresholds from 0 to 1 of its labels, got "
            "another value"
        )
    for part in ("options", "metrics", "history", "provenance"):
        if not isinstance(values[part], dict):
            raise ValueError(f"{part}: expected an object, got another value")
    for name, value in values["options"].items():
        items = value if isinstance(value, list) else [value]
        if any(isinstance(item, dict | list) for item in items):
            raise ValueError(f"options: expected a scalar or a list of scalars for {shown(name)}")
    for name, value in values["provenance"].items():
        if isinstance(value, dict | list):
            raise ValueError(f"provenance: expected a scalar for {shown(name)}, got another value")
    metrics = {n: math.nan if v is None else v for n, v in values["metrics"].items()}
    for name, value in metrics.items():
        if type(value) not in (int, float) or math.isinf(value):
            raise ValueError(f"metrics: expected a finite number for {shown(name)}")
    kept = {key: values[key] for key in KEYS}
    history = _checked_history(values["history"])
    return kept | {"architecture": architecture, "metrics": metrics, "history": history}


def _checked_history(columns: dict[str, Any]) -> dict[str, list[float]]:
    """The history with NaN for null; ValueError unless it is as specified."""
    lengths = {len(c) if isinstance(c, list) else -1 for c in columns.values()}
    if len(lengths) > 1 or not lengths <= set(range(MAX_EVALUATIONS + 1)):
        raise ValueError(
            f"history: expected lists of one length, at most {MAX_EVALUATIONS} numbers"
        )
    if columns and "step" not in columns:
        raise ValueError("history: expected a list named 'step', got none")
    history = {n: [math.nan if v is None else v for v in c] for n, c in columns.items()}
    for name, column in history.items():
        if any(type(v) not in (int, float) or math.isinf(v) for v in column):
            raise ValueError(f"history: expected finite numbers for {shown(name)}")
    return history


def _are_labels(values: list[Any], count: int) -> bool:
    kinds = {type(value) for value in values}
    if len(kinds) != 1 or not kinds <= {str, int, float, bool} or len(set(values)) != len(values):
        return False
    if len(values) != count:
        return False
    if kinds == {int}:
        return all(-(2**63) <= value < 2**63 for value in values)
    return kinds != {float} or all(map(math.isfinite, values))


def _are_thresholds(scaling: Any, count: int) -> bool:
    """Whether it is none, or those of a classifier of several labels."""
    if not isinstance(scaling, dict) or set(scaling) != {"thresholds"}:
        return scaling is None
    found = scaling["thresholds"]
    fits = isinstance(found, list) and len(found) == count
    return fits and all(type(one) in (int, float) and 0 <= one <= 1 for one in found)


_NAMES = {dict: "an object", list: "a list", type(None): "null"}
