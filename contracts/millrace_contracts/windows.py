"""Windows of 10 minutes, hours and days, and the buckets (partitions) that hold them.

Instants are timezone-aware datetimes in UTC or epoch milliseconds (I11). A window is [start, start + length).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum

WINDOW = timedelta(minutes=10)
WINDOW_MS = 600_000


class Grain(StrEnum):
    """A stored length of a report; the value is what Cassandra's ``grain`` column holds."""

    TEN_MINUTES = "10m"
    HOUR = "1h"
    DAY = "1d"


class Inner(StrEnum):
    """What is stored of the inside of a 10-minute report, under the same column; nobody asks for it (reports.py)."""

    PART = "part"


def to_ms(instant: datetime) -> int:
    """Epoch milliseconds of an aware instant, exact (no float)."""
    delta = instant - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * 1000 + delta.microseconds // 1000


def from_ms(ms: int) -> datetime:
    """The UTC instant of epoch milliseconds, exact."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)


def window_start_ms(ms: int) -> int:
    """Start of the 10-minute window that holds an instant; also right before 1970."""
    return ms - ms % WINDOW_MS


def window_start(instant: datetime) -> datetime:
    """Start of the 10-minute window that holds an instant."""
    return from_ms(window_start_ms(to_ms(instant)))


def bucket(grain: Grain | Inner, start: datetime) -> str:
    """The Cassandra partition bucket of a window: its UTC month (10 minutes and parts of them), year (hours) or ``all`` (days)."""
    if grain in (Grain.TEN_MINUTES, Inner.PART):
        return f"{start.astimezone(UTC):%Y-%m}"
    if grain is Grain.HOUR:
        return f"{start.astimezone(UTC):%Y}"
    return "all"


def buckets(grain: Grain | Inner, start: datetime, end: datetime) -> list[str]:
    """Every bucket that windows starting in [start, end) fall into, in time order; empty for an empty range."""
    if start >= end:
        return []
    first, last = start.astimezone(UTC), end.astimezone(UTC) - timedelta(microseconds=1)
    if grain in (Grain.TEN_MINUTES, Inner.PART):
        months = range(first.year * 12 + first.month - 1, last.year * 12 + last.month)
        return [f"{month // 12:04d}-{month % 12 + 1:02d}" for month in months]
    if grain is Grain.HOUR:
        return [f"{year:04d}" for year in range(first.year, last.year + 1)]
    return ["all"]
