"""Errors as RFC 9457 problem details (application/problem+json)."""

from __future__ import annotations

from collections.abc import Mapping

import orjson
from starlette.responses import Response

from millrace_cdc.connect import errors
from millrace_cdc.connect.errors import ConnectError

_TITLES = {
    400: "The request is malformed",
    401: "No valid access token",
    403: "Not an operator",
    404: "Not found",
    405: "Method not allowed",
    408: "The body took too long",
    409: "Connect's state does not allow it",
    413: "The body is too large",
    415: "The coding is not supported",
    422: "The content is not valid",
    502: "Kafka Connect failed",
    503: "Kafka Connect is not available",
}
_STATUS: tuple[tuple[type[ConnectError], int], ...] = (
    (errors.NotFoundError, 404),
    (errors.AlreadyExistsError, 409),
    (errors.RefusedError, 409),
    (errors.NotSettledError, 409),
    (errors.InvalidConfigError, 422),
    (errors.DeclarationError, 422),
    (errors.UnreachableError, 503),
    (errors.RebalancingError, 503),
)


class Problem(Exception):
    """An answer that is not a success."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, headers or {}

    def response(self) -> Response:
        """The HTTP answer."""
        body = {"type": "about:blank", "title": _TITLES[self.status], "status": self.status, "detail": self.detail}
        headers = {401: {"WWW-Authenticate": "Bearer"}, 503: {"Retry-After": "5"}}.get(self.status, self.headers)
        return Response(orjson.dumps(body), self.status, headers, media_type="application/problem+json")


def problem_of(error: ConnectError) -> Problem:
    """An error of this package as a problem."""
    return Problem(next((status for kind, status in _STATUS if isinstance(error, kind)), 502), error.message)
