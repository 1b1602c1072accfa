"""A merchant with a thousand times the facts of the others: one window of it is far more than a worker holds at a time."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest
from datasketches import compact_theta_sketch
from pyspark.sql import functions as F

from millrace_contracts import sketches
from millrace_processors import arranging, refresh, skew
from millrace_processors.arrow_batches import whole_facts
from millrace_processors.facts import COLUMNS
from tests.integration.processors.conftest import Place
from tests.integration.processors.events import T0

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]
FACTS, OTHERS, ROWS, TASKS = 40_000, 40, 2_000, 4
HELD = "facts bigint, most bigint"
"""Of the large merchant; the merchants that have one each; rows of an Arrow batch; tasks."""


def held(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """One row a task: how many facts it was given, and the most of them that it held at a time."""
    sizes = [batch.num_rows for batch in whole_facts(batches)]
    yield pa.RecordBatch.from_pylist([{"facts": sum(sizes), "most": max(sizes, default=0)}])


@pytest.fixture
def skewed(place: Place) -> Iterator[Place]:
    """A lake with the facts; every tenth of the large merchant's payments has a second version."""
    number = F.col("id")
    large = number < FACTS
    rows = place.spark.range(FACTS + OTHERS).unionByName(place.spark.range(0, FACTS, 10).select((-number - 1).alias("id")))
    plain = F.when(number < 0, -number - 1).otherwise(number)
    made: dict[str, Any] = {
        "fact_id": F.format_string("p%06d", plain), "kind": F.lit("payment"), "payment_id": F.format_string("p%06d", plain),
        "merchant_id": F.when(large, "large").otherwise(F.concat(F.lit("m"), number)), "window_start": F.timestamp_millis(F.lit(T0)),
        "currency": F.lit("USD"), "occurred_at": F.timestamp_millis(F.lit(T0)), "amount": F.when(number < 0, 1).otherwise(plain % 1_000),
        "customer_key": F.concat(F.lit("c"), plain % 6_000), "method": F.when(plain % 4 == 0, "cash").otherwise("card"),
        "version": F.when(number < 0, 2).otherwise(1), "version_order": F.lit(""), "retracted": F.lit(False),
    }  # fmt: skip
    numbers = ("points_used", "points_earned")
    columns = [made.get(name, F.lit(0) if name in numbers else F.lit("x")).alias(name) for name in COLUMNS]
    place.lake.append(rows.select(*columns), "q", 0)
    name = "spark.sql.execution.arrow.maxRecordsPerBatch"
    before = place.spark.conf.get(name)
    place.spark.conf.set(name, str(ROWS))
    yield place
    place.spark.conf.set(name, str(before))


def test_a_worker_holds_a_batch_of_the_large_merchant_and_not_its_window(skewed: Place) -> None:
    newest = skewed.lake.current()
    assert newest is not None
    tasks = arranging.arranged(skewed.lake.read(newest)).mapInArrow(held, HELD).collect()
    assert sum(task["facts"] for task in tasks) == FACTS * 11 // 10 + OTHERS
    assert max(task["facts"] for task in tasks) > 20 * ROWS, "its window is in one task"
    assert max(task["most"] for task in tasks) <= ROWS + 1, "a batch, and what the next one adds to its last fact"


def test_its_facts_are_spread_evenly_and_all_versions_of_a_fact_are_in_one_task(skewed: Place) -> None:  # I5
    newest = skewed.lake.current()
    assert newest is not None
    facts = skewed.lake.read(newest)
    counted = facts.groupBy("merchant_id", "window_start").agg(F.count("*").alias("facts"))
    hot = skew.hot_merchants(counted, TASKS)
    assert hot == {"large": math.ceil(skew.PARTS * TASKS * FACTS * 1.1 / (FACTS * 1.1 + OTHERS))}
    alone, spread = (
        sorted(row["facts"] for row in arranging.arranged(facts, TASKS, chosen).mapInArrow(held, HELD).collect()) for chosen in (None, hot)
    )
    assert alone[-1] > 1_000 * statistics.median(alone)
    assert sum(spread) == sum(alone) == FACTS * 11 // 10 + OTHERS
    assert spread[-1] < 1.5 * statistics.median(spread)
    places = arranging.arranged(facts, TASKS, hot).select("fact_id", F.spark_partition_id().alias("task")).distinct()
    assert places.count() == FACTS + OTHERS


def test_nobody_is_spread_where_no_day_is_more_than_a_fair_share(skewed: Place) -> None:
    counted = skewed.spark.range(40).select(
        F.concat(F.lit("m"), "id").alias("merchant_id"),
        F.timestamp_millis(F.lit(T0)).alias("window_start"),
        F.lit(skew.LEAST_FACTS).alias("facts"),
    )
    assert skew.hot_merchants(counted, 4) == {}
    assert skew.hot_merchants(counted.where("false"), 4) == {}
    few = counted.limit(1).withColumn("facts", F.lit(skew.LEAST_FACTS - 1))
    assert skew.hot_merchants(few, 4) == {}


def test_a_report_that_was_merged_from_pieces_is_the_one_that_was_made_whole(skewed: Place) -> None:  # I6
    newest = skewed.lake.current()
    assert newest is not None
    facts = skewed.lake.read(newest)
    whole = refresh.write(skewed.config, facts, newest, None)
    spread = refresh.write(skewed.config, facts, newest, None, refresh.Mode.COMPARE, hot={"large": 13, "m40001": 5})
    assert (spread.equal, spread.changed, spread.added, spread.newer) == (1 + OTHERS, 0, 0, 0)
    sums = ("reports", "facts", "payments", "gross", "refunds", "refunded_amount")
    assert [getattr(spread, name) for name in sums] == [getattr(whole, name) for name in sums]


@pytest.mark.parametrize("tasks", [skew.LEAST_TASKS - 1, skew.LEAST_TASKS])
def test_its_report_is_the_one_of_all_its_facts(skewed: Place, tasks: int) -> None:
    spark = skewed.config.spark.model_copy(update={"shuffle_partitions": tasks})
    assert refresh.whole(replace(skewed.config, spark=spark), skewed.lake, F.lit(True), None).reports == 1 + OTHERS
    start = datetime.fromtimestamp(T0 / 1000, UTC).replace(tzinfo=None)
    found = skewed.reports("payments", "gross", "smallest", "largest", "by_method", "amounts", "customers", "revision")
    amounts = [1 if number % 10 == 0 else number % 1_000 for number in range(FACTS)]
    payments, gross, smallest, largest, methods, histogram, customers, revision = found["large", start, "USD"]
    assert (payments, gross, smallest, largest) == (FACTS, sum(amounts), min(amounts), max(amounts))
    cash = sum(amounts[::4])
    assert methods == {"cash": (FACTS // 4, cash), "card": (FACTS * 3 // 4, sum(amounts) - cash)}
    assert revision == FACTS * 11 // 10
    assert sum(sketches.decode(histogram).values()) == FACTS
    estimate = compact_theta_sketch.deserialize(bytes(customers)).get_estimate()
    assert abs(estimate / 6_000 - 1) < 3 * sketches.THETA_STANDARD_ERROR
    assert {found[f"m{FACTS + number}", start, "USD"][0] for number in range(OTHERS)} == {1}
