"""A file that is not as specified is refused in one line, before it costs memory."""

from __future__ import annotations

import json
import os
import struct
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_files import TEXT, classifier

from tidegate.model.checkpoint import (
    ModelFileError,
    load_model,
    save_model,
)
from tidegate.model.container import pack


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    save_model(path, classifier())
    return path


def header_of(data: bytes) -> dict[str, Any]:
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length])


def with_header(data: bytes, header: Any, body: bytes | None = None) -> bytes:
    (length,) = struct.unpack("<Q", data[:8])
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + (data[8 + length :] if body is None else body)


def refused(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    with pytest.raises(ModelFileError) as failure:
        load_model(path)
    message = str(failure.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert len(message) < 600 + len(str(path))
    return message


@settings(max_examples=80)
@given(fraction=st.floats(0, 1, exclude_max=True))
def test_file_cut_at_any_byte_is_refused(fraction: float) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        save_model(path, classifier())
        data = path.read_bytes()
        refused(path, data[: int(fraction * len(data))])


@settings(max_examples=200)
@given(place=st.floats(0, 1, exclude_max=True), change=st.integers(1, 255))
def test_any_changed_byte_is_refused(place: float, change: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        save_model(path, classifier())
        content = bytearray(path.read_bytes())
        content[int(place * len(content))] ^= change
        refused(path, bytes(content))


def test_a_changed_weight_names_the_digest_and_a_remedy(saved: Path) -> None:
    content = bytearray(saved.read_bytes())
    content[-200] ^= 0x40  # the exponent of a weight
    message = refused(saved, bytes(content))
    assert "the file's SHA-256 digest differs from the one at its end; copy the file" in message


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "expected a safetensors file, got only 0 bytes"),
        (b"PK\x03\x04" + b"\x00" * 200, "expected a safetensors file"),
        (b"\x80\x04\x95" + b"x" * 60, "got another kind of file"),  # a pickle
        (struct.pack("<Q", 2**63) + b"{}", "a header length of 9223372036854775808"),
        (struct.pack("<Q", 33_000_000) + b"{}", "a header length of 33000000"),
        (struct.pack("<Q", 2) + b"[]", "header: expected an object"),
        (struct.pack("<Q", 2) + b"{}", "header: expected the metadata key 'tidegate' alone"),
        (struct.pack("<Q", 2) + b"\xff\xfe", "header: expected JSON"),
        (struct.pack("<Q", 20_000) + b"[" * 20_000, "brackets nested too deep"),
        (struct.pack("<Q", 200_000) + b"[" * 200_000, "200000 objects and lists, more than 20000"),
        (struct.pack("<Q", 30) + b'{"a":{"shape":[1]},"a":{},"b"}', "header: expected JSON"),
    ],
)
def test_no_model_file_at_all_is_refused(tmp_path: Path, data: bytes, problem: str) -> None:
    assert problem in refused(tmp_path / "model.safetensors", data)


def test_missing_file_folder_and_pipe_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="expected a file to read, got: No such file"):
        load_model(tmp_path / "none.safetensors")
    with pytest.raises(ModelFileError, match="no regular file"):
        load_model(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ModelFileError, match="no regular file"):
        load_model(tmp_path / "pipe")


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ({"dtype": "F64"}, "expected bytes for F64"),
        ({"dtype": "F16"}, "expected a dtype of"),
        ({"dtype": ["F32"]}, "expected a dtype of"),
        ({"shape": [3, 2]}, "expected bytes for F32 [3, 2]"),
        ({"shape": [6, 2]}, "expected F32 [2, 6], got F32 [6, 2]"),
        ({"shape": [-2, -6]}, "expected a list of sizes"),
        ({"shape": [True, 12]}, "expected a list of sizes"),
        ({"shape": [2**40, 2**40]}, "expected bytes for F32"),
        ({"shape": []}, "expected bytes for F32"),
        ({"data_offsets": [0, 10**18]}, "expected bytes for F32"),
        ({"data_offsets": [10**18, 10**18 + 48]}, "gap or overlap"),
        ({"data_offsets": [0, 48, 96]}, "expected bytes for F32"),
        ({"extra": 1}, "expected dtype, shape and data_offsets"),
    ],
)
def test_tensor_that_differs_from_the_architecture_is_refused(
    saved: Path, entry: dict[str, Any], problem: str
) -> None:
    data = saved.read_bytes()
    header = header_of(data)
    header["network.dense.weight"] |= entry
    assert problem in refused(saved, with_header(data, header))


def test_missing_and_extra_tensors_are_refused(saved: Path) -> None:
    from safetensors.numpy import load

    data = saved.read_bytes()
    text = header_of(data)["__metadata__"]["tidegate"]
    for change, problem in (
        ({"network.dense.bias": None}, "expected a tensor 'network.dense.bias', got none"),
        ({"test.output": None}, "expected a tensor 'test.output', got none"),
        ({"test.input": None}, "expected a tensor 'test.input', got none"),
        ({"network.more": np.zeros(1, np.float32)}, "expected only the architecture's tensors"),
        ({"test.more": np.zeros(1, np.float32)}, "expected only the architecture's tensors"),
        ({"network.dense.bias": np.zeros(2)}, "expected F32 [2], got F64 [2]"),
        ({"test.input": np.zeros((2, 2), np.float32)}, "expected I64 [2, 2], got F32 [2, 2]"),
        ({"test.input": np.array([[5, 0], [0, 0]])}, "expected tokens from 0 to 4"),
        ({"test.input": np.array([[0, 0], [-1, 0]])}, "expected tokens from 0 to 4"),
        ({"test.lengths": np.array([3, 0])}, "expected lengths from 0 to 2"),
        ({"test.output": np.full((2, 2), np.nan, np.float32)}, "expected finite values"),
        ({"network.dense.bias": np.array([0, np.inf], np.float32)}, "expected finite values"),
        (
            {
                "test.input": np.zeros((0, 2), np.int64),
                "test.lengths": None,
                "test.output": np.zeros((2, 2), np.float32),
            },
            "expected 1 to 65536 steps, got 0",
        ),
    ):
        tensors = {**load(data), **change}
        kept = {n: a for n, a in tensors.items() if a is not None and n != "digest"}
        assert problem in refused(saved, pack(kept, text))


HOSTILE_VALUES: list[tuple[dict[str, Any], str]] = [
    ({"format": 3}, "format: expected 2, got 3; a newer tidegate may read it"),
    ({"format": 1}, "format: expected 2, got 1; train the model again"),
    ({"format": 2.0}, "format: expected 2, got 2.0"),
    ({"format": None}, "format: expected 2, got None"),
    ({"more": 1}, "metadata: expected exactly the specified keys, got or missed ['more']"),
    ({"task": "image-classifier"}, "task: expected one of text-classifier, text-regressor"),
    ({"task": ["forecaster"]}, "task: expected one of"),
    ({"task": "forecaster"}, "encoder: expected null for a forecaster"),
    ({"encoder": None}, "encoder: expected an object for a text-classifier"),
    ({"scaling": {}}, "scaling: expected null for a text-classifier"),
    ({"scaling": {"thresholds": [0.5]}}, "scaling: expected null for a text-classifier, or"),
    ({"scaling": {"thresholds": [0.5, 2]}}, "scaling: expected null for a text-classifier, or"),
    ({"labels": None}, "labels: expected a list for a text-classifier"),
    ({"labels": ["a"]}, "labels: expected 2 different strings, whole numbers, numbers or booleans"),
    ({"labels": ["a", "a"]}, "labels: expected 2 different strings"),
    ({"labels": ["a", {}]}, "labels: expected 2 different strings"),
    ({"labels": ["a", 1]}, "labels: expected 2 different strings"),
    ({"labels": [0, True]}, "labels: expected 2 different strings"),
    ({"labels": [0, 0.5]}, "labels: expected 2 different strings"),
    ({"labels": [0, 2**63]}, "labels: expected 2 different strings"),
    ({"labels": [0.5, 1e999]}, "metadata: expected JSON"),
    ({"architecture": {}}, "architecture: expected exactly the keys"),
    ({"architecture": TEXT.to_json() | {"cell": "nonsense"}}, "cell: expected one of"),
    ({"architecture": TEXT.to_json() | {"dropout": 10**400}}, "a number of 401 digits"),
    ({"architecture": TEXT.to_json() | {"hidden_sizes": [10**18]}}, "hidden_sizes: expected sizes"),
    ({"architecture": TEXT.to_json() | {"hidden_sizes": [1] * 65}}, "expected 1 to 64 sizes"),
    ({"architecture": TEXT.to_json() | {"vocabulary_size": 10**18}}, "vocabulary_size: expected"),
    ({"architecture": TEXT.to_json() | {"hidden_sizes": [2**19] * 9}}, "got none"),
    ({"options": {"a": {}}}, "options: expected a scalar or a list of scalars for 'a'"),
    ({"options": []}, "options: expected an object"),
    ({"metrics": {"accuracy": "high"}}, "metrics: expected a finite number for 'accuracy'"),
    ({"metrics": {"accuracy": True}}, "metrics: expected a finite number for 'accuracy'"),
    ({"metrics": {"accuracy": 10**400}}, "a number of 401 digits"),
    ({"history": []}, "history: expected an object"),
    ({"history": {"step": 1}}, "history: expected lists of one length"),
    ({"history": {"step": [1], "a": [1, 2]}}, "history: expected lists of one length"),
    ({"history": {"step": [1] * 10_001}}, "history: expected lists of one length, at most 10000"),
    ({"history": {"a": [1]}}, "history: expected a list named 'step'"),
    ({"history": {"step": [True]}}, "history: expected finite numbers for 'step'"),
    ({"history": {"step": ["1"]}}, "history: expected finite numbers for 'step'"),
    ({"provenance": {"x": [1]}}, "provenance: expected a scalar for 'x'"),
    ({"labels": ["\ud800", "b"]}, "surrogates not allowed"),
]


@pytest.mark.parametrize(("change", "problem"), HOSTILE_VALUES)
def test_metadata_out_of_schema_are_refused(
    saved: Path, change: dict[str, Any], problem: str
) -> None:
    data = saved.read_bytes()
    header = header_of(data)
    values = json.loads(header["__metadata__"]["tidegate"]) | change
    header["__metadata__"]["tidegate"] = json.dumps(values)
    assert problem in refused(saved, with_header(data, header))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[" * 20_000, "metadata: expected JSON, got brackets nested too deep"),
        ('{"a":' * 20_000, "metadata: expected JSON, got brackets nested too deep"),
        ('{"format": 1e999}', "metadata: expected JSON, got the number 1e999, which is too large"),
        ('{"format": 0.' + "1" * 5000 + "}", "metadata: expected JSON, got a number of 5002"),
        ('{"format": 1, "format": 1}', "metadata: expected JSON, got the same key twice"),
        ('{"format": NaN}', "metadata: expected JSON, got the number NaN"),
        ('{"format": ' + "9" * 5000 + "}", "metadata: expected JSON"),
        ("null", "metadata: expected an object"),
        ("", "metadata: expected JSON"),
    ],
)
def test_metadata_that_are_no_plain_json_are_refused(saved: Path, text: str, problem: str) -> None:
    data = saved.read_bytes()
    header = header_of(data)
    header["__metadata__"] = {"tidegate": text}
    assert problem in refused(saved, with_header(data, header))


def test_unknown_or_unnamed_metadata_keys_are_refused(saved: Path) -> None:
    data = saved.read_bytes()
    header = header_of(data)
    for metadata in ({**header["__metadata__"], "format": "pt"}, {"format": "pt"}, [], "x"):
        message = refused(saved, with_header(data, {**header, "__metadata__": metadata}))
        assert "expected the metadata key 'tidegate' alone" in message


def test_memory_is_not_taken_for_what_a_header_only_claims(saved: Path) -> None:
    data = saved.read_bytes()
    huge = TEXT.to_json() | {"vocabulary_size": 2**31, "embedding_size": 2**31}
    header = header_of(data)
    values = json.loads(header["__metadata__"]["tidegate"]) | {"architecture": huge}
    header["__metadata__"]["tidegate"] = json.dumps(values)
    assert "expected F32 [2147483648, 2147483648]" in refused(saved, with_header(data, header))


def test_a_file_without_a_digest_is_refused(saved: Path) -> None:
    data = saved.read_bytes()
    header = header_of(data)
    (end,) = (header.pop("digest")["data_offsets"][0],)
    (length,) = struct.unpack("<Q", data[:8])
    body = data[8 + length :][:end]
    assert "expected a tensor 'digest', got none" in refused(saved, with_header(data, header, body))


def test_a_digest_that_is_not_the_files_end_is_refused(saved: Path) -> None:
    data = saved.read_bytes()
    for change, problem in (
        ({"shape": [4, 8]}, "expected U8 [32]"),
        ({"dtype": "I32", "shape": [8]}, "expected U8 [32]"),
        ({"data_offsets": [0, 32]}, "expected it at the file's end"),
    ):
        header = header_of(data)
        header["digest"] |= change
        assert problem in refused(saved, with_header(data, header))


def bombs() -> dict[str, bytes]:
    """Files that would take minutes or gigabytes if they were believed."""
    good = classifier()
    architecture = good.architecture.to_json()
    values = {
        "format": 2,
        "task": good.task,
        "encoder": good.encoder,
        "labels": good.labels,
        "scaling": None,
        "options": {},
        "metrics": {},
        "provenance": {},
    }

    def file(header: bytes) -> bytes:
        return struct.pack("<Q", len(header)) + header

    def model(**change: Any) -> bytes:
        text = json.dumps({**values, "architecture": architecture, **change})
        return file(json.dumps({"__metadata__": {"tidegate": text}}).encode())

    entry = '"%d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},'
    digits = "9" * 1_000_000
    return {
        "300 000 layers": model(architecture=architecture | {"hidden_sizes": [1] * 300_000}),
        "a size of a million digits": file(
            f'{{"a":{{"dtype":"F32","shape":[{digits}],"data_offsets":[0,0]}}}}'.encode()
        ),
        "a product of a hundred thousand sizes": file(
            f'{{"__metadata__":{{"tidegate":""}},"a":{{"dtype":"F32","shape":'
            f'{[10**18] * 100_000},"data_offsets":[0,0]}}}}'.encode()
        ),
        "a fraction of a million digits": file(f'{{"a":0.{digits}}}'.encode()),
        "a hundred thousand tensors": file(
            b"{" + b"".join((entry % i).encode() for i in range(100_000)) + b'"":0}'
        ),
        "ten million empty lists": file(b"[" + b"[]," * 10_000_000 + b"[]]"),
        "three million strings": file(b"[" + b'"ab",' * 3_000_000 + b'"ab"]'),
        "a string of ten million escapes without an end": file(b'["' + rb"\"," * 10_000_000),
        "a million labels": model(labels=[f"{i}" for i in range(1_000_000)]),
        "a hundred thousand options": model(options={str(i): 0 for i in range(100_000)}),
        "a task of ten million letters": model(task="x" * 10_000_000),
        "a header of ninety million bytes": struct.pack("<Q", 90_000_000) + b" " * 90_000_000,
    }


@pytest.mark.parametrize(("name", "data"), bombs().items(), ids=bombs())
def test_bombs_are_refused_at_once(tmp_path: Path, name: str, data: bytes) -> None:  # noqa: ARG001
    """Time guards against hanging (it was minutes), memory against what a header only claims."""
    path = tmp_path / "model.safetensors"
    path.write_bytes(data)
    tracemalloc.start()
    began = time.process_time()
    try:
        with pytest.raises(ModelFileError):
            load_model(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert time.process_time() - began < 20
    assert peak < 10 * len(data) + 30e6
