"""Packed days are there once they have closed, go when a late fact touches them, and come again; an older one never comes back (I7 I8)."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from pyspark.sql import functions as F

from millrace_contracts import packed
from millrace_contracts.reports import BREAKDOWNS, COUNTERS, PACKED, PACKED_TABLE, SKETCHES
from millrace_contracts.windows import Grain, from_ms
from millrace_graphql.ranges.cassandra import Cassandra
from millrace_graphql.ranges.columns import Group, Rows
from millrace_graphql.ranges.raw_reports import RawReports
from millrace_graphql.ranges.report_store import ReportStore
from millrace_processors import arranging, packed_store, packing, refresh, reprocessing, rolling
from millrace_processors.arrow_batches import whole_reports
from millrace_processors.refresh import Mode
from millrace_processors.rolling import Rolled
from millrace_processors.scope import Scope
from tests.integration.processors.events import MINUTE, T0, change, payment
from tests.integration.processors_jobs.history import events
from tests.integration.processors_jobs.pipeline import Pipeline, Reports

pytestmark = pytest.mark.stack
DAY = 24 * 60 * MINUTE
TODAY = T0 - T0 % DAY
"""The UTC day of T0."""


def rolled(pipeline: Pipeline) -> Rolled:
    return rolling.run(pipeline.config, pipeline.lake, pipeline.session)


def versions(pipeline: Pipeline) -> dict[tuple[str, int], int]:
    """Version of each packed (merchant, day) that a reader sees."""
    columns = "merchant_id, to_unix_timestamp(day) AS day, version"
    found = pipeline.session.execute(f"SELECT {columns} FROM {pipeline.config.names.keyspace}.{PACKED_TABLE}")
    return {(row.merchant_id, row.day): row.version for row in found}


def unpacked(pipeline: Pipeline) -> Reports:
    """The reports of all packed days, as ``Pipeline.reports`` gives those of rows."""
    columns = f"merchant_id, to_unix_timestamp(day) AS day, {', '.join(PACKED)}"
    made: Reports = {}
    for row in pipeline.session.execute(f"SELECT {columns} FROM {pipeline.config.names.keyspace}.{PACKED_TABLE}"):
        data = {name: bytes(getattr(row, name)) for name in PACKED}
        windows = packed.decode_windows(row.day, data["windows"])
        values: list[list[Any]] = [column.tolist() for column in packed.decode_numbers(data["numbers"])]
        maps = [[tuple((n, tuple(pair)) for n, pair in each.items()) for each in packed.decode_maps(data[name])] for name in BREAKDOWNS]
        blobs = [packed.decode_blobs(data[name]) for name in SKETCHES]
        contents = zip(*values[: len(COUNTERS)], *maps, *blobs, values[-1], strict=True)
        for start, currency, content in zip(windows.starts.tolist(), windows.currencies.tolist(), contents, strict=True):
            made[row.merchant_id, start, str(currency)] = content
    return made


def closed(reports: Reports, through: int) -> Reports:
    """The reports of UTC days that have ended by then."""
    return {key: row for key, row in reports.items() if key[1] - key[1] % DAY + DAY <= through}


async def _answers(pipeline: Pipeline, through: int, days: int) -> list[dict[str, Any]]:
    cassandra = Cassandra(pipeline.config.cassandra, pipeline.config.names.keyspace, 8, 20)
    cassandra.start()
    try:
        await cassandra.tried(60)
        reader, groups = RawReports(ReportStore(cassandra)), frozenset(Group)
        names = sorted({merchant for merchant, _, _ in pipeline.reports()})
        read = [await reader.read(name, TODAY, TODAY + days * DAY, groups, packed) for packed in (through, None) for name in names]
    finally:
        await cassandra.stop()
    return [plain(rows) for rows in read]


def plain(rows: Rows) -> dict[str, Any]:
    """Every column with its keys."""
    return {
        name: list(zip(data.starts.tolist(), data.currencies.tolist(), list(column), strict=True))
        for data in rows.values()
        for name, column in data.values.items()
    }


def agree(pipeline: Pipeline, through: int, days: int = 2) -> None:
    """The API reads the same of so many days with packed days as without them."""
    found = asyncio.run(_answers(pipeline, through, days))
    assert found[: len(found) // 2] == found[len(found) // 2 :]


def days_of(reports: Reports) -> set[tuple[str, int]]:
    return {(merchant, start - start % DAY) for merchant, start, _ in reports}


def test_days_are_packed_as_they_close_and_again_after_a_late_fact(pipeline: Pipeline) -> None:  # I6 I7 I8
    pipeline.produce([*events(4, 50), change("c", payment("next", merchantId="m0", paidAt=T0 + DAY), at=800)], T0 + 95 * MINUTE)
    pipeline.live()
    assert rolled(pipeline).packed == 0, "no day has ended"
    pipeline.produce([], TODAY + DAY + 5 * MINUTE)
    pipeline.live()
    assert rolled(pipeline).packed == len(days_of(closed(pipeline.reports(), TODAY + DAY)))
    first = versions(pipeline)
    assert set(first) == {(name, TODAY) for name in ("m0", "m1", "m2")}, "the day after is open"
    assert unpacked(pipeline) == closed(pipeline.reports(), TODAY + DAY)
    agree(pipeline, TODAY + DAY)
    assert rolled(pipeline).packed == 0, "nothing has changed"

    # A late fact, of a currency that was not there: its day is no longer packed, and those of other merchants are.
    late = payment("late", merchantId="m1", currency="KRW", paidAt=T0 + 5 * MINUTE)
    pipeline.produce([change("c", late, at=900)])
    pipeline.live()
    assert versions(pipeline) == {key: version for key, version in first.items() if key[0] != "m1"}
    agree(pipeline, TODAY + DAY)
    assert rolled(pipeline).packed == 1
    second = versions(pipeline)
    assert second["m1", TODAY] > first["m1", TODAY]
    assert unpacked(pipeline) == closed(pipeline.reports(), TODAY + DAY)
    agree(pipeline, TODAY + DAY)
    assert any(currency == "KRW" for _, _, currency in unpacked(pipeline))

    # A reprocess writes the reports again without adding facts: it packs what it has shadowed.
    reprocessing.from_lake(pipeline.config, pipeline.lake, Scope(), Mode.WRITE)
    assert set(versions(pipeline)) == set(second)
    assert unpacked(pipeline) == closed(pipeline.reports(), TODAY + DAY)


def test_an_older_rollup_that_ends_late_does_not_come_back(pipeline: Pipeline) -> None:  # I7
    pipeline.produce([change("c", payment("p1"), at=1)], TODAY + DAY)
    pipeline.live()
    snapshot = pipeline.lake.current()
    assert snapshot is not None
    target = refresh.sink_of(pipeline.config, snapshot, TODAY + DAY).target
    facts = arranging.arranged(pipeline.lake.read(snapshot), 1).toArrow().to_batches()
    [(older, _)] = list(whole_reports(iter(facts)))
    pipeline.produce([change("c", payment("p2", paidAt=T0 + 2 * MINUTE), at=2)])
    pipeline.live()  # deletes at the version before its own
    assert packed_store.write(target, older) == 1
    assert versions(pipeline) == {}, "what comes from before the newest reports is shadowed although it came after them"
    rolled(pipeline)
    newest = versions(pipeline)
    assert list(newest) == [("m", TODAY)]
    packed_store.write(target, older)
    assert versions(pipeline) == newest
    assert {row[0] for row in unpacked(pipeline).values()} == {2}

    # And one from the very snapshot of the reports outlives their deletion, whichever of them comes first.
    current = pipeline.lake.current()
    assert current is not None
    same = replace(target, version=current.version)
    packed_store.shadow(same, older)
    assert versions(pipeline) == newest


def test_a_day_that_has_not_ended_leaves_no_tombstone(pipeline: Pipeline) -> None:
    now = packed_store.now_ms()
    pipeline.produce([change("c", payment("p1", paidAt=now + DAY), at=1), change("c", payment("p2"), at=2)], T0)
    pipeline.live()
    rows = pipeline.session.execute(f"SELECT day FROM {pipeline.config.names.keyspace}.{PACKED_TABLE}").all()
    assert rows == []
    # Cells stamped with 1 are older than any deletion: they are seen only where there is none.
    insert = f"INSERT INTO {pipeline.config.names.keyspace}.{PACKED_TABLE} (merchant_id, bucket, day, version) VALUES (%s, %s, %s, 1)"
    for day in (TODAY, (now + DAY) // DAY * DAY):
        moment = from_ms(day)
        pipeline.session.execute(f"{insert} USING TIMESTAMP 1", ("m", f"{moment:%Y-%m}", moment))
    assert list(versions(pipeline)) == [("m", (now + DAY) // DAY * DAY)]


def test_a_rebuilt_lake_leaves_no_packed_day_of_the_older_one(pipeline: Pipeline) -> None:  # I7
    made = [change("c", payment(f"p{n}", merchantId=f"m{n}"), at=n) for n in range(1, 4)]
    pipeline.produce(made, TODAY + DAY)
    pipeline.live()
    rolled(pipeline)
    old = versions(pipeline)
    assert len(old) == 3
    pipeline.new_lake(f"{pipeline.config.names.lake_namespace}_again")
    pipeline.batch().run(pipeline.records().where(F.col("key").cast("string") != "p3"), "again", 0)
    assert set(versions(pipeline)) == {("m3", TODAY)}, "the new reports have shadowed the others"
    again = rolled(pipeline)
    assert (again.everything, again.packed) == (True, 2)
    new = versions(pipeline)
    assert set(new) == {("m1", TODAY), ("m2", TODAY)}
    assert all(new[key] > old[key] for key in new)
    assert pipeline.reports(Grain.TEN_MINUTES).keys() >= unpacked(pipeline).keys()


def test_days_that_are_packed_again_are_those_that_a_range_touches(pipeline: Pipeline) -> None:
    paid = [payment(f"p{number}", merchantId=f"m{number % 3}", paidAt=T0 + number // 3 * DAY) for number in range(6)]
    pipeline.produce([change("c", image, at=place) for place, image in enumerate(paid)], TODAY + 2 * DAY)
    pipeline.live()
    condition = (F.col("merchant_id") != "m2") & (F.col("window_start") < F.timestamp_millis(F.lit(TODAY + DAY)))
    assert packing.again(pipeline.config, pipeline.lake, condition, TODAY + 2 * DAY) == 2
    assert set(versions(pipeline)) == {("m0", TODAY), ("m1", TODAY)}
    assert packing.again(pipeline.config, pipeline.lake, F.lit(True), TODAY + 2 * DAY) == 6
    assert packing.again(pipeline.config, pipeline.lake, F.lit(True), None) == 0
    assert unpacked(pipeline) == pipeline.reports()
