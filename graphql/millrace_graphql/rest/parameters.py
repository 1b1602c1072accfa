"""Query parameters of the REST API, each refused with its name, value and fix where it does not fit."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import TypeVar

from starlette.requests import Request

from millrace_graphql.errors import InvalidArgumentError
from millrace_graphql.ranges.answers import Asked
from millrace_graphql.ranges.calendar import Grain, Preset
from millrace_graphql.schema.scalars import parse_instant

Given = Mapping[str, str]
Choice = TypeVar("Choice", bound=StrEnum)
DAYS = frozenset({"start", "end", "preset"})
"""Of a range of days of the merchant's own calendar."""
RANGE = DAYS | {"timeZone", "currency"}


def parameters(request: Request, known: frozenset[str]) -> Given:
    """The query parameters; an unknown or doubled one is refused, since a misspelt filter would answer another question."""
    for name, value in request.query_params.multi_items():
        if name not in known:
            raise InvalidArgumentError(name, value, "is not a parameter of this resource", f"take one of {', '.join(sorted(known))}")
        if len(request.query_params.getlist(name)) > 1:
            raise InvalidArgumentError(name, value, "is given more than once", "give it once")
    return request.query_params


def asked(given: Given, grain: Grain = Grain.TEN_MINUTES) -> Asked:
    """The range that is asked for; ``grain`` where none is given."""
    return Asked(
        instant(given, "start") if "start" in given else None,
        instant(given, "end") if "end" in given else None,
        choice(given, "preset", Preset) if "preset" in given else None,
        choice(given, "grain", Grain, grain),
        given.get("timeZone"),
        given.get("currency"),
        flag(given, "sparse"),
    )


def instant(given: Given, name: str) -> datetime:
    """An instant that must be given."""
    if name not in given:
        raise InvalidArgumentError(name, "", "is missing", "give an instant such as 2026-11-24T09:30:00Z")
    found = parse_instant(given[name])
    if found is None:
        fix = "write it as 2026-11-24T09:30:00Z (a + must be sent as %2B)"
        raise InvalidArgumentError(name, given[name], "is not RFC 3339 with an offset", fix)
    return found


def choice(given: Given, name: str, of: type[Choice], default: Choice | None = None) -> Choice:
    """One of the names of an enum."""
    if name not in given and default is not None:
        return default
    value = given.get(name, "")
    if value not in of.__members__:
        raise InvalidArgumentError(name, value, f"is not a {name}", f"take one of {', '.join(of.__members__)}")
    return of[value]


def flag(given: Given, name: str) -> bool:
    """true or false; false where it is left out."""
    value = given.get(name, "false")
    if value not in ("true", "false"):
        raise InvalidArgumentError(name, value, "is neither true nor false", "write true or false")
    return value == "true"


def whole(given: Given, name: str, default: int, most: int) -> int:
    """A whole number from 0 on."""
    value = given.get(name, str(default))
    if not (value.isascii() and value.isdigit() and len(value) < 10 and int(value) <= most):
        raise InvalidArgumentError(name, value, "does not fit", f"give a whole number from 0 to {most}")
    return int(value)
