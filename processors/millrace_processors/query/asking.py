"""What a caller asks: the body of a submission, checked, with its range of time and its rows. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from millrace_contracts.values.instants import parse_bound
from millrace_contracts.windows import WINDOW, window_start
from millrace_processors.query.errors import QueryError, TooLargeError
from millrace_processors.query.settings import QuerySettings

FIELDS = ("sql", "start", "end", "merchants")
MOST_MERCHANTS = 1_000


@dataclass(frozen=True)
class Question:
    """A submission. Windows start in [``start``, ``end``); ``merchants`` is None for all of the caller's."""

    sql: str
    start: datetime
    end: datetime
    default_range: bool
    merchants: list[str] | None


def question(body: Any, settings: QuerySettings, now: datetime) -> Question:
    """The question in a JSON body.

    Raises:
        QueryError: a field is missing or does not fit; the message names it, its value and the fix.
    """
    if not isinstance(body, Mapping):
        raise QueryError('the body is no JSON object such as {"sql": "SELECT …"}')
    strange = sorted(str(name) for name in body if name not in FIELDS)
    if strange:
        raise QueryError(f"{strange[0]:.60}: is no field of a query; there are {', '.join(FIELDS)}", argument=strange[0][:60])
    sql = body.get("sql")
    if not isinstance(sql, str) or not sql.strip():
        raise QueryError("sql: is missing; one SELECT as text", argument="sql")
    sql = sql.removeprefix("\ufeff")  # the byte order mark of a file of SQL
    if len(sql.encode("utf-8", "replace")) > settings.max_sql_bytes:
        raise TooLargeError(f"sql: is longer than {settings.max_sql_bytes:,} bytes; ask in several queries", argument="sql")
    start, end = _range(body, settings, now)
    return Question(sql, start, end, body.get("start") is None, _merchants(body.get("merchants")))


def _range(body: Mapping[str, Any], settings: QuerySettings, now: datetime) -> tuple[datetime, datetime]:
    """The range, in whole windows: the start rounded down, the end up; by default up to the window that is open now."""
    end = _up(_instant(body, "end") or now)
    asked = _instant(body, "start")
    start = window_start(end - timedelta(days=settings.default_days) if asked is None else asked)
    if start >= end:
        raise QueryError(f"start: {start:%Y-%m-%dT%H:%MZ} is not before the end, {end:%Y-%m-%dT%H:%MZ}", argument="start")
    if end - start > timedelta(days=settings.max_days):
        fix = f"ask for {settings.max_days} days at the most"
        raise TooLargeError(f"start: {(end - start).days} days up to the end are too long a range; {fix}", argument="start")
    return start, end


def _up(instant: datetime) -> datetime:
    floor = window_start(instant)
    return floor if floor == instant else floor + WINDOW


def _instant(body: Mapping[str, Any], name: str) -> datetime | None:
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, str):
        with suppress(ValueError):
            return parse_bound(value)
    fix = "an instant between 1970 and 2100 such as 2026-11-24T15:00Z or 2026-11-24"
    raise QueryError(f"{name}: {value!r:.60} is no instant; write {fix}", argument=name)


def _merchants(value: Any) -> list[str] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not value or not all(isinstance(each, str) for each in value):
        raise QueryError(f"merchants: {value!r:.60} is no list of merchant ids; leave it out for all of yours", argument="merchants")
    if len(value) > MOST_MERCHANTS:
        raise TooLargeError(f"merchants: {len(value):,} are too many; name {MOST_MERCHANTS:,} at the most", argument="merchants")
    return value
