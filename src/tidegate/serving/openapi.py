"""The OpenAPI document, made from the table of routes and the limits in force."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from tidegate.serving.limits import Limits
from tidegate.serving.problems import MEDIA_TYPE

if TYPE_CHECKING:
    from tidegate.serving.bodies import Member
    from tidegate.serving.routes import Route

_PROBLEM = {
    "type": "object",
    "properties": {
        "status": {"type": "integer"},
        "title": {"type": "string"},
        "detail": {"type": "string", "description": "expected ..., got ...; remedy"},
    },
    "required": ["status", "title", "detail"],
}
_REFUSALS = {
    "400": "The body is no JSON.",
    "401": "The token is missing or wrong.",
    "404": "There is no such stream.",
    "408": "The body came too slowly.",
    "413": "The body is too large.",
    "415": "The body is not said to be application/json.",
    "422": "The model cannot do what is asked.",
    "503": "The server is busy or stops; Retry-After says when to ask again.",
}


def document(routes: Iterable[Route], limits: Limits, needs_token: bool) -> dict[str, Any]:
    """OpenAPI 3.1."""
    paths: dict[str, Any] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, needs_token)
    told: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "tidegate serve",
            "version": "1",
            "description": f"Limits: bodies of {limits.body_bytes:,} bytes; {limits.steps:,} "
            f"steps, tokens or characters in a request; {limits.seconds:g} s for an answer; "
            f"{limits.queue} requests at a time; {limits.streams} streams, each closed when "
            f"{limits.idle_s:g} s have gone by without a piece.",
        },
        "paths": paths,
        "components": {"schemas": {"Problem": _PROBLEM}},
    }
    if needs_token:
        told["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    return told


def _operation(route: Route, needs_token: bool) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "summary": route.about,
        "operationId": f"{route.method.lower()}{re.sub(r'[^a-z0-9]+', '_', route.path)}",
        "responses": {str(route.status): {"description": route.answer_about}},
    }
    answer = operation["responses"][str(route.status)]
    if route.status != 204:
        kind = "object" if route.media_type == "application/json" else "string"
        answer["content"] = {route.media_type: {"schema": {"type": kind}}}
    if names := re.findall(r"{(\w+)}", route.path):
        operation["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in names
        ]
    if route.method == "POST":
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": _schema(route.members)}},
        }
        problem = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
        for status, about in _REFUSALS.items():
            operation["responses"][status] = {"description": about, "content": problem}
    if needs_token and not route.is_open:
        operation["security"] = [{"token": []}]
    return operation


def _schema(members: Iterable[Member]) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object", "additionalProperties": False, "properties": {}}
    for member in members:
        types = list(member.types)
        schema["properties"][member.name] = {
            "type": types if member.required else [*types, "null"],
            "description": member.about,
        }
    if required := [member.name for member in members if member.required]:
        schema["required"] = required
    return schema
