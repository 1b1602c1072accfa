"""Errors as RFC 9457 problem details (application/problem+json), naming field, value and fix."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from pydantic import ValidationError
from starlette.responses import Response

from millrace_contracts.documents import USER_SENSITIVE_FIELDS
from millrace_contracts.values.json_text import JsonError

CONTENT_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 2
_TITLES = {
    400: "The request is malformed",
    401: "No valid API key",
    403: "The API key does not open this",
    404: "Not found",
    405: "Method not allowed",
    408: "The body took too long",
    409: "Conflict",
    413: "The body is too large",
    415: "The media type or coding is not supported",
    422: "The content is not valid",
    429: "Too much at a time",
    500: "An error of ours",
    503: "MongoDB is not available",
}
CONTROL_CHARACTER = "control_character"
"""The type of pydantic's error for a text that holds one."""
OPERATIONS = ("payment", "refund", "status")
MOST_ERRORS = 50
"""Of one body or line: a field is a few bytes, its error a hundred."""
_SHOWN = 80
_JSON_LIMIT = 1 << 53
"""Whole numbers beyond it are shown as text: not every reader of JSON holds them."""


@dataclass(frozen=True)
class FieldError:
    """What is wrong with one field. ``value`` is left out of the answer for a sensitive field (I12)."""

    field: str
    value: object
    message: str

    def as_json(self) -> dict[str, object]:
        """The error as it is answered; long values are cut."""
        if self.field.split(".")[0] in USER_SENSITIVE_FIELDS:
            return {"field": self.field, "message": self.message}
        value = self.value
        if isinstance(value, int) and not -_JSON_LIMIT < value < _JSON_LIMIT:
            value = str(value)
        if not isinstance(value, int | float | bool | None):
            text = value if isinstance(value, str) else json.dumps(value, default=str)
            value = text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
        return {"field": self.field, "value": value, "message": self.message}


@dataclass(eq=False)
class Problem(Exception):
    """An answer that is not a success. ``retry_after`` is in seconds."""

    status: int
    detail: str
    errors: list[FieldError] = field(default_factory=list)
    retry_after: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """RFC 9457's members; ``errors`` names the fields."""
        body: dict[str, Any] = {"type": "about:blank", "title": _TITLES[self.status], "status": self.status, "detail": self.detail}
        if self.errors:
            body["errors"] = [error.as_json() for error in self.errors]
        return body

    def response(self, request_id: str) -> Response:
        """The HTTP answer."""
        headers = dict(self.headers) if self.retry_after is None else {**self.headers, "Retry-After": str(self.retry_after)}
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        body = orjson.dumps({**self.as_json(), "requestId": request_id})
        return Response(body, self.status, headers, media_type=CONTENT_TYPE)


def wrong(field_name: str, value: object, message: str, status: int = 422) -> Problem:
    """A problem with one field."""
    return Problem(status, f"{field_name}: {message}", [FieldError(field_name, value, message)])


def unavailable() -> Problem:
    """MongoDB did not confirm a majority in time: nothing is acknowledged (I1), and the same request may be sent again."""
    return Problem(503, "MongoDB did not confirm the write in time; send the same request again", retry_after=RETRY_AFTER_SECONDS)


def from_json(error: JsonError) -> Problem:
    """A body that is not JSON, or gives a field twice."""
    return Problem(400, str(error), [] if error.field is None else [FieldError(error.field, None, "is given twice")])


def from_validation(error: ValidationError) -> Problem:
    """pydantic's findings; a body that is not JSON, or a text with control characters, is 400, everything else 422."""
    items = error.errors(include_url=False, include_context=False)
    found = [_field_error(item) for item in items[:MOST_ERRORS]]
    kinds = {item["type"] for item in items}
    if "json_invalid" in kinds:
        return Problem(400, f"The body is not JSON: {found[0].message}")
    status = 400 if CONTROL_CHARACTER in kinds else 422
    return Problem(status, "; ".join(f"{item.field}: {item.message}" for item in found[:5]), found)


def _field_error(item: Mapping[str, Any]) -> FieldError:
    if item["type"].startswith("union_tag"):
        given = item["input"].get("op") if isinstance(item["input"], dict) else item["input"]
        return FieldError("op", given, f"write one of {', '.join(OPERATIONS)}")
    location = item["loc"][1:] if len(item["loc"]) > 1 and item["loc"][0] in OPERATIONS else item["loc"]
    name = ".".join(str(part) for part in location) or "body"
    missing = item["type"] == "missing"
    return FieldError(name, None if missing else item["input"], item["msg"].removeprefix("Value error, "))
