"""The application: who may ask, what becomes of an error, and the routes."""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
from functools import partial
from http import HTTPStatus
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route as StarletteRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tidegate.errors import InputError, shown
from tidegate.serving.limits import BODY_S
from tidegate.serving.problems import Problem, busy, unusable
from tidegate.serving.routes import ROUTES, Route
from tidegate.serving.service import Service

_log = logging.getLogger("tidegate.serving")
_OPEN = {route.path for route in ROUTES if route.is_open}
_FAILED = Problem(
    HTTPStatus.INTERNAL_SERVER_ERROR,
    "expected an answer, got an error of the server's; whoever runs it sees more of it",
)
_HEADERS = [(b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer")]


def application(service: Service) -> ASGIApp:
    """All of it, as ASGI has it."""
    routes = [
        StarletteRoute(
            route.path, partial(_endpoint, service, route), methods=[route.method], name=route.path
        )
        for route in ROUTES
    ]
    handlers: dict[Any, Any] = {HTTPException: _unknown}
    return Guard(Starlette(routes=routes, exception_handlers=handlers), service)


async def _endpoint(service: Service, route: Route, request: Request) -> Response:
    request.scope["tidegate.route"] = route.path
    try:
        return await route.respond(service, request)
    except Problem as e:
        return e.response()
    except InputError as e:
        return unusable(str(e)).response()
    except Exception as e:
        _log.error("a request failed: %s", e, exc_info=e)
        return _FAILED.response()


async def _unknown(request: Request, error: HTTPException) -> Response:
    status = HTTPStatus(error.status_code)
    path = shown(request.url.path)
    got = f"{request.method} {path}; GET /openapi.json describes all"
    return Problem(status, f"expected a route of this server, got {got}", error.headers).response()


class Guard:
    """Refuses whom the server does not know, or what comes too fast; counts all.

    A request has its place from its headers to the last byte of its answer.
    """

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app, self._service = app, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        service, began = self._service, time.monotonic()
        status: list[int] = []

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                status.append(message["status"])
                message["headers"] = [*message.get("headers", []), *_HEADERS]
            await send(message)

        asks = scope["method"] not in ("GET", "HEAD")
        refused = self._refusal(Request(scope), asks)
        service.inside += asks
        try:
            # the last resort: each part of an answer has a limit of its own
            async with asyncio.timeout(service.limits.seconds + 2 * BODY_S):
                if refused is None:
                    await self._app(scope, receive, answer)
                else:
                    await refused.response()(scope, receive, answer)
        except Exception as e:
            if not isinstance(e, TimeoutError):
                _log.error("a request failed: %s", e, exc_info=e)
            if status:  # half an answer: nobody is to take it for a whole one
                _abort(scope)
            else:
                await _FAILED.response()(scope, receive, answer)
        finally:
            service.inside -= asks
            route = scope.get("tidegate.route", "none")
            code = status[0] if status else 499  # as others write it: the client was gone
            service.metrics.request(route, code, time.monotonic() - began)

    def _refusal(self, request: Request, asks: bool) -> Problem | None:
        service, headers = self._service, request.headers
        host = headers.get("host", "").rpartition("@")[2]
        name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
        if service.hosts is not None and name.lower() not in service.hosts:
            problem = f"expected one of {', '.join(sorted(service.hosts))} as Host"
            detail = f"{problem}, got {shown(host)}; call this server by its own name"
            return Problem(HTTPStatus.MISDIRECTED_REQUEST, detail)
        if service.token is not None and request.scope["path"] not in _OPEN:
            given = headers.get("authorization", "").removeprefix("Bearer ").encode()
            if not hmac.compare_digest(given, service.token.encode()):
                got = "another" if given else "none"
                detail = f"expected Authorization: Bearer with the token of this server, got {got}"
                how = {"www-authenticate": "Bearer", "connection": "close"}
                return Problem(
                    HTTPStatus.UNAUTHORIZED, f"{detail}; the server told it when it began", how
                )
        if service.stopping:
            return busy("expected a server that goes on, got one that stops; ask again later")
        if asks and service.inside >= service.limits.queue:
            detail = f"expected at most {service.limits.queue} requests at a time, got one more"
            return busy(f"{detail}; ask again later")
        return None


def _abort(scope: Scope) -> None:
    """Cut the connection, whatever its buffers hold."""
    abort = scope.get("state", {}).get("abort")
    if abort is not None:
        abort()
