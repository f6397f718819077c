"""Every route in one table, of which the application and its OpenAPI document are made."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from importlib.resources import files
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from tidegate.output.views import with_views
from tidegate.serving import metrics
from tidegate.serving.bodies import Member, check_media_type, parsed, read_body
from tidegate.serving.models import chosen
from tidegate.serving.openapi import document
from tidegate.serving.policy import content_policy
from tidegate.serving.service import Service
from tidegate.serving.verbs import MODEL, VERBS, Verb
from tidegate.serving.writing import MEMBERS as OF_WRITING

Handler = Callable[[Service, Request, dict[str, Any]], Awaitable[Response]]


@dataclass(frozen=True, kw_only=True)
class Route:
    """What answers ``method`` at ``path``; ``members`` are those of the body, of a POST.

    ``answer_about``: what comes back, of ``media_type``.  ``is_open``: it asks for no token.
    """

    method: str
    path: str
    about: str
    handler: Handler
    answer_about: str
    members: tuple[Member, ...] = ()
    media_type: str = "application/json"
    status: int = 200
    is_open: bool = False

    async def respond(self, service: Service, request: Request) -> Response:
        """The response.  Raises InputError or Problem."""
        told: dict[str, Any] = {}
        if self.method == "POST":
            check_media_type(request)
            told = parsed(await read_body(request, service.limits), self.members)
        return await self.handler(service, request, told)


def _json(value: Any, status: int = 200) -> Response:
    return Response(json.dumps(value), status, media_type="application/json")


async def _page(_service: Service, _request: Request, _told: dict[str, Any]) -> Response:
    page = with_views((files("tidegate.serving") / "page.html").read_text(encoding="utf-8"))
    headers = {"content-security-policy": content_policy(page)}
    return Response(page, headers=headers, media_type="text/html")


async def _health(service: Service, _request: Request, _told: dict[str, Any]) -> Response:
    return _json({"status": "ok", "models": len(service.models)})


async def _metrics(service: Service, _request: Request, _told: dict[str, Any]) -> Response:
    return Response(service.metrics.text(), media_type=metrics.MEDIA_TYPE)


async def _models(service: Service, _request: Request, _told: dict[str, Any]) -> Response:
    return _json({"models": [model.told() for model in service.models.values()]})


async def _openapi(service: Service, _request: Request, _told: dict[str, Any]) -> Response:
    return _json(document(ROUTES, service.limits, service.token is not None))


async def _asked(verb: Verb, service: Service, _request: Request, told: dict[str, Any]) -> Response:
    return _json(await service.answer(verb, told))


async def _generate(service: Service, _request: Request, told: dict[str, Any]) -> Response:
    model = chosen(service.models, told["model"], "generate")
    events = await service.writer.events(model, told)
    headers = {"cache-control": "no-store"}
    return StreamingResponse(events, headers=headers, media_type="text/event-stream")


async def _open_stream(service: Service, _request: Request, told: dict[str, Any]) -> Response:
    return _json(await service.open_stream(told), HTTPStatus.CREATED)


async def _feed_stream(service: Service, request: Request, told: dict[str, Any]) -> Response:
    return _json(await service.feed_stream(request.path_params["id"], told))


async def _close_stream(service: Service, request: Request, _told: dict[str, Any]) -> Response:
    await service.close_stream(request.path_params["id"])
    return Response(status_code=HTTPStatus.NO_CONTENT)


_PIECE = Member(
    "piece",
    ("string", "array", "number"),
    "give what comes next: text, tokens, steps or rows, as the model's stream reads them",
    required=True,
)
_GIVEN = Member("given", ("object",), "give the conditions of a text, from names to values")

ROUTES: Final = (
    Route(
        method="GET", path="/", about="A page to try the models on.", handler=_page,
        answer_about="one HTML file, which asks for nothing but the routes below",
        media_type="text/html", is_open=True,
    ),
    Route(
        method="GET", path="/health", about="Tell whether the server answers.", handler=_health,
        answer_about="status ok, and the number of models", is_open=True,
    ),
    Route(
        method="GET", path="/metrics", about="Tell what was done so far, for Prometheus.",
        handler=_metrics, answer_about="Prometheus' text format", media_type="text/plain",
    ),
    Route(
        method="GET", path="/openapi.json", about="Describe all routes.", handler=_openapi,
        answer_about="this document",
    ),
    Route(
        method="GET", path="/v1/models", about="List the models, and what each may be asked.",
        handler=_models, answer_about="models: of each its name, task, and what it can",
    ),
    *(
        Route(
            method="POST", path=f"/v1/{verb.name}", about=verb.about, members=verb.members,
            handler=partial(_asked, verb), answer_about=verb.answer_about,
        )
        for verb in VERBS
    ),
    Route(
        method="POST", path="/v1/generate", about="Continue a text or a piece of music.",
        members=OF_WRITING, handler=_generate, media_type="text/event-stream",
        answer_about="events: token for each piece, with its text and alternatives, or what is on; "
        "then done, or error with a problem",
    ),
    Route(
        method="POST", path="/v1/streams", about="Begin a sequence that goes on from piece to "
        "piece.", members=(MODEL, _GIVEN), handler=_open_stream, status=201,
        answer_about="id; and idle_s, after how many seconds without a piece it is closed",
    ),
    Route(
        method="POST", path="/v1/streams/{id}/feed", about="Read the next piece of a stream.",
        members=(_PIECE,), handler=_feed_stream,
        answer_about="answer as of now: next tokens, probabilities, a forecast or a value",
    ),
    Route(
        method="DELETE", path="/v1/streams/{id}", about="End a stream.", handler=_close_stream,
        answer_about="nothing", status=204,
    ),
)  # fmt: skip
