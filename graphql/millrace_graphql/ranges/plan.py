"""Ranges: which windows an answer holds, and in which pieces they are read. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from millrace_contracts.windows import Grain, buckets, from_ms, to_ms
from millrace_graphql.errors import InvalidArgumentError

GRAIN_MS = {Grain.TEN_MINUTES: 600_000, Grain.HOUR: 3_600_000, Grain.DAY: 86_400_000}
DAY_MS = GRAIN_MS[Grain.DAY]
CHUNKED_DAYS = 35
"""Up to here a range is read by cached days; a longer one reads whole months past the cache: 365 look-ups cost more than 13 reads."""
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
LATEST = datetime(2100, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Range:
    """[start, end) in epoch ms, both on a boundary of ``grain``."""

    start_ms: int
    end_ms: int
    grain: Grain

    @property
    def step(self) -> int:
        """Length of a window in ms."""
        return GRAIN_MS[self.grain]

    @property
    def windows(self) -> int:
        """How many windows lie in the range."""
        return (self.end_ms - self.start_ms) // self.step

    def days(self) -> list[str]:
        """Every UTC day that the range touches, in order."""
        first = self.start_ms - self.start_ms % DAY_MS
        return [day_of(ms) for ms in range(first, self.end_ms, DAY_MS)]

    def months(self) -> list[str]:
        """Every Cassandra bucket of 10-minute reports that the range touches, in order."""
        return buckets(Grain.TEN_MINUTES, from_ms(self.start_ms), from_ms(self.end_ms))

    @property
    def is_chunked(self) -> bool:
        """Whether the range is short enough for the cached days."""
        return self.end_ms - self.start_ms <= CHUNKED_DAYS * DAY_MS


def day_of(ms: int) -> str:
    """UTC day of an instant: 2026-11-24."""
    return f"{from_ms(ms):%Y-%m-%d}"


def day_start_ms(day: str) -> int:
    """Epoch ms at which a UTC day begins."""
    return to_ms(datetime.fromisoformat(day).replace(tzinfo=UTC))


def checked_range(start: datetime, end: datetime, grain: Grain, *, sparse: bool, max_points: int, max_sparse_days: int) -> Range:
    """The range of a series. Start and end must stand on a boundary of the grain, in UTC.

    Raises:
        InvalidArgumentError: names the argument, its value and the fix.
    """
    for name, instant in (("start", start), ("end", end)):
        _check_instant(name, instant, grain)
    asked = Range(to_ms(start), to_ms(end), grain)
    if asked.end_ms <= asked.start_ms:
        raise InvalidArgumentError("end", iso(asked.end_ms), f"is not after start ({iso(asked.start_ms)})", "swap them or give a later end")
    days = (asked.end_ms - asked.start_ms) / DAY_MS
    if days > max_sparse_days:
        raise InvalidArgumentError("end", iso(asked.end_ms), f"makes {days:.0f} days", f"ask for at most {max_sparse_days} days")
    if not sparse and asked.windows > max_points:
        latest = iso(asked.start_ms + max_points * asked.step)
        fix = f"a dense series holds at most {max_points}: end by {latest}, take a longer grain, or sparse: true"
        raise InvalidArgumentError("end", iso(asked.end_ms), f"makes {asked.windows} windows of {grain.name}", fix)
    return asked


def checked_window(start: datetime) -> Range:
    """The range of one 10-minute report.

    Raises:
        InvalidArgumentError: names the argument, its value and the fix.
    """
    _check_instant("start", start, Grain.TEN_MINUTES)
    return Range(to_ms(start), to_ms(start) + GRAIN_MS[Grain.TEN_MINUTES], Grain.TEN_MINUTES)


def _check_instant(name: str, instant: datetime, grain: Grain) -> None:
    if not EARLIEST <= instant <= LATEST:
        raise InvalidArgumentError(name, instant.isoformat(), "is out of reach", f"give an instant from {EARLIEST:%Y} to {LATEST:%Y}")
    step = timedelta(milliseconds=GRAIN_MS[grain])
    if remainder := (instant - EARLIEST) % step:
        below = instant - remainder
        near = f"{iso(to_ms(below))} or {iso(to_ms(below + step))}"
        raise InvalidArgumentError(name, instant.isoformat(), f"is not on a boundary of {grain.name} (UTC)", f"take {near}")


def iso(ms: int) -> str:
    """RFC 3339 in UTC; milliseconds only where there are some."""
    return from_ms(ms).isoformat(timespec="milliseconds" if ms % 1000 else "seconds").replace("+00:00", "Z")
