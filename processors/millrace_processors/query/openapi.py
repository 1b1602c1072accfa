"""The REST paths as an OpenAPI 3.1 document."""

from __future__ import annotations

from typing import Any

from millrace_processors.query.asking import MOST_MERCHANTS
from millrace_processors.query.jobs import State
from millrace_processors.query.results import FORMATS

_TEXT, _FLAG, _NUMBER = {"type": "string"}, {"type": "boolean"}, {"type": "integer"}
_INSTANT = {"type": "string", "format": "date-time"}
_MAYBE_INSTANT = {"type": ["string", "null"], "format": "date-time"}


def _object(required: str, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": required.split(), "properties": properties}


_COLUMN = _object("name type", name=_TEXT, type=_TEXT)
_SCHEMAS: dict[str, Any] = {
    "Question": {
        **_object(
            "sql",
            sql={"type": "string", "description": "One SELECT over the views."},
            start={"type": "string", "description": "Windows from then on, rounded down; by default 31 days before the end."},
            end={"type": "string", "description": "Windows before then, rounded up; by default now."},
            merchants={"type": "array", "items": _TEXT, "minItems": 1, "maxItems": MOST_MERCHANTS, "description": "Default: all of yours."},
        ),
        "additionalProperties": False,
    },
    "Job": _object(
        "id state sql range merchants createdAt status",
        id=_TEXT,
        state={"enum": [state.value for state in State]},
        sql=_TEXT,
        range=_object("start end byDefault", start=_INSTANT, end=_INSTANT, byDefault=_FLAG),
        merchants={"type": ["array", "null"], "items": _TEXT, "description": "null: every merchant."},
        createdAt=_INSTANT,
        startedAt=_MAYBE_INSTANT,
        finishedAt=_MAYBE_INSTANT,
        expiresAt=_MAYBE_INSTANT,
        rows=_NUMBER,
        bytes=_NUMBER,
        rowsRead={**_NUMBER, "description": "For operators and services: rows of the lake's files after pruning."},
        truncated={**_FLAG, "description": "Whether rows beyond the limit were cut off."},
        asOf={**_MAYBE_INSTANT, "description": "The instant of the lake's snapshot that was read."},
        completeThrough={**_MAYBE_INSTANT, "description": "Every change up to then is in it; null where that is not known."},
        status=_TEXT,
        result=_TEXT,
        error=_object("code detail", code=_TEXT, detail=_TEXT),
    ),
    "Page": _object(
        "columns rows offset total truncated next",
        columns={"type": "array", "items": _COLUMN},
        rows={"type": "array", "items": {"type": "array"}, "description": "64-bit whole numbers and decimals are text."},
        offset=_NUMBER,
        total=_NUMBER,
        truncated=_FLAG,
        next={"type": ["string", "null"]},
    ),
    "Problem": _object(
        "type title status code detail",
        type=_TEXT, title=_TEXT, status=_NUMBER, code=_TEXT, detail=_TEXT, line=_NUMBER, column=_NUMBER, what=_TEXT,
    ),
}  # fmt: skip


def _answer(text: str, name: str | None, media: str = "application/json") -> dict[str, Any]:
    schema: dict[str, Any] = {} if name is None else {"$ref": f"#/components/schemas/{name}"}
    return {"description": text, "content": {media: {"schema": schema}}}


def _operation(name: str, text: str, answers: dict[str, Any], *parameters: dict[str, Any], **more: Any) -> dict[str, Any]:
    problem = _answer("A problem (RFC 9457).", "Problem", "application/problem+json")
    return {"operationId": name, "summary": text, "parameters": list(parameters), "responses": {**answers, "default": problem}, **more}


def _parameter(name: str, text: str, schema: dict[str, Any], where: str = "query") -> dict[str, Any]:
    return {"name": name, "in": where, "required": where == "path", "description": text, "schema": schema}


def document(wait: float, page: int, largest_page: int) -> dict[str, Any]:
    """The document. ``wait``: the longest wait of a status request in seconds; ``page``, ``largest_page``: rows."""
    job = _parameter("job", "The id of a query.", _TEXT, "path")
    state, listed = _answer("The query.", "Job"), _answer("The newest hundred.", None)
    pages: dict[str, Any] = {media.split(";")[0]: {"schema": {}} for media in FORMATS.values()}
    pages["application/json"] = {"schema": {"$ref": "#/components/schemas/Page"}}
    body = {"required": True, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Question"}}}}
    seconds = {"type": "number", "minimum": 0, "maximum": wait, "default": 0}
    rows = {"type": "integer", "minimum": 1, "maximum": largest_page, "default": page}
    offset = {"type": "integer", "minimum": 0, "default": 0}
    paging = (
        _parameter("format", "How; else by Accept.", {"enum": list(FORMATS)}),
        _parameter("offset", "The first row.", offset),
        _parameter("limit", "Rows of the page.", rows),
    )
    return {
        "openapi": "3.1.0",
        "info": {"title": "Millrace ad-hoc SQL", "version": "1"},
        "security": [{"token": []}],
        "paths": {
            "/v1/query/views": {"get": _operation("views", "What may be asked.", {"200": _answer("Views and functions.", None)})},
            "/v1/query/jobs": {
                "post": _operation("ask", "Ask a query.", {"202": _answer("Taken.", "Job")}, requestBody=body),
                "get": _operation("jobs", "Your queries.", {"200": listed}),
            },
            "/v1/query/jobs/{job}": {
                "get": _operation("status", "What became of it.", {"200": state}, job, _parameter("wait", "Seconds.", seconds)),
                "delete": _operation("cancel", "End it, or remove its result.", {"200": state}, job),
            },
            "/v1/query/jobs/{job}/result": {
                "get": _operation("result", "A page.", {"200": {"description": "Rows.", "content": pages}}, job, *paging),
            },
        },
        "components": {"schemas": _SCHEMAS, "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}}},
    }
