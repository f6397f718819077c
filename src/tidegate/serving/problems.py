"""What is said to one who asked for what cannot be had: RFC 9457, application/problem+json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from starlette.responses import Response

MEDIA_TYPE: Final = "application/problem+json"


class Problem(Exception):
    """A request that is refused; ``detail`` reads "expected ..., got ...; remedy"."""

    def __init__(
        self, status: HTTPStatus, detail: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, headers

    def told(self) -> dict[str, Any]:
        """The members of RFC 9457 that a program needs."""
        return {"status": self.status.value, "title": self.status.phrase, "detail": self.detail}

    def response(self) -> Response:
        """The whole answer."""
        return Response(
            json.dumps(self.told()), self.status, headers=self.headers, media_type=MEDIA_TYPE
        )


def unusable(detail: str) -> Problem:
    """Of a request that is well-formed, and asks for what the model cannot do."""
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, detail)


def busy(detail: str) -> Problem:
    """Of a request that may be made again."""
    return Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, {"retry-after": "1"})
