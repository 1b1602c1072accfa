"""What a read of the lake opens, as the plan's own figures say: partitions, and files by their statistics, are left out."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from millrace_processors import pruning
from millrace_processors.facts import COLUMNS
from millrace_processors.lake import Lake
from millrace_processors.settings import Config

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]
START = datetime(2026, 3, 2, tzinfo=UTC)
DAYS, HOURS = 4, (2, 9, 16)


@pytest.fixture
def lake(spark: SparkSession, spark_settings: Mapping[str, str], names: Mapping[str, str]) -> Lake:
    """Four days, on each of them three hours of facts that came one after another: twelve batches, one file a bucket each."""
    config = Config.load({**spark_settings, **names})
    made = Lake(spark, config.lake, config.names.lake_namespace)
    made.declare()
    texts = {"fact_id": F.format_string("p%04d", "id"), "merchant_id": F.format_string("m%02d", F.col("id") % 40)}
    for number in range(DAYS * len(HOURS)):
        at = START + timedelta(days=number // len(HOURS), hours=HOURS[number % len(HOURS)])
        given: dict[str, Any] = {**texts, "window_start": F.lit(at), "occurred_at": F.lit(at), "retracted": F.lit(False)}
        numbers = dict.fromkeys(("amount", "points_used", "points_earned", "version"), F.lit(1).cast("bigint"))
        columns = [{**given, **numbers}.get(name, F.lit("x")).alias(name) for name in COLUMNS]
        made.append(spark.range(200).select(*columns), "q", number)
    return made


def opened(found: DataFrame) -> tuple[int, int, int]:
    """(rows, files that are opened, files that are left out) of a read that was run."""
    plan: Any = found._jdf.queryExecution().executedPlan()  # type: ignore[operator]
    rows = plan.executeCollect()
    metrics = plan.collectLeaves().head().metrics()

    def value(name: str) -> int:
        return int(metrics.apply(name).value())

    return len(rows), value("resultDataFiles"), value("skippedDataFiles")


def keys(lake: Lake, at: datetime, merchants: list[str]) -> DataFrame:
    rows = [(merchant, at, "USD") for merchant in merchants]
    return lake.session.createDataFrame(rows, "merchant_id string, window_start timestamp, currency string")


def test_a_batch_opens_the_files_of_its_windows_only(lake: Lake) -> None:
    newest = lake.current()
    assert newest is not None
    everything = lake.read(newest).select("fact_id")
    rows, files, _ = opened(everything)
    assert rows == 200 * DAYS * len(HOURS)
    assert files == DAYS * len(HOURS) * 2, "a file a batch and bucket"
    at = START + timedelta(days=2, hours=9)
    wanted = keys(lake, at, [f"m{number:02d}" for number in range(40)])
    some = everything.where(pruning.condition(pruning.extent_of(wanted.toArrow())))
    # Of the other days the partition tells, of the other hours of this day the statistics of the files.
    assert opened(some)[:2] == (200, 2)
    by_hours = everything.where(pruning.condition(pruning.extent(wanted)))
    assert opened(by_hours)[:2] == (200, 2)


def test_one_merchant_opens_its_bucket_only(lake: Lake) -> None:
    newest = lake.current()
    assert newest is not None
    at = START + timedelta(days=2, hours=9)
    one = lake.read(newest).select("fact_id").where(pruning.condition(pruning.extent_of(keys(lake, at, ["m07"]).toArrow())))
    assert opened(one)[:2] == (5, 1)
