"""``tidegate serve``: trained models over HTTP, and a page to try them on."""

from __future__ import annotations

import os
from pathlib import Path

import click

from tidegate.cli.command import Argument, Option, command
from tidegate.cli.parameters import model_file
from tidegate.serving.limits import Limits

_TOKEN = "TIDEGATE_TOKEN"


def _limit(name: str, default: float, help: str, least: float = 1) -> Option:
    kind = click.IntRange(int(least)) if isinstance(default, int) else click.FloatRange(least)
    metavar = "N" if isinstance(default, int) else "X"
    return Option(name, metavar=metavar, type=kind, default=default, panel="Limits", help=help)


@command(
    Argument(
        "models", "MODEL...", "one or more model files that tidegate train wrote", model_file,
        nargs=-1, required=True,
    ),
    Option(
        "--host",
        metavar="ADDRESS",
        default="127.0.0.1",
        help="address to listen at. At any but this machine's own, requests must bear a token: "
        f"that of the environment's {_TOKEN}, or a new one, which is printed",
    ),
    Option(
        "--port",
        metavar="N",
        type=click.IntRange(0, 65535),
        default=8000,
        help="port to listen at; 0 is any that is free",
    ),
    _limit("--max-body", Limits.body_bytes, "bytes of one request"),
    _limit("--max-length", Limits.steps, "steps, tokens or characters of one request"),
    _limit("--max-seconds", Limits.seconds, "seconds until a request is answered", 0.1),
    _limit("--queue", Limits.queue, "requests that wait or are answered at a time"),
    _limit("--batch", Limits.batch, "inputs that are read at once; 1 reads each by itself"),
    _limit("--streams", Limits.streams, "streams that are open at a time", 0),
    _limit("--idle", Limits.idle_s, "seconds after which a stream is closed that is not fed", 0.1),
)  # fmt: skip
def serve(
    models: tuple[Path, ...],
    host: str,
    port: int,
    max_body: int,
    max_length: int,
    max_seconds: float,
    queue: int,
    batch: int,
    streams: int,
    idle: float,
) -> None:
    """Serve models over HTTP: predictions, texts that go on, forecasts, streams; and a page to try
    them on, at the address that is printed.

    Requests that come at the same time are read as one batch.  GET /openapi.json describes all
    routes, GET /metrics tells what was done.  It needs no torch; Ctrl-C ends it.

    Example: tidegate serve reviews-text-classifier.safetensors book-language-model.safetensors

    curl http://127.0.0.1:8000/v1/predict -H 'content-type: application/json'
    -d '{"inputs": ["not bad at all"]}'
    """
    from tidegate.serving.server import serve as serve_until_interrupted

    limits = Limits(
        body_bytes=max_body, steps=max_length, seconds=max_seconds, queue=queue, batch=batch,
        streams=streams, idle_s=idle,
    )  # fmt: skip
    token = os.environ.get(_TOKEN) or None
    serve_until_interrupted(models, host=host, port=port, token=token, limits=limits)
