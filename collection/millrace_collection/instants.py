"""Instants at the API: RFC 3339 with an offset, or epoch milliseconds; whole milliseconds inside, as BSON dates are (I11). Days as text."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Annotated

from pydantic import BeforeValidator

from millrace_contracts.values import instants
from millrace_contracts.windows import from_ms

EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
_EARLIEST_MS = 946_684_800_000
_LATEST_MS = 253_402_300_799_999


def parse_instant(value: object) -> datetime:
    """The instant in UTC, cut to milliseconds.

    Raises:
        ValueError: not an instant, without an offset, or before 2000 (epoch seconds look like 1970).
    """
    if isinstance(value, str):
        instant = instants.parse_instant(value)
        if instant < EARLIEST:
            raise ValueError("before the year 2000")
        return instant.replace(microsecond=instant.microsecond // 1000 * 1000) if instant.microsecond % 1000 else instant
    if isinstance(value, int) and not isinstance(value, bool):
        if not _EARLIEST_MS <= value <= _LATEST_MS:
            raise ValueError("not epoch milliseconds since 2000; a number of seconds must be multiplied by 1000")
        return from_ms(value)
    raise ValueError("not an instant; write RFC 3339 with an offset, such as 2026-03-01T09:30:00Z, or epoch milliseconds")


def parse_day(value: object) -> date:
    """The day of a text such as 1990-05-17; a number is none.

    Raises:
        ValueError: it is no day, or not text.
    """
    if not isinstance(value, str):
        raise ValueError("not a day; write it as text, such as 1990-05-17")
    return instants.parse_day(value)


Instant = Annotated[datetime, BeforeValidator(parse_instant)]
Day = Annotated[date, BeforeValidator(parse_day)]
