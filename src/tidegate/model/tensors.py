"""Which tensors a model file holds: their names, types and shapes, by what else it says.

`checkpoint.py` specifies them in words.
"""

from __future__ import annotations

import math

from tidegate.errors import shown
from tidegate.model.architecture import KERNELS, Architecture
from tidegate.model.container import TensorInfo
from tidegate.model.encoder_decoder import EncoderDecoder
from tidegate.model.narrow import DTYPES, Weights

SEQUENCE_TASKS = ("series-classifier", "series-regressor")
MAX_LENGTH = 10  # tokens in a counted n-gram
_MAX_TEST_STEPS = 65_536


def check_tensors(
    task: str, architecture: Architecture | EncoderDecoder, entries: dict[str, TensorInfo]
) -> None:
    """ValueError unless ``entries`` are exactly the specified tensors."""
    weights = weights_of(entries)
    expected: dict[str, TensorInfo] = {}
    for name, shape in architecture.tensor_shapes().items():
        is_narrow = len(shape) == 2 and weights != "float32"
        expected[f"network.{name}"] = TensorInfo(DTYPES[weights] if is_narrow else "F32", shape)
        if is_narrow and weights == "int8":
            expected[f"scale.{name}"] = TensorInfo("F32", shape[:1])
    test_input = entries.get("test.input", TensorInfo("", ()))
    t, b = test_input.shape[:2] if len(test_input.shape) >= 2 else (0, 0)
    if architecture.input_size is None:
        expected["test.input"] = TensorInfo("I64", (t, b))
    else:
        expected["test.input"] = TensorInfo("F32", (t, b, architecture.input_size))
    counted = architecture.evidence_size - architecture.columns_size
    if counted and not isinstance(architecture, EncoderDecoder):
        found = entries.get("evidence.buckets", TensorInfo("", ())).shape[:1]
        expected["evidence.buckets"] = TensorInfo("I64", found)
        of_answers = TensorInfo("F32", (*found, counted // architecture.evidence_kinds))
        expected["evidence.log_odds"] = of_answers
        if architecture.linear_steps:
            expected["evidence.line"] = of_answers
    if architecture.evidence_size:
        expected["test.evidence"] = TensorInfo("F32", (t, b, architecture.evidence_size))
    if architecture.sentences:
        expected["test.sentence"] = TensorInfo("I64", (t, b))
    if architecture.letters:
        expected["test.letters"] = TensorInfo("I64", (t, b, architecture.word_length))
    if architecture.condition_size:
        expected["test.condition"] = TensorInfo("F32", (b, architecture.condition_size))
    if task == "language-model" and "counts.shares" in entries:
        expected |= _counts(entries)
    if task in SEQUENCE_TASKS and architecture.linear_steps:
        expected |= _sequence_evidence(architecture.output_size, entries)
    if "test.lengths" in entries:
        expected["test.lengths"] = TensorInfo("I64", (b,))
    steps = (t,) if architecture.readout == "every" else ()
    if isinstance(architecture, EncoderDecoder):  # outputs are the decoder's
        found = entries.get("test.target", TensorInfo("", (0,))).shape
        steps = found[:1] or (0,)
        numbers = architecture.target.input_size
        expected["test.target"] = TensorInfo("I64", (*steps, b))
        if numbers is not None:
            expected["test.target"] = TensorInfo("F32", (*steps, b, numbers))
    expected["test.output"] = TensorInfo("F32", (*steps, b, architecture.output_size))
    if missing := sorted(set(expected) - set(entries)):
        raise ValueError(f"expected a tensor {missing[0]!r}, got none")
    if unknown := sorted(set(entries) - set(expected)):
        raise ValueError(f"expected only the architecture's tensors, got {shown(unknown[0])}")
    for name, info in expected.items():
        if entries[name] != info:
            got = entries[name]
            raise ValueError(
                f"tensor {name!r}: expected {info.dtype} {list(info.shape)}, got {got.dtype} "
                f"{list(got.shape)}"
            )
    for name, info in (one for one in expected.items() if one[0] in ("test.input", "test.target")):
        if not 1 <= (count := math.prod(info.shape[:2])) <= _MAX_TEST_STEPS:
            raise ValueError(f"tensor {name!r}: expected 1 to {_MAX_TEST_STEPS} steps, got {count}")


def _counts(entries: dict[str, TensorInfo]) -> dict[str, TensorInfo]:
    """The tensors that counted n-grams are, by how many there are of each length."""
    lengths = max(1, sum(name.startswith("counts.") for name in entries) // 3)
    expected = {"counts.shares": TensorInfo("F32", (3, 2 * min(lengths, MAX_LENGTH) - 1))}
    contexts: tuple[int, ...] = (1,)
    for k in range(1, min(lengths, MAX_LENGTH) + 1):
        found = entries.get(f"counts.{k}.keys", TensorInfo("", ())).shape[:1]
        expected[f"counts.{k}.keys"] = TensorInfo("I64", found)
        expected[f"counts.{k}.counted"] = TensorInfo("F32", found)
        expected[f"counts.{k}.total"] = TensorInfo("F32", contexts)
        contexts = found
    return expected


def _sequence_evidence(outputs: int, entries: dict[str, TensorInfo]) -> dict[str, TensorInfo]:
    """The tensors of evidence in sequences; their free sizes are those of ``entries``."""

    def sizes(name: str, count: int) -> tuple[int, ...]:
        found = entries.get(f"evidence.{name}", TensorInfo("", ())).shape
        return found if len(found) == count else (0,) * count

    dilations, sums, _, biases = sizes("biases", 4)
    return {
        "evidence.dilations": TensorInfo("I64", (dilations,)),
        "evidence.sums": TensorInfo("F32", (dilations, sums, sizes("sums", 3)[2])),
        "evidence.biases": TensorInfo("F32", (dilations, sums, KERNELS, biases)),
        "evidence.length": TensorInfo("I64", (1,)),
        "evidence.weights": TensorInfo("F32", (sizes("weights", 2)[0], outputs)),
        "evidence.intercepts": TensorInfo("F32", (outputs,)),
    }


def weights_of(entries: dict[str, TensorInfo]) -> Weights:
    """How a file holds its matrices; of one that mixes them, one of these."""
    kinds = {info.dtype for info in entries.values()}
    return "int8" if "I8" in kinds else "bfloat16" if "U16" in kinds else "float32"
