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
  ``task``          one of metadata.TASK_PARTS: ``text-classifier``, ``text-regressor``,
                    ``language-model``, ``forecaster``, ``series-classifier``,
                    ``series-regressor``, ``series-tagger``, ``tagger``, ``music``,
                    ``sequence-to-sequence`` or ``series-to-series``.
  ``architecture``  an object with exactly the fields of architecture.Architecture; those that have
                    a default are there just where they differ from it.  ``cell`` is a name, or a
                    list of one for each layer where they differ.  ``linear_steps`` is 0 or 1 for a
                    text-classifier and for a task on sequences, of which 1 where it has evidence,
                    and 0 for other tasks but a forecaster's.
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
                    as only that of a task in EVIDENT may be.  See data/text/evidence.py.  Where a
                    text-classifier's ``linear_steps`` is 1, for 3 there is 4,
  ``evidence.line`` and this, of the size of the log-odds.
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
from tidegate.model.metadata import FORMAT, KEYS, checked_metadata
from tidegate.model.narrow import Weights, narrowed, widened
from tidegate.model.numbers import REMEDY, check_numbers, verify
from tidegate.model.own_cells import own_cells
from tidegate.model.tensors import check_tensors, weights_of
from tidegate.output.writing import write_atomically

__all__ = ["ModelFile", "ModelFileError", "is_model_file", "load_model", "save_model", "verify"]

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
    values: dict[str, Any] = {"format": FORMAT} | {key: getattr(model, key) for key in KEYS}
    values["architecture"] = model.architecture.to_json()
    if own := own_cells(model.architecture):
        values["cells"] = own
    values["metrics"] = {k: None if math.isnan(v) else v for k, v in model.metrics.items()}
    values["history"] = {
        k: [v if math.isfinite(v) else None for v in column] for k, column in model.history.items()
    }
    text = json.dumps(values, ensure_ascii=False, allow_nan=False, sort_keys=True)
    entries = {name: _info(array) for name, array in tensors.items()}
    checked_metadata(text, entries)
    check_tensors(model.task, model.architecture, entries)
    check_numbers(model)
    write_atomically(path, pack(tensors, text))


def load_model(path: str | os.PathLike[str]) -> ModelFile:
    """Read a model file.  Raises ModelFileError, one line naming the file and what is wrong."""
    values: dict[str, Any] = {}

    def check(entries: dict[str, TensorInfo], text: str) -> None:
        values.update(checked_metadata(text, entries))
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
