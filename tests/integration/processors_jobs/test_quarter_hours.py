"""Hours, days, weeks and months of zones with a quarter-hour offset are those of MongoDB's own $dateTrunc: open ones here.

Closed and rebuilt ones take minutes: tests/chaos/test_quarter_hours.py.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from millrace_contracts.documents import MERCHANTS
from millrace_contracts.windows import Inner
from millrace_graphql.ranges.calendar import Grain
from millrace_graphql.ranges.cassandra import Cassandra
from millrace_graphql.ranges.columns import Group
from millrace_graphql.ranges.compose import Composer
from millrace_graphql.ranges.merge import Merge
from millrace_graphql.ranges.plan import Range
from millrace_graphql.ranges.report_store import ReportStore
from millrace_processors import rolling
from tests.integration.graphql_api.conftest import until
from tests.integration.processors.events import change, payment, refund
from tests.integration.processors_jobs.history import Event
from tests.integration.processors_jobs.pipeline import Pipeline
from tests.integration.processors_jobs.source import Source
from tests.integration.processors_jobs.test_dimensions import Topic, written

pytestmark = pytest.mark.stack
ZONES = {"nepal": "Asia/Kathmandu", "chatham": "Pacific/Chatham", "eucla": "Australia/Eucla", "tokyo": "Asia/Tokyo"}
GRAINS = {Grain.HOUR: "hour", Grain.DAY: "day", Grain.WEEK: "week", Grain.MONTH: "month"}
Figures = dict[int, tuple[int, ...]]
"""Window start in epoch ms -> payments, gross, refunds, refunded, failed, customers."""
Ask = Callable[[str, Grain, int | None], Figures]
SECOND_MS = 1_000
AROUND = (-61 * SECOND_MS, -60 * SECOND_MS, -1, 0, 1, 60 * SECOND_MS, 299_999, 3_600_000 - 1, 3_600_000)


def midnight(zone: str, month: int, day: int, year: int = 2025) -> int:
    return int(datetime(year, month, day, tzinfo=ZoneInfo(zone)).timestamp() * 1000)


@pytest.fixture
def ask(pipeline: Pipeline) -> Iterator[Ask]:
    """The figures of a merchant's windows of November and December in its own calendar, as the API reads them; none is split."""
    loop = asyncio.new_event_loop()
    cassandra = Cassandra(pipeline.config.cassandra, pipeline.config.names.keyspace, 8, 60)

    async def start() -> None:
        cassandra.start()
        await until(lambda: cassandra.ready, 60)

    def read(merchant: str, grain: Grain, through: int | None) -> Figures:
        zone = ZONES[merchant]
        asked = Range(midnight(zone, 11, 1), midnight(zone, 1, 1, 2026), grain, zone)
        composer = Composer(ReportStore(cassandra), None, 0)
        reading = composer.compose(merchant, asked.edges, frozenset(Group), zone=zone, through_ms=through, packed_ms=through)
        found = loop.run_until_complete(reading)
        assert found.torn.tolist() == []
        merge = Merge.of(found.rows, asked, "USD", sparse=True)
        names = ("payments", "gross", "refunds", "refunded_amount", "failed")
        columns = [*(merge.sums(name).tolist() for name in names), merge.customers()]
        return dict(zip(merge.starts.tolist(), zip(*columns, strict=True), strict=True))

    loop.run_until_complete(start())
    yield read
    loop.run_until_complete(cassandra.stop())
    loop.close()


def truth(source: Source, merchant: str, grain: Grain) -> Figures:
    """The same by MongoDB alone."""
    refunds = {"$map": {"input": "$refunds", "as": "r", "in": {"at": "$$r.refundedAt", "kind": "refund", "amount": "$$r.amount"}}}
    paid = {
        "at": "$paidAt",
        "kind": {"$cond": [{"$eq": ["$status", "failed"]}, "failed", "paid"]},
        "amount": "$amount",
        "user": "$user.key",
    }
    length = {"date": "$f.at", "unit": GRAINS[grain], "timezone": ZONES[merchant]}

    def total(kind: str, value: Any) -> dict[str, Any]:
        return {"$sum": {"$cond": [{"$eq": ["$f.kind", kind]}, value, 0]}}

    stages: list[dict[str, Any]] = [
        {"$match": {"merchantId": merchant, "status": {"$in": ["succeeded", "failed"]}}},
        {"$project": {"f": {"$concatArrays": [[paid], refunds]}}},
        {"$unwind": "$f"},
        {
            "$group": {
                "_id": {"$toLong": {"$dateTrunc": {**length, **({"startOfWeek": "monday"} if grain is Grain.WEEK else {})}}},
                "payments": total("paid", 1), "gross": total("paid", "$f.amount"), "refunds": total("refund", 1),
                "refunded": total("refund", "$f.amount"), "failed": total("failed", 1),
                "customers": {"$addToSet": {"$cond": [{"$eq": ["$f.kind", "paid"]}, "$f.user", "$$REMOVE"]}},
            }
        },
    ]  # fmt: skip
    rows = source.payments.aggregate(stages)
    names = ("payments", "gross", "refunds", "refunded", "failed")
    return {int(row["_id"]): (*(int(row[name]) for name in names), len(row["customers"])) for row in rows}


class History:
    """Changes as events and as documents."""

    def __init__(self, source: Source) -> None:
        self._source, self._images = source, dict[str, dict[str, Any]]()
        self._events: list[Event] = []
        self._numbers = itertools.count(1)

    def put(self, identifier: str, **given: Any) -> None:
        image, before = payment(identifier, **given), self._images.get(identifier)
        self._events.append(change("u" if before else "c", image, before, at=next(self._numbers)))
        self._images[identifier] = image
        self._source.put(image)

    def around(self, merchant: str, at: int, name: str) -> None:
        """Payments, failures and refunds on both sides of a local midnight, a different amount each."""
        for place, off in enumerate(AROUND):
            amount, user = 1 << place, {"key": f"k{place % 4}"}
            given: dict[str, Any] = {"merchantId": merchant, "amount": amount, "user": user}
            self.put(f"{merchant}-{name}-paid{place}", paidAt=at + off, **given)
            self.put(f"{merchant}-{name}-failed{place}", paidAt=at + off, status="failed", **given)
            self.put(f"{merchant}-{name}-back{place}", paidAt=at - 7_000_000, refunds=[refund("r", amount, at + off)], **given)

    def move(self, merchant: str, at: int) -> None:
        """Late changes: a payment, a failure and a refund move over midnight inside their report, both ways; another is taken back."""
        given: dict[str, Any] = {"merchantId": merchant, "amount": 3_000, "user": {"key": "k7"}}
        self.put(f"{merchant}-11-25-paid1", paidAt=at + 60_000, **given)
        self.put(f"{merchant}-11-25-paid5", paidAt=at - 60_000, **given)
        self.put(f"{merchant}-11-25-failed3", paidAt=at - 1, status="failed", **given)
        self.put(f"{merchant}-11-25-back4", paidAt=at - 7_000_000, refunds=[refund("r", 16, at - 1)], **given)
        self.put(f"{merchant}-11-25-paid0", paidAt=at - 61_000, status="canceled", **given)

    def taken(self) -> list[Event]:
        """What has not been produced yet."""
        new, self._events = self._events, []
        return new


class Case:
    """Payments around the local midnights of every merchant, whose zones are known but for those that are left out."""

    def __init__(self, pipeline: Pipeline, source: Source, ask: Ask, unknown: str = "") -> None:
        self.pipeline, self.source, self._ask = pipeline, source, ask
        self.history, self.topic = History(source), Topic(pipeline, MERCHANTS)
        self._numbers = itertools.count(1)
        for name in ZONES:
            if name != unknown:
                self.stands(name, ZONES[name])
        for merchant, zone in ZONES.items():
            self.history.around(merchant, midnight(zone, 11, 25), "11-25")

    def stands(self, merchant: str, zone: str) -> None:
        """A change of a merchant's zone goes through."""
        self.topic.take([written(merchant, next(self._numbers), {"timeZone": zone})])

    def live(self, through: int) -> None:
        """What is new goes through."""
        self.pipeline.produce(self.history.taken(), through)
        self.pipeline.live()

    def rolled(self) -> rolling.Rolled:
        return rolling.run(self.pipeline.config, self.pipeline.lake, self.pipeline.session)

    def check(self, through: int | None, merchants: Iterable[str] = ZONES) -> None:
        """Every grain is what MongoDB truncates to; with stored hours and days up to an instant, or without any."""
        for merchant in merchants:
            for grain in GRAINS:
                assert self._ask(merchant, grain, through) == truth(self.source, merchant, grain), (merchant, grain)


THROUGH = midnight("UTC", 12, 2)


def test_open_windows_are_what_mongodb_truncates_to_also_where_the_zone_comes_late(pipeline: Pipeline, source: Source, ask: Ask) -> None:
    case = Case(pipeline, source, ask, unknown="eucla")
    case.live(midnight("UTC", 11, 25))
    case.check(None, ("nepal", "chatham", "tokyo"))
    assert not any(key[0] == "eucla" for key in pipeline.reports(Inner.PART))
    case.stands("eucla", "Australia/Eucla")
    case.check(None)
    assert {key[0] for key in pipeline.reports(Inner.PART)} == {"nepal", "chatham", "eucla"}, "nobody else has parts"
