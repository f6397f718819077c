"""What stands in an estimator's file beside its weights: a test vector, a history, versions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tidegate.data.sequences.sequences import (
    with_condition,
    with_evidence,
    with_letters,
    with_sentences,
)
from tidegate.data.text.reading import TextEncoder, encoder_from_json
from tidegate.model.architecture import Architecture
from tidegate.model.encoder_decoder import EncoderDecoder
from tidegate.model.narrow import Weights, narrowed, widened

if TYPE_CHECKING:
    from tidegate.model.checkpoint import ModelFile


def new_test_vector(network: Any) -> dict[str, np.ndarray]:
    """A small input and what the network makes of it; random, so that no data is given away."""
    rng = np.random.default_rng(0)
    a = network.architecture
    vector: dict[str, np.ndarray] = {}
    if a.vocabulary_size is not None:
        vector["input"] = rng.integers(0, a.vocabulary_size, (8, 2))
    else:
        assert a.input_size is not None
        vector["input"] = rng.standard_normal((8, 2, a.input_size)).astype(np.float32)
    if a.evidence_size:
        vector["evidence"] = rng.standard_normal((8, 2, a.evidence_size)).astype(np.float32)
    if a.sentences:
        vector["sentence"] = np.array([[1, 1, 1, 2, 3, 3, 3, 3], [1, 2, 2, 2, 3, 0, 0, 0]]).T
    if a.letters:
        letters = rng.integers(1, a.letters, (8, 2, a.word_length))
        shorter = np.arange(a.word_length) < rng.integers(0, a.word_length + 1, (8, 2, 1))
        vector["letters"] = np.where(shorter, letters, 0)
    if a.condition_size:
        vector["condition"] = rng.standard_normal((2, a.condition_size)).astype(np.float32)
    vector["lengths"] = np.array([8, 5])
    if isinstance(a, EncoderDecoder):
        read = a.target.input_size
        vector["target"] = rng.integers(0, a.output_size, (6, 2))
        if read is not None:
            vector["target"] = rng.standard_normal((6, 2, read)).astype(np.float32)
    return {**vector, "output": run_test(network, vector)}


def rounded_network(network: Any, weights: Weights) -> Any:
    """The network with weights as a file will hold them, and all else in float32."""
    tensors = widened(*narrowed(network.tensors, weights))
    return network_of(network.architecture, tensors)


def network_of(
    architecture: Architecture | EncoderDecoder,
    tensors: Mapping[str, np.ndarray],
    weights: Weights = "float32",
) -> Any:
    """The trained network that a file describes, on numpy arrays: a Network, or both of two."""
    if isinstance(architecture, EncoderDecoder):
        from tidegate.runtime.encoder_decoder import EncoderDecoderRuntime

        return EncoderDecoderRuntime(architecture, tensors, weights)
    from tidegate.runtime.network import Network

    return Network(architecture, tensors, weights)


def run_test(network: Any, vector: dict[str, np.ndarray]) -> np.ndarray:
    """What the network makes of a test vector's input."""
    inputs = vector["input"]
    if "letters" in vector:
        inputs = with_letters(inputs, vector["letters"], vector.get("evidence"))
    elif "evidence" in vector:
        inputs = with_evidence(inputs, vector["evidence"])
    if "sentence" in vector:
        inputs = with_sentences(inputs, vector["sentence"])
    elif "condition" in vector:
        inputs = with_condition(inputs, vector["condition"])
    targets = (vector["target"],) if "target" in vector else ()
    return network(inputs, vector.get("lengths"), *targets)


def thinned(history: dict[str, list[float]], most: int) -> dict[str, list[float]]:
    """``history``, or of a very long one every second, third, ... evaluation."""
    count = len(history.get("step", ()))
    return {name: column[:: -(-count // most) or 1] for name, column in history.items()}


def encoder_of(model: ModelFile) -> TextEncoder:
    """The encoder in a model file.  Raises ValueError unless it fits the network's vocabulary."""
    assert model.encoder is not None  # held by the file's schema
    encoder = encoder_from_json(model.encoder)
    if encoder.size != model.architecture.vocabulary_size:
        raise ValueError(
            f"expected a vocabulary of {model.architecture.vocabulary_size} tokens, "
            f"got {encoder.size}"
        )
    return encoder


def version_of(package: str) -> str:
    """The installed version of a package."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:  # run from a source tree that is not installed
        return "unknown"
