"""Days of a merchant's calendar: the first instant of each date in a time zone. Pure but for the zone files themselves.

A date begins at its first instant, which is not midnight where the clocks jump over midnight. A date that a zone skipped has no
day; what the clocks repeat of a date that has ended belongs to the date that has begun.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from millrace_contracts.values.zones import names, or_utc, rules
from millrace_contracts.windows import WINDOW_MS, from_ms

Ints = NDArray[np.int64]
NONE = np.iinfo(np.int64).min
"""Stands for no window."""
_DAY, _REACH = 86_400, 30 * 3_600
"""Seconds; no zone is further from UTC than the reach, nor changes twice within it on both sides of a midnight."""
_HOUR_MS = 3_600_000


def day_starts(zone: str, first_ms: int, last_ms: int) -> Ints:
    """The starts of the days that hold [first, last], and of the day after them; epoch ms, ascending."""
    years = range(from_ms(first_ms - 2 * _DAY * 1000).year, from_ms(last_ms + 2 * _DAY * 1000).year + 1)
    starts = np.unique(np.concatenate([_year(zone, year) for year in years]))
    low = np.searchsorted(starts, first_ms, side="right") - 1
    high = np.searchsorted(starts, last_ms, side="right")
    return starts[low : high + 1]


def closed_at(end_ms: Ints) -> Ints:
    """When the last 10-minute report of a window closes: at the window's end, or up to 10 minutes later in zones of odd offsets."""
    return -(-end_ms // WINDOW_MS) * WINDOW_MS


@lru_cache(maxsize=1)
def cuts() -> dict[str, frozenset[int]]:
    """The zones whose hours begin inside a 10-minute window, and by how many ms after the hour of UTC they do: 900,000 at +05:45.

    Offsets from 2000 on count, which is as far back as the API answers; each quarter of a year is looked at.
    """
    found = {zone: frozenset(_hour_starts(rules(zone))) for zone in sorted(names())}
    return {zone: starts for zone, starts in found.items() if starts}


def _hour_starts(place: tzinfo) -> Iterator[int]:
    for year, month in itertools.product(range(2000, 2040), (1, 4, 7, 10)):
        start = -_offset(place, int(datetime(year, month, 1, tzinfo=UTC).timestamp())) * 1000 % _HOUR_MS
        if start % WINDOW_MS:
            yield start


def closed_days(zones: list[str | None], at_ms: Ints, after_ms: int, through_ms: int) -> Ints:
    """The start of the day that holds each instant in its zone, or ``NONE`` unless that day has closed after one instant and by another."""
    found = np.full(len(at_ms), NONE, dtype=np.int64)
    known = np.array([or_utc(name) for name in zones], dtype=object)
    for zone in set(known.tolist()):
        rows = np.flatnonzero(known == zone)
        instants = at_ms[rows]
        starts = day_starts(zone, int(instants.min()), int(instants.max()))
        place = np.searchsorted(starts, instants, side="right") - 1
        closed = closed_at(starts[place + 1])
        found[rows] = np.where((closed > after_ms) & (closed <= through_ms), starts[place], NONE)
    return found


@lru_cache(maxsize=4_096)
def _year(zone: str, year: int) -> Ints:
    """The first instants of the dates of a year."""
    place = rules(zone)
    first, last = (int(datetime(number, 1, 1, tzinfo=UTC).timestamp()) for number in (year, year + 1))
    return np.unique(np.array([_first_instant(place, midnight) for midnight in range(first, last, _DAY)], dtype=np.int64) * 1000)


def _first_instant(place: tzinfo, midnight: int) -> int:
    """The first second of a date, which is given as the second at which it begins in UTC."""
    low, high = midnight - _REACH, midnight + _REACH
    before, after = _offset(place, low), _offset(place, high)
    if before == after:
        return midnight - before
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _offset(place, middle) == before else (low, middle)
    return midnight - before if midnight - before < high else max(high, midnight - after)


def _offset(place: tzinfo, second: int) -> int:
    shift = datetime.fromtimestamp(second, place).utcoffset()
    assert shift is not None
    return shift.days * _DAY + shift.seconds
