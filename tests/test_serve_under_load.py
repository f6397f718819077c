"""``tidegate serve`` with clients that are many, slow, gone, or want too much; and its end."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from served import Client, models, served  # noqa: E402
from streamed_models import language_model, text_classifier  # noqa: E402

from tidegate.serving import bodies, server  # noqa: E402
from tidegate.serving.limits import Limits  # noqa: E402

LONG = {"model": "book", "length": 40_000, "seed": 1}


def some(*names: str) -> dict[str, Any]:
    return {name: model for name, model in models().items() if name in names}


def request(path: str, body: dict[str, Any]) -> bytes:
    content = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content


def until(condition: Any, seconds: float = 10.0) -> None:
    """Wait for it.  Fails after ``seconds``."""
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.01)


def read_all(connection: socket.socket) -> bytes:
    found = bytearray()
    while part := connection.recv(65536):
        found += part
    return bytes(found)


class Slow:
    """A model that answers when it is let."""

    TASK = "text-classifier"

    def __init__(self) -> None:
        self._model = text_classifier()
        self.metrics_: dict[str, float] = {}
        self.runtime_, self.classes_ = self._model.runtime_, self._model.classes_
        self.let, self.begun, self.read = threading.Event(), threading.Event(), 0

    def predict(self, inputs: list[str]) -> Any:
        self.begun.set()
        assert self.let.wait(30)
        self.read += len(inputs)
        return self._model.predict(inputs)

    def predict_proba(self, inputs: list[str]) -> Any:
        return self._model.predict_proba(inputs)

    def stream(self) -> Any:
        return self._model.stream()

    streams = stream


def test_more_than_the_queue_holds_is_refused_and_the_rest_is_answered():
    slow = Slow()
    with served({"slow": slow}, Limits(queue=8)) as client:
        with ThreadPoolExecutor(30) as pool:
            asked = [
                pool.submit(client.post, "/v1/predict", {"inputs": ["good"]}) for _ in range(30)
            ]
            until(lambda: sum(one.done() for one in asked) == 22)
            assert client.get("/health").status == 200  # which waits for nobody
            slow.let.set()
            found = [one.result() for one in asked]
        assert sorted(one.status for one in found) == [200] * 8 + [503] * 22
        refused = next(one for one in found if one.status == 503)
        assert refused.headers["retry-after"] == "1"
        assert "at most 8 requests" in refused.detail
        assert client.service.inside == 0


def test_who_is_not_answered_in_time_is_told_and_not_read_later():
    slow = Slow()
    with served({"slow": slow}, Limits(seconds=0.3)) as client:
        with ThreadPoolExecutor(2) as pool:
            first = pool.submit(client.post, "/v1/predict", {"inputs": ["good"]})
            slow.begun.wait(10)
            second = client.post("/v1/predict", {"inputs": ["bad"]})
            assert second.status == first.result().status == 503
            assert "within 0.3 s" in second.detail
            slow.let.set()
            third = client.post("/v1/predict", {"inputs": ["so"]})
        assert third.status == 200
        assert slow.read == 2  # the first and the third


def test_clients_that_go_away_leave_no_trace():
    with served(some("book")) as client:
        gone = [client.connect() for _ in range(5)]
        for connection in gone:
            connection.sendall(request("/v1/generate", LONG))
            assert b"200 OK" in connection.recv(4096)
        assert client.service.inside == 5
        for connection in gone:
            connection.close()
        until(lambda: client.service.inside == 0)
        assert client.post("/v1/generate", {"length": 2}).events[-1][0] == "done"


def test_who_dawdles_over_headers_or_a_body_is_cut_off(monkeypatch):
    monkeypatch.setattr(server, "HEAD_S", 0.2)
    monkeypatch.setattr(bodies, "BODY_S", 0.2)
    with served(some("book")) as client:
        silent, trickling, halting = (client.connect() for _ in range(3))
        trickling.sendall(b"POST /v1/generate HTTP/1.1\r\nHost: local")
        halting.sendall(request("/v1/generate", LONG)[:-10])
        told = read_all(halting)
        assert b" 408 " in told
        assert b"within 0.2 s" in told
        for connection in (silent, trickling):
            with connection, suppress(ConnectionResetError):
                assert read_all(connection) == b""
        halting.close()
        assert client.get("/health").status == 200


def test_who_does_not_read_what_is_written_fills_no_memory_and_is_cut_off(monkeypatch):
    monkeypatch.setattr("tidegate.serving.app.BODY_S", 0.1)
    with served(some("book"), Limits(seconds=0.6)) as client:
        with client.connect() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.sendall(request("/v1/generate", {**LONG, "alternatives": 20}))
            until(lambda: client.service.inside == 1)
            time.sleep(0.3)
            held = client.service.metrics.text()
            until(lambda: client.service.inside == 0)
        written = re.search(r'generated_tokens_total{model="book"} (\d+)', held)
        assert written is not None
        assert int(written[1]) < 20_000  # buffers are full, and nothing more is written
        assert client.get("/health").status == 200


def test_too_long_a_text_ends_with_an_error_that_says_so():
    with served(some("book"), Limits(seconds=0.2)) as client:
        *tokens, (name, told) = client.post("/v1/generate", LONG).events
        assert len(tokens) > 0
        assert (name, told["status"]) == ("error", 504)
        assert "shorter length" in told["detail"]


def test_under_overload_memory_is_bounded_and_nothing_is_lost():
    limits = Limits(queue=16, body_bytes=200_000, steps=300_000)
    with served(some("reviews"), limits) as client:
        body = {"inputs": ["so good " * 20_000]}
        assert client.post("/v1/predict", body).status == 200
        before = client.service.metrics.text()
        with ThreadPoolExecutor(40) as pool:
            found = list(pool.map(lambda _: client.post("/v1/predict", body), range(100)))
        statuses = [one.status for one in found]
        assert set(statuses) <= {200, 503}
        assert len(found) == 100
        assert 200 in statuses
        grown = _resident(client.service.metrics.text()) - _resident(before)
        assert grown < 150e6  # of 100 bodies, 16 MB, 16 at a time, each text an array
        assert client.service.inside == 0


def _resident(text: str) -> float:
    found = re.search(r"^tidegate_resident_bytes (.+)$", text, re.M)
    assert found is not None
    return float(found[1])


def test_generations_at_once_are_each_what_one_alone_is():
    with served(some("book", "reviews")) as client, ThreadPoolExecutor(13) as pool:
        asked = [{"model": "book", "length": 150, "seed": seed} for seed in range(12)]
        texts = [pool.submit(client.post, "/v1/generate", one) for one in asked]
        beside = client.post("/v1/predict", {"inputs": ["so good"]})
        for seed, one in enumerate(texts):
            *tokens, (last, _) = one.result().events
            expected = client.service.models["book"].fitted.generate("", 150, seed=seed)
            assert "".join(data["text"] for _, data in tokens) == "".join(expected)
            assert last == "done"
    assert beside.status == 200


# the command


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A language model's file."""
    path = tmp_path_factory.mktemp("served") / "book.safetensors"
    model = language_model()
    model.metrics_, model.history_, model.provenance_ = {}, {}, {}
    model.save(path)
    return path


class Command:
    """``tidegate serve``, where torch cannot be imported."""

    CODE = (
        "import sys; sys.modules['torch'] = None\n"
        "from tidegate.__main__ import run; sys.exit(run())"
    )

    def __init__(self, *arguments: Any) -> None:
        line = [sys.executable, "-c", self.CODE, "serve", *map(str, arguments)]
        self.process = subprocess.Popen(
            line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def client(self) -> Client:
        assert self.process.stdout is not None
        self.said = ""
        while "serving at" not in self.said:
            line = self.process.stdout.readline()
            assert line, self.process.communicate()
            self.said += line
        port = re.findall(r"serving at http://\S+:(\d+)/", self.said)[0]
        return Client(int(port), None)  # pyright: ignore

    def ended(self) -> tuple[int, str]:
        _, err = self.process.communicate(timeout=30)
        return self.process.returncode, err


def test_sigterm_in_the_midst_of_a_text_ends_it_with_an_error_and_the_server(saved):
    command = Command(saved, "--port", 0)
    client = command.client()
    with client.connect() as connection:
        connection.sendall(request("/v1/generate", {"length": 50_000}))
        begun = connection.recv(4096)
        os.kill(command.process.pid, signal.SIGTERM)
        told = begun + read_all(connection)
    assert b" 200 OK" in told
    *_, last = told.decode().split("event: ")
    assert last.startswith("error\n")
    assert '"status": 503' in last
    assert told.endswith(b"0\r\n\r\n")  # whole as HTTP has it
    assert command.ended() == (143, "interrupted\n")
    with pytest.raises(ConnectionRefusedError):
        client.connect()


def test_the_command_says_what_it_serves_and_asks_strangers_for_a_token(saved, monkeypatch):
    monkeypatch.delenv("TIDEGATE_TOKEN", raising=False)
    command = Command(saved, "--port", 0, "--host", "0.0.0.0", "--max-length", 10)
    client = command.client()
    try:
        assert "book: inspect, connect, generate, stream\n" in command.said
        (token,) = re.findall(r"^token: (\S{32})$", command.said, re.M)
        assert client.get("/v1/models").status == 401
        bearing = {"authorization": f"Bearer {token}"}
        assert client.get("/v1/models", **bearing).status == 200
        wrong = client.post("/v1/generate", {"length": 11, "greedy": 3}, **bearing)
        assert "greedy: expected a boolean" in wrong.detail
        wrong = client.post("/v1/generate", {"length": 11}, **bearing)
        assert "at most 10" in wrong.detail
        wrong = client.post("/v1/generate", {"length": 1, "temperature": 0}, **bearing)
        assert "option temperature: expected" in wrong.detail  # not --temperature
    finally:
        command.process.terminate()
    assert command.ended()[0] == 143


def test_what_cannot_be_served_is_refused_before_anything_listens(saved, tidegate, tmp_path):
    (tmp_path / "other").mkdir()
    other = tmp_path / "other/book.safetensors"
    other.write_bytes(saved.read_bytes())
    outcome = tidegate(f"serve {saved} {other}")
    assert outcome.code == 2
    assert "expected models of different names, got two called 'book'" in outcome.err
    with socket.create_server(("127.0.0.1", 0)) as taken:
        outcome = tidegate(f"serve {saved} --port {taken.getsockname()[1]}")
    assert outcome.code == 2
    assert "option --port: expected a port of 127.0.0.1 that is free" in outcome.err
    outcome = tidegate(f"serve {saved} --host here")
    assert outcome.code == 2
    assert "option --host: expected an address of this machine, got 'here'" in outcome.err


def test_without_its_packages_the_command_says_what_to_install(saved, tidegate, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "tidegate.serving.server")
    outcome = tidegate(f"serve {saved}")
    assert outcome.code == 2
    assert "this command needs uvicorn; install it with: pip install 'tidegate[serve]'" in (
        outcome.err
    )


def test_one_request_after_another_does_not_wait_for_the_network():
    with served(some("reviews")) as client:
        connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=30)
        took = []
        for _ in range(20):
            began = time.perf_counter()
            body = json.dumps({"inputs": ["so good"]})
            connection.request("POST", "/v1/predict", body, {"content-type": "application/json"})
            assert connection.getresponse().read()
            took.append(time.perf_counter() - began)
        connection.close()
    assert min(took[1:]) < 0.03  # a delayed acknowledgement takes 40 ms


def test_an_answer_does_not_hang_on_who_else_asks():
    with served(some("gestures")) as client, ThreadPoolExecutor(16) as pool:
        rng = np.random.default_rng(0)
        inputs = [rng.normal(size=(n, 2)).tolist() for n in (3, 1, 40, 7) * 8]
        alone = client.post("/v1/predict", {"inputs": inputs[:1]}).json["predictions"][0]
        asked = [{"inputs": [one]} for one in inputs]
        found = list(pool.map(lambda one: client.post("/v1/predict", one).json, asked))
        first = found[0]["predictions"][0]
        assert first["label"] == alone["label"]
        for label, p in alone["probabilities"].items():
            assert first["probabilities"][label] == pytest.approx(p, rel=1e-5)
