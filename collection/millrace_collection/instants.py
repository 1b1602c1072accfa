"""Instants at the API: RFC 3339 with an offset, or epoch milliseconds; whole milliseconds inside, as BSON dates are (I11)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from pydantic import BeforeValidator

from millrace_contracts.windows import from_ms

EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
_EARLIEST_MS = 946_684_800_000
_LATEST_MS = 253_402_300_799_999


def parse_instant(value: object) -> datetime:
    """The instant in UTC, cut to milliseconds.

    Raises:
        ValueError: not an instant, without an offset, or before 2000 (epoch seconds look like 1970).
    """
    if isinstance(value, str) and len(value) >= 20 and value[10] in "Tt ":
        try:
            parsed = datetime.fromisoformat(value)
        except ValueError:
            raise ValueError("not an instant; write RFC 3339, such as 2026-03-01T09:30:00Z") from None
        if parsed.tzinfo is None:
            raise ValueError("the instant has no offset; end it with Z or +09:00")
        parsed = parsed.astimezone(UTC)
        instant = parsed.replace(microsecond=parsed.microsecond // 1000 * 1000)
    elif isinstance(value, int) and not isinstance(value, bool):
        if not _EARLIEST_MS <= value <= _LATEST_MS:
            raise ValueError("not epoch milliseconds since 2000; a number of seconds must be multiplied by 1000")
        return from_ms(value)
    else:
        raise ValueError("not an instant; write RFC 3339 with an offset, such as 2026-03-01T09:30:00Z, or epoch milliseconds")
    if instant < EARLIEST:
        raise ValueError("before the year 2000")
    return instant


Instant = Annotated[datetime, BeforeValidator(parse_instant)]
