"""ONNX Runtime beside tidegate: what is written must give the same answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tidegate.data.sequences.sequences import with_condition, with_evidence, with_letters
from tidegate.errors import InputError, spelled
from tidegate.onnx.network import OUTPUT, StatePair
from tidegate.onnx.rows import LENGTHS, ROWS, Reading, compared
from tidegate.runtime.mixture import Mixture, follow, nothing_read
from tidegate.runtime.network import Network

_STEPS = 100  # up to which the first tolerance holds
_FRESH = ([1], [37, 0, 1, 20, 5])  # lengths of the rows of fresh batches


def tolerance(steps: int) -> float:
    """How far answers may be apart, in units of the largest (or of 1), for sequences of ``steps``.

    1e-5 up to a hundred steps, and as many times that as there are hundreds: ONNX Runtime's sigmoid
    and tanh are rational approximations, and each step hands its rounding on to the next.  A gate
    in the wrong place is off by a thousand times as much.
    """
    return 1e-5 * max(1.0, steps / _STEPS)


def check_whole(
    data: bytes,
    network: Network,
    vector: Mapping[str, np.ndarray],
    mixture: Mixture | None = None,
) -> None:
    """Run the model on a test vector, as a model file has it, and on fresh random batches.

    Raises InputError where ONNX Runtime's answer is another than the vector's or the network's,
    of which with ``mixture`` each is part.
    """
    session = session_of(data)
    lengths = vector.get("lengths")
    given = vector["input"]
    if "letters" in vector:
        given = with_letters(given, vector["letters"], vector.get("evidence"))
    elif "evidence" in vector:
        given = with_evidence(given, vector["evidence"])
    elif "condition" in vector:
        given = with_condition(given, vector["condition"])
    expected = _mixed(mixture, vector["output"], given)
    _compare(session, network, given, lengths, expected, "the test vector")
    for inputs, lengths in _fresh(network, mixture):
        expected = _mixed(mixture, network(inputs, lengths), inputs)
        _compare(session, network, inputs, lengths, expected, "fresh input")


def check_rows(data: bytes, network: Network, reading: Reading) -> None:
    """Run the model on random rows.  Raises InputError where its answer is another than theirs."""
    session, rng = session_of(data), np.random.default_rng()
    for feed in reading.examples(rng):
        steps = feed[ROWS].shape[1]
        (output,) = session.run([OUTPUT], feed)
        if network.architecture.readout == "every":
            output = output[np.arange(steps) < feed[LENGTHS][:, None]]
        expected = compared(reading, reading.expected(network, feed))
        need_same(compared(reading, output), expected, steps, "random rows")


def check_step(
    data: bytes, network: Network, pairs: Sequence[StatePair], mixture: Mixture | None = None
) -> None:
    """Run the model of one step over fresh random streams, with each state handed on.

    Raises InputError where its answer is another than the network's for all steps up to there, or
    that of the ``mixture`` that it is part of.
    """
    session = session_of(data)
    every = network.architecture.readout == "every"
    for inputs, _ in _fresh(network, mixture):
        steps, rows = inputs.shape[:2]
        whole = _mixed(mixture, network(inputs), inputs) if every else inputs
        state = {pair.input: np.zeros((rows, pair.width), np.float32) for pair in pairs}
        for t in range(steps):
            feed = {name: a[:, 0] for name, a in fed(network, inputs[t : t + 1]).items()}
            output, *after = session.run(None, feed | state)
            state = dict(zip(state, after, strict=True))
            if every or t in (0, 1, steps - 1):
                expected = whole[t] if every else network(inputs[: t + 1])
                need_same(output, expected, t + 1, "fresh input, step by step")


def session_of(data: bytes) -> Any:
    """ONNX Runtime's session on the CPU, on one thread.  Raises InputError if it opens no such."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors alone; they are raised, too
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as e:  # its own classes of errors have no other base
        raise InputError(
            f"expected ONNX Runtime {onnxruntime.__version__} to open the model, got: {e}; take a "
            f"newer onnxruntime, or a smaller {spelled('opset')}"
        ) from e


def fed(network: Network, inputs: np.ndarray) -> dict[str, np.ndarray]:
    """What a network reads, time first, as the model takes it, batch first, without lengths."""
    if network.architecture.vocabulary_size is None:
        return {"values": inputs.swapaxes(0, 1)}
    if inputs.dtype.names is None:
        return {"tokens": inputs.T.astype(np.int32)}
    read = {"tokens": inputs["token"].T.astype(np.int32)}
    for name in ("evidence", "letters"):
        if name in inputs.dtype.names and inputs[name].shape[-1]:
            read[name] = np.ascontiguousarray(inputs[name].swapaxes(0, 1))
    if "condition" in inputs.dtype.names:
        read["condition"] = np.ascontiguousarray(inputs["condition"][0])
    return read


def _mixed(mixture: Mixture | None, outputs: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """What a mixture makes of a network's outputs [T, B, V] after tokens [T, B]."""
    if mixture is None:
        return outputs
    recent, found = nothing_read(tokens.shape[1]), np.empty_like(outputs)
    for t, latest in enumerate(tokens):
        for row, token in zip(recent, latest[:, None], strict=True):
            follow(row, token)
        found[t] = mixture.log_probabilities(outputs[t], recent)
    return found


def _fresh(
    network: Network, mixture: Mixture | None = None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Random inputs, other ones each time, and their lengths; of a ``mixture``, known n-grams."""
    a, rng = network.architecture, np.random.default_rng()
    for rows in _FRESH:
        lengths = np.array(rows)
        shape = max(rows), len(rows)
        if a.vocabulary_size is None:
            assert a.input_size is not None
            inputs = rng.standard_normal((*shape, a.input_size)).astype(np.float32)
        elif mixture is not None:
            inputs = np.stack([_text(mixture, shape[0], rng) for _ in range(shape[1])], 1)
        else:
            inputs = rng.integers(0, a.vocabulary_size, shape)
            evidence = rng.standard_normal((*shape, a.evidence_size)).astype(np.float32)
            if a.letters:
                letters = rng.integers(1, a.letters, (*shape, a.word_length))
                ends = rng.integers(0, a.word_length + 1, (*shape, 1))
                letters = np.where(np.arange(a.word_length) < ends, letters, 0)
                inputs = with_letters(inputs, letters, evidence)
            elif a.evidence_size:
                inputs = with_evidence(inputs, evidence)
            elif a.condition_size:
                condition = rng.standard_normal((shape[1], a.condition_size)).astype(np.float32)
                inputs = with_condition(inputs, condition)
        yield inputs, lengths


def _text(mixture: Mixture, length: int, rng: np.random.Generator) -> np.ndarray:
    """Tokens [length]: n-grams that are known, of all lengths, each before a random token."""
    orders, size = mixture.ngrams.orders, mixture.ngrams.size
    found: list[int] = []
    while len(found) < length:
        tokens = [int(rng.integers(size))]
        count = int(rng.integers(1, len(orders) + 1))
        number = int(rng.integers(max(1, len(orders[count - 1].keys))))
        for order in reversed(orders[:count]):
            if number < len(order.keys):
                number, token = divmod(int(order.keys[number]), size)
                tokens.insert(0, token)
        found += tokens
    return np.array(found[:length])


def _compare(
    session: Any,
    network: Network,
    inputs: np.ndarray,
    lengths: np.ndarray | None,
    expected: np.ndarray,
    what: str,
) -> None:
    steps, rows = inputs.shape[:2]
    true = np.full(rows, steps) if lengths is None else lengths
    feed = fed(network, inputs) | {LENGTHS: true.astype(np.int32)}
    (output,) = session.run([OUTPUT], feed)
    if network.architecture.readout == "every":
        inside = np.arange(steps)[:, None] < true
        output, expected = output.swapaxes(0, 1)[inside], expected[inside]
    need_same(output, expected, steps, what)


def need_same(output: np.ndarray, expected: np.ndarray, steps: int, what: str) -> None:
    """Raise InputError where ONNX Runtime's answer to sequences of ``steps`` is another."""
    if output.shape != expected.shape:
        raise InputError(
            f"expected ONNX Runtime to answer as tidegate does, {list(expected.shape)}, got "
            f"{list(output.shape)} on {what}, so nothing was written; try another version of "
            "onnxruntime"
        )
    allowed = tolerance(steps) * max(1.0, float(np.abs(expected).max(initial=0)))
    apart = float(np.abs(output - expected).max(initial=0))
    if not apart <= allowed:  # NaN is a difference
        raise InputError(
            f"expected ONNX Runtime to answer as tidegate does, within {allowed:.1g}, got a "
            f"difference of {apart:.3g} on {what} of {steps} steps, so nothing was written; try "
            "another version of onnxruntime"
        )
