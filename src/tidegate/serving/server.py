"""The server: a socket, connections that may not dawdle, and an end that leaves nobody waiting."""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
from collections.abc import Sequence
from ipaddress import ip_address
from os import PathLike
from types import FrameType
from typing import Any, Final

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from tidegate.errors import InputError, options_as_flags, shown
from tidegate.serving.app import application
from tidegate.serving.limits import CONNECTIONS, HEAD_S, LEAVE_S, Limits
from tidegate.serving.models import load_all
from tidegate.serving.service import Service
from tidegate.terminal import say

_KEEP_ALIVE_S: Final = 30
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})


def serve(
    paths: Sequence[str | PathLike[str]],
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    token: str | None = None,
    limits: Limits | None = None,
) -> None:
    """Serve the models in these files over HTTP until SIGINT or SIGTERM.

    ``host``: an address of this machine.  Where others can reach it, requests must bear ``token``,
    by default a new one, which is printed.  ``port``: 0 for any that is free.  Raises InputError
    for files that are no models, and for an address that cannot be had.
    """
    is_ours = _is_loopback(host)
    if not is_ours and token is None:
        token = secrets.token_urlsafe(24)
        say(f"token: {token}")
    hosts = _LOOPBACK if is_ours else None
    service = Service(load_all(paths), limits or Limits(), token=token, hosts=hosts)
    listening = _listening(host, port)
    address, port = listening.getsockname()[:2]
    name = f"[{address}]" if ":" in address else address
    for model in service.models.values():
        say(f"{model.name}: {', '.join(model.can)}")
    say(f"serving at http://{name}:{port}/ until interrupted")
    try:
        with options_as_flags(False):  # requests spell them as Python does
            Server(service).run(sockets=[listening])
    finally:
        service.close()
        listening.close()


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        problem = f"expected an address of this machine, got {shown(host)}; give one such as"
        raise InputError(f"{problem} 127.0.0.1, or 0.0.0.0 for all", option="host") from None


def _listening(host: str, port: int) -> socket.socket:
    """A socket that listens.  Raises InputError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=CONNECTIONS)
    except OSError as e:
        problem = f"expected a port of {host} that is free, got {port}: {e.strerror}"
        remedy = "choose another, or 0 for any that is free"
        raise InputError(f"{problem}; {remedy}", option="port") from e


class Server(uvicorn.Server):
    """Uvicorn with our application, which it tells when it is to stop."""

    def __init__(self, service: Service) -> None:
        self.service = service
        logging.getLogger("tidegate.serving").setLevel(logging.ERROR)
        super().__init__(
            uvicorn.Config(
                application(service),
                http=_Connection,
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="critical",  # what strangers do wrong is told to them
                access_log=False,
                proxy_headers=False,
                server_header=False,
                limit_concurrency=CONNECTIONS,
                timeout_keep_alive=_KEEP_ALIVE_S,
                timeout_graceful_shutdown=int(LEAVE_S),
            )
        )

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop: what was accepted is answered, or told that nothing more comes."""
        self.service.stopping = True
        super().handle_exit(sig, frame)


class _Connection(H11Protocol):
    """A connection that is cut where a request's headers, or whoever reads an answer, take long."""

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        # asyncio does so for sockets that it made; else the last part of an answer waits 40 ms
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._await_head(HEAD_S)

    def handle_events(self) -> None:
        before = self.cycle
        super().handle_events()
        if self.cycle is not before:  # a request has come
            self._not_late()
            self.scope.setdefault("state", {})["abort"] = self.transport.abort

    def on_response_complete(self) -> None:
        self._await_head(_KEEP_ALIVE_S + HEAD_S)
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._not_late()
        super().connection_lost(exc)

    def _await_head(self, seconds: float) -> None:
        self._not_late()
        self._late = self.loop.call_later(seconds, self.transport.abort)

    def _not_late(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None
