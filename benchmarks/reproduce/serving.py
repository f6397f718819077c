"""A classifier served over HTTP: 64 clients in batches, one at a time, and in ONNX Runtime.

    python benchmarks/reproduce/serving.py DATA

Reviews of IMDb, on which the words are learned; a GRU of two layers, which reads forward, of 128,
512 and 1024 units, with random weights, since time does not depend on them.  Servers run in
processes of their own, on loopback, with all cores: ``tidegate serve``; the same with ``--batch
1``; and the same server with a model whose network is ONNX Runtime's, from the file that
``export_onnx`` writes, in batches and one at a time.  They take turns of some hundred requests;
each client, all of which are in the process of this command, sends its next review when it has its
answer.  Requests a second and latencies are medians over the turns; every answer is compared with
what the model says.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from record import Record, markdown, versions_of

import tidegate as tg
from tidegate.data.files.tables import read_table
from tidegate.data.sequences.sequences import pad_sequences
from tidegate.data.text.reading import train_encoder
from tidegate.model.architecture import Architecture
from tidegate.runtime.network import Network
from tidegate.runtime.probabilities import log_softmax

CLIENTS, TURNS, WORDS = 64, 3, 20_000
AGREE = 1e-4  # of a probability


class Served(NamedTuple):
    """One way to serve: by whose network, in batches of how many, and to how many clients."""

    units: int  # in each layer
    network: str
    batch: int
    clients: int
    requests: int  # of one turn


WAYS = (
    Served(128, "tidegate", 64, CLIENTS, 1280),
    Served(128, "tidegate", 1, CLIENTS, 640),
    Served(128, "tidegate", 64, 1, 256),
    Served(128, "ONNX Runtime", 64, CLIENTS, 192),
    Served(128, "ONNX Runtime", 1, CLIENTS, 96),
    Served(512, "tidegate", 64, CLIENTS, 384),
    Served(512, "tidegate", 1, CLIENTS, 96),
    Served(512, "tidegate", 64, 1, 64),
    Served(512, "ONNX Runtime", 64, CLIENTS, 64),
    Served(512, "ONNX Runtime", 1, CLIENTS, 64),
    Served(1024, "tidegate", 64, CLIENTS, 192),
    Served(1024, "tidegate", 1, CLIENTS, 64),
)


def reviews(data: Path) -> list[str]:
    """Of the test part, in random order."""
    table = read_table(data / "imdb" / "test.tsv.gz", {"text": "text"})
    texts = table.texts("text")
    return [texts[i] for i in np.random.default_rng(0).permutation(len(texts))[:640]]


def classifier(texts: Sequence[str], units: int) -> Any:
    sizes = units, units
    model: Any = tg.TextClassifier(
        hidden_sizes=sizes, bidirectional=False, evidence=False, lowercase=True
    )
    model.encoder_ = encoder = train_encoder(texts, "word", WORDS, lowercase=True, sentences=False)
    model.classes_, model.evidence_ = np.array(["bad", "good"]), None
    model.metrics_, model.history_, model.provenance_ = {}, {}, {}
    architecture = Architecture(
        cell="gru", vocabulary_size=encoder.size, input_size=None,
        embedding_size=model.embedding_size, hidden_sizes=sizes, bidirectional=False,
        readout=model.readout, output_size=2, batch_norm=False, embedding_dropout=0.0, dropout=0.0,
        recurrent_dropout=0.0,
    )  # fmt: skip
    rng = np.random.default_rng(0)
    shapes = architecture.tensor_shapes().items()
    tensors = {n: (rng.standard_normal(s) / units**0.5).astype(np.float32) for n, s in shapes}
    model.runtime_ = Network(architecture, tensors)
    return model


class InOnnxRuntime:
    """A fitted classifier whose network is run by ONNX Runtime."""

    def __init__(self, model: Any, path: Path) -> None:
        import onnxruntime  # pyright: ignore[reportMissingImports]

        self._model, self._session = model, onnxruntime.InferenceSession(str(path))
        self.TASK, self.metrics_, self.runtime_ = model.TASK, {}, model.runtime_
        self.classes_, self.encoder_ = model.classes_, model.encoder_
        self.stream, self.streams = model.stream, model.streams

    def predict(self, texts: list[str]) -> np.ndarray:
        return self.classes_[self.predict_proba(texts).argmax(1)]

    def predict_proba(self, texts: list[str]) -> np.ndarray:
        tokens, lengths = pad_sequences(self._model.encode(texts))
        given = {"tokens": tokens.T.astype(np.int32), "sequence_lens": lengths.astype(np.int32)}
        (outputs,) = self._session.run(["output"], given)
        return np.exp(log_softmax(np.asarray(outputs)).astype(np.float64))


def serve_onnx(name: str, batch: int) -> None:
    """What a server process does, until it is ended."""
    import socket

    from tidegate.serving.limits import Limits
    from tidegate.serving.server import Server
    from tidegate.serving.service import Service

    model = InOnnxRuntime(tg.load(f"{name}.safetensors"), Path(f"{name}.onnx"))
    listening = socket.create_server(("127.0.0.1", 0))
    print(f"serving at http://127.0.0.1:{listening.getsockname()[1]}/", flush=True)
    Server(Service({"reviews": model}, Limits(batch=batch))).run(sockets=[listening])


@contextmanager
def server(way: Served, folder: Path) -> Iterator[int]:
    """A server of its own; its port."""
    name = folder / str(way.units)
    if way.network == "tidegate":
        line = ["-m", "tidegate", "serve", f"{name}.safetensors", "--port", "0"]
        line += ["--batch", str(way.batch)]
    else:
        line = [__file__, "--serve", str(name), str(way.batch)]
    process = subprocess.Popen([sys.executable, *line], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        for told in process.stdout:
            if port := re.findall(r"serving at http://[\d.]+:(\d+)/", told):
                yield int(port[0])
                return
        raise RuntimeError(f"the server of {way} did not begin")
    finally:
        process.terminate()
        process.wait()


async def client(
    port: int, bodies: Iterator[tuple[int, bytes]], answers: dict[int, Any], took: list[float]
) -> None:
    """Ask for one review after another, on one connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for number, body in bodies:
        began = time.perf_counter()
        writer.write(body)
        head = await reader.readuntil(b"\r\n\r\n")
        (length,) = re.findall(rb"content-length: (\d+)", head)
        content = await reader.readexactly(int(length))
        took.append(time.perf_counter() - began)
        if head.startswith(b"HTTP/1.1 200 "):
            answers[number] = json.loads(content)["predictions"][0]["probabilities"]["good"]
    writer.close()


def turn(port: int, way: Served, texts: Sequence[str], expected: np.ndarray) -> dict[str, float]:
    """One turn's figures.  An answer that is lost, or another than expected, counts as lost."""

    def body(text: str) -> bytes:
        content = json.dumps({"inputs": [text]}).encode()
        return (
            b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(content), content)
        )

    bodies = iter([(i, body(texts[i % len(texts)])) for i in range(way.requests)])
    answers: dict[int, Any] = {}
    took: list[float] = []

    async def all_clients() -> None:
        await asyncio.gather(*(client(port, bodies, answers, took) for _ in range(way.clients)))

    began = time.perf_counter()
    asyncio.run(all_clients())
    seconds = time.perf_counter() - began
    right = sum(abs(p - expected[i % len(texts)]) < AGREE for i, p in answers.items())
    milliseconds = np.percentile(1000 * np.array(took), [50, 99])
    return {
        "requests_per_s": way.requests / seconds,
        "p50_ms": float(milliseconds[0]),
        "p99_ms": float(milliseconds[1]),
        "lost": way.requests - right,
    }


COLUMNS: dict[str, Any] = {
    "units": lambda r: f"2 x {r['units']}",
    "network": lambda r: r["network"],
    "clients": lambda r: r["clients"],
    "inputs in a batch, at most": lambda r: r["batch"],
    "requests/s": lambda r: f"{r['requests_per_s']:.0f}",
    "p50, ms": lambda r: f"{r['p50_ms']:.0f}",
    "p99, ms": lambda r: f"{r['p99_ms']:.0f}",
    "requests": lambda r: f"{r['requests']:,}",
    "lost": lambda r: r["lost"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path, help="the folder of shared data")
    parser.add_argument("--turns", type=int, default=TURNS)
    sizes = sorted({way.units for way in WAYS})
    parser.add_argument("--units", type=int, nargs="+", default=sizes, help="sizes to measure")
    given = parser.parse_args()
    ways = [way for way in WAYS if way.units in given.units]
    texts = reviews(given.data)
    record = Record(
        "serving", ("units", "network", "batch", "clients"), versions_of(["onnxruntime"])
    )
    expected: dict[int, np.ndarray] = {}
    with tempfile.TemporaryDirectory() as name, ExitStack() as running:
        folder = Path(name)
        for units in given.units:
            model = classifier(texts, units)
            expected[units] = model.predict_proba(texts)[:, 1]
            model.save(folder / f"{units}.safetensors")
            model.export_onnx(folder / f"{units}.onnx")
        servers = {way[:3]: way for way in ways}
        ports = {key: running.enter_context(server(way, folder)) for key, way in servers.items()}
        figures: dict[Served, list[dict[str, float]]] = {way: [] for way in ways}
        for _ in range(given.turns):
            for way, turns in figures.items():
                turns.append(turn(ports[way[:3]], way, texts, expected[way.units]))
                row = {key: statistics.median(one[key] for one in turns) for key in turns[0]}
                row["lost"] = int(sum(one["lost"] for one in turns))
                record.add(way._asdict() | row | {"requests": way.requests * len(turns)})
    print(markdown(record.rows, COLUMNS))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve_onnx(sys.argv[2], int(sys.argv[3]))
    else:
        main()
