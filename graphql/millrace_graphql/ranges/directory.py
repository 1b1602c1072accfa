"""What is known beside the reports: merchants, and how far the analysis has come. Both are small and kept for a second or two."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import orjson

from millrace_contracts.reports import MERCHANTS_TABLE, PROGRESS_CUSTOMERS, PROGRESS_PAYMENTS, PROGRESS_ROLLUPS, PROGRESS_TABLE
from millrace_contracts.values.zones import digest
from millrace_graphql.ranges.cassandra import Cassandra, Columns
from millrace_graphql.ranges.changes import note_directory, note_progress

FRESHNESS_SECONDS = 1.0
MERCHANT_SECONDS = 5.0
REMEMBERED = 10_000
T = TypeVar("T")


class Remembered(Generic[T]):
    """Values by key for some seconds, one load a key at a time, least recently used out first."""

    def __init__(self, seconds: float, capacity: int = REMEMBERED, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._capacity = capacity
        self._clock = clock
        self._entries: OrderedDict[str, tuple[float, asyncio.Task[T]]] = OrderedDict()

    async def get(self, key: str, load: Callable[[], Awaitable[T]]) -> T:
        """The value of a key, loaded where it is absent or old. A failed load is not remembered."""
        found = self._entries.get(key)
        if found is None or self._clock() >= found[0] or _failed(found[1]):
            found = self._begin(key, load)
        self._entries.move_to_end(key)
        if found[1].done():
            return found[1].result()
        # A caller that goes away must not cancel the load that others wait for.
        return await asyncio.shield(found[1])

    def _begin(self, key: str, load: Callable[[], Awaitable[T]]) -> tuple[float, asyncio.Task[T]]:
        async def run() -> T:
            return await load()

        found = self._entries[key] = (self._clock() + self._seconds, asyncio.create_task(run()))
        while len(self._entries) > self._capacity:
            self._entries.popitem(last=False)
        return found


async def _nobody(through_ms: int | None) -> None:
    """Nobody wants to know of new progress."""


def _failed(task: asyncio.Task[Any]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)


@dataclass(frozen=True)
class Merchant:
    """A merchant as the dimension table holds it; a field that is not known is None."""

    id: str
    name: str | None = None
    grade: str | None = None
    country: str | None = None
    region: str | None = None
    city: str | None = None
    business_type: str | None = None
    time_zone: str | None = None
    currency: str | None = None
    status: str | None = None


_MERCHANT = "merchant_id, name, grade, country, region, city, business_type, time_zone, currency, status"


@dataclass(frozen=True)
class Progress:
    """How far the analysis has come (I13). ``complete_through_ms``: all changes up to then are in the reports; None before the first."""

    as_of_ms: int
    complete_through_ms: int | None
    rollups_through_ms: int | None = None
    """All changes up to then are also in the stored hours and days; None while there are none."""
    rules: Mapping[str, str] = field(default_factory=dict)
    """Zone -> ``zones.digest`` of the rules that the stored days follow; a zone that is missing follows those that are in use here."""

    def days_of(self, zone: str) -> str | None:
        """The zone, if its stored days begin and end where they do by the rules in use here; else None, to read none of them."""
        return zone if self.rules.get(zone, digest(zone)) == digest(zone) else None


class Directory:
    """Merchants and progress, from Cassandra."""

    def __init__(self, cassandra: Cassandra) -> None:
        self._cassandra = cassandra
        self._merchants: Remembered[Merchant | None] = Remembered(MERCHANT_SECONDS)
        self._all: Remembered[list[Merchant]] = Remembered(MERCHANT_SECONDS)
        self._progress: Remembered[Progress] = Remembered(FRESHNESS_SECONDS)
        self._customers: Remembered[Progress] = Remembered(FRESHNESS_SECONDS)
        self.told: Callable[[int | None], Awaitable[None]] = _nobody

    async def merchant(self, merchant_id: str) -> Merchant | None:
        """One merchant; None where it is not known (yet)."""
        note_directory()

        async def load() -> Merchant | None:
            found = await self._cassandra.read(f"SELECT {_MERCHANT} FROM {{ks}}.{MERCHANTS_TABLE} WHERE merchant_id = ?", [merchant_id])  # noqa: S608
            return next(iter(_merchants(found)), None)

        return await self._merchants.get(merchant_id, load)

    async def all_merchants(self) -> list[Merchant]:
        """Every merchant, by id."""
        note_directory()

        async def load() -> list[Merchant]:
            found = await self._cassandra.read(f"SELECT {_MERCHANT} FROM {{ks}}.{MERCHANTS_TABLE}", [])  # noqa: S608
            return sorted(_merchants(found), key=lambda merchant: merchant.id)

        return await self._all.get("", load)

    async def progress(self) -> Progress:
        """How far the payments stream's analysis has come; read it BEFORE the reports that it is to speak for (I13)."""
        progress = await self._progress.get("", self._load_progress)
        note_progress(progress.complete_through_ms)
        return progress

    async def customers_progress(self) -> Progress:
        """How far the counts of new and returning customers have come; read it BEFORE them (I13)."""
        note_directory()  # no notice tells of them

        async def load() -> Progress:
            as_of = time.time_ns() // 1_000_000
            through, rules = await self._of_days(PROGRESS_CUSTOMERS)
            return Progress(as_of, through, rules=rules)

        return await self._customers.get("", load)

    async def _load_progress(self) -> Progress:
        as_of = time.time_ns() // 1_000_000
        reports, (rollups, rules) = await asyncio.gather(self._through(PROGRESS_PAYMENTS), self._of_days(PROGRESS_ROLLUPS))
        # Whatever notices were published before the progress are taken before it is told: no cache answers from before them.
        await self.told(reports)
        return Progress(as_of, reports, rollups, rules)

    async def _of_days(self, name: str) -> tuple[int | None, Mapping[str, str]]:
        """How far a job that makes days has come, and the rules of zones that it follows."""
        statement = f"SELECT to_unix_timestamp(complete_through) AS through, detail FROM {{ks}}.{PROGRESS_TABLE} WHERE name = ?"  # noqa: S608
        found = await self._cassandra.read(statement, [name])
        detail = next(iter(found["detail"]), None)
        return next(iter(found["through"]), None), (orjson.loads(detail).get("zones") or {}) if detail else {}

    async def _through(self, name: str) -> int | None:
        statement = f"SELECT to_unix_timestamp(complete_through) AS through FROM {{ks}}.{PROGRESS_TABLE} WHERE name = ?"  # noqa: S608
        return next(iter((await self._cassandra.read(statement, [name]))["through"]), None)


def _merchants(found: Columns) -> list[Merchant]:
    names = [name.strip() for name in _MERCHANT.split(",")]
    return [Merchant(*row) for row in zip(*(found[name] for name in names), strict=True)]
