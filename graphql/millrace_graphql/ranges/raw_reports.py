"""10-minute reports of any range from Cassandra: packed days where there are some, and the reports' own rows everywhere else.

A packed day is a copy that is deleted before newer reports of it are written (millrace_contracts.reports, PACKED_TABLE), so that the
numbers are the same whichever is read; only the days that rollups have passed are asked for, as the others are not packed yet.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Protocol

from millrace_contracts.windows import Grain as Stored
from millrace_contracts.windows import buckets, from_ms
from millrace_graphql.ranges.columns import Group, Rows, joined
from millrace_graphql.ranges.directory import Progress
from millrace_graphql.ranges.zones import DAY_MS

PACKED_FROM_MS = 4 * 3_600_000
"""A shorter part of a day is read from its rows: a packed day comes whole."""
GAP_DAYS = 1
"""Days without a packed row that have at most so many others between them are read at once."""
Groups = frozenset[Group]
Span = tuple[int, int]
"""[start, end) in epoch ms."""


class RawStore(Protocol):
    """Where 10-minute reports are read from."""

    async def read(self, merchant_id: str, bucket: str, start_ms: int, end_ms: int, groups: Groups) -> Rows:
        """10-minute reports that start in [start, end) of one bucket."""

    async def packed(self, merchant_id: str, bucket: str, start_ms: int, end_ms: int, groups: Groups) -> Mapping[int, Rows]:
        """The packed days of one bucket that begin in [start, end), by their start."""


def packed_through(progress: Progress) -> int | None:
    """Up to when days may be packed; None where nothing was ever rolled up.

    However far rollups are behind: a late fact deletes the packed day before it shows in the reports.
    """
    reports, rollups = progress.complete_through_ms, progress.rollups_through_ms
    return None if reports is None or rollups is None else min(reports, rollups)


class RawReports:
    """Reads the 10-minute reports of a range."""

    def __init__(self, store: RawStore) -> None:
        self._store = store

    async def read(self, merchant_id: str, start_ms: int, end_ms: int, groups: Groups, packed_ms: int | None) -> Rows:
        """The reports that start in [start, end), all currencies, in time order; ``packed_ms`` is that of ``packed_through``.

        Raises:
            UnavailableError: Cassandra does not answer.
        """
        days = packable(start_ms, end_ms, packed_ms)
        if not days:
            return await self._rows(merchant_id, start_ms, end_ms, groups)
        low, high = max(start_ms, days[0]), min(end_ms, days[-1] + DAY_MS)
        edges = [span for span in ((start_ms, low), (high, end_ms)) if span[0] < span[1]]
        beside = [self._spanned(merchant_id, [span], groups) for span in edges]
        # A task of its own for a lone read would cost as much as all else that is done here.
        if beside:
            found, *parts = await asyncio.gather(self._packed(merchant_id, days, groups), *beside)
        else:
            found, parts = await self._packed(merchant_id, days, groups), []
        missing = [day for day in days if day not in found]
        if not missing and not edges and len(found) == 1:
            [only] = found.values()
            return {group: data.between(start_ms, end_ms) for group, data in only.items()}
        parts += await asyncio.gather(*(self._spanned(merchant_id, run, groups) for run in _runs(missing, low, high)))
        pieces = dict(piece for part in parts for piece in part.items()) | found
        ordered = [pieces[at] for at in sorted(pieces)]
        return {group: joined(group, [piece[group] for piece in ordered]).between(start_ms, end_ms) for group in groups}

    async def _packed(self, merchant_id: str, days: list[int], groups: Groups) -> dict[int, Rows]:
        start_ms, end_ms = days[0], days[-1] + DAY_MS
        months = months_of(start_ms, end_ms)
        if len(months) == 1:
            return dict(await self._store.packed(merchant_id, months[0], start_ms, end_ms, groups))
        found = await asyncio.gather(*(self._store.packed(merchant_id, month, start_ms, end_ms, groups) for month in months))
        return {day: rows for part in found for day, rows in part.items()}

    async def _spanned(self, merchant_id: str, spans: list[Span], groups: Groups) -> dict[int, Rows]:
        """The rows of spans that are read at once, by the spans' starts."""
        rows = await self._rows(merchant_id, spans[0][0], spans[-1][1], groups)
        return {low: {group: data.between(low, high) for group, data in rows.items()} for low, high in spans}

    async def _rows(self, merchant_id: str, start_ms: int, end_ms: int, groups: Groups) -> Rows:
        months = months_of(start_ms, end_ms)
        if len(months) == 1:
            return await self._store.read(merchant_id, months[0], start_ms, end_ms, groups)
        found = await asyncio.gather(*(self._store.read(merchant_id, month, start_ms, end_ms, groups) for month in months))
        return {group: joined(group, [part[group] for part in found]) for group in groups}


@lru_cache(512)
def months_of(start_ms: int, end_ms: int) -> list[str]:
    """The buckets of [start, end), which nobody may write to: the same ranges are asked for of many merchants."""
    return buckets(Stored.TEN_MINUTES, from_ms(start_ms), from_ms(end_ms))


def packable(start_ms: int, end_ms: int, packed_ms: int | None) -> list[int]:
    """The starts of the days of [start, end) that are looked for among packed ones, consecutive ones."""
    if packed_ms is None:
        return []
    first, last = start_ms // DAY_MS * DAY_MS, min(-(-end_ms // DAY_MS), packed_ms // DAY_MS) * DAY_MS
    return [day for day in range(first, last, DAY_MS) if min(end_ms, day + DAY_MS) - max(start_ms, day) >= PACKED_FROM_MS]


def _runs(days: Iterable[int], low: int, high: int) -> list[list[Span]]:
    """Days, cut to [low, high), in groups that are near enough to be read at once."""
    runs: list[list[Span]] = []
    for day in days:
        span = max(day, low), min(day + DAY_MS, high)
        if runs and day - runs[-1][-1][1] <= GAP_DAYS * DAY_MS:
            runs[-1].append(span)
        else:
            runs.append([span])
    return runs
