"""Sequences that go on from request to request: opened, fed, and closed when nobody feeds them."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Sequence
from concurrent.futures import Executor
from http import HTTPStatus
from inspect import signature
from typing import Any, NamedTuple

from tidegate.errors import InputError, shown
from tidegate.runtime.whole_streams import WholeStream
from tidegate.serving.answers import as_of_now
from tidegate.serving.batcher import Batcher
from tidegate.serving.limits import MOST_NUMBERS, Limits
from tidegate.serving.metrics import Metrics
from tidegate.serving.problems import Problem, busy


class _Feed(NamedTuple):
    id: str
    piece: Any


class OpenStreams:
    """Those of one model, which one thread reads on as one batch."""

    def __init__(
        self, name: str, fitted: Any, executor: Executor, limits: Limits, metrics: Metrics
    ) -> None:
        self._fitted, self._executor, self._limits = fitted, executor, limits
        self._streams = fitted.streams()
        self._remembers = isinstance(fitted.stream(), WholeStream)
        self._fed_at: dict[str, float] = {}
        self._steps: dict[str, int] = {}
        self._expiring: asyncio.Task[None] | None = None
        self._batcher = Batcher(f"{name}/feed", self._feed, executor, limits, metrics)

    def __len__(self) -> int:
        return len(self._fed_at)

    def __contains__(self, id: str) -> bool:
        return id in self._fed_at

    async def open(self, given: Any) -> str:
        """Begin one; its id.  ``given``: conditions of texts, or None.  Raises InputError."""
        id = secrets.token_urlsafe(16)
        self._fed_at[id], self._steps[id] = time.monotonic(), 0
        try:
            await self._in_thread(self._open, id, given)
        except BaseException:  # who asked may be gone
            self._forget(id)
            self._executor.submit(self._close, id)
            raise
        if self._expiring is None or self._expiring.done():
            self._expiring = asyncio.create_task(self._expire())
        return id

    async def feed(self, id: str, piece: Any, steps: int) -> dict[str, Any]:
        """Read the next piece of one, of so many ``steps``; its answer as of now.

        Raises InputError for a piece that cannot be read; then nothing has changed.
        """
        if self._remembers:
            self._check_memory(self._steps[id] + steps)
        self._fed_at[id] = time.monotonic()
        answer = await self._batcher.answer(_Feed(id, piece), rows=1, steps=steps)
        if id in self._steps:
            self._steps[id] += steps
        return answer

    async def close(self, id: str) -> None:
        """End one."""
        self._forget(id)
        await self._in_thread(self._close, id)

    async def _expire(self) -> None:
        """End those that nobody feeds for long, while there are any."""
        while self._fed_at:
            oldest = min(self._fed_at, key=self._fed_at.__getitem__)
            left = self._fed_at[oldest] + self._limits.idle_s - time.monotonic()
            if left > 0:
                await asyncio.sleep(left)
            else:
                await self.close(oldest)

    def _forget(self, id: str) -> None:
        self._fed_at.pop(id, None)
        self._steps.pop(id, None)

    def _check_memory(self, steps: int) -> None:
        """Raise Problem where a stream that remembers all of its steps would take too much."""
        channels = self._fitted.inputs_.channels
        if steps > self._limits.steps:
            raise Problem(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                f"expected a stream of at most {self._limits.steps:,} steps, which this model "
                f"reads anew for each answer, got {steps:,}; open another",
            )
        if max(steps, *self._steps.values()) * len(self) * channels > MOST_NUMBERS:
            raise busy("expected room to remember this stream, got none; close some, or try later")

    async def _in_thread(self, function: Any, *arguments: Any) -> Any:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, function, *arguments)

    # in the thread

    def _open(self, id: str, given: Any) -> None:
        if given is not None and "given" not in signature(self._fitted.stream).parameters:
            problem = f"expected none for a {self._fitted.TASK}, which knows no conditions, got one"
            raise InputError(f"given: {problem}; leave it out")
        begun = self._fitted.stream(given=given) if given is not None else None
        self._streams.open(id)
        if begun is not None:
            self._streams.put(id, begun)

    def _close(self, id: str) -> None:
        if id in self._streams:
            self._streams.close(id)

    def _feed(self, asked: Sequence[_Feed]) -> list[Any]:
        """All pieces in one batch; those of one stream one after another.

        An error stands for the answer to a piece that cannot be read: what was fed is not again.
        """
        found: list[Any] = [None] * len(asked)
        left = list(range(len(asked)))
        while left:
            now = {asked[k].id: k for k in reversed(left)}  # the first of each
            left = [k for k in left if k not in now.values()]
            for id in [id for id in now if id not in self._streams]:
                problem = f"expected a stream that is open, got {shown(id)}; open one"
                found[now.pop(id)] = InputError(problem)
            pieces = {id: asked[k].piece for id, k in now.items()}
            for id, answer in self._answers(pieces).items():
                found[now[id]] = answer
        return found

    def _answers(self, pieces: dict[str, Any]) -> dict[str, Any]:
        try:
            answers = self._streams.feed(pieces)
        except InputError as e:
            if len(pieces) == 1:
                return dict.fromkeys(pieces, e)
            alone = [self._answers({id: piece}) for id, piece in pieces.items()]
            return {id: answer for one in alone for id, answer in one.items()}
        return {id: as_of_now(self._fitted, answer) for id, answer in answers.items()}
