"""Time zones as step functions: the instants at which their offset from UTC changes. Pure but for the zone files themselves."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from functools import lru_cache

import numpy as np

from millrace_contracts.values.zones import advice, names, rules
from millrace_contracts.windows import from_ms
from millrace_graphql.errors import InvalidArgumentError
from millrace_graphql.ranges.columns import Ints

DAY_SECONDS = 86_400
DAY_MS = DAY_SECONDS * 1000


@dataclass(frozen=True)
class Offsets:
    """The offset of a zone over some time: ``offsets[i]`` ms from ``starts[i]`` on, until ``starts[i + 1]``."""

    starts: Ints
    offsets: Ints

    def at(self, instants: Ints) -> Ints:
        """The offset at each instant, ms."""
        result: Ints = self.offsets[np.maximum(np.searchsorted(self.starts, instants, side="right") - 1, 0)]
        return result

    def local(self, instants: Ints) -> Ints:
        """The wall clock at each instant, as ms since 1970-01-01T00:00 of that wall clock."""
        return instants + self.at(instants)


def check_zone(name: str) -> str:
    """The name of a zone.

    Raises:
        InvalidArgumentError: there is no such zone; names near ones.
    """
    if name in names():
        return name
    raise InvalidArgumentError("timeZone", name, "is not an IANA time zone", advice(name))


def offsets(zone: str, start_ms: int, end_ms: int) -> Offsets:
    """The offsets of a zone over [start, end]."""
    if zone == "UTC":
        return Offsets(np.array([start_ms], np.int64), np.zeros(1, np.int64))
    steps = [step for year in range(from_ms(start_ms).year, from_ms(end_ms).year + 1) for step in _year(zone, year)]
    starts = np.array([instant for instant, _ in steps], np.int64)
    values = np.array([offset for _, offset in steps], np.int64)
    changes = np.flatnonzero(np.append(True, values[1:] != values[:-1]))
    return Offsets(starts[changes], values[changes])


@lru_cache(maxsize=4_096)
def _year(zone: str, year: int) -> tuple[tuple[int, int], ...]:
    """(instant, offset from then on), in ms, at the start of a UTC year and at each change in it.

    The zone is asked once a day, and each change narrowed down to its second: no zone changes twice within a day.
    """
    place = rules(zone)
    start, end = (int(datetime(number, 1, 1, tzinfo=UTC).timestamp()) for number in (year, year + 1))
    known = _offset(place, start)
    steps = [(start, known)]
    for low in range(start, end, DAY_SECONDS):
        high = min(low + DAY_SECONDS, end - 1)
        if _offset(place, high) == known:
            continue
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if _offset(place, middle) == known else (low, middle)
        known = _offset(place, high)
        steps.append((high, known))
    return tuple((instant * 1000, offset * 1000) for instant, offset in steps)


def _offset(place: tzinfo, second: int) -> int:
    shift = datetime.fromtimestamp(second, place).utcoffset()
    assert shift is not None
    return shift.days * DAY_SECONDS + shift.seconds
