"""The lake's table of the day on which a merchant first saw each customer: merchant_id, customer_key, first_day (its first instant)."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from millrace_processors.lake import Lake

CUSTOMER = ("merchant_id", "customer_key")
_PENDING = "millrace_first_seen"


def table(lake: Lake) -> str:
    """Its name."""
    return f"{lake.facts.rpartition('.')[0]}.first_seen"


def declare(lake: Lake) -> str:
    """Create the table if it is missing; its name."""
    name = table(lake)
    properties = "'format-version' = '2', 'write.parquet.compression-codec' = 'zstd', 'write.distribution-mode' = 'hash'"
    columns = "merchant_id string, customer_key string, first_day timestamp"
    lake.session.sql(
        f"CREATE TABLE IF NOT EXISTS {name} ({columns}) USING iceberg PARTITIONED BY (bucket(16, merchant_id)) TBLPROPERTIES ({properties})"
    )
    return name


def replace(lake: Lake, rows: DataFrame) -> None:
    """Have these rows and no others, in one commit."""
    rows.select(*CUSTOMER, "first_day").writeTo(table(lake)).overwrite(F.lit(True))


def merge(lake: Lake, moved: DataFrame) -> None:
    """Take over the first days of these customers, one row each; a null removes the customer. One commit."""
    moved.select(*CUSTOMER, "first_day").createOrReplaceTempView(_PENDING)
    same = " AND ".join(f"known.{name} = moved.{name}" for name in CUSTOMER)
    lake.session.sql(
        f"MERGE INTO {table(lake)} known USING {_PENDING} moved ON {same} "
        "WHEN MATCHED AND moved.first_day IS NULL THEN DELETE "
        "WHEN MATCHED THEN UPDATE SET first_day = moved.first_day "
        "WHEN NOT MATCHED AND moved.first_day IS NOT NULL THEN INSERT *"
    )
    lake.session.catalog.dropTempView(_PENDING)
