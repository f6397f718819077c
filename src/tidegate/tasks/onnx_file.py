"""A fitted estimator as ONNX files: what goes in beside the network, and where they are written."""

from __future__ import annotations

import base64
import importlib
import os
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

from tidegate.data.text.tokens import TokenEncoder
from tidegate.errors import InputError, spelled
from tidegate.model.encoder_decoder import EncoderDecoder
from tidegate.output.places import check_output
from tidegate.output.writing import write_atomically
from tidegate.runtime.repeats import LONG, REMEMBERED, SHORT
from tidegate.tasks.model_file import new_test_vector, rounded_network, version_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tidegate.data.series.scaling import Scaler
    from tidegate.runtime.network import Network
    from tidegate.tasks.saved import Saved

Path = str | PathLike[str]

OPSETS = range(17, 23)  # which the tests run
FORMAT = 2  # of the metadata, which docs/onnx.md specifies


def export(
    fitted: Saved,
    path: Path,
    *,
    step: Path | None,
    opset: int,
    force: bool,
    counts: bool = True,
    vector: Mapping[str, np.ndarray] | None = None,
    inputs: Iterable[Path] = (),
) -> None:
    """Write what `Saved.export_onnx` says.

    ``vector``: the test vector of the model's file, if it has one.  ``inputs``: files that were
    read.  Raises InputError before anything is written.
    """
    two = isinstance(fitted.runtime_.architecture, EncoderDecoder)
    if two and step is None:
        raise InputError(
            "expected a second file, for a step of the decoder beside the encoder, got none; name "
            f"it, such as {spelled('step', 'decoder.onnx')}",
            option="step",
        )
    mixture = getattr(fitted, "counts_", None)
    if not counts:
        if mixture is None:
            problem = "expected a model that is mixed with counts, got one that is not"
            raise InputError(f"{problem}; leave {spelled('counts', False)} out")
        mixture = None
    if step is not None and not two:
        _check_step(fitted)
    if fitted.get_params().get("hierarchical"):
        raise InputError(
            "expected a model that reads words one after another, got one that reads sentences, "
            f"for which there is no graph; train it with {spelled('hierarchical', False)}"
        )
    # of weights in 8 or 16 bits, too, all else is computed in float32 there
    network = rounded_network(fitted.runtime_, "float32")
    check_exporting(opset)
    for place in (path, step):
        if place is not None:
            check_output(place, inputs=inputs, force=force)
    if step is not None and os.path.realpath(step) == os.path.realpath(path):
        problem = f"expected another file than the output's, got {step}; name another one"
        raise InputError(problem, option="step")

    from tidegate.onnx.rows import reading_of
    from tidegate.onnx.writing import METADATA_KEY, step_bytes, whole_bytes

    told, version = _told(fitted), version_of("tidegate")
    if two and step is not None:
        from tidegate.onnx.encoder_decoder import two_files

        files = two_files(network, opset, version, told, METADATA_KEY)
        for place, content in zip((path, step), files, strict=True):
            write_atomically(place, content)
        return
    read = getattr(fitted, "inputs_", getattr(fitted, "windowing_", None))  # of numbers
    target = getattr(fitted, "target_", None)
    if read is None and target is not None:
        network, vector = _in_units(network, target), None
    if vector is None:
        vector = new_test_vector(network)
    beside = getattr(fitted, "evidence_", None), target
    reading = None if read is None else reading_of(read, *beside)
    whole = whole_bytes(network, opset, version, told, vector, reading, mixture)
    of_step = None if step is None else step_bytes(network, opset, version, told, mixture)
    write_atomically(path, whole)
    if step is not None and of_step is not None:
        write_atomically(step, of_step)


def _in_units(network: Network, target: Scaler) -> Network:
    """The network with the scale of the numbers in its dense layer, so that it puts out these."""
    from tidegate.runtime.network import Network

    tensors, scale = dict(network.tensors), target.scale[:, None]
    tensors["dense.weight"] = (scale * tensors["dense.weight"]).astype(np.float32)
    bias = target.scale * tensors["dense.bias"] + target.mean
    return Network(network.architecture, tensors | {"dense.bias": bias.astype(np.float32)})


def _check_step(fitted: Saved) -> None:
    """Raise InputError for a model whose streams read all values so far for every answer."""
    needs = fitted._ends_first() if fitted.REREADS else []
    if needs:
        reasons, remedies = zip(*needs, strict=True)
        raise InputError(
            "expected a model that reads a sequence as it comes, got one that "
            f"{', '.join(reasons)}; so it has no single step: leave it out, and give the whole "
            f"graph all rows so far, or train with {' and '.join(remedies)}",
            option="step",
        )


def check_exporting(opset: int) -> None:
    """Raise InputError for an opset that is not written, and where a package is missing."""
    if type(opset) is not int or opset not in OPSETS:
        raise InputError(
            f"expected {OPSETS[0]} to {OPSETS[-1]}, got {opset!r}; {OPSETS[0]} is read everywhere",
            option="opset",
        )
    for package in ("onnx", "onnxruntime"):
        try:
            importlib.import_module(package)
        except ModuleNotFoundError as e:
            raise InputError(
                f"expected {package}, which a model is exported with, got none; install it with: "
                "pip install 'tidegate[onnx]'"
            ) from e


def _told(fitted: Any) -> dict[str, Any]:
    """What a reader needs beside the graph: docs/onnx.md."""
    learned = fitted._learned()
    told = {
        "format": FORMAT,
        "task": fitted.TASK,
        "labels": learned.get("labels"),
        "scaling": learned.get("scaling"),
        "text": None,
        "transitions": _transitions(fitted.runtime_),
    }
    a = fitted.runtime_.architecture
    if isinstance(a, EncoderDecoder) and a.input_size is not None:
        return {**told, "longest": a.longest}
    if isinstance(a, EncoderDecoder):
        sides = (side.encoder.reading() for side in fitted.sides)
        texts = dict(zip(("source", "target"), sides, strict=True))
        return {**told, **texts, "longest": a.longest}
    if a.condition_size or a.columns_size:
        told["conditions"] = learned["encoder"]["conditions"]
    if (repeats := getattr(fitted, "repeats", None)) is not None:
        told["repeats"] = {"remembered": REMEMBERED, "longest": [LONG, SHORT]} if repeats else None
    return {**told, "text": _text(fitted, learned) if "encoder" in learned else None}


def _transitions(network: Network) -> list[list[float]] | None:
    """What a tagger with a CRF adds to neighbouring labels, [labels + 1, labels + 1]; else None."""
    found = network.tensors.get("transitions.weight")
    return None if found is None else found.tolist()


def _text(fitted: Any, learned: dict[str, Any]) -> dict[str, Any]:
    """How a text is read."""
    tables, options = learned.get("evidence"), fitted.to_json()
    evidence = tables and {
        "buckets": _base64(tables["buckets"], np.int32),
        "log_odds": _base64(tables["log_odds"], np.float32),
        "line": _base64(tables["line"], np.float32) if "line" in tables else None,
    }
    if isinstance(fitted.encoder_, TokenEncoder):
        return fitted.encoder_.reading() | {"evidence": evidence}
    return {
        **fitted.encoder_.reading(),
        "max_length": options.get("max_length"),
        "reverse": options.get("reverse", False),
        "evidence": evidence,
    }


def _base64(array: np.ndarray, kind: type[np.generic]) -> str:
    """Little-endian numbers, row by row."""
    data = array.astype(np.dtype(kind).newbyteorder("<"))
    return base64.b64encode(data.tobytes()).decode()
