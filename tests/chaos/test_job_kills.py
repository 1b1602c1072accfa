"""kill -9 of each analysis job while it works; maintenance beside the stream. Repeated, each gives what no kill would have (I5, I6, I7)."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from millrace_contracts.reports import CUSTOMERS_TABLE, PACKED_TABLE
from millrace_contracts.windows import Grain
from millrace_processors import auditing, customers, first_seen, reprocessing
from millrace_processors.errors import LakeError
from millrace_processors.refresh import Mode
from millrace_processors.scope import Scope
from tests.integration.processors.events import MINUTE, T0, change, payment
from tests.integration.processors_jobs.conftest import pipeline, source  # noqa: F401
from tests.integration.processors_jobs.history import Event, disturbed, events
from tests.integration.processors_jobs.jobs import Jobs
from tests.integration.processors_jobs.pipeline import Pipeline, Reports
from tests.integration.processors_jobs.source import Source
from tests.integration.processors_jobs.test_packing import DAY as UTC_DAY
from tests.integration.processors_jobs.test_packing import agree, closed, days_of, unpacked, versions
from tests.integration.processors_jobs.test_rolling import DAY, expected
from tests.integration.processors_jobs.test_same_bytes import without_revision
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.stack, pytest.mark.timeout(1_800)]
PAYMENTS = 3_000
THROUGH = T0 + 2 * DAY


def count(made: Pipeline, table: str, where: str = "") -> int:
    return int(made.session.execute(f"SELECT count(*) FROM {made.config.names.keyspace}.{table} {where}").one()[0])


def snapshots(made: Pipeline) -> int:
    try:
        return len(made.lake.snapshots(made.lake.facts))
    except LakeError:
        return 0


@pytest.fixture
def jobs(pipeline: Pipeline, tmp_path: Path) -> Jobs:  # noqa: F811
    return Jobs(pipeline, tmp_path)


@pytest.fixture
def history() -> list[Event]:
    return events(11, PAYMENTS, merchants=40)


@pytest.fixture
def whole(pipeline: Pipeline, history: list[Event]) -> Reports:  # noqa: F811
    """The reports of an undisturbed run; the topic, the lake and the store hold the history."""
    pipeline.produce(disturbed(4, history), THROUGH)
    pipeline.batch().run(pipeline.records(), "whole", 0)
    found = pipeline.reports()
    assert len(found) > 1_000
    return found


def test_killed_reprocesses_are_repeated(jobs: Jobs, whole: Reports, source: Source, history: list[Event]) -> None:  # noqa: F811
    made, name = jobs.pipeline, jobs.pipeline.config.names.lake_namespace
    truncate = f"TRUNCATE {made.config.names.keyspace}.reports"
    made.session.execute(truncate, timeout=120)
    jobs.kill(lambda: count(made, "reports"), "reprocess", "--no-diff")
    assert jobs.run("reprocess")["reports"] == len(whole)
    assert made.reports() == whole

    made.new_lake(f"{name}_kafka")
    jobs.kill(lambda: snapshots(made) > 1, "reprocess", "--from", "kafka", "--no-diff")
    again = jobs.run("reprocess", "--from", "kafka", "--no-diff")
    assert 0 < again["events"] < len(disturbed(4, history)), "it went on where it was"
    assert made.reports() == whole

    source.hold(history)
    made.new_lake(f"{name}_mongo")
    made.session.execute(truncate, timeout=120)
    jobs.kill(lambda: snapshots(made), "reprocess", "--from", "mongo", "--no-diff")
    assert jobs.run("reprocess", "--from", "mongo")["corrected"] == 0, "its commit was whole"
    assert without_revision(made.reports()) == without_revision(whole)


def test_killed_rollups_and_counts_of_customers_are_repeated(jobs: Jobs, whole: Reports) -> None:
    made = jobs.pipeline
    jobs.kill(lambda: count(made, "reports", "WHERE grain = '1h' ALLOW FILTERING"), "rollup")
    jobs.run("rollup")
    for grain in (Grain.HOUR, Grain.DAY):
        assert made.reports(grain) == expected(whole, grain, THROUGH, {})

    def days() -> list[Any]:
        columns = "merchant_id, window_start, customers, new_customers, returning_customers"
        return sorted(made.session.execute(f"SELECT {columns} FROM {made.config.names.keyspace}.{CUSTOMERS_TABLE}"))

    jobs.kill(lambda: count(made, CUSTOMERS_TABLE), "customers")
    jobs.run("customers")
    counted, seen = days(), made.spark.table(first_seen.table(made.lake)).count()
    assert seen == sum(row.new_customers for row in counted) > 0
    customers.run(made.config, made.lake, made.session, everything=True)
    assert days() == counted


def test_a_killed_packing_is_repeated_and_no_reader_sees_half_of_a_day(jobs: Jobs) -> None:  # I6 I7
    made, spread = jobs.pipeline, 60
    paid = [payment(f"p{n}", merchantId=f"m{n % 40}", amount=n, paidAt=T0 + n // 40 % spread * DAY + n % 7 * MINUTE) for n in range(4_800)]
    through = T0 + (spread + 2) * DAY
    made.produce([change("c", image, at=n + 1) for n, image in enumerate(paid)], through)
    made.batch().run(made.records(), "whole", 0)
    whole = made.reports()
    days = days_of(closed(whole, through))
    assert len(days) == 40 * spread

    def packed() -> int:
        return count(made, PACKED_TABLE)

    partial = 0
    for kill in range(3):
        begun = 1 + kill * len(days) // 4
        jobs.kill(lambda: packed() >= begun, "rollup", "--all")  # noqa: B023
        # What is there of the days is whole and right; what is not is read from the reports.
        found, there = unpacked(made), set(versions(made))
        partial += 0 < len(there) < len(days)
        assert there <= days
        assert found == {key: row for key, row in whole.items() if (key[0], key[1] - key[1] % UTC_DAY) in there}
        agree(made, through, spread + 1)
        made.session.execute(f"TRUNCATE {made.config.names.keyspace}.{PACKED_TABLE}", timeout=120)
    assert partial, "a kill has come in the middle"

    # A late fact shadows its day after a rollup that did not know of it was killed at work; the next one packs all.
    jobs.kill(packed, "rollup", "--all")
    late = payment("late", merchantId="m0", amount=5, paidAt=T0 + 5 * MINUTE)
    made.produce([change("c", late, at=900_000)])
    made.batch().run(made.records().where("key = 'late'"), "whole", 1)
    assert ("m0", T0 - T0 % UTC_DAY) not in versions(made)
    agree(made, through, spread + 1)
    assert jobs.run("rollup", "--all")["packed"] == len(days)
    assert unpacked(made) == closed(made.reports(), through)
    assert made.reports() != whole
    agree(made, through, spread + 1)
    assert jobs.run("rollup")["packed"] == 0, "nothing is left to be done"


def test_a_killed_maintenance_and_a_killed_repair_are_repeated(jobs: Jobs, whole: Reports, history: list[Event]) -> None:
    made = jobs.pipeline
    facts = made.spark.table(made.lake.facts).count()
    for number in range(5):
        made.batch().run(made.records().where(f"offset % 50 = {number}"), "again", number)
    rows = made.spark.table(made.lake.facts).count()
    assert rows > facts, "the same versions once more"
    before = snapshots(made)
    jobs.kill(lambda: snapshots(made) != before, "maintain", "--keep-hours", "1", "--small-files", "2")
    jobs.run("maintain", "--keep-hours", "1", "--small-files", "2")
    assert made.spark.table(made.lake.facts).count() == rows
    compared = reprocessing.from_lake(made.config, made.lake, Scope(), Mode.COMPARE).refreshed
    assert (compared.equal, compared.changed, compared.added) == (len(whole), 0, 0)

    made.spark.sql(f"DELETE FROM {made.lake.facts} WHERE payment_id LIKE '%7'")
    before = snapshots(made)
    jobs.kill(lambda: snapshots(made) > before, "audit", "--repair")
    jobs.run("audit", "--repair")
    assert auditing.run(made.config, made.lake, Scope(), settle_seconds=0).differing == []
    assert made.reports() == whole


def test_maintenance_while_the_stream_runs_changes_nothing(jobs: Jobs) -> None:
    made, parts = jobs.pipeline, 12
    with jobs.running("stream", "--query", "payments", "--trigger", "1 second") as stream:
        for part in range(parts):
            images = [payment(f"p{part}-{n}", merchantId=f"m{n % 7}", amount=n, paidAt=T0 + n * MINUTE) for n in range(100)]
            made.produce([change("c", image, at=part * 100 + n + 1) for n, image in enumerate(images)], THROUGH)
            held = (part + 1) * 100
            wait_until(lambda: sum(row[0] for row in made.reports().values()) == held, 300, f"{held} payments")  # noqa: B023
            if part in (4, 9):
                done = jobs.run("maintain", "--keep-hours", "1", "--small-files", "2")
                assert done["tables"][0]["joined_files"] > 0
        assert stream.poll() is None
        stream.send_signal(signal.SIGTERM)
        assert stream.wait(120) == 0
    gross = sum(row[1] for row in made.reports().values())
    assert gross == parts * sum(range(100))
    compared = reprocessing.from_lake(made.config, made.lake, Scope(), Mode.COMPARE).refreshed
    assert (compared.changed, compared.added, compared.payments) == (0, 0, parts * 100)
