"""A lake of its own with the facts and merchants of four merchants, and the engine on the run's Spark session."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta

import pytest
from pyspark.sql import SparkSession

from millrace_processors.facts import COLUMNS
from millrace_processors.lake import Lake
from millrace_processors.query.engine import SparkEngine
from millrace_processors.settings import Config
from tests.support.servers import unique_names
from tests.unit.processors_query.history import DAYS, T0, Row, facts

MERCHANTS = ["m1", "m2", "m3", "secret-merchant"]
ZONED = {
    "zone-vancouver": "America/Vancouver", "zone-edmonton": "America/Edmonton", "zone-winnipeg": "America/Winnipeg",
    "zone-havana": "America/Havana", "zone-casablanca": "Africa/Casablanca", "zone-coyhaique": "America/Coyhaique", "zone-roc": "ROC",
    "zone-posix": "posix/Asia/Tokyo", "zone-factory": "Factory", "zone-none": None,
}  # fmt: skip
"""Merchants of the dimension only: zone by merchant."""
_KINDS = {"window_start": "timestamp", "occurred_at": "timestamp", "retracted": "boolean"} | dict.fromkeys(
    ("amount", "points_used", "points_earned", "version"), "bigint"
)
ALONE = T0 + timedelta(days=DAYS, hours=5)
"""A window in which nobody but the secret merchant has payments; all of them are in yen, which nobody else takes."""


def facts_of_one_alone() -> list[Row]:
    """Payments of the secret merchant by which it differs from everybody else."""
    rows = facts(8, ["secret-merchant"], 20)
    return [{**row, "fact_id": f"s{row['fact_id']}", "currency": "JPY", "occurred_at": ALONE, "window_start": ALONE} for row in rows]


@dataclass(frozen=True)
class Filled:
    """A lake, what it holds, and the settings that find it."""

    lake: Lake
    engine: SparkEngine
    rows: list[Row]
    environ: dict[str, str]


def append(spark: SparkSession, lake: Lake, rows: list[Row]) -> None:
    """Write facts to a lake."""
    schema = ", ".join(f"{name} {_KINDS.get(name, 'string')}" for name in COLUMNS)
    spark.createDataFrame([tuple(row.values()) for row in rows], schema).writeTo(lake.facts).append()


@pytest.fixture(scope="session")
def filled(spark: SparkSession, spark_settings: dict[str, str]) -> Filled:
    environ = {**spark_settings, "MILLRACE_NAMES_LAKE_NAMESPACE": unique_names()["MILLRACE_NAMES_LAKE_NAMESPACE"]}
    config = Config.load(environ)
    lake = Lake(spark, config.lake, config.names.lake_namespace)
    lake.declare()
    rows = facts(7, MERCHANTS, 400) + facts_of_one_alone()
    append(spark, lake, rows)
    documents = [(name, 1, False, json.dumps({"_id": name, "name": f"Shop {name}", "timeZone": "Asia/Seoul"})) for name in MERCHANTS]
    documents += [("m1", 2, False, json.dumps({"_id": "m1", "name": "Shop One", "timeZone": "Europe/Berlin"})), ("m3", 3, True, "{}")]
    documents += [(name, 1, False, json.dumps({"_id": name, "timeZone": zone})) for name, zone in ZONED.items()]
    history = spark.createDataFrame(documents, "merchant_id string, version bigint, deleted boolean, document string")
    history.selectExpr("*", "current_timestamp() AS seen_at").writeTo(lake.merchants).append()
    return Filled(lake, SparkEngine(spark, lake), rows, environ)
