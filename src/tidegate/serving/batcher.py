"""Requests that wait while others are answered are read as one ragged batch."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any

from tidegate.serving.limits import Limits
from tidegate.serving.metrics import Metrics

# Answers each of several requests, in their order.  Raises InputError where one cannot be.
Together = Callable[[Sequence[Any]], Sequence[Any]]


@dataclass(eq=False)
class _Waiting:
    asked: Any
    rows: int
    steps: int
    kind: Hashable
    answered: asyncio.Future[Any] = field(default_factory=asyncio.Future)


class Batcher:
    """Answers requests in a thread of ``executor``, as many at a time as wait and ``limits`` allow.

    Nothing waits for company: a request that comes alone is read alone, and what comes meanwhile
    is the next batch.
    """

    def __init__(
        self, name: str, together: Together, executor: Executor, limits: Limits, metrics: Metrics
    ) -> None:
        self._name, self._together, self._executor = name, together, executor
        self._limits, self._metrics = limits, metrics
        self._waiting: deque[_Waiting] = deque()
        self._working: asyncio.Task[None] | None = None

    async def answer(self, asked: Any, *, rows: int, steps: int, kind: Hashable = None) -> Any:
        """The answer to a request of so many inputs and steps, in one batch with others of its
        ``kind``.  Raises InputError.

        One who is cancelled while he waits is not read.
        """
        one = _Waiting(asked, rows, steps, kind)
        self._waiting.append(one)
        if self._working is None or self._working.done():
            self._working = asyncio.create_task(self._work())
        return await one.answered

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(0)  # those that came with the first one are in its batch
        while batch := self._next_batch():
            asked = [one.asked for one in batch]
            self._metrics.batch(self._name, sum(one.rows for one in batch))
            found = await loop.run_in_executor(self._executor, self._each, asked)
            for one, answer in zip(batch, found, strict=True):
                if one.answered.done():  # nobody waits for it any more
                    continue
                if isinstance(answer, Exception):
                    one.answered.set_exception(answer)
                else:
                    one.answered.set_result(answer)

    def _next_batch(self) -> list[_Waiting]:
        """The first that waits, and those of its kind that fit beside it."""
        batch: list[_Waiting] = []
        others: list[_Waiting] = []
        rows = steps = 0
        while self._waiting:
            one = self._waiting.popleft()
            if one.answered.done():
                continue
            if batch and one.kind != batch[0].kind:
                others.append(one)
                continue
            rows, steps = rows + one.rows, steps + one.steps
            if batch and (rows > self._limits.batch or steps > self._limits.batch_steps):
                others.append(one)
                break
            batch.append(one)
        self._waiting.extendleft(reversed(others))
        return batch

    def _each(self, asked: Sequence[Any]) -> list[Any]:
        """An answer or an exception to each: what one asked wrongly is no other's error."""
        try:
            return list(self._together(asked))
        except Exception as e:  # told to the one who asked
            if len(asked) == 1:
                return [e]
            return [found for one in asked for found in self._each([one])]
