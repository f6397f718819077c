"""Streams: sequences that arrive piece by piece, and the answer as of now."""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, Self

import numpy as np

from tidegate.errors import InputError, shown
from tidegate.model.container import TensorInfo, pack, parse_json, text_of, unpack
from tidegate.output.places import check_output
from tidegate.output.writing import write_atomically
from tidegate.runtime.network import Network
from tidegate.runtime.stepping import Arrays

FORMAT = 1
_KEYS = {"format", "stream", "model"}
_REMEDY = "save the stream again"
_DTYPES = {"f8": "F64", "f4": "F32", "i8": "I64"}


class Stream(ABC):
    """One sequence, or ``batch_size`` of them side by side, of which a trained model reads on.

    ``feed`` takes the next piece of each and gives the model's answer as of now: what ``predict``
    would say if the sequence ended here.  Where a sequence is cut into pieces changes nothing
    beyond rounding, nor do its neighbours.

    A stream of ``batch_size`` None is one sequence: a piece and an answer stand alone.  Else
    pieces are a list or array of that many, and so are answers.  Only one thread at a time may
    use a stream; several streams may share a model.
    """

    KIND: str  # of task, in a stream's file

    def __init__(self, network: Network, batch_size: int | None = None) -> None:
        if batch_size is not None:
            whole = isinstance(batch_size, int | np.integer) and not isinstance(batch_size, bool)
            if not whole or batch_size < 0:
                raise InputError(
                    "batch_size: expected a whole number from 0, or None, got "
                    f"{shown(batch_size)}; leave it out for one sequence alone"
                )
            batch_size = int(batch_size)
        self.batch_size = batch_size
        self._network = network
        self._arrays: Arrays = self._begin(self._rows)

    @property
    def _rows(self) -> int:
        return 1 if self.batch_size is None else self.batch_size

    def feed(self, x: Any) -> Any:
        """Read the next piece of each sequence; the answer as of now.

        Raises InputError for a piece that cannot be read; then none of them was.
        """
        if self.batch_size is None:
            self._feed([x])
            return self._answers()[0]
        self._feed(self._pieces(x))
        return self._answers()

    @property
    def answer(self) -> Any:
        """The answer as of now, as the last ``feed`` gave it."""
        answers = self._answers()
        return answers[0] if self.batch_size is None else answers

    @property
    def state(self) -> Arrays:
        """All that is remembered, as arrays by name, [B, ...] each: a copy.

        It may be set: to what a stream of the same model and batch size had.  Raises InputError
        for other names, types, shapes or values.
        """
        return {name: array.copy() for name, array in self._arrays.items()}

    @state.setter
    def state(self, state: Mapping[str, np.ndarray]) -> None:
        try:
            if not isinstance(state, Mapping):
                raise ValueError(f"expected arrays by name, got {type(state).__name__}")
            self._check_names(state)
            for name, array in state.items():
                own = self._arrays[name]
                if not isinstance(array, np.ndarray) or array.dtype != own.dtype:
                    got = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
                    raise ValueError(f"{name}: expected an array of {own.dtype}, got {got}")
                if array.shape != (shape := self._shape_of(name, array.shape)):
                    expected = f"{list(shape)}, got {list(array.shape)}"
                    raise ValueError(f"{name}: expected {expected}")
            self._check(dict(state))
        except ValueError as e:
            raise InputError(f"state: {e}; take it from a stream of this model") from None
        self._put(slice(None), dict(state))

    def copy(self) -> Self:
        """A stream that goes on from here by itself."""
        other = self._like(self.batch_size)
        other._put(slice(None), self._arrays)
        return other

    def reset(self, rows: Any = None) -> None:
        """Begin anew, all sequences or those of ``rows``: numbers, a slice or bool [B]."""
        fresh = {name: array[0] for name, array in self._like(1)._arrays.items()}
        try:
            self._put(slice(None) if rows is None else rows, fresh)
        except (IndexError, TypeError, ValueError) as e:
            problem = f"rows: expected numbers below {self._rows}, got {shown(rows)}"
            raise InputError(f"{problem}; leave it out for all rows") from e

    def save(self, path: str | os.PathLike[str], *, force: bool = False) -> None:
        """Write what is remembered to a file, atomically; onto a stream's older file, too.

        A safetensors file with a SHA-256 digest, as the model's own.  It holds the digest of the
        model's weights, not the model.  ``force`` replaces a file of another kind.  Raises
        InputError if the file cannot be written.
        """
        check_output(path, force=force, ours=is_stream_file)
        text = json.dumps(
            {"format": FORMAT, "stream": self.KIND, "model": self._network.digest},
            sort_keys=True,
        )
        write_atomically(path, pack(self._arrays, text))

    def load(self, path: str | os.PathLike[str]) -> Self:
        """Take up what ``save`` wrote, from a stream of this model and batch size; the stream.

        Raises InputError for whatever is not such a file; then nothing has changed.
        """

        def check(entries: dict[str, TensorInfo], text: str) -> None:
            _check_text(text, self.KIND, self._network.digest)
            self._check_names(entries)
            for name, array in self._arrays.items():
                info = entries[name]
                if info.shape[:1] != array.shape[:1] and len(info.shape) == array.ndim:
                    size = info.shape[0]
                    raise ValueError(
                        f"expected a stream of {array.shape[0]}, got one of {size}; load it into "
                        f"one of batch_size={size}" + (" or None" if size == 1 else "")
                    )
                shape = self._shape_of(name, info.shape)
                expected = TensorInfo(_DTYPES[array.dtype.str[1:]], shape)
                if info != expected:
                    raise ValueError(
                        f"tensor {name!r}: expected {expected.dtype} {list(expected.shape)}, got "
                        f"{info.dtype} {list(info.shape)}"
                    )

        tensors, _ = unpack(path, check, _REMEDY)
        try:
            self._check(tensors)
        except ValueError as e:
            raise InputError(f"{e}; {_REMEDY}", file=path) from None
        self._put(slice(None), tensors)
        return self

    # rows of one batch, for Streams

    def _like(self, batch_size: int | None) -> Self:
        """A fresh stream of the same model."""
        other = object.__new__(type(self))
        vars(other).update(vars(self))
        other.batch_size = batch_size
        other._arrays = other._begin(other._rows)
        return other

    def _take(self, rows: Any) -> Self:
        """A stream of some rows, [B] numbers."""
        other = self._like(len(rows))
        other._put(slice(None), {name: array[rows] for name, array in self._arrays.items()})
        return other

    def _put(self, rows: Any, arrays: Arrays) -> None:
        for name, array in self._arrays.items():
            array[rows] = arrays[name]

    def _pieces(self, x: Any) -> Any:
        """One piece for each sequence."""
        if isinstance(x, str | bytes) or not isinstance(x, Sequence | np.ndarray):
            got = type(x).__name__
            problem = f"expected a list or array of {self._rows} pieces, got {got}"
            raise InputError(f"{problem}; for one sequence alone leave out batch_size")
        if len(x) != self._rows:
            problem = f"expected one piece per sequence, {self._rows}, got {len(x)}"
            raise InputError(f"{problem}; give an empty one where there is nothing new")
        return x

    def _shape_of(self, name: str, given: tuple[int, ...]) -> tuple[int, ...]:  # noqa: ARG002
        """The shape that an array of this name must have; one that grows, that of ``given``."""
        return self._arrays[name].shape

    def _check_names(self, given: Mapping[str, Any]) -> None:
        if different := sorted(set(given) ^ set(self._arrays)):
            expected = ", ".join(self._arrays)
            raise ValueError(f"expected exactly {expected}; got or missed {shown(different[0])}")

    def _check(self, arrays: Arrays) -> None:
        """Raise ValueError for values that no stream has; what they are of is checked before."""
        steps = arrays.get("steps")
        if steps is not None and (steps < 0).any():
            raise ValueError("steps: expected numbers from 0, got one below")
        for name, array in arrays.items():
            good = np.isfinite(array)
            if name == "readout.max" and steps is not None:
                good |= (array == -np.inf) & (steps == 0)[:, None]
            if not good.all():
                raise ValueError(f"{name}: expected finite values, got NaN or infinity")

    # what a task says

    @abstractmethod
    def _begin(self, rows: int) -> Arrays:
        """Begin ``rows`` sequences: the arrays of `state`, which every step changes in place."""

    @abstractmethod
    def _feed(self, pieces: Any) -> None:
        """Read one piece for each row, or raise InputError and change nothing."""

    @abstractmethod
    def _answers(self) -> Any:
        """The answer of each row as of now."""


def _check_text(text: str, kind: str, model: str) -> None:
    """ValueError unless it is the text of a stream of this kind and model."""
    values = parse_json(text, "metadata")
    if not isinstance(values, dict) or set(values) != _KEYS:
        raise ValueError("metadata: expected that of a stream, got another")
    if values["format"] != FORMAT:
        raise ValueError(f"format: expected {FORMAT}, got {shown(values['format'])}")
    if values["stream"] != kind:
        raise ValueError(f"stream: expected one of a {kind}, got {shown(values['stream'])}")
    if values["model"] != model:
        raise ValueError(
            "model: expected a stream of this model, got one of other weights; load the model "
            "that it was saved beside"
        )


def is_stream_file(path: str | os.PathLike[str]) -> bool:
    """Whether a file says of itself that it is a stream's; it may be damaged further on."""
    try:
        values = parse_json(text_of(path), "metadata")
    except ValueError:
        return False
    return isinstance(values, dict) and set(values) == _KEYS


class Streams:
    """Many sequences, each known by an id, that a trained model reads on as one batch.

    They come and go: ``open`` begins some, ``close`` ends them.  ``feed`` takes pieces of any of
    them, and reads all in one step of the network; a sequence's answers do not depend on which
    others there are.  Only one thread at a time may use it.
    """

    def __init__(self, make: Callable[[int], Stream]) -> None:
        self._stream = make(0)
        self._row_of: dict[Hashable, int] = {}
        self._next = 0

    def __len__(self) -> int:
        return len(self._row_of)

    def __contains__(self, id: Hashable) -> bool:
        return id in self._row_of

    @property
    def ids(self) -> list[Hashable]:
        """Those that are open, in the order in which they were opened."""
        return list(self._row_of)

    def open(self, *ids: Hashable) -> list[Hashable]:
        """Begin sequences, by default one with a number for its id; their ids."""
        if not ids:
            while self._next in self._row_of:
                self._next += 1
            ids = (self._next,)
        new: set[Hashable] = set()
        for id in ids:
            if not isinstance(id, Hashable):
                problem = f"id: expected what may be the key of a dict, got {shown(id)}"
                raise InputError(f"{problem}; give a number or a str")
            if id in self._row_of or id in new:
                raise InputError(
                    f"id: expected a new one, got {shown(id)}, which is open; close it"
                )
            new.add(id)
        old, self._stream = self._stream, self._stream._like(len(self) + len(ids))
        self._stream._put(slice(len(self)), old._arrays)
        for id in ids:
            self._row_of[id] = len(self._row_of)
        return list(ids)

    def close(self, *ids: Hashable) -> None:
        """End sequences and forget them."""
        gone = {self._row(id) for id in ids}
        kept = [id for id, row in self._row_of.items() if row not in gone]
        self._stream = self._stream._take([self._row_of[id] for id in kept])
        self._row_of = {id: row for row, id in enumerate(kept)}

    def feed(self, pieces: Mapping[Any, Any]) -> dict[Any, Any]:
        """Read the next piece of each sequence that is named; its answer as of now, by id.

        Raises InputError for an id that is not open, or a piece that cannot be read; then no
        sequence has changed.
        """
        if not isinstance(pieces, Mapping):
            problem = f"expected pieces by id, got {type(pieces).__name__}"
            raise InputError(f"{problem}; give a dict")
        if not pieces:
            return {}
        rows, given = [self._row(id) for id in pieces], list(pieces.values())
        if rows == list(range(len(self))):
            return dict(zip(pieces, self._stream.feed(given), strict=True))
        some = self._stream._take(rows)
        answers = some.feed(given)
        self._stream._put(rows, some._arrays)
        return dict(zip(pieces, answers, strict=True))

    def stream(self, id: Hashable) -> Stream:
        """One of them as a stream of its own, which goes on from here by itself."""
        one = self._stream._like(None)
        row = self._row(id)
        one._put(slice(None), {n: a[row : row + 1] for n, a in self._stream._arrays.items()})
        return one

    def put(self, id: Hashable, stream: Stream) -> None:
        """Let the sequence go on where ``stream`` is, one alone of this model.

        So one that was saved goes on among others.
        """
        own = self._stream
        is_alike = type(stream) is type(own) and (
            stream._network is own._network or stream._network.digest == own._network.digest
        )
        if not is_alike or stream.batch_size is not None:
            problem = "stream: expected one of this model's for one sequence alone, got another"
            raise InputError(f"{problem}; make it by model.stream()")
        own._put([self._row(id)], stream._arrays)

    def _row(self, id: Hashable) -> int:
        try:
            return self._row_of[id]
        except (KeyError, TypeError):
            raise InputError(f"id: expected one that is open, got {shown(id)}; open it") from None
