"""What all requests share: models, limits, metrics, streams, and whether it is about to stop."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from tidegate.errors import shown
from tidegate.serving.limits import Limits
from tidegate.serving.metrics import Metrics, resident_bytes
from tidegate.serving.models import Model, chosen
from tidegate.serving.problems import Problem, busy, unusable
from tidegate.serving.verbs import Verb, extent
from tidegate.serving.writing import Writer


class Service:
    """Fitted models by their names, asked within ``limits``.

    ``token``: what a request must bear, or None.  ``hosts``: the names under which requests may
    call the server, or None for any: a page of another site, whose name leads here, is refused.
    """

    def __init__(
        self,
        fitted: Mapping[str, Any],
        limits: Limits,
        *,
        token: str | None = None,
        hosts: frozenset[str] | None = None,
    ) -> None:
        self.limits, self.token, self.hosts = limits, token, hosts
        self.inside = 0  # requests that wait or are being answered
        self.stopping = False
        self.metrics = Metrics(
            {
                "requests_inside": ("Requests that wait or are answered.", lambda: self.inside),
                "streams_open": ("Streams that are open.", self._open_streams),
                "resident_bytes": ("Memory of the process.", resident_bytes),
            }
        )
        self.models = {name: Model(name, one, limits, self.metrics) for name, one in fitted.items()}
        self.writer = Writer(limits, self.metrics, lambda: self.stopping)

    def close(self) -> None:
        """Let go of all threads."""
        for model in self.models.values():
            model.close()
        self.writer.close()

    async def answer(self, verb: Verb, request: dict[str, Any]) -> dict[str, Any]:
        """What the model says.  Raises InputError or Problem."""
        model = chosen(self.models, request.pop("model"), verb.name)
        rows, steps = self._extent(request)
        kind = tuple(request.get(name) for name in verb.alike)
        batcher = model.batchers[verb.name]
        return await self._in_time(batcher.answer(request, rows=rows, steps=steps, kind=kind))

    async def open_stream(self, request: dict[str, Any]) -> dict[str, Any]:
        """Begin a stream.  Raises InputError or Problem."""
        model = chosen(self.models, request["model"], "stream")
        if self._open_streams() >= self.limits.streams:
            raise busy(f"expected at most {self.limits.streams} streams, got one more; close some")
        assert model.streams is not None
        id = await self._in_time(model.streams.open(request["given"]))
        return {"id": id, "model": model.name, "idle_s": self.limits.idle_s}

    async def feed_stream(self, id: str, request: dict[str, Any]) -> dict[str, Any]:
        """Read a piece.  Raises InputError or Problem."""
        _, steps = self._extent({"inputs": [request["piece"]]})
        answer = await self._in_time(self._stream(id).feed(id, request["piece"], steps))
        return {"answer": answer}

    async def close_stream(self, id: str) -> None:
        """End a stream.  Raises Problem where there is none."""
        await self._stream(id).close(id)

    def _stream(self, id: str) -> Any:
        for model in self.models.values():
            if model.streams is not None and id in model.streams:
                return model.streams
        problem = f"expected a stream that is open, got {shown(id)}; it may have been idle for"
        raise Problem(HTTPStatus.NOT_FOUND, f"{problem} {self.limits.idle_s:g} s: open another")

    def _open_streams(self) -> int:
        return sum(
            len(model.streams) for model in self.models.values() if model.streams is not None
        )

    def _extent(self, request: dict[str, Any]) -> tuple[int, int]:
        rows, steps = extent(request)
        if steps > self.limits.steps:
            problem = f"expected at most {self.limits.steps:,} steps, tokens or characters"
            raise unusable(f"{problem} in one request, got {steps:,}; send fewer at a time")
        return rows, steps

    async def _in_time(self, answer: Any) -> Any:
        """What is answered within the time of a request.  Raises Problem."""
        try:
            async with asyncio.timeout(self.limits.seconds):
                return await answer
        except TimeoutError:
            problem = f"expected an answer within {self.limits.seconds:g} s, got none"
            raise busy(f"{problem}; the server is busy, ask again later") from None
