"""Questions about reports: who may ask, what is read, and the answer. GraphQL and REST both come through here."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterable
from dataclasses import replace
from datetime import datetime
from typing import Protocol

from millrace_contracts.metrics import BY_NAME
from millrace_contracts.values import currencies
from millrace_contracts.values.zones import UTC, or_utc
from millrace_graphql.errors import InvalidArgumentError, NotFoundError
from millrace_graphql.identity import Identity
from millrace_graphql.ranges import compare
from millrace_graphql.ranges.answers import Asked, Freshness, Series
from millrace_graphql.ranges.calendar import Grain, preset_range
from millrace_graphql.ranges.changes import note_clock
from millrace_graphql.ranges.chunk_cache import ChunkCache
from millrace_graphql.ranges.columns import GROUP_OF, Group, Ints
from millrace_graphql.ranges.compare import Comparison
from millrace_graphql.ranges.compose import Composer, Store, usable_through
from millrace_graphql.ranges.customer_days import Counts, CustomerDays
from millrace_graphql.ranges.directory import Directory, Merchant, Progress, Remembered
from millrace_graphql.ranges.grid import Grid
from millrace_graphql.ranges.merge import distinct
from millrace_graphql.ranges.parts import inside
from millrace_graphql.ranges.peers import PeerGroup, Peers, grouped, with_facts
from millrace_graphql.ranges.plan import Range, checked_range, checked_window, pieces, within_limits
from millrace_graphql.ranges.privacy import DEMOGRAPHICS
from millrace_graphql.ranges.raw_reports import packed_through
from millrace_graphql.ranges.shifts import Basis
from millrace_graphql.ranges.zones import DAY_MS, check_zone
from millrace_graphql.settings import ApiSettings

BREAKDOWN_FIELDS = {
    "byMethod": "by_method",
    "byGender": "by_gender",
    "byAgeBand": "by_age_band",
    "byGrade": "by_grade",
    "byCountry": "by_country",
    "byDevice": "by_device",
}
"""API name -> column of each breakdown."""
BREAKDOWN_QUESTIONS = frozenset({"breakdown", "withheld"})
"""Fields that are made of a breakdown named by an argument, or of all."""
EXPORT_PIECE_MS = 45 * DAY_MS
"""Longer than what is read through the cache, so that an export leaves the chunks of others in it."""
PEERS_SECONDS = 300.0
"""How long it is remembered who is whose peer: it takes a look at every merchant."""
_NOTHING = Asked()


def groups_for(fields: Iterable[str]) -> frozenset[Group]:
    """The column groups behind metric and breakdown names; other names need none. Counters are always read."""
    wanted = {Group.COUNTERS}
    for name in fields:
        if name in BREAKDOWN_FIELDS or name in BREAKDOWN_QUESTIONS:
            wanted.add(Group.BREAKDOWNS)
            if name in BREAKDOWN_QUESTIONS or BREAKDOWN_FIELDS[name] in DEMOGRAPHICS:
                wanted.add(Group.CUSTOMERS)
        elif name in BY_NAME:
            wanted.update(GROUP_OF[column] for column in BY_NAME[name].columns)
    return frozenset(wanted)


def known_zone(merchant: Merchant | None) -> str:
    """The zone of a merchant; UTC where it is not known."""
    return or_utc(merchant.time_zone if merchant else None)


def _held(series: Series, asked: str | None) -> Series:
    """A series whose currency, where it was asked for, is listed or in a report of the range: documents written directly may hold any.

    Raises:
        InvalidArgumentError: it is neither, so that it is a typing error.
    """
    if asked and asked not in currencies.TAKEN and asked not in series.currencies:
        problem = "is not a currency of ISO 4217, and no report of the range has it"
        raise InvalidArgumentError("currency", asked, problem, "give an ISO 4217 code such as USD")
    return series


class Reports(Store, Counts, Protocol):
    """The store."""


class ReportQueries:
    """Answers for one caller at a time. Identity is looked at before anything else, caches included (I9)."""

    def __init__(
        self,
        store: Reports,
        directory: Directory,
        cache: ChunkCache | None,
        settings: ApiSettings,
        clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._composer = Composer(store, cache)
        self._counts: Counts = store
        self._directory = directory
        self._settings = settings
        self._clock = clock
        self._groups: Remembered[dict[PeerGroup, list[Merchant]]] = Remembered(PEERS_SECONDS)

    async def merchants(self, caller: Identity, first: int, after: str | None = None) -> list[Merchant]:
        """The merchants that the caller sees, by id; one that the dimension does not hold yet has an id only."""
        if caller.sees_all:
            known = await self._directory.all_merchants()
            return [merchant for merchant in known if after is None or merchant.id > after][:first]
        ids = [merchant_id for merchant_id in sorted(caller.merchants) if after is None or merchant_id > after][:first]
        found = await asyncio.gather(*(self._directory.merchant(merchant_id) for merchant_id in ids))
        return [merchant or Merchant(merchant_id) for merchant_id, merchant in zip(ids, found, strict=True)]

    async def freshness(self) -> Freshness:
        """How far the analysis has come."""
        return Freshness(await self._directory.progress())

    async def series(self, caller: Identity, merchant_id: str, asked: Asked, groups: frozenset[Group]) -> Series:
        """The windows of a range.

        Raises:
            ForbiddenError: another merchant (I9).
            InvalidArgumentError: a range, zone or currency that does not fit.
            NotFoundError: no currency is given and the merchant is not known.
            UnavailableError: Cassandra does not answer.
        """
        caller.require(merchant_id)
        span = await self.range_of(merchant_id, asked)
        limits = self._settings
        span = within_limits(span, sparse=asked.sparse, max_points=limits.max_points, max_sparse_days=limits.max_sparse_days)
        series = await self.windows(merchant_id, span, asked.currency, groups, sparse=asked.sparse, question=asked)
        return _held(series, asked.currency)

    async def report(
        self, caller: Identity, merchant_id: str, start: datetime, *, currency: str | None, groups: frozenset[Group]
    ) -> Series | None:
        """One 10-minute report, as a series of one window; None where nothing was ever reported for it. Raises as ``series`` does."""
        caller.require(merchant_id)
        series = _held(await self.windows(merchant_id, checked_window(start), currency, groups), currency)
        counters = series.rows[Group.COUNTERS].of(series.currency).between(series.asked.start_ms, series.asked.end_ms)
        return series if len(counters.starts) else None

    async def grid(self, caller: Identity, merchant_id: str, asked: Asked, groups: frozenset[Group]) -> Grid:
        """A range by hour of day and day of week. Raises as ``series`` does."""
        caller.require(merchant_id)
        zone = check_zone(asked.zone) if asked.zone else await self.zone_of(merchant_id)
        span = replace(await self.range_of(merchant_id, replace(asked, grain=Grain.HOUR, zone=zone)), zone=zone)
        span = within_limits(span, sparse=True, max_points=0, max_sparse_days=self._settings.max_sparse_days)
        return Grid(_held(await self.windows(merchant_id, span, asked.currency, groups, sparse=True), asked.currency))

    async def comparison(self, series: Series, basis: Basis, groups: frozenset[Group]) -> Comparison:
        """A series beside an earlier period. Raises as ``series`` does."""
        plan = compare.plan(series, await self.zone_in(series), basis, series.question.preset)
        edges = plan.edges()
        through = self._through(edges, series.asked.grain, series.freshness.progress)
        home = await self.zone_of(series.merchant_id) if through is not None else UTC
        packed = packed_through(series.freshness.progress)
        days = series.freshness.progress.days_of(home)
        rows = await self._composer.read(series.merchant_id, edges, groups, zone=days, through_ms=through, packed_ms=packed)
        return Comparison.of(series, plan, rows)

    async def peers(self, caller: Identity, merchant_id: str, asked: Asked, groups: frozenset[Group]) -> Peers:
        """A merchant's total of a range beside the medians of its peers. Raises as ``series`` does."""
        series = await self.series(caller, merchant_id, replace(asked, sparse=True), groups)
        merchant = await self._directory.merchant(merchant_id)
        group = PeerGroup.of(merchant, series.currency) if merchant else None
        if group is None:
            return Peers(series, None, 0, (), self._settings.min_peers)
        members = (await self._groups.get("", self._grouped)).get(group, [])
        others = [peer for peer in members if peer.id != merchant_id]
        read = others[: self._settings.max_peers] if len(others) >= self._settings.min_peers else []
        asked_of = ((peer.id, known_zone(peer)) for peer in read)
        found = await asyncio.gather(
            *(self.windows(peer, series.asked, group.currency, groups, sparse=True, home=home) for peer, home in asked_of)
        )
        return Peers(series, group, len(others), with_facts(found), self._settings.min_peers)

    async def customer_days(self, caller: Identity, merchant_id: str, asked: Asked) -> CustomerDays:
        """New and returning customers by day of the merchant's own calendar. Raises as ``series`` does."""
        caller.require(merchant_id)
        zone = await self.zone_of(merchant_id)
        limits = self._settings
        span = replace(await self.range_of(merchant_id, replace(asked, grain=Grain.DAY, zone=zone)), zone=zone)
        span = within_limits(span, sparse=False, max_points=limits.max_points, max_sparse_days=limits.max_sparse_days)
        progress = await self._directory.customers_progress()
        rows = await self._counts.customer_days(merchant_id, span.start_ms, span.end_ms)
        return CustomerDays.of(merchant_id, span, rows, progress)

    async def customer_totals(self, days: CustomerDays) -> dict[str, int | None]:
        """The counted days of a range as one, by metric. Raises as ``series`` does."""
        edges = days.counted
        if not len(edges):
            return days.totals(0)
        progress = await self._directory.progress()
        through = self._through(edges, Grain.DAY, progress)
        groups = frozenset({Group.COUNTERS, Group.CUSTOMERS})
        packed = packed_through(progress)
        home = progress.days_of(days.asked.zone)
        rows = await self._composer.read(days.merchant_id, edges, groups, zone=home, through_ms=through, packed_ms=packed)
        sketches = rows[Group.CUSTOMERS].values["customers"]
        return days.totals(distinct([sketch for sketch in sketches if sketch]))

    async def _grouped(self) -> dict[PeerGroup, list[Merchant]]:
        return grouped(await self._directory.all_merchants())

    async def export(
        self, caller: Identity, merchant_id: str, asked: Asked, groups: frozenset[Group]
    ) -> tuple[Freshness, AsyncGenerator[Series, None]]:
        """The windows of a range of years, some weeks at a time as they are read, and how fresh all are. Raises as ``series`` does."""
        caller.require(merchant_id)
        span = await self.range_of(merchant_id, asked)
        span = within_limits(span, sparse=True, max_points=0, max_sparse_days=self._settings.max_export_days)
        currency = await self._currency(merchant_id, asked.currency)
        # One progress for all pieces: what it covers is in each of them, as each is read after it (I13).
        progress = await self._directory.progress()
        rolled_up = self._through(span.edges, span.grain, progress) is not None

        async def read() -> AsyncGenerator[Series, None]:
            for start_ms, end_ms in pieces(span.edges, EXPORT_PIECE_MS):
                piece = Range(start_ms, end_ms, span.grain, span.zone)
                yield await self.windows(merchant_id, piece, currency, groups, sparse=asked.sparse, progress=progress)

        return Freshness(progress, span, rolled_up), read()

    async def zone_in(self, series: Series) -> str:
        """The zone whose days a series is seen in: as asked for, or the merchant's."""
        return series.question.zone or await self.zone_of(series.merchant_id)

    async def zone_of(self, merchant_id: str) -> str:
        """The merchant's time zone; UTC where it is not known."""
        return known_zone(await self._directory.merchant(merchant_id))

    async def range_of(self, merchant_id: str, asked: Asked) -> Range:
        """The range that is asked for, however long.

        Raises:
            InvalidArgumentError: names the argument, its value and the fix.
        """
        zone = check_zone(asked.zone) if asked.zone else None
        if asked.preset is not None:
            if asked.start is not None or asked.end is not None:
                raise InvalidArgumentError("preset", asked.preset.value, "comes with a start or an end", "give one or the other")
            zone = zone or await self.zone_of(merchant_id)
            note_clock()  # a kept answer must not outlive the day
            start_ms, end_ms = preset_range(asked.preset, zone, self._clock())
            return Range(start_ms, end_ms, asked.grain, zone)
        if asked.start is None or asked.end is None:
            name = "start" if asked.start is None else "end"
            raise InvalidArgumentError(name, "", "is missing", "give start and end, or a preset such as TODAY")
        if zone is None and asked.grain is not Grain.TEN_MINUTES:  # ten minutes are the same in every zone
            zone = await self.zone_of(merchant_id)
        return checked_range(asked.start, asked.end, asked.grain, zone or UTC)

    async def windows(
        self,
        merchant_id: str,
        span: Range,
        currency: str | None,
        groups: frozenset[Group],
        *,
        sparse: bool = False,
        progress: Progress | None = None,
        home: str | None = None,
        question: Asked = _NOTHING,
    ) -> Series:
        """The windows of a range whose caller and limits are checked; ``home`` is the merchant's zone where that is known already."""
        chosen = await self._currency(merchant_id, currency)
        # Progress comes first: whatever it covers is then surely in what is read after it (I13).
        progress = progress or await self._directory.progress()
        through = self._through(span.edges, span.grain, progress)
        if home is None:
            home = await self.zone_of(merchant_id) if through is not None or len(inside(span.edges)) else UTC
        packed = packed_through(progress)
        days = progress.days_of(home)
        found = await self._composer.compose(merchant_id, span.edges, groups, zone=days, through_ms=through, packed_ms=packed)
        read = Freshness(progress, span, rolled_up=through is not None)
        return Series(merchant_id, chosen, span, sparse, found.rows, read, self._settings.min_customers, question, found.torn)

    def _through(self, edges: Ints, grain: Grain, progress: Progress) -> int | None:
        return usable_through(progress) if self._composer.rolls(edges, grain) else None

    async def _currency(self, merchant_id: str, currency: str | None) -> str:
        if currency is None:
            merchant = await self._directory.merchant(merchant_id)
            if merchant is None or not merchant.currency:
                raise NotFoundError(
                    f"merchantId: merchant {merchant_id!r:.60} is not known; name a currency or create it", argument="merchantId"
                )
            return merchant.currency
        if len(currency) != currencies.CODE_LENGTH:
            raise InvalidArgumentError("currency", currency, "is not a currency", "give an ISO 4217 code such as USD")
        return currency
