"""What a request's body says: JSON of an object whose members a route declares."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from starlette.requests import Request

from tidegate.errors import shown
from tidegate.serving.limits import BODY_S, Limits
from tidegate.serving.problems import Problem, unusable

# JSON's types, and what Python reads them as; a bool is an int to Python, and no number to JSON.
_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}
_DROPPED: Final = 2**24  # bytes beyond the limit that are read before a body is refused
_ARTICLE: Final = {"integer": "an", "array": "an", "object": "an"}


@dataclass(frozen=True)
class Member:
    """A member of a body: its ``types`` in JSON, and what helps where it is wrong.

    Null stands for leaving it out.
    """

    name: str
    types: tuple[str, ...]
    about: str
    required: bool = False

    def check(self, value: Any) -> None:
        """Raise Problem for a value of another type."""
        for name in self.types:
            if isinstance(value, _TYPES[name]) and isinstance(value, bool) == (name == "boolean"):
                return
        expected = " or ".join(f"{_ARTICLE.get(name, 'a')} {name}" for name in self.types)
        raise unusable(f"{self.name}: expected {expected}, got {shown(value)}; {self.about}")


async def read_body(request: Request, limits: Limits) -> bytes:
    """The whole body.  Raises Problem for one that is too large, or too slow.

    Who sends too much hears of it when all is sent; so a little more is read, and dropped.
    """
    declared = request.headers.get("content-length", "0")
    size = int(declared) if declared.isdecimal() else 0
    if size > limits.body_bytes + _DROPPED:
        raise _too_large(size, limits)
    body, size = bytearray(), 0
    try:
        async with asyncio.timeout(BODY_S):
            async for chunk in request.stream():
                size += len(chunk)
                if size <= limits.body_bytes:
                    body += chunk
                elif size > limits.body_bytes + _DROPPED:
                    break
    except TimeoutError:
        if size <= limits.body_bytes:
            problem = f"expected the whole body within {BODY_S:g} s, got {size:,} bytes"
            closing = {"connection": "close"}
            raise Problem(
                HTTPStatus.REQUEST_TIMEOUT, f"{problem}; send it faster", closing
            ) from None
    if size > limits.body_bytes:
        raise _too_large(size, limits)
    return bytes(body)


def _too_large(size: int, limits: Limits) -> Problem:
    return Problem(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"expected a body of at most {limits.body_bytes:,} bytes, got {size:,}; send less at a "
        "time",
        {"connection": "close"},
    )


def check_media_type(request: Request) -> None:
    """Raise Problem unless the body is said to be JSON.

    A page of another origin cannot say so without asking, and is told no.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise Problem(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"expected a body of application/json, got {shown(media_type)}; set Content-Type",
        )


def parsed(body: bytes, members: Sequence[Member]) -> dict[str, Any]:
    """The object of a body; a member that is left out, or null, is None.  Raises Problem."""
    try:
        told = json.loads(body.decode("utf-8"), parse_int=_whole, parse_constant=_no_constant)
        if b"\\u" in body:  # which may write halves of characters that no text has
            json.dumps(told, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError) as e:
        got = "one nested too deeply" if isinstance(e, RecursionError) else str(e)
        raise Problem(
            HTTPStatus.BAD_REQUEST,
            f"expected a body of JSON in UTF-8, got an error: {got}; mend it",
        ) from None
    if not isinstance(told, dict):
        raise unusable(f"expected a JSON object, got {shown(told)}; put it in braces")
    by_name = {member.name: member for member in members}
    for name, value in told.items():
        if name not in by_name:
            known = ", ".join(by_name) or "none"
            raise unusable(f"expected members {known}, got {shown(name)}; leave it out")
        if value is not None:
            by_name[name].check(value)
    for member in members:
        if member.required and told.get(member.name) is None:
            raise unusable(f"{member.name}: expected one, got none; {member.about}")
    return {name: told.get(name) for name in by_name}


def _whole(digits: str) -> int | float:
    """A whole number; one beyond 64 bits, which nothing counts, as the number that it is about."""
    value = float(digits)
    return int(digits) if abs(value) < 2**63 else value


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON; write null for a missing value")
