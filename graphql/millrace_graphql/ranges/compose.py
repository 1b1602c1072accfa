"""Composing a range from the coarsest stored grains: days of the merchant's calendar, hours of UTC, and 10-minute reports.

A stored hour or day is taken where it is there, complete, and inside one window of the answer; everywhere else the finer
grain is read. So an absent or late rollup costs speed and changes no number. Where a window of the answer, or a stored day, begins inside
a 10-minute report, the report's parts are read, if there are any as new as itself (millrace_contracts.reports).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from millrace_contracts.windows import WINDOW_MS, Inner, buckets, from_ms
from millrace_contracts.windows import Grain as Stored
from millrace_graphql.ranges.calendar import HOUR_MS, Grain, boundaries
from millrace_graphql.ranges.chunk_cache import ChunkCache
from millrace_graphql.ranges.columns import Group, Ints, Rows, in_order, joined
from millrace_graphql.ranges.directory import Progress
from millrace_graphql.ranges.parts import in_parts, inside, windows_of
from millrace_graphql.ranges.plan import CHUNKED_DAYS, closed_at, days_of
from millrace_graphql.ranges.raw_reports import RawReports, RawStore
from millrace_graphql.ranges.report_store import Rollups
from millrace_graphql.ranges.zones import DAY_MS

MAX_LAG_MS = HOUR_MS
"""Rollups that are further behind the reports than this are left out: fresher numbers are worth more than quicker ones."""
ROLLED_FROM_MS = 2 * DAY_MS
"""From this length on a range is composed of rollups; a shorter one is read from the cached 10-minute reports of its days."""
_GAP_MS = {Stored.DAY: 400 * DAY_MS, Stored.HOUR: 7 * DAY_MS, Stored.TEN_MINUTES: DAY_MS}
"""Parts with a smaller gap between them are read at once, and what lies in the gap is left out."""
Groups = frozenset[Group]


class Store(RawStore, Protocol):
    """Where reports are read from."""

    async def rollups(self, merchant_id: str, grain: Stored | Inner, bucket: str, start_ms: int, end_ms: int, groups: Groups) -> Rollups:
        """Hours, days or parts of reports that start in [start, end) of one bucket."""


@dataclass(frozen=True)
class Spans:
    """Ascending, disjoint spans [starts[i], ends[i])."""

    starts: Ints
    ends: Ints

    @classmethod
    def of(cls, start_ms: int, end_ms: int) -> Spans:
        """One span."""
        return cls(np.array([start_ms], np.int64), np.array([end_ms], np.int64))

    def __len__(self) -> int:
        return len(self.starts)

    def where(self, kept: NDArray[np.bool_]) -> Spans:
        """Those that a mask keeps."""
        return Spans(self.starts[kept], self.ends[kept])

    def hold(self, others: Spans) -> NDArray[np.bool_]:
        """For each of others whether it lies inside one of these."""
        place = np.searchsorted(self.starts, others.starts, side="right") - 1
        return (place >= 0) & (others.ends <= self.ends[np.maximum(place, 0)]) if len(self) else np.zeros(len(others), bool)

    def without(self, others: Spans) -> Spans:
        """What is left of these when others, each inside one of them, are taken out."""
        starts = np.sort(np.concatenate((self.starts, others.ends)))
        ends = np.sort(np.concatenate((self.ends, others.starts)))
        return Spans(starts, ends).where(ends > starts)

    def near(self, gap_ms: int) -> Spans:
        """These as fewer, longer spans: those with a gap of at most ``gap_ms`` between them as one."""
        apart = np.flatnonzero(self.starts[1:] - self.ends[:-1] > gap_ms)
        return Spans(self.starts[np.append(0, apart + 1)], self.ends[np.append(apart, len(self) - 1)])


@dataclass(frozen=True)
class Composed:
    """``rows``: reports of mixed grains, none of which lies across an edge but those of 10 minutes that start at ``torn``.

    Of these no parts are stored, so that each counts where it starts.
    """

    rows: Rows
    torn: Ints


_NONE: Ints = np.empty(0, np.int64)


def whole(candidates: Spans, edges: Ints, through_ms: int) -> Spans:
    """Candidates that are closed and inside one window of the answer."""
    inside = Spans(edges[:-1], edges[1:]).hold(candidates)
    return candidates.where(inside & (closed_at(candidates.ends) <= through_ms))


def usable_through(progress: Progress) -> int | None:
    """Up to when stored hours and days may stand for the reports; None where there are none or they are too far behind."""
    reports, rollups = progress.complete_through_ms, progress.rollups_through_ms
    if reports is None or rollups is None or reports - rollups > MAX_LAG_MS:
        return None
    return min(reports, rollups)


class Composer:
    """Reads ranges; 10-minute reports through the cache where there is one."""

    def __init__(self, store: Store, cache: ChunkCache | None, rolled_from_ms: int = ROLLED_FROM_MS) -> None:
        self._store = store
        self._reports = RawReports(store)
        self._cache = cache
        self._rolled_from_ms = rolled_from_ms

    def rolls(self, edges: Ints, grain: Grain) -> bool:
        """Whether rollups are worth a look for windows of a grain."""
        return grain is not Grain.TEN_MINUTES and len(edges) > 1 and int(edges[-1] - edges[0]) >= self._rolled_from_ms

    async def read(
        self,
        merchant_id: str,
        edges: Ints,
        groups: Groups,
        *,
        zone: str | None = "UTC",
        through_ms: int | None = None,
        packed_ms: int | None = None,
    ) -> Rows:
        """The rows of ``compose``."""
        return (await self.compose(merchant_id, edges, groups, zone=zone, through_ms=through_ms, packed_ms=packed_ms)).rows

    async def compose(
        self,
        merchant_id: str,
        edges: Ints,
        groups: Groups,
        *,
        zone: str | None = "UTC",
        through_ms: int | None = None,
        packed_ms: int | None = None,
    ) -> Composed:
        """The reports of [first edge, last edge), all currencies, in time order.

        ``zone`` is the merchant's, whose days are stored, None to read no day; ``through_ms`` that of ``usable_through``, None to read
        no rollup; ``packed_ms`` that of ``packed_through``, None to read no packed day.
        """
        if len(edges) < 2:
            return Composed({group: joined(group, []) for group in groups}, _NONE)
        start_ms, end_ms = int(edges[0]), int(edges[-1])
        if through_ms is None:
            if len(cut := inside(edges)):
                return await self._in_parts(merchant_id, Spans.of(start_ms, end_ms), cut, groups, packed_ms, zone)
            rows = await self._raw_span(merchant_id, (start_ms, end_ms), groups, packed_ms, end_ms - start_ms)
            return Composed({group: data.between(start_ms, end_ms) for group, data in rows.items()}, _NONE)
        free, parts, stored_edges = Spans.of(start_ms, end_ms), list[Rows](), [_NONE]
        for stored, grain, of in ((Stored.DAY, Grain.DAY, zone), (Stored.HOUR, Grain.HOUR, "UTC")):
            if not len(free):
                break
            if of is None:
                continue
            bounds = boundaries(grain, of, start_ms, end_ms)
            candidates = whole(Spans(bounds[:-1], bounds[1:]), edges, through_ms)
            candidates = candidates.where(free.hold(candidates))
            if len(candidates):
                rows, covered = await self._rollups(merchant_id, stored, candidates, groups)
                parts.append(rows)
                free = free.without(covered)
                stored_edges += [covered.starts, covered.ends]
        torn = _NONE
        if len(free):
            cuts = inside(np.concatenate((free.starts, free.ends, edges)))
            raw = await self._in_parts(merchant_id, free, cuts[free.hold(Spans(cuts, cuts))], groups, packed_ms, zone)
            if len(np.intersect1d(raw.torn, windows_of(inside(np.concatenate(stored_edges))))):
                # The stored days hold a part of a report of which no parts are to be had here.
                return await self.compose(merchant_id, edges, groups, zone=zone, packed_ms=packed_ms)
            parts, torn = [*parts, raw.rows], raw.torn
        return Composed({group: in_order(group, [part[group] for part in parts]) for group in groups}, torn)

    async def _in_parts(
        self, merchant_id: str, wanted: Spans, cuts: Ints, groups: Groups, packed_ms: int | None, zone: str | None
    ) -> Composed:
        """The 10-minute reports of the wanted spans, those that hold a cut in their parts, where these are stored.

        Of a merchant in another zone than those that have parts it is said that windows are torn, also where there is no report yet.
        """
        if not len(cuts):
            return Composed(await self._raw(merchant_id, wanted, groups, packed_ms), _NONE)
        # Reports first: the parts that are read after them are as new, or newer.
        reports = await self._raw(merchant_id, Spans(wanted.starts - wanted.starts % WINDOW_MS, wanted.ends), groups, packed_ms)
        windows = windows_of(cuts)
        runs = Spans(windows, windows + WINDOW_MS).near(_GAP_MS[Stored.TEN_MINUTES])
        found = await asyncio.gather(
            *(
                self._store.rollups(merchant_id, Inner.PART, bucket, start, end, groups | {Group.COUNTERS})
                for start, end in zip(runs.starts.tolist(), runs.ends.tolist(), strict=True)
                for bucket in buckets(Inner.PART, from_ms(start), from_ms(end))
            )
        )
        rows, torn, whole_ones = in_parts(reports, [part.rows for part in found], windows)
        if not len(inside(boundaries(Grain.HOUR, zone or "UTC", int(windows[0]), int(windows[0]) + HOUR_MS))):
            torn = whole_ones
        spans = list(zip(wanted.starts.tolist(), wanted.ends.tolist(), strict=True))
        return Composed({group: joined(group, [data.between(*span) for span in spans]) for group, data in rows.items()}, torn)

    async def _rollups(self, merchant_id: str, stored: Stored, wanted: Spans, groups: Groups) -> tuple[Rows, Spans]:
        """The complete rows of the wanted windows, and these windows."""
        runs = wanted.near(_GAP_MS[stored])
        reads = [
            self._store.rollups(merchant_id, stored, bucket, start, end, groups)
            for start, end in zip(runs.starts.tolist(), runs.ends.tolist(), strict=True)
            for bucket in buckets(stored, from_ms(start), from_ms(end))
        ]
        found = await asyncio.gather(*reads)
        rows = {group: joined(group, [part.rows[group] for part in found]) for group in groups}
        starts = rows[Group.COUNTERS].starts
        place = np.minimum(np.searchsorted(wanted.starts, starts), len(wanted) - 1)
        known = wanted.starts[place] == starts
        late = known & (np.concatenate([part.through_ms for part in found]) < closed_at(wanted.ends)[place])
        # A window of which one currency's row is not complete is not taken for any.
        kept = known & ~np.isin(starts, starts[late])
        covered = wanted.where(np.isin(wanted.starts, starts[kept]))
        return {group: data.where(kept) for group, data in rows.items()}, covered

    async def _raw(self, merchant_id: str, wanted: Spans, groups: Groups, packed_ms: int | None) -> Rows:
        """The 10-minute reports of the wanted spans."""
        runs = wanted.near(_GAP_MS[Stored.TEN_MINUTES])
        length = int((runs.ends - runs.starts).sum())
        pairs = zip(runs.starts.tolist(), runs.ends.tolist(), strict=True)
        found = await asyncio.gather(*(self._raw_span(merchant_id, pair, groups, packed_ms, length) for pair in pairs))
        rows = {group: joined(group, [part[group] for part in found]) for group in groups}
        spans = list(zip(wanted.starts.tolist(), wanted.ends.tolist(), strict=True))
        return {group: joined(group, [data.between(*span) for span in spans]) for group, data in rows.items()}

    async def _raw_span(self, merchant_id: str, span: tuple[int, int], groups: Groups, packed_ms: int | None, length_ms: int) -> Rows:
        """The 10-minute reports of a span, which is a part of so much that is read: by cached days where that is not too much."""
        if self._cache is None or length_ms > CHUNKED_DAYS * DAY_MS:
            return await self._reports.read(merchant_id, *span, groups, packed_ms)

        async def load(start_ms: int, end_ms: int, wanted: Groups) -> Rows:
            return await self._reports.read(merchant_id, start_ms, end_ms, wanted, packed_ms)

        return await self._cache.read(merchant_id, days_of(*span), groups, load)
