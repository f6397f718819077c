"""Texts and music that go on, token by token: server-sent events."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from inspect import signature
from itertools import islice
from typing import Any, Final

from tidegate.errors import InputError, shown
from tidegate.runtime.text_streams import NextToken
from tidegate.serving.answers import roll_of
from tidegate.serving.bodies import Member
from tidegate.serving.limits import Limits
from tidegate.serving.metrics import Metrics
from tidegate.serving.models import Model
from tidegate.serving.problems import Problem, busy, unusable
from tidegate.serving.verbs import MODEL

_SLICE_S: Final = 0.02  # of writing at a time, before others have their turn
_MOST_ALTERNATIVES: Final = 20
_DEFAULT_LENGTH: Final = 200
_NOT_OF_MODELS: Final = ("model", "length", "alternatives", "prompt")

MEMBERS: Final = (
    MODEL,
    Member("prompt", ("string", "array"), "give the text, or the steps of music as lists of names"),
    Member("length", ("integer",), "give how many tokens or steps to write"),
    Member("temperature", ("number",), "give how freely to choose, above 0"),
    Member("top_k", ("integer",), "give among how many of the likeliest tokens to choose"),
    Member("top_p", ("number",), "give the share of probability to choose among"),
    Member("greedy", ("boolean",), "give whether to take the likeliest token always"),
    Member("seed", ("integer",), "give the number that one text belongs to"),
    Member("given", ("object",), "give the conditions of the text, from names to values"),
    Member(
        "alternatives",
        ("integer",),
        f"give how many of the likeliest tokens to tell of each place, 0 to {_MOST_ALTERNATIVES}",
    ),
)


class Writer:
    """Writes for all models, some tokens of each at a time."""

    def __init__(self, limits: Limits, metrics: Metrics, is_stopping: Callable[[], bool]) -> None:
        self._limits, self._metrics, self._is_stopping = limits, metrics, is_stopping
        self._executor = ThreadPoolExecutor(1, "writing")

    def close(self) -> None:
        """Let go of the thread, which ends the slice that it is at."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def events(self, model: Model, request: dict[str, Any]) -> AsyncIterator[str]:
        """What is written, as events: ``token`` for each piece, and ``done`` or ``error`` at last.

        Raises InputError or Problem before the first event where nothing can be written.
        """
        length = _DEFAULT_LENGTH if request["length"] is None else request["length"]
        if length > self._limits.steps:
            problem = f"expected at most {self._limits.steps:,}, got {length:,}; ask for fewer"
            raise unusable(f"length: {problem}")
        begin = _rolls if "outputs_" in vars(model.fitted) else _texts
        ends_at = time.monotonic() + self._limits.seconds
        pieces = await self._in_thread(begin, model.fitted, request, length)
        return self._written(model.name, pieces, ends_at)

    async def _written(
        self, name: str, pieces: Iterator[dict[str, Any]], ends_at: float
    ) -> AsyncIterator[str]:
        count = 0
        while True:
            if self._is_stopping():
                yield _error(busy("expected a server that goes on, got one that stops; ask again"))
                return
            if time.monotonic() > ends_at:
                problem = f"expected an end within {self._limits.seconds:g} s, got {count} pieces"
                told = Problem(HTTPStatus.GATEWAY_TIMEOUT, f"{problem}; ask for a shorter length")
                yield _error(told)
                return
            some, ended = await self._in_thread(_some, pieces)
            count += len(some)
            self._metrics.tokens(name, len(some))
            if some:
                yield "".join(_event("token", piece) for piece in some)
            if ended:
                yield _event("done", {"pieces": count})
                return

    async def _in_thread(self, function: Any, *arguments: Any) -> Any:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, function, *arguments)


def _some(pieces: Iterator[dict[str, Any]]) -> tuple[list[dict[str, Any]], bool]:
    """What comes next within one slice, and whether that is all."""
    until, found = time.monotonic() + _SLICE_S, []
    for piece in pieces:
        found.append(piece)
        if time.monotonic() > until:
            return found, False
    return found, True


def _texts(fitted: Any, request: dict[str, Any], length: int) -> Iterator[dict[str, Any]]:
    """Pieces of text, and of each what was expected in the place of its tokens."""
    count = request["alternatives"] or 0
    if not 0 <= count <= _MOST_ALTERNATIVES:
        problem = f"expected 0 to {_MOST_ALTERNATIVES}, got {count}; give one of these"
        raise InputError(f"alternatives: {problem}")
    prompt = "" if request["prompt"] is None else request["prompt"]
    if not isinstance(prompt, str):
        raise InputError(f"prompt: expected a text, got {shown(prompt)}; give a string")
    expected: list[NextToken] = []
    watch = {"watch": expected.append} if count else {}
    pieces = fitted.generate(prompt, length, **_choice(fitted, request), **watch)

    def told() -> Iterator[dict[str, Any]]:
        for piece in pieces:
            told: dict[str, Any] = {"text": piece}
            if count:
                places = [one.top(count) for one in expected]
                told["alternatives"] = [
                    [{"text": text, "probability": round(p, 6)} for text, p in one]
                    for one in places
                ]
                expected.clear()
            yield told

    return told()


def _rolls(fitted: Any, request: dict[str, Any], length: int) -> Iterator[dict[str, Any]]:
    """Steps of music: the names of what is on at each."""
    begun = request["prompt"]
    prompt = None if begun is None else [roll_of(fitted, begun, "prompt")]
    roll = fitted.generate(prompt, length, **_choice(fitted, request))
    return ({"on": names} for names in islice(fitted.names_of(roll), length))


def _choice(fitted: Any, request: dict[str, Any]) -> dict[str, Any]:
    """What a request chooses of what ``generate`` takes.  Raises InputError for what is not."""
    choice = {n: v for n, v in request.items() if v is not None and n not in _NOT_OF_MODELS}
    for name in choice:
        if name not in signature(fitted.generate).parameters:
            raise InputError(f"{name}: expected none for a {fitted.TASK}, got one; leave it out")
    return choice


def _event(name: str, data: dict[str, Any]) -> str:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"


def _error(problem: Problem) -> str:
    return _event("error", problem.told())
