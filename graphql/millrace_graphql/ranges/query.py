"""Questions about reports: who may ask, what is read, and the answer. GraphQL and REST both come through here."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

import numpy as np

from millrace_contracts.documents import CURRENCIES
from millrace_contracts.metrics import BY_NAME
from millrace_contracts.windows import Grain
from millrace_graphql.errors import InvalidArgumentError, NotFoundError
from millrace_graphql.identity import Identity
from millrace_graphql.ranges.chunk_cache import ChunkCache
from millrace_graphql.ranges.columns import GROUP_OF, Group, Rows, joined
from millrace_graphql.ranges.directory import Directory, Merchant, Progress
from millrace_graphql.ranges.merge import Merge
from millrace_graphql.ranges.plan import Range, checked_range, checked_window
from millrace_graphql.ranges.report_store import ReportStore
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


def groups_for(fields: Iterable[str]) -> frozenset[Group]:
    """The column groups behind metric and breakdown names; other names need none. Counters are always read."""
    wanted = {Group.COUNTERS}
    for name in fields:
        if name in BREAKDOWN_FIELDS:
            wanted.add(Group.BREAKDOWNS)
        elif name in BY_NAME:
            wanted.update(GROUP_OF[column] for column in BY_NAME[name].columns)
    return frozenset(wanted)


@dataclass(frozen=True)
class Freshness:
    """How fresh and complete an answer is (I13)."""

    progress: Progress
    asked: Range | None = None

    def missing(self) -> list[int]:
        """Starts of the range's windows that changes may still reach because the analysis has not read past their end."""
        if self.asked is None:
            return []
        through = self.progress.complete_through_ms
        if through is None:
            return list(range(self.asked.start_ms, self.asked.end_ms, self.asked.step))
        whole = max(0, (through - self.asked.start_ms) // self.asked.step)
        return list(range(self.asked.start_ms + whole * self.asked.step, self.asked.end_ms, self.asked.step))


@dataclass(frozen=True)
class Series:
    """The windows of a range for one merchant and currency."""

    merchant_id: str
    currency: str
    asked: Range
    sparse: bool
    rows: Rows
    freshness: Freshness

    @cached_property
    def points(self) -> Merge:
        """The range window by window."""
        return Merge.of(self.rows, self.asked, self.currency, sparse=self.sparse)

    @cached_property
    def total(self) -> Merge:
        """The whole range as one window."""
        return self.points.total(self.asked)

    @cached_property
    def currencies(self) -> list[str]:
        """Every currency with a fact in the range."""
        counters = self.rows[Group.COUNTERS].between(self.asked.start_ms, self.asked.end_ms)
        happened = (counters.values["payments"] | counters.values["refunds"] | counters.values["failed"]) != 0
        return [str(name) for name in np.unique(counters.currencies[happened])]


class ReportQueries:
    """Answers for one caller at a time. Identity is looked at before anything else, caches included (I9)."""

    def __init__(self, store: ReportStore, directory: Directory, cache: ChunkCache | None, settings: ApiSettings) -> None:
        self._store = store
        self._directory = directory
        self._cache = cache
        self._settings = settings

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

    async def series(
        self,
        caller: Identity,
        merchant_id: str,
        start: datetime,
        end: datetime,
        *,
        grain: Grain = Grain.TEN_MINUTES,
        currency: str | None = None,
        sparse: bool = False,
        groups: frozenset[Group],
    ) -> Series:
        """The windows of [start, end).

        Raises:
            ForbiddenError: another merchant (I9).
            InvalidArgumentError: a range or currency that does not fit.
            NotFoundError: no currency is given and the merchant is not known.
            UnavailableError: Cassandra does not answer.
        """
        caller.require(merchant_id)
        settings = self._settings
        asked = checked_range(start, end, grain, sparse=sparse, max_points=settings.max_points, max_sparse_days=settings.max_sparse_days)
        return await self._series(merchant_id, asked, currency, groups, sparse=sparse)

    async def report(
        self, caller: Identity, merchant_id: str, start: datetime, *, currency: str | None, groups: frozenset[Group]
    ) -> Series | None:
        """One 10-minute report, as a series of one window; None where nothing was ever reported for it. Raises as ``series`` does."""
        caller.require(merchant_id)
        series = await self._series(merchant_id, checked_window(start), currency, groups, sparse=False)
        counters = series.rows[Group.COUNTERS].of(series.currency).between(series.asked.start_ms, series.asked.end_ms)
        return series if len(counters.starts) else None

    async def _series(self, merchant_id: str, asked: Range, currency: str | None, groups: frozenset[Group], *, sparse: bool) -> Series:
        chosen = await self._currency(merchant_id, currency)
        # Progress comes first: whatever it covers is then surely in what is read after it (I13).
        progress = await self._directory.progress()
        rows = await self._rows(merchant_id, asked, groups)
        return Series(merchant_id, chosen, asked, sparse, rows, Freshness(progress, asked))

    async def _currency(self, merchant_id: str, currency: str | None) -> str:
        if currency is None:
            merchant = await self._directory.merchant(merchant_id)
            if merchant is None or not merchant.currency:
                raise NotFoundError(
                    f"merchantId: merchant {merchant_id!r:.60} is not known; name a currency or create it", argument="merchantId"
                )
            return merchant.currency
        if currency not in CURRENCIES:
            raise InvalidArgumentError("currency", currency, "is not a currency that is taken here", "give an ISO 4217 code such as USD")
        return currency

    async def _rows(self, merchant_id: str, asked: Range, groups: frozenset[Group]) -> Rows:
        async def load(start_ms: int, end_ms: int, wanted: frozenset[Group]) -> Rows:
            months = Range(start_ms, end_ms, asked.grain).months()
            parts = await asyncio.gather(*(self._store.read(merchant_id, month, start_ms, end_ms, wanted) for month in months))
            return {group: joined(group, [part[group] for part in parts]) for group in wanted}

        if self._cache is None or not asked.is_chunked:
            return await load(asked.start_ms, asked.end_ms, groups)
        return await self._cache.read(merchant_id, asked.days(), groups, load)
