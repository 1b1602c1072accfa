"""Local times in SQL are those of the pinned table of zones, and a merchant without a zone stops nobody's query."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest
from pyspark.sql import SparkSession

from millrace_contracts.values import zones
from millrace_processors.query.engine import Limits
from millrace_processors.query.rewriting import Scope, rewrite
from tests.integration.processors_query.conftest import ZONED, Filled

pytestmark = pytest.mark.stack
LOCAL = """
SELECT merchant_id, time_zone, time_zone_remark,
    date_format(from_utc_timestamp(CAST('2026-07-01 03:30:00' AS TIMESTAMP), m.time_zone), 'yyyy-MM-dd HH:mm') AS july,
    date_format(from_utc_timestamp(CAST('2026-11-25 07:30:00' AS TIMESTAMP), m.time_zone), 'yyyy-MM-dd HH:mm') AS november,
    date_format(to_utc_timestamp(CAST('2026-11-25 00:30:00' AS TIMESTAMP), m.time_zone), 'yyyy-MM-dd HH:mm') AS back
FROM merchants m
"""


def test_a_merchants_wall_clock_follows_the_pinned_rules(filled: Filled) -> None:
    scope = Scope(tuple(ZONED), False, datetime(2026, 7, 1, tzinfo=UTC), datetime(2026, 7, 2, tzinfo=UTC))
    statement = rewrite(LOCAL, scope, filled.engine.sources().tables)
    answer = filled.engine.run("zones", "tenant", statement, Limits(1_000_000, 1_000, 10_000_000), lambda: False)
    found = {row.pop("merchant_id"): row for row in answer.table.to_pylist()}
    # By the text rules of release 2026f (tests/unit/contracts/test_zones.py); Java 17 has -8, -7, -6, -5 and +1, and no Coyhaique and ROC.
    expected = {
        "zone-vancouver": ("2026-06-30 20:30", "2026-11-25 00:30", "2026-11-25 07:30"),
        "zone-edmonton": ("2026-06-30 21:30", "2026-11-25 01:30", "2026-11-25 06:30"),
        "zone-winnipeg": ("2026-06-30 22:30", "2026-11-25 02:30", "2026-11-25 05:30"),
        "zone-havana": ("2026-06-30 23:30", "2026-11-25 03:30", "2026-11-25 04:30"),
        "zone-casablanca": ("2026-07-01 04:30", "2026-11-25 07:30", "2026-11-25 00:30"),
        "zone-coyhaique": ("2026-07-01 00:30", "2026-11-25 04:30", "2026-11-25 03:30"),
        "zone-roc": ("2026-07-01 11:30", "2026-11-25 15:30", "2026-11-24 16:30"),
        "zone-posix": (None, None, None),
        "zone-factory": (None, None, None),
        "zone-none": (None, None, None),
    }
    assert {name: (row["july"], row["november"], row["back"]) for name, row in found.items()} == expected
    remarks = {name: row["time_zone_remark"] for name, row in found.items() if row["time_zone_remark"]}
    assert remarks == {
        "zone-posix": "merchant zone-posix: posix/Asia/Tokyo is not an IANA time zone; time_zone is null",
        "zone-factory": "merchant zone-factory: Factory is not an IANA time zone; time_zone is null",
    }


def test_spark_and_python_agree_on_every_zone(spark: SparkSession, filled: Filled) -> None:
    assert filled.engine.zone_release() == zones.VERSION
    chance = random.Random(7)
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    asked = [(name, chance.randrange(0, 4_102_444_800)) for name in sorted(zones.names()) for _ in range(30)]
    weeks = [(name, second) for name in sorted(zones.names()) for second in range(1_767_225_600, 1_830_297_600, 604_800)]
    frame = spark.createDataFrame(asked + weeks, "zone string, second bigint")
    local = frame.selectExpr("zone", "second", "unix_seconds(from_utc_timestamp(timestamp_seconds(second), zone)) AS local").toArrow()
    for row in local.to_pylist():
        expected = (epoch + timedelta(seconds=row["second"])).astimezone(zones.rules(row["zone"])).replace(tzinfo=UTC)
        assert row["local"] == int(expected.timestamp()), row
    assert local.num_rows == len(asked) + len(weeks)
