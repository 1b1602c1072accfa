"""Answers are the same whichever days are packed: in Cassandra, through Redis, after late facts, in any zone and grain."""

import asyncio
import itertools
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millrace_contracts import packed
from millrace_contracts.metrics import METRICS
from millrace_contracts.notices import chunk_key
from millrace_contracts.reports import BREAKDOWNS, CONTENT
from millrace_contracts.settings import CassandraSettings
from millrace_contracts.windows import Grain as Stored
from millrace_contracts.windows import from_ms, to_ms
from millrace_graphql.ranges.calendar import Grain, boundaries
from millrace_graphql.ranges.cassandra import Cassandra
from millrace_graphql.ranges.chunk_cache import FIELDS
from millrace_graphql.ranges.columns import GROUP_OF, Group, Rows
from millrace_graphql.ranges.compose import Composer
from millrace_graphql.ranges.merge import Merge
from millrace_graphql.ranges.plan import Range
from millrace_graphql.ranges.report_store import ReportStore
from tests.integration.graphql_api.conftest import Api, run, until
from tests.integration.graphql_api.store import Paid, Store, Written
from tests.integration.graphql_api.test_report_store import written
from tests.support.examples import examples
from tests.unit.graphql_api.facts import DAY, WINDOW, oracle, reports
from tests.unit.graphql_api.shelf import Facts
from tests.unit.graphql_api.test_compose import DAYS, FACTS, START, ZONES

pytestmark = pytest.mark.stack

EVERYTHING = frozenset(Group)
END = START + DAYS * DAY
Read = Callable[[str, Range, int | None], Rows]


@pytest.fixture(scope="module")
def read(environ: dict[str, str], store: Store) -> Iterator[Read]:
    """Reads a merchant's range as the API does, with packed days up to an instant or without any."""
    loop = asyncio.new_event_loop()
    cassandra = Cassandra(CassandraSettings.load(environ), store.keyspace, 8, 20)

    async def start() -> None:
        cassandra.start()
        await until(lambda: cassandra.ready, 60)

    def ask(merchant: str, asked: Range, packed_ms: int | None) -> Rows:
        composer = Composer(ReportStore(cassandra), None)
        return loop.run_until_complete(composer.read(merchant, asked.edges, EVERYTHING, packed_ms=packed_ms))

    loop.run_until_complete(start())
    yield ask
    loop.run_until_complete(cassandra.stop())
    loop.close()


def encoded(facts: Facts, day: int) -> dict[str, bytes]:
    """The packed row of the facts of a day."""
    rows = reports({key: value for key, value in facts.items() if day <= key[0] < day + DAY})
    columns = {name: rows[GROUP_OF[name]].values[name] for name in CONTENT}
    counters = rows[Group.COUNTERS]
    return packed.encode_day(day, counters.starts, counters.currencies.tolist(), columns)


class Analysis:
    """What the analysis does to one merchant, in the order that a test says, by contracts/reports.py."""

    def __init__(self, store: Store, merchant: str) -> None:
        self.store, self.merchant = store, merchant
        self.facts: Facts = {}

    def write(self, facts: Facts, version: int) -> None:
        """Reports of a snapshot: their packed days go first."""
        for day in sorted({start - start % DAY for start, _ in facts}):
            self.store.shadow(self.merchant, from_ms(day), version)
        self.facts |= facts
        written(self.store, self.merchant, Stored.TEN_MINUTES, reports(facts), {start: start for start, _ in facts}, version)

    def pack(self, facts: Facts, days: set[int], version: int) -> None:
        """The packed days of a snapshot that held these facts, those that have some."""
        for day in sorted(days & {start - start % DAY for start, _ in facts}):
            self.store.pack(self.merchant, from_ms(day), encoded(facts, day), version, from_ms(day + DAY))


LATE = st.dictionaries(
    st.tuples(st.integers(0, DAYS * 144 - 1).map(lambda at: START + at * WINDOW), st.sampled_from(["USD", "KRW", "EUR"])),
    st.tuples(st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 12)), max_size=3), st.just([]), st.integers(0, 2)),
    max_size=4,
)
SOME_DAYS = st.sets(st.integers(0, DAYS - 1).map(lambda day: START + day * DAY))
NUMBERS = itertools.count()


@given(FACTS, LATE, SOME_DAYS, SOME_DAYS, SOME_DAYS, st.sampled_from(ZONES), st.sampled_from(list(Grain)), st.data())
@settings(max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_every_answer_is_that_of_the_facts_whichever_days_are_packed(  # I7
    store: Store,
    read: Read,
    facts: Facts,
    late: Facts,
    first: set[int],
    behind: set[int],
    again: set[int],
    zone: str,
    grain: Grain,
    data: st.DataObject,
) -> None:
    analysis = Analysis(store, f"packed-{next(NUMBERS)}")
    analysis.write(facts, 10)
    before = dict(facts)
    analysis.pack(before, first, data.draw(st.sampled_from([10, 11])))
    analysis.write(late, 20)
    analysis.pack(before, behind, 15)  # a rollup of an older snapshot that ends late
    analysis.pack(analysis.facts, again, data.draw(st.sampled_from([20, 25])))
    aligned = {Grain.TEN_MINUTES: Grain.TEN_MINUTES, Grain.HOUR: Grain.HOUR}.get(grain, Grain.DAY)
    bounds = boundaries(aligned, zone, START, END).tolist()
    low = data.draw(st.sampled_from(bounds[: len(bounds) // 2]))
    high = data.draw(st.sampled_from(bounds[len(bounds) // 2 :]))
    asked = Range(low, high, grain, zone)
    through = data.draw(st.sampled_from([END, END, START + 3 * DAY + WINDOW]))
    for currency in ("USD", "KRW", "EUR"):
        found, plain = (Merge.of(read(analysis.merchant, asked, each), asked, currency, sparse=False) for each in (through, None))
        for merge, other in ((found, plain), (found.total(asked), plain.total(asked))):
            assert {m.name: merge.metric(m) for m in METRICS} == {m.name: other.metric(m) for m in METRICS}
            assert merge.sums("revision").tolist() == other.sums("revision").tolist()
            assert [merge.breakdowns(name) for name in BREAKDOWNS] == [other.breakdowns(name) for name in BREAKDOWNS]
        windows = zip(asked.starts.tolist(), asked.ends.tolist(), strict=True)
        expected = [oracle(analysis.facts, start, end, currency, 1) for start, end in windows]
        exact = [metric for metric in METRICS if metric.name in expected[0]]
        assert len(exact) > 8
        for metric in exact:
            assert found.metric(metric) == [values[metric.name] for values in expected], metric.name


VERSIONS = (10, 20, 30)
"""Snapshots, each of which adds a payment to one window of a day."""
PACKS = ((10, 1), (15, 1), (20, 2), (25, 2), (30, 3))
"""(version, payments) of rollups; those of 15 and 25 had no newer facts, as another table's or an empty commit's."""


@st.composite
def interleavings(draw: st.DrawFn) -> list[tuple[str, int, int]]:
    """Deletions and reports, each pair in order but those of several writers mixed, among packed rows that arrive at any time."""
    left = [[("shadow", version, 0), ("report", version, n)] for n, version in enumerate(VERSIONS, 1)]
    left += [[("pack", version, n)] for version, n in draw(st.lists(st.sampled_from(PACKS), unique=True))]
    steps = []
    while left:
        writer = draw(st.integers(0, len(left) - 1))
        steps.append(left[writer].pop(0))
        left = [each for each in left if each]
    return steps


@given(interleavings())
@settings(max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_in_any_order_of_writers_no_reader_sees_less_than_the_newest_reports(  # I7
    store: Store, read: Read, steps: list[tuple[str, int, int]]
) -> None:
    merchant, asked = f"order-{next(NUMBERS)}", Range(START, START + DAY, Grain.DAY)
    shown = 0
    for step, version, payments in steps:
        facts: Facts = {(START + WINDOW, "USD"): ([(100, number) for number in range(payments)], [], 0)}
        if step == "shadow":
            store.shadow(merchant, from_ms(START), version)
        elif step == "pack":
            store.pack(merchant, from_ms(START), encoded(facts, START), version, from_ms(START + DAY))
        else:
            written(store, merchant, Stored.TEN_MINUTES, reports(facts), {START + WINDOW: START}, version)
            shown = max(shown, payments)
        [found] = Merge.of(read(merchant, asked, START + DAY), asked, "USD", sparse=False).sums("payments").tolist()
        assert found >= shown, steps
    assert found == len(VERSIONS), steps


MIDNIGHT = datetime(2026, 11, 20, tzinfo=UTC)
QUERY = """query($m: ID!, $s: DateTime!, $e: DateTime!, $g: Grain!) {
  series(merchantId: $m, start: $s, end: $e, grain: $g, currency: "USD", timeZone: "Asia/Seoul") {
    currencies points { start payments gross net failed customers medianAmount smallest }
    totals { payments gross customers p95Amount }
    breakdown(by: METHOD) { slices { value payments gross } }
    freshness { asOf completeThrough revision missing }
  }
}"""
UNCACHED = {"MILLRACE_API_CHUNK_CACHE": "false", "MILLRACE_API_RESPONSE_CACHE_BYTES": "0"}


def window(place: int) -> tuple[datetime, Written]:
    paid = [Paid(100 + place * n, f"c{(place + n) % 30}", "card" if n else "cash") for n in range(1 + place % 3)]
    return MIDNIGHT + timedelta(minutes=10 * place), Written(paid, failed=place % 2)


def filled(store: Store, merchant: str) -> Facts:
    """Two days of reports, and the same as facts."""
    store.merchant(merchant, "USD")
    windows = [window(place) for place in range(0, 288, 3)]
    store.reports([store.row(merchant, start, "USD", each, 5) for start, each in windows])
    store.progress(MIDNIGHT + timedelta(days=2, hours=1))
    store.progress(MIDNIGHT + timedelta(days=2), "rollups")
    return {
        (to_ms(start), "USD"): ([(paid.amount, paid.customer) for paid in each.paid], each.refunded, each.failed) for start, each in windows
    }


def packed_from_rows(store: Store, merchant: str, day: datetime, version: int) -> None:
    """Pack what the rows hold."""
    columns = ", ".join(CONTENT)
    text = f"SELECT to_unix_timestamp(window_start) AS at, currency, {columns} FROM {store.keyspace}.reports "
    where = "WHERE merchant_id = %s AND grain = '10m' AND bucket = %s AND window_start >= %s AND window_start < %s"
    found = store.session.execute(text + where, (merchant, f"{day:%Y-%m}", day, day + timedelta(days=1))).all()
    import numpy as np

    values: dict[str, Any] = {name: [getattr(row, name) for row in found] for name in CONTENT}
    for name in CONTENT:
        if name in BREAKDOWNS:
            values[name] = [dict(each.items()) for each in values[name]]
        elif name not in ("customers", "amounts"):
            values[name] = np.array(values[name], np.int64)
    starts = np.array([row.at for row in found], np.int64)
    data = packed.encode_day(to_ms(day), starts, [row.currency for row in found], values)
    store.pack(merchant, day, data, version, day + timedelta(days=1))


async def asked(api: Api, merchant: str, grain: str = "TEN_MINUTES") -> Any:
    span = {"s": MIDNIGHT.isoformat(), "e": (MIDNIGHT + timedelta(days=2)).isoformat()}
    if grain == "DAY":
        span = {"s": (MIDNIGHT - timedelta(hours=9)).isoformat(), "e": (MIDNIGHT + timedelta(hours=39)).isoformat()}
    answer = await api.ask(QUERY, [merchant], {"m": merchant, "g": grain, **span})
    assert "errors" not in answer, answer
    del answer["data"]["series"]["freshness"]["asOf"]
    return answer["data"]


def test_an_answer_is_the_same_when_its_days_are_packed_and_is_made_of_them(environ: dict[str, str], store: Store) -> None:
    merchant = "packed-answers"
    filled(store, merchant)

    async def scenario(api: Api) -> None:
        plain = [await asked(api, merchant, grain) for grain in ("TEN_MINUTES", "HOUR", "DAY")]
        for day in range(2):
            packed_from_rows(store, merchant, MIDNIGHT + timedelta(days=day), 5)
            assert [await asked(api, merchant, grain) for grain in ("TEN_MINUTES", "HOUR", "DAY")] == plain
        # With the rows gone, the answer is still there: it was made of the packed days.
        for row in ("2026-11",):
            where = "merchant_id = %s AND grain = '10m' AND bucket = %s"
            store.session.execute(f"DELETE FROM {store.keyspace}.reports WHERE {where}", (merchant, row))
        assert [await asked(api, merchant, grain) for grain in ("TEN_MINUTES", "HOUR", "DAY")] == plain

    run({**environ, **UNCACHED}, scenario)


def test_a_row_from_before_its_day_had_ended_is_left_out(environ: dict[str, str], store: Store) -> None:
    merchant = "packed-early"
    filled(store, merchant)
    data = encoded({(to_ms(MIDNIGHT), "USD"): ([(7, 1)], [], 0)}, to_ms(MIDNIGHT))

    async def scenario(api: Api) -> None:
        plain = await asked(api, merchant)
        store.pack(merchant, MIDNIGHT, data, 9, MIDNIGHT + timedelta(hours=23, minutes=59))
        assert await asked(api, merchant) == plain
        store.pack(merchant, MIDNIGHT, data, 10, MIDNIGHT + timedelta(hours=24))
        assert (await asked(api, merchant))["series"]["totals"]["payments"] < plain["series"]["totals"]["payments"]

    run({**environ, **UNCACHED}, scenario)


def test_redis_is_filled_from_packed_days(environ: dict[str, str], store: Store, cache: "redis.Redis") -> None:
    merchant, prefix = "packed-chunks", environ["MILLRACE_NAMES_REDIS_PREFIX"]
    facts = filled(store, merchant)
    packed_from_rows(store, merchant, MIDNIGHT, 5)

    async def scenario(api: Api) -> None:
        answer = await asked(api, merchant)
        assert answer["series"]["totals"]["payments"] == sum(len(paid) for paid, _, _ in facts.values())
        key = chunk_key(prefix, merchant, f"{MIDNIGHT:%Y-%m-%d}")
        await until(lambda: all(cache.hget(key, FIELDS[group]) for group in (Group.COUNTERS, Group.CUSTOMERS)))
        store.session.execute(f"TRUNCATE {store.keyspace}.packed_days", timeout=60)
        assert await asked(api, merchant) == answer

    run({**environ, "MILLRACE_API_RESPONSE_CACHE_BYTES": "0", "MILLRACE_API_CHUNK_MEMORY_BYTES": "0"}, scenario)
