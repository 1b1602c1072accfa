"""Ranges: which windows an answer holds, and which ranges are refused with which words. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property, lru_cache

import numpy as np

from millrace_contracts.windows import WINDOW_MS, from_ms, to_ms
from millrace_graphql.errors import InvalidArgumentError
from millrace_graphql.ranges.calendar import Grain, boundaries
from millrace_graphql.ranges.columns import Ints
from millrace_graphql.ranges.zones import DAY_MS as DAY_MS

CHUNKED_DAYS = 35
"""Up to here a range is read by cached days; a longer one reads whole months past the cache: 365 look-ups cost more than 13 reads."""
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
LATEST = datetime(2100, 1, 1, tzinfo=UTC)
_NEAR_MS = {Grain.TEN_MINUTES: WINDOW_MS, Grain.HOUR: 2 * 3_600_000, Grain.DAY: 3 * DAY_MS}
"""Within this time of an instant a boundary of the grain is sure to be."""
_REMEMBERED_LENGTH = timedelta(days=8)
ALIGNED_TO = {**dict.fromkeys(Grain, Grain.DAY), Grain.TEN_MINUTES: Grain.TEN_MINUTES, Grain.HOUR: Grain.HOUR}
"""The grain on whose boundaries a range of each grain starts and ends: weeks and months may be cut by it."""


@dataclass(frozen=True)
class Range:
    """[start, end) in epoch ms, cut into windows at the boundaries of ``grain`` in ``zone``."""

    start_ms: int
    end_ms: int
    grain: Grain
    zone: str = "UTC"

    @cached_property
    def _bounds(self) -> Ints:
        return boundaries(self.grain, self.zone, self.start_ms, self.end_ms)

    @cached_property
    def edges(self) -> Ints:
        """The n + 1 instants that bound the n windows; a range is shared, so that nobody may write them."""
        bounds = self._bounds
        inner = bounds[(bounds > self.start_ms) & (bounds < self.end_ms)]
        found = np.concatenate((np.array([self.start_ms], np.int64), inner, np.array([self.end_ms], np.int64)))
        found.flags.writeable = False
        return found

    @cached_property
    def starts(self) -> Ints:
        """Start of each window."""
        return self.edges[:-1]

    @cached_property
    def ends(self) -> Ints:
        """End of each window, exclusive."""
        return self.edges[1:]

    @property
    def windows(self) -> int:
        """How many windows lie in the range."""
        return len(self.edges) - 1

    @cached_property
    def partial(self) -> list[bool]:
        """For each window whether the range holds only a part of its hour, day, week or month."""
        whole = np.isin(self.edges, self._bounds)
        flags: list[bool] = (~(whole[:-1] & whole[1:])).tolist()
        return flags

    @cached_property
    def split(self) -> list[bool]:
        """For each window whether it begins or ends inside a 10-minute report, of which the parts are to be read.

        It does where the zone's offset is not a multiple of 10 minutes, as in Asia/Kathmandu.
        """
        inside = self.edges % WINDOW_MS != 0
        flags: list[bool] = (inside[:-1] | inside[1:]).tolist()
        return flags


def day_of(ms: int) -> str:
    """UTC day of an instant: 2026-11-24."""
    return _day(ms // DAY_MS)


@lru_cache(4_096)
def _day(number: int) -> str:
    return f"{from_ms(number * DAY_MS):%Y-%m-%d}"


@lru_cache(4_096)
def day_start_ms(day: str) -> int:
    """Epoch ms at which a UTC day begins."""
    return to_ms(datetime.fromisoformat(day).replace(tzinfo=UTC))


def days_of(start_ms: int, end_ms: int) -> list[str]:
    """Every UTC day that [start, end) touches, in order."""
    return [day_of(ms) for ms in range(start_ms - start_ms % DAY_MS, end_ms, DAY_MS)]


def pieces(edges: Ints, most_ms: int) -> Iterator[tuple[int, int]]:
    """Runs of whole windows, each as long as ``most_ms`` allows, and at least one window."""
    first, last = 0, len(edges) - 1
    while first < last:
        after = max(first + 1, int(np.searchsorted(edges, edges[first] + most_ms, side="right")) - 1)
        yield int(edges[first]), int(edges[after])
        first = after


def closed_at(ends: Ints) -> Ints:
    """When the last 10-minute report of each window closes: the window's end, or up to 10 minutes later where it is split."""
    return -(-ends // WINDOW_MS) * WINDOW_MS


def checked_range(start: datetime, end: datetime, grain: Grain, zone: str = "UTC") -> Range:
    """The range of a series, however long. Start and end must stand on a boundary of the grain in the zone; for weeks and months, of a day.

    Raises:
        InvalidArgumentError: names the argument, its value and the fix.
    """
    if end - start > _REMEMBERED_LENGTH:
        return _checked(start, end, grain, zone)
    return _checked_before(start, end, grain, zone)


def _checked(start: datetime, end: datetime, grain: Grain, zone: str) -> Range:
    for name, instant in (("start", start), ("end", end)):
        _check_instant(name, instant, ALIGNED_TO[grain], zone)
    asked = Range(to_ms(start), to_ms(end), grain, zone)
    if asked.end_ms <= asked.start_ms:
        raise InvalidArgumentError("end", iso(asked.end_ms), f"is not after start ({iso(asked.start_ms)})", "swap them or give a later end")
    return asked


_checked_before = lru_cache(512)(_checked)
"""Short ranges that were asked for before, with their windows: many merchants ask for the same ones."""


def within_limits(asked: Range, *, sparse: bool, max_points: int, max_sparse_days: int) -> Range:
    """The range, which is not too long.

    Raises:
        InvalidArgumentError: names the end, how long the range is and the fix.
    """
    days = (asked.end_ms - asked.start_ms) / DAY_MS
    if days > max_sparse_days:
        raise InvalidArgumentError("end", iso(asked.end_ms), f"makes {days:.0f} days", f"ask for at most {max_sparse_days} days")
    if not sparse and asked.windows > max_points:
        latest = iso(int(asked.edges[max_points]))
        fix = f"a dense series holds at most {max_points}: end by {latest}, take a longer grain, or sparse: true"
        raise InvalidArgumentError("end", iso(asked.end_ms), f"makes {asked.windows} windows of {asked.grain.name}", fix)
    return asked


def checked_window(start: datetime) -> Range:
    """The range of one 10-minute report.

    Raises:
        InvalidArgumentError: names the argument, its value and the fix.
    """
    _check_instant("start", start, Grain.TEN_MINUTES, "UTC")
    return Range(to_ms(start), to_ms(start) + WINDOW_MS, Grain.TEN_MINUTES)


def _check_instant(name: str, instant: datetime, grain: Grain, zone: str) -> None:
    if not EARLIEST <= instant <= LATEST:
        raise InvalidArgumentError(name, instant.isoformat(), "is out of reach", f"give an instant from {EARLIEST:%Y} to {LATEST:%Y}")
    ms = to_ms(instant)
    near = boundaries(grain, zone, ms - _NEAR_MS[grain], ms + _NEAR_MS[grain])
    after = int(np.searchsorted(near, ms))
    if instant.microsecond % 1_000 or near[after] != ms:
        below = int(near[after - 1])
        above = int(near[after]) if near[after] > ms else int(near[after + 1])
        fix = f"take {iso(below)} or {iso(above)}" + ("" if zone == "UTC" else ", or another timeZone")
        raise InvalidArgumentError(name, instant.isoformat(), f"is not on a boundary of {grain.name} ({zone})", fix)


@lru_cache(4_096)
def iso(ms: int) -> str:
    """RFC 3339 in UTC; milliseconds only where there are some."""
    return from_ms(ms).isoformat(timespec="milliseconds" if ms % 1000 else "seconds").replace("+00:00", "Z")
