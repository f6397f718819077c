"""A file that is not as specified is refused in one line, before it costs memory."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_files import TEXT, classifier

from tidegate.checkpoint import (
    ModelFileError,
    load_model,
    save_model,
)


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


@settings(max_examples=150)
@given(data=st.data())
def test_changed_header_byte_is_refused_or_harmless(data: st.DataObject) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        save_model(path, classifier())
        content = bytearray(path.read_bytes())
        (length,) = struct.unpack("<Q", content[:8])
        at = data.draw(st.integers(0, 8 + length - 1))
        content[at] = data.draw(st.integers(0, 255))
        path.write_bytes(content)
        try:
            model = load_model(path)
        except ModelFileError:
            return
        # what still loads is a whole model: another label, figure or provenance
        assert {n: a.shape for n, a in model.tensors.items()} == model.architecture.tensor_shapes()


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "expected a safetensors file, got only 0 bytes"),
        (b"PK\x03\x04" + b"\x00" * 200, "expected a safetensors file"),
        (b"\x80\x04\x95" + b"x" * 60, "got a header length of"),  # a pickle
        (struct.pack("<Q", 2**63) + b"{}", "got a header length of 9223372036854775808"),
        (struct.pack("<Q", 101_000_000) + b"{}", "got a header length of 101000000"),
        (struct.pack("<Q", 2) + b"[]", "header: expected an object"),
        (struct.pack("<Q", 2) + b"{}", "header: expected the metadata key 'tidegate' alone"),
        (struct.pack("<Q", 2) + b"\xff\xfe", "header: expected JSON"),
        (struct.pack("<Q", 200_000) + b"[" * 200_000, "brackets nested too deep"),
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
    from safetensors.numpy import load, save

    data = saved.read_bytes()
    metadata = header_of(data)["__metadata__"]
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
        kept = {n: a for n, a in tensors.items() if a is not None}
        assert problem in refused(saved, save(kept, metadata))


HOSTILE_VALUES: list[tuple[dict[str, Any], str]] = [
    ({"format": 2}, "format: expected 1, got 2; a newer tidegate may read it"),
    ({"format": None}, "format: expected 1, got None"),
    ({"more": 1}, "metadata: expected exactly the specified keys, got or missed ['more']"),
    ({"task": "image-classifier"}, "task: expected one of text-classifier, language-model"),
    ({"task": ["forecaster"]}, "task: expected one of"),
    ({"task": "forecaster"}, "encoder: expected null for a forecaster"),
    ({"encoder": None}, "encoder: expected an object for a text-classifier"),
    ({"scaling": {}}, "scaling: expected null for a text-classifier"),
    ({"labels": None}, "labels: expected a list for a text-classifier"),
    ({"labels": ["a"]}, "labels: expected 2 different strings, got 1 values"),
    ({"labels": ["a", "a"]}, "labels: expected 2 different strings"),
    ({"labels": ["a", {}]}, "labels: expected 2 different strings"),
    ({"architecture": {}}, "architecture: expected exactly the keys"),
    ({"architecture": TEXT.to_json() | {"cell": "nonsense"}}, "cell: expected one of"),
    ({"architecture": TEXT.to_json() | {"dropout": 10**400}}, "too large"),
    ({"architecture": TEXT.to_json() | {"hidden_sizes": [2**19] * 9}}, "got none"),
    ({"options": {"a": {}}}, "options: expected a scalar or a list of scalars for 'a'"),
    ({"options": []}, "options: expected an object"),
    ({"metrics": {"accuracy": "high"}}, "metrics: expected a finite number for 'accuracy'"),
    ({"metrics": {"accuracy": True}}, "metrics: expected a finite number for 'accuracy'"),
    ({"metrics": {"accuracy": 10**400}}, "too large"),
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
        ("[" * 100_000, "metadata: expected JSON, got brackets nested too deep"),
        ('{"a":' * 100_000, "metadata: expected JSON, got brackets nested too deep"),
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
