"""Which media type an answer takes, by the GraphQL-over-HTTP specification. Pure."""

from __future__ import annotations

from millrace_graphql.bounded import short_texts

JSON = "application/json"
GRAPHQL = "application/graphql-response+json"
_OFFERED = {JSON: JSON, GRAPHQL: GRAPHQL, "application/*": JSON, "*/*": JSON}


@short_texts(512)
def media_type(accept: str) -> str | None:
    """The media type for an Accept header; application/json without one; None where nothing offered is accepted."""
    if not accept.strip():
        return JSON
    best: tuple[float, str] | None = None
    for part in accept.split(","):
        name, *parameters = (piece.strip().lower() for piece in part.split(";"))
        if name not in _OFFERED or any(parameter.startswith("charset=") and "utf-8" not in parameter for parameter in parameters):
            continue
        quality = _quality(parameters)
        if quality > 0 and (best is None or quality > best[0]):
            best = (quality, _OFFERED[name])
    return best[1] if best else None


def _quality(parameters: list[str]) -> float:
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return float(parameter[2:])
            except ValueError:
                return 0.0
    return 1.0
