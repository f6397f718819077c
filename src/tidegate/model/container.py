"""Tensors and one JSON text in a safetensors file: packed, and read within bounds.

Model files (checkpoint.py) and training states (training/state.py) are both such files.  The last
32 bytes are the SHA-256 digest of all bytes before them; the header calls them tensor ``digest``,
U8 [32].  So a reader finds out any byte that has changed since the file was written.
"""

from __future__ import annotations

import json
import os
import re
import struct
from collections.abc import Callable
from hashlib import sha256
from math import isinf, prod
from stat import S_ISDIR, S_ISREG
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from tidegate.errors import InputError, shown

# Bounds of what is parsed before anything in it is checked.  The largest files of tidegate's own
# stay below: a million words, or the training state of 64 layers.
MAX_HEADER_BYTES = 32_000_000
_MAX_BRACKETS = 20_000  # objects and lists in a JSON text; a tensor's entry has three
_MAX_VALUES = 200_000  # in a JSON text, where the caller names no number
_MAX_DIGITS = 20  # of a whole number with its sign: int64
_MAX_FLOAT = 40  # characters of a fraction; Python writes 24 at most
METADATA_KEY = "tidegate"
_OF_ANOTHER = "networks of torch, Keras and ONNX are read by tidegate.interchange.read"
_MAX_DIMENSIONS = 8
_DIGEST = "digest"
_DIGEST_BYTES = 32
_ITEM_BYTES = {"F64": 8, "F32": 4, "I64": 8, "I32": 4, "U16": 2, "I8": 1}
_STRING = re.compile(r'"[^"]*"?')


class ModelFileError(InputError):
    """A file that is not what its specification says: damaged, hostile or of another kind."""


class TensorInfo(NamedTuple):
    """What the header says of one tensor."""

    dtype: str
    shape: tuple[int, ...]


def pack(tensors: dict[str, np.ndarray], text: str) -> bytes:
    """The bytes of a file; the same arguments always give the same bytes.

    Raises ValueError for tensors or a text that ``unpack`` would refuse.
    """
    from safetensors.numpy import save

    # one metadata key only: safetensors writes several in an order that changes from run to run
    arrays = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    for name, array in tensors.items():
        arrays[name] = arrays[name].reshape(array.shape)  # ascontiguousarray makes () into (1,)
    # safetensors puts the smallest items last, so that the digest ends the file
    arrays[_DIGEST] = np.zeros(_DIGEST_BYTES, np.uint8)
    data = save(arrays, metadata={METADATA_KEY: text})
    (length,) = struct.unpack("<Q", data[:8])
    if length > MAX_HEADER_BYTES:
        raise ValueError(f"header: expected at most {MAX_HEADER_BYTES} bytes, got {length}")
    _parse_header(data[8 : 8 + length], len(data))
    before = memoryview(data)[:-_DIGEST_BYTES]
    return b"".join((before, sha256(before).digest()))


def unpack(
    path: str | os.PathLike[str], check: Callable[[dict[str, TensorInfo], str], None], remedy: str
) -> tuple[dict[str, np.ndarray], str]:
    """Tensors and text of a file written by ``pack``.

    ``check`` sees the header before memory is taken for any tensor, and refuses by ValueError.
    Raises ModelFileError, naming the file and ``remedy``, for whatever is not such a file.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        # a pipe would wait for its writer, so look before opening
        if not S_ISREG(mode := os.stat(path).st_mode):
            got, what = "got a pipe or a device", "write it to a file, and name that"
            if S_ISDIR(mode):
                got, what = "got a folder", "name a file in it"
            problem = f"expected a safetensors file, {got}, no regular file; {what}"
            raise ModelFileError(problem, file=path)
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            header = _read_header(file, size)
            entries, text = _parse_header(header, size)
            digest = entries.pop(_DIGEST, None)
            check(entries, text)
            if digest is None:
                raise ValueError(f"expected a tensor {_DIGEST!r}, got none")
            data = struct.pack("<Q", len(header)) + header + file.read()
        if sha256(memoryview(data)[:-_DIGEST_BYTES]).digest() != data[-_DIGEST_BYTES:]:
            raise ValueError(
                "expected the bytes that were written, got others: the file's SHA-256 digest "
                "differs from the one at its end"
            )
        tensors = load(data)
    except OSError as e:
        raise ModelFileError(
            f"expected a file to read, got: {e.strerror}; check the path and its permissions",
            file=path,
        ) from e
    except SafetensorError as e:
        raise ModelFileError(f"expected a safetensors file, got: {e}; {remedy}", file=path) from e
    except ModelFileError:
        raise
    except ValueError as e:
        problem = str(e)[:400]
        own = "" if "; " in problem else f"; {remedy}"
        raise ModelFileError(problem + own, file=path) from e
    del tensors[_DIGEST]
    return tensors, text


def text_of(path: str | os.PathLike[str]) -> str:
    """The text in the header of a file, whatever follows it.

    Raises ValueError for a file without such a header.
    """
    try:
        if not S_ISREG(os.stat(path).st_mode):
            raise ValueError("expected a file, got none")
        with open(path, "rb") as file:
            header = parse_json(_read_header(file, os.fstat(file.fileno()).st_size), "header")
        text = header["__metadata__"][METADATA_KEY]
    except (OSError, KeyError, TypeError) as e:
        raise ValueError("expected a header with a text, got none") from e
    if not isinstance(text, str):
        raise ValueError("expected a text in the header, got another value")
    return text


def parse_json(
    text: str | bytes, subject: str, *, strict: bool = True, most_values: int = _MAX_VALUES
) -> Any:
    """The value of a JSON text.  Raises ValueError, naming ``subject``, unless it is plain JSON.

    ``strict`` also refuses NaN and infinities, which the JSON standard lacks.  Nesting deeper than
    the interpreter's stack, more than ``most_values``, numbers of too many digits, repeated keys
    and half characters (lone surrogates) are refused.
    """

    def constant(name: str) -> float:
        if strict:
            raise ValueError(f"the number {name}")
        return float(name)

    def whole(digits: str) -> int:
        if len(digits) > _MAX_DIGITS:
            raise ValueError(f"a number of {len(digits)} digits")
        return int(digits)

    def fraction(digits: str) -> float:
        if len(digits) > _MAX_FLOAT:
            raise ValueError(f"a number of {len(digits)} digits")
        value = float(digits)
        if isinf(value):
            raise ValueError(f"the number {digits}, which is too large")
        return value

    try:
        if isinstance(text, bytes):
            text = text.decode()
        _refuse_too_many_values(text, most_values)
        value = json.loads(
            text,
            object_pairs_hook=_unique,
            parse_constant=constant,
            parse_int=whole,
            parse_float=fraction,
        )
        if "\\ud" in text.lower():
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError(f"{subject}: expected JSON, got brackets nested too deep") from None
    except ValueError as e:
        raise ValueError(f"{subject}: expected JSON, got {e}") from None
    return value


def _refuse_too_many_values(text: str, most: int) -> None:
    """Every value takes dozens of bytes of memory: count them before they are made."""
    if text.count(",") <= most and text.count("[") + text.count("{") <= _MAX_BRACKETS:
        return
    # a pattern that knew of escapes would keep each in memory, to try again
    outside = _STRING.sub("", text.replace(r"\\", "").replace(r"\"", ""))
    for what, count, allowed in (
        ("objects and lists", outside.count("[") + outside.count("{"), _MAX_BRACKETS),
        ("values", outside.count(","), most),
    ):
        if count > allowed:
            raise ValueError(f"{count} {what}, more than {allowed}")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        raise ValueError("the same key twice")
    return result


def _read_header(file: BinaryIO, size: int) -> bytes:
    start = file.read(8)
    if len(start) < 8:
        raise ValueError(f"expected a safetensors file, got only {size} bytes")
    (length,) = struct.unpack("<Q", start)
    if length > min(MAX_HEADER_BYTES, size - 8):
        raise ValueError(
            "expected a safetensors file, got another kind of file, or one that was cut short (a "
            f"header length of {length} in {size} bytes); name the right one, or copy it again; "
            + _OF_ANOTHER
        )
    return file.read(length)


def _parse_header(header: bytes, size: int) -> tuple[dict[str, TensorInfo], str]:
    """Entries and text; the data they announce fill the file exactly."""
    parsed = parse_json(header, "header")
    if not isinstance(parsed, dict):
        raise ValueError("header: expected an object, got another value")
    metadata = parsed.pop("__metadata__", {})
    if not isinstance(metadata, dict) or set(metadata) != {METADATA_KEY}:
        keys = sorted(metadata) if isinstance(metadata, dict) else metadata
        raise ValueError(
            f"header: expected the metadata key {METADATA_KEY!r} alone, got {shown(keys)}; "
            "is it a file of another program or version? name one that tidegate wrote; "
            + _OF_ANOTHER
        )
    text = metadata[METADATA_KEY]
    if not isinstance(text, str):
        raise ValueError(f"header: expected a text under {METADATA_KEY!r}, got {shown(text)}")
    entries, spans = {}, []
    for name, entry in parsed.items():
        entries[name], span = _parse_entry(name, entry)
        spans.append(span)
        if name == _DIGEST and span[1] != size - 8 - len(header):
            raise ValueError(f"tensor {_DIGEST!r}: expected it at the file's end")
    end = 0
    for first, last in sorted(spans):
        if first != end:
            raise ValueError("header: expected tensors one after the other, got gap or overlap")
        end = last
    expected = 8 + len(header) + end
    if size != expected:
        raise ValueError(f"expected {expected} bytes, got {size}: it is cut short or damaged")
    return entries, text


def _parse_entry(name: str, entry: Any) -> tuple[TensorInfo, tuple[int, int]]:
    subject = f"tensor {shown(name)}"
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"{subject}: expected dtype, shape and data_offsets, got {shown(entry)}")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if name == _DIGEST:
        if dtype != "U8" or shape != [_DIGEST_BYTES]:
            expected = f"U8 [{_DIGEST_BYTES}]"
            raise ValueError(f"{subject}: expected {expected}, got {shown([dtype, shape])}")
    elif not isinstance(dtype, str) or dtype not in _ITEM_BYTES:
        raise ValueError(
            f"{subject}: expected a dtype of {', '.join(_ITEM_BYTES)}, got {shown(dtype)}"
        )
    for value in (shape, offsets):
        if (
            not isinstance(value, list)
            or len(value) > _MAX_DIMENSIONS
            or not all(type(v) is int and v >= 0 for v in value)
        ):
            raise ValueError(f"{subject}: expected a list of sizes, got {shown(value)}")
    if len(offsets) != 2 or offsets[1] - offsets[0] != prod(shape) * _ITEM_BYTES.get(dtype, 1):
        raise ValueError(
            f"{subject}: expected bytes for {dtype} {shown(shape)}, got {shown(offsets)}"
        )
    return TensorInfo(dtype, tuple(shape)), (offsets[0], offsets[1])
