"""The model file: everything a trained model is, in one safetensors file that runs no code.

Format 2
--------
- The file MUST be a valid safetensors file: 8 bytes of header length N (unsigned, little-endian),
  N bytes of JSON, then the tensors' bytes.  N MUST be at most 32 000 000 and fit in the file; the
  tensors MUST fill the rest of the file exactly, without gap or overlap.
- The last 32 bytes MUST be the SHA-256 digest of all bytes before them.  The header MUST name them
  as tensor ``digest``, U8 [32].
- The header's ``__metadata__`` MUST hold one key, ``tidegate``, whose value is a JSON text (UTF-8,
  no NaN or Infinity, no key twice).  Header and text MUST each have at most 20 000 objects and
  lists; the header at most 200 000 values, the text as many and one more for each number in the
  tensors; a whole number at most 20 characters, another at most 40.  The text is an object with
  exactly these keys:

  ``format``        2.
  ``task``          one of TASK_PARTS: ``text-classifier``, ``text-regressor``,
                    ``language-model``, ``forecaster``, ``series-classifier``,
                    ``series-regressor``, ``series-tagger``, ``tagger``, ``music``,
                    ``sequence-to-sequence`` or ``series-to-series``.
  ``architecture``  an object with exactly the fields of architecture.Architecture; those that have
                    a default are there just where they differ from it.  ``cell`` is a name, or a
                    list of one for each layer where they differ.  ``linear_steps`` is 0 for a
                    task on texts, and 0 or 1 for one on sequences, 1 where it has evidence.
                    ``letters`` and ``crf`` are a tagger's alone, ``condition_size`` a
                    language-model's, and ``columns_size`` and ``sentences`` a text-classifier's or
                    text-regressor's.  Of a ``sequence-to-sequence`` or ``series-to-series`` model
                    exactly the fields of encoder_decoder.EncoderDecoder, two of which are such
                    objects.
  ``cells``         MAY be there where ``cell`` names readers' own ones, and nowhere else: a list
                    of these, in the order of layers, as cells/stored.py has them: names, and steps
                    as lists of operations.  Without it a reader must know them by their keys.
  ``encoder``       object: how text becomes tokens (of a ``sequence-to-sequence`` model two of
                    these, ``source`` and ``target``); null unless TASK_PARTS names it for the task,
                    and so are the next two.
  ``labels``        list of different values, one per output: all strings, all whole numbers (from
                    -2^63 to 2^63 - 1), all numbers with a fraction or exponent, or all booleans.
                    Of ``music`` the names of its outputs, strings.
  ``scaling``       object: how series or sequences of numbers become inputs; of a text-regressor
                    how outputs become numbers, under ``target``.  Of a text-classifier it MAY be
                    an object with ``thresholds``, a number from 0 to 1 for each label: a text then
                    has several labels, or none, each where the sigmoid of its output is above.  Of
                    ``music`` with conditions these, under ``conditions``.
  ``options``       object: training options; each value a JSON scalar or a list of scalars.
  ``metrics``       object: name to finite number, or null for a figure undefined on its data.
  ``history``       object: name to list of numbers, finite or null (undefined), one for each
                    evaluation during training; all of one length, from 0 to 10 000, ``step`` among
                    them unless there are none.
  ``provenance``    object: name to JSON scalar (who, when, with what).  A writer MAY leave it
                    empty, and MUST NOT put date or place anywhere else: the same model gives the
                    same bytes.  (What training took is in ``history``, as ``seconds``.)

  What ``encoder`` and ``scaling`` hold is specified, and checked on loading, by
  data/text/reading.py, data/text/conditions.py (where ``condition_size`` or ``columns_size`` is not
  0, and of music), data/text/tokens.py (of a tagger), data/series/windowing.py,
  data/series/error_quantiles.py and tasks/forecast_scaling.py, data/sequences/inputs.py,
  tasks/sequence_estimator.py and tasks/series_to_series.py.
- The other tensors MUST be exactly these, in any order:

  ``network.NAME``  F32, for each NAME and shape of Architecture.tensor_shapes(); or all of two
                    dimensions U16, the upper halves of F32's bits (bfloat16); or all of them I8.
  ``scale.NAME``    F32 [rows], just for tensors that are I8: what each row is multiplied by.
  ``evidence.buckets``, ``evidence.log_odds``
                    I64 [F], F32 [F, (E - K) / 3]: just where that is not 0, E being the
                    architecture's evidence_size and K its columns_size,
                    as only that of a task in EVIDENT may be.  See data/text/evidence.py.
  ``counts.shares`` F32 [3, 2 N - 1], and for k from 1 to N, of N from 1 to 10,
  ``counts.k.keys``, ``counts.k.counted``, ``counts.k.total``
                    I64 [n_k], F32 [n_k], F32 [n_(k-1)], where n_0 is 1: n-grams of k tokens.
                    All of them or none; a language-model alone may have them.  See
                    data/text/ngrams.py and runtime/mixture.py.
  ``evidence.dilations``, ``evidence.sums``, ``evidence.biases``, ``evidence.length``,
  ``evidence.weights``, ``evidence.intercepts``
                    I64 [D], F32 [D, R, C], F32 [D, R, 84, Q], I64 [1], F32 [F, O], F32 [O]: just
                    where ``linear_steps`` is 1 for a task on sequences.  See
                    data/sequences/evidence.py and data/sequences/convolutions.py.
  ``test.input``    I64 [T, B], tokens below the vocabulary size; or F32 [T, B, I].
  ``test.lengths``  I64 [B], each from 0 to T, or from 1 for a model of two networks.  MAY
                    be missing: every row then has T steps.
  ``test.evidence`` F32 [T, B, E], just where E is not 0.
  ``test.sentence`` I64 [T, B], just where ``sentences`` is true: of each token the number of its
                    sentence, from 1 and rising by at most one; 0 beyond a row's end.
  ``test.letters``  I64 [T, B, K], letters below ``letters``, just where that is not 0; K is
                    ``word_length``.
  ``test.condition``
                    F32 [B, C], just where ``condition_size`` C is not 0.
  ``test.target``   I64 [U, B], tokens below the decoder's vocabulary size that it reads, or F32
                    [U, B, I]: just for a model of two networks, whose outputs are F32 [U, B, O].
                    U * B MUST be from 1 to 65 536.
  ``test.output``   F32 [T, B, O], or [B, O] if the readout is not ``every``: what the writer's
                    network gave for that input, with these weights and all else in float32.
                    T * B MUST be from 1 to 65 536.

  Weights and ``test.output`` MUST be finite.
- A reader MUST refuse whatever differs from this, before it takes memory for any tensor where the
  header shows it, and SHOULD run ``test.input`` and compare, with ``verify``.
- Format 1 had no digest.  A model file of format 1 must be trained again.
- A writer MUST replace an existing file atomically.
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tidegate.errors import shown
from tidegate.model.architecture import Architecture
from tidegate.model.container import (
    ModelFileError,
    TensorInfo,
    pack,
    parse_json,
    text_of,
    unpack,
)
from tidegate.model.encoder_decoder import EncoderDecoder
from tidegate.model.narrow import Weights, narrowed, widened
from tidegate.model.numbers import REMEDY, check_numbers, verify
from tidegate.model.own_cells import add_own_cells, own_cells, own_keys
from tidegate.model.tensors import SEQUENCE_TASKS, check_tensors, weights_of
from tidegate.output.writing import write_atomically

__all__ = ["ModelFile", "ModelFileError", "is_model_file", "load_model", "save_model", "verify"]

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
_KEYS = (
    *("task", "architecture", "encoder", "labels", "scaling"),
    *("options", "metrics", "history", "provenance"),
)
MAX_EVALUATIONS = 10_000
_DTYPES = {
    **{np.dtype(np.float32): "F32", np.dtype(np.int64): "I64"},
    **{np.dtype(np.uint16): "U16", np.dtype(np.int8): "I8"},
}


@dataclass(kw_only=True, eq=False)
class ModelFile:
    """What a model file holds; its fields are the specification's keys.

    ``tensors``: the network's state_dict, float32, whatever ``weights`` the file has them in.
    ``evidence``: the arrays of the task's evidence by name, or nothing.  ``counts``: shares and
    counted n-grams, or nothing.  ``test_vector``: input, output and, if rows differ in length,
    lengths; evidence where there is.
    """

    task: str
    architecture: Architecture | EncoderDecoder
    tensors: dict[str, np.ndarray]
    encoder: dict[str, Any] | None = None
    labels: list[str] | list[int] | list[float] | list[bool] | None = None
    scaling: dict[str, Any] | None = None
    options: dict[str, Any]
    metrics: dict[str, float]
    history: dict[str, list[float]]
    provenance: dict[str, Any]
    evidence: dict[str, np.ndarray] = field(default_factory=dict)
    counts: dict[str, np.ndarray] = field(default_factory=dict)
    test_vector: dict[str, np.ndarray]
    weights: Weights = "float32"


def save_model(path: str | os.PathLike[str], model: ModelFile) -> None:
    """Write ``model`` atomically.  Raises ValueError for a model that ``load_model`` would refuse,
    InputError for weights that are not finite and where the file cannot be written.
    """
    kept, scales = narrowed(model.tensors, model.weights)
    tensors = {f"network.{name}": array for name, array in kept.items()}
    tensors |= {f"scale.{name}": array for name, array in scales.items()}
    tensors |= {f"evidence.{name}": array for name, array in model.evidence.items()}
    tensors |= {f"counts.{name}": array for name, array in model.counts.items()}
    tensors |= {f"test.{name}": array for name, array in model.test_vector.items()}
    values: dict[str, Any] = {"format": FORMAT} | {key: getattr(model, key) for key in _KEYS}
    values["architecture"] = model.architecture.to_json()
    if own := own_cells(model.architecture):
        values["cells"] = own
    values["metrics"] = {k: None if math.isnan(v) else v for k, v in model.metrics.items()}
    values["history"] = {
        k: [v if math.isfinite(v) else None for v in column] for k, column in model.history.items()
    }
    text = json.dumps(values, ensure_ascii=False, allow_nan=False, sort_keys=True)
    entries = {name: _info(array) for name, array in tensors.items()}
    _check_values(_parsed(text, entries))
    check_tensors(model.task, model.architecture, entries)
    check_numbers(model)
    write_atomically(path, pack(tensors, text))


def load_model(path: str | os.PathLike[str]) -> ModelFile:
    """Read a model file.  Raises ModelFileError, one line naming the file and what is wrong."""
    values: dict[str, Any] = {}

    def check(entries: dict[str, TensorInfo], text: str) -> None:
        values.update(_check_values(_parsed(text, entries)))
        check_tensors(values["task"], values["architecture"], entries)

    tensors, _ = unpack(path, check, REMEDY)
    kept, scales = _under("network.", tensors), _under("scale.", tensors)
    values["weights"] = weights_of({name: _info(array) for name, array in tensors.items()})
    values["tensors"] = widened(kept, scales)
    values["evidence"] = _under("evidence.", tensors)
    values["counts"] = _under("counts.", tensors)
    values["test_vector"] = _under("test.", tensors)
    model = ModelFile(**values)
    try:
        check_numbers(model)
    except ValueError as e:
        remedy = "" if "; " in str(e) else f"; {REMEDY}"
        raise ModelFileError(f"{e}{remedy}", file=path) from e
    return model


def is_model_file(path: str | os.PathLike[str]) -> bool:
    """Whether a file says of itself that it is a model, of this format or another; it may be
    damaged further on, or cut short.
    """
    try:
        values = parse_json(text_of(path), "metadata")
    except ValueError:
        return False
    return isinstance(values, dict) and {"format", "task"} <= set(values)


def _under(prefix: str, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {n.removeprefix(prefix): a for n, a in tensors.items() if n.startswith(prefix)}


def _info(array: np.ndarray) -> TensorInfo:
    return TensorInfo(_DTYPES.get(array.dtype, array.dtype.name), array.shape)


def _parsed(text: str, entries: dict[str, TensorInfo]) -> Any:
    """The JSON text's value.  Every word has a vector and every label an output: so many values."""
    numbers = sum(math.prod(info.shape) for info in entries.values())
    return parse_json(text, "metadata", most_values=200_000 + numbers)


def _check_values(values: Any) -> dict[str, Any]:
    """Arguments of ModelFile from the parsed JSON text; ValueError unless it is as specified."""
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
    if set(values) - {"cells"} != {"format", *_KEYS}:
        different = sorted((set(values) - {"cells"}) ^ {"format", *_KEYS})
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
    most = {"forecaster": architecture.linear_steps}.get(task, int(task in SEQUENCE_TASKS))
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
    kept = {key: values[key] for key in _KEYS}
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
