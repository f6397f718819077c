"""A server of small models of every task, in a thread of this process, and a client of it."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest

import tidegate as tg

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from streamed_models import (  # noqa: E402
    forecaster,
    language_model,
    music_model,
    sequence_model,
    text_classifier,
)

from tidegate.serving.limits import Limits  # noqa: E402
from tidegate.serving.server import Server  # noqa: E402
from tidegate.serving.service import Service  # noqa: E402


class Answer(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def detail(self) -> str:
        assert self.headers["content-type"] == "application/problem+json"
        assert self.json["status"] == self.status
        return self.json["detail"]

    @property
    def events(self) -> list[tuple[str, Any]]:
        """Of a stream of events, each one's name and data."""
        found = []
        for block in self.body.decode().split("\n\n")[:-1]:
            name, data = block.split("\n")
            found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
        return found


class Client:
    """Asks a server that listens at ``port`` of this machine."""

    def __init__(self, port: int, service: Service, headers: Mapping[str, str] | None = None):
        self.port, self.service, self.headers = port, service, dict(headers or {})

    def connect(self) -> socket.socket:
        """A plain connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """One request; a body that is not bytes is sent as JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        kind = {} if body is None else {"content-type": "application/json"}
        try:
            connection.request(method, path, content, kind | self.headers | given)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        return self.send("GET", path, **headers)

    def post(self, path: str, body: Any, **headers: str) -> Answer:
        return self.send("POST", path, body, **headers)


def models() -> dict[str, Any]:
    """One of every kind by its name; untrained."""
    found = {
        "reviews": text_classifier(),
        "book": language_model(),
        "verses": language_model("word"),
        "load": forecaster(),
        "gestures": sequence_model(tg.SequenceClassifier),
        "scores": sequence_model(tg.SequenceRegressor),
        "songs": music_model(),
    }
    for model in found.values():
        model.metrics_, model.provenance_ = {"loss": float("nan"), "accuracy": 0.5}, {}
    found["load"].error_quantiles_ = None
    return found


@contextmanager
def served(fitted: Mapping[str, Any], limits: Limits | None = None, **how: Any) -> Iterator[Client]:
    """A server of these models, until the end of the block."""
    service = Service(fitted, limits or Limits(), **how)
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    server = Server(service)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield Client(port, service)
    finally:
        service.stopping = server.should_exit = True
        thread.join(30)
        service.close()
        listening.close()
        assert not thread.is_alive()
