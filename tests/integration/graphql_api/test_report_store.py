"""One contract for the report store, kept by Cassandra and by the stand-in that the unit tests use."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from millrace_contracts.packed import encode_day
from millrace_contracts.reports import BREAKDOWNS, CONTENT, COUNTERS
from millrace_contracts.settings import CassandraSettings
from millrace_contracts.windows import Grain as Stored
from millrace_contracts.windows import bucket, from_ms, to_ms
from millrace_graphql.ranges.cassandra import Cassandra
from millrace_graphql.ranges.columns import COLUMNS, GROUP_OF, Group, Rows
from millrace_graphql.ranges.compose import Store as Port
from millrace_graphql.ranges.report_store import ReportStore
from tests.integration.graphql_api.conftest import until
from tests.integration.graphql_api.store import Store
from tests.unit.graphql_api.facts import WINDOW, reports
from tests.unit.graphql_api.shelf import Facts, Shelf, gathered

pytestmark = pytest.mark.stack

MIDNIGHT = to_ms(datetime(2026, 6, 1, tzinfo=UTC))
HOUR, DAY = 3_600_000, 86_400_000
EVERYTHING = frozenset(Group)
FACTS: Facts = {
    (MIDNIGHT - WINDOW, "USD"): ([(100, 1), (250, 2)], [40], 1),
    (MIDNIGHT - WINDOW, "KRW"): ([(99_000, 3)], [], 0),
    (MIDNIGHT, "USD"): ([(7, 1)], [], 0),
    (MIDNIGHT + 5 * WINDOW, "USD"): ([], [], 2),
    (MIDNIGHT + 30 * HOUR, "USD"): ([(10**12, 9)], [1, 2], 0),
}
ROLLED = {
    Stored.HOUR: {(MIDNIGHT, MIDNIGHT + HOUR): MIDNIGHT + HOUR, (MIDNIGHT - HOUR, MIDNIGHT): MIDNIGHT + 5},
    Stored.DAY: {(MIDNIGHT - 9 * HOUR, MIDNIGHT + 15 * HOUR): MIDNIGHT + 15 * HOUR},
}
PACKED_DAYS = (MIDNIGHT - DAY, MIDNIGHT)
Check = Callable[[Port], Awaitable[None]]


def written(store: Store, merchant: str, grain: Stored, rows: Rows, through: Mapping[int, int], version: int = 1) -> None:
    """Put a table's rows into Cassandra as they are."""
    starts, currencies = rows[Group.COUNTERS].starts.tolist(), rows[Group.COUNTERS].currencies.tolist()
    for place, (start, currency) in enumerate(zip(starts, currencies, strict=True)):
        counters = [int(rows[Group.COUNTERS].values[name][place]) for name in COUNTERS]
        maps = [{value: tuple(pair) for value, pair in rows[Group.BREAKDOWNS].values[name][place].items()} for name in BREAKDOWNS]
        sketches = [rows[Group.CUSTOMERS].values["customers"][place], rows[Group.AMOUNTS].values["amounts"][place]]
        revision = int(rows[Group.COUNTERS].values["revision"][place])
        moment = from_ms(start)
        key = (merchant, grain.value, bucket(grain, moment), moment, currency)
        store.session.execute(store._insert, (*key, *counters, *maps, *sketches, revision, version, from_ms(through[start]), version))


@pytest.fixture(params=["cassandra", "stand-in"])
def check(request: pytest.FixtureRequest, environ: dict[str, str], store: Store) -> Callable[[Check], None]:
    """Runs a check against one of the two."""
    if request.param == "stand-in":
        return lambda scenario: asyncio.run(scenario(Shelf(FACTS, ROLLED, PACKED_DAYS)))  # type: ignore[arg-type]
    raw = reports(FACTS)
    written(store, "contract", Stored.TEN_MINUTES, raw, {start: start for start, _ in FACTS})
    for grain, windows in ROLLED.items():
        for (low, high), through in windows.items():
            written(store, "contract", grain, reports(gathered(FACTS, low, high)), {low: through})

    for day in PACKED_DAYS:
        rows = {group: data.between(day, day + DAY) for group, data in raw.items()}
        values = {name: rows[GROUP_OF[name]].values[name] for name in CONTENT}
        keys = rows[Group.COUNTERS]
        store.pack("contract", from_ms(day), encode_day(day, keys.starts, keys.currencies, values), 1, from_ms(day + DAY))

    async def connected(scenario: Check) -> None:
        cassandra = Cassandra(CassandraSettings.load(environ), store.keyspace, 8, 10)
        cassandra.start()
        try:
            await until(lambda: cassandra.ready)
            await scenario(ReportStore(cassandra))
        finally:
            await cassandra.stop()

    return lambda scenario: asyncio.run(connected(scenario))


def plain(rows: Rows) -> dict[str, Any]:
    """Every column with its keys, as plain lists."""
    return {
        f"{group}.{name}": list(zip(data.starts.tolist(), data.currencies.tolist(), list(data.values[name]), strict=True))
        for group, data in rows.items()
        for name in COLUMNS[group]
    }


def expected(low: int, high: int) -> dict[str, Any]:
    return plain(reports({key: value for key, value in FACTS.items() if low <= key[0] < high}))


def test_reports_of_a_month_come_in_time_order_with_every_column(check: Callable[[Check], None]) -> None:
    async def scenario(store: Port) -> None:
        may = await store.read("contract", "2026-05", MIDNIGHT - DAY, MIDNIGHT + DAY, EVERYTHING)
        assert plain(may) == expected(MIDNIGHT - DAY, MIDNIGHT)
        june = await store.read("contract", "2026-06", MIDNIGHT - DAY, MIDNIGHT + 2 * DAY, EVERYTHING)
        assert plain(june) == expected(MIDNIGHT, MIDNIGHT + 2 * DAY)

    check(scenario)


def test_the_start_is_inclusive_and_the_end_is_not(check: Callable[[Check], None]) -> None:
    async def scenario(store: Port) -> None:
        found = await store.read("contract", "2026-06", MIDNIGHT, MIDNIGHT + 5 * WINDOW, EVERYTHING)
        assert plain(found) == expected(MIDNIGHT, MIDNIGHT + WINDOW)

    check(scenario)


def test_only_the_groups_asked_for_are_read(check: Callable[[Check], None]) -> None:
    async def scenario(store: Port) -> None:
        found = await store.read("contract", "2026-06", MIDNIGHT, MIDNIGHT + DAY, frozenset({Group.CUSTOMERS}))
        assert set(found) == {Group.CUSTOMERS}

    check(scenario)


@pytest.mark.parametrize("grain", [Stored.HOUR, Stored.DAY])
def test_rollups_say_how_far_each_is_complete(check: Callable[[Check], None], grain: Stored) -> None:
    async def scenario(store: Port) -> None:
        name = "2026" if grain is Stored.HOUR else "all"
        found = await store.rollups("contract", grain, name, MIDNIGHT - DAY, MIDNIGHT + DAY, EVERYTHING)
        windows = sorted(ROLLED[grain].items())
        merged: Facts = {}
        for (low, high), _ in windows:
            merged |= gathered(FACTS, low, high)
        assert plain(found.rows) == plain(reports(merged))
        through = {low: complete for (low, _), complete in windows}
        assert found.through_ms.tolist() == [through[start] for start, _ in sorted(merged)]

    check(scenario)


def test_packed_days_of_a_month_come_by_their_start(check: Callable[[Check], None]) -> None:
    async def scenario(store: Port) -> None:
        for month, day in (("2026-05", MIDNIGHT - DAY), ("2026-06", MIDNIGHT)):
            found = await store.packed("contract", month, MIDNIGHT - DAY, MIDNIGHT + 2 * DAY, EVERYTHING)
            assert {start: plain(rows) for start, rows in found.items()} == {day: expected(day, day + DAY)}
        assert await store.packed("contract", "2026-06", MIDNIGHT + 1, MIDNIGHT + 2 * DAY, EVERYTHING) == {}
        [only] = (await store.packed("contract", "2026-06", MIDNIGHT, MIDNIGHT + 1, frozenset({Group.AMOUNTS}))).values()
        assert set(only) == {Group.AMOUNTS}

    check(scenario)


def test_nothing_is_an_empty_table(check: Callable[[Check], None]) -> None:
    async def scenario(store: Port) -> None:
        found = await store.read("contract", "2020-01", MIDNIGHT - 3000 * DAY, MIDNIGHT - 2900 * DAY, EVERYTHING)
        assert all(len(data.starts) == 0 for data in found.values())
        rolled = await store.rollups("contract", Stored.DAY, "all", MIDNIGHT - 3000 * DAY, MIDNIGHT - 2900 * DAY, EVERYTHING)
        assert (len(rolled.rows[Group.COUNTERS].starts), len(rolled.through_ms)) == (0, 0)

    check(scenario)
