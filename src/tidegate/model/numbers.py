"""Whether the numbers of a model file can be used: finite weights, a test vector that comes out.

`checkpoint.py` specifies it in words.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from tidegate.errors import InputError, spelled
from tidegate.model.container import ModelFileError
from tidegate.model.encoder_decoder import EncoderDecoder

if TYPE_CHECKING:
    from tidegate.model.checkpoint import ModelFile

REMEDY = "copy the file again from where it came, or train the model again"


def verify(path: str | os.PathLike[str], model: ModelFile, output: np.ndarray) -> None:
    """Compare ``output``, what a reader's network gives for the test input, with the stored one.

    Raises ModelFileError where they differ by more than 1e-4 of the largest stored value (float32
    rounding through some hundred steps stays ten times below).
    """
    stored = model.test_vector["output"]
    if output.shape != stored.shape:
        raise ModelFileError(
            f"test vector: expected an output {list(stored.shape)}, got {list(output.shape)}; "
            f"{REMEDY}",
            file=path,
        )
    difference = float(np.max(np.abs(output - stored), initial=0.0))
    allowed = 1e-4 * max(1.0, float(np.max(np.abs(stored), initial=0.0)))
    if not difference <= allowed:  # NaN is a difference
        raise ModelFileError(
            f"test vector: expected the stored output within {allowed:.1g}, got a difference of "
            f"{difference:.3g}: the weights are damaged, or this network is not the writer's; "
            f"{REMEDY}",
            file=path,
        )


def check_numbers(model: ModelFile) -> None:
    """InputError unless the weights are finite and the test vector is in range, safe to run."""
    for name, weights in model.tensors.items():
        if not np.isfinite(weights).all():
            raise InputError(
                f"weights of {name!r}: expected finite values, got NaN or infinity; "
                f"train with a lower {spelled('learning_rate')}"
            )
    vector, size = model.test_vector, model.architecture.vocabulary_size
    tokens = vector["input"]
    if size is not None and not (tokens.min() >= 0 and tokens.max() < size):
        raise InputError(
            f"tensor 'test.input': expected tokens from 0 to {size - 1}, got others; {REMEDY}"
        )
    letters, count = vector.get("letters"), model.architecture.letters
    if letters is not None and not (letters.min() >= 0 and letters.max() < count):
        raise InputError(
            f"tensor 'test.letters': expected letters from 0 to {count - 1}, got others; {REMEDY}"
        )
    least = 0
    if isinstance(model.architecture, EncoderDecoder):
        least, read, words = 1, vector["target"], model.architecture.output_size
        if size is not None and not (read.min() >= 0 and read.max() < words):
            raise InputError(
                f"tensor 'test.target': expected tokens from 0 to {words - 1}, got others; {REMEDY}"
            )
    lengths = vector.get("lengths")
    if lengths is not None and not (lengths.min() >= least and lengths.max() <= len(tokens)):
        raise InputError(
            f"tensor 'test.lengths': expected lengths from {least} to {len(tokens)}, got others; "
            f"{REMEDY}"
        )
    if "sentence" in vector and not _are_sentences(vector["sentence"], lengths):
        raise InputError(
            "tensor 'test.sentence': expected numbers that rise by at most one from 1 to a row's "
            f"end, and then 0, got others; {REMEDY}"
        )
    if not np.isfinite(vector["output"]).all():
        raise InputError(
            "tensor 'test.output': expected finite values, got NaN or infinity; "
            f"train with a lower {spelled('learning_rate')}"
        )


def _are_sentences(numbers: np.ndarray, lengths: np.ndarray | None) -> bool:
    """Whether [T, B] are numbers of sentences in rows of these lengths."""
    inside = np.arange(len(numbers))[:, None] < (len(numbers) if lengths is None else lengths)
    steps = np.diff(numbers, axis=0, prepend=0)
    fits = np.where(inside, (steps == 0) | (steps == 1), numbers == 0).all()
    return bool(fits and (numbers[0] == inside[0]).all())
