"""What compaction makes of a day that came in small batches: the sizes of the lake's files before and after.

    python bench/lake_files.py [--json PATH] [--facts 9000000] [--batches 18]

The facts of one day, in as many commits as a stream would make, without any server: Spark makes them up. Then the step that
`millrace process maintain` joins small files with. Exit code 1 where a file stays below 64 MB.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from analysis_events import FIRST_MS, MERCHANTS
from millrace_processors import maintenance, session
from millrace_processors.facts import COLUMNS
from millrace_processors.lake import Lake
from millrace_processors.settings import Config
from millrace_stack.settings import StackSettings
from millrace_stack.supervisor import spark_jars

MB = 1_000_000
GOAL = 64 * MB
DAY_MS = 86_400_000
START_MS = FIRST_MS - FIRST_MS % DAY_MS


def facts(spark: SparkSession, first: int, count: int, day_part: tuple[int, int]) -> DataFrame:
    """Numbered payments of a part of the day, skewed over the merchants; the columns are as wide as those of real facts."""
    number, chance = F.col("id"), F.rand(first)
    at = F.lit(START_MS + DAY_MS * day_part[0] // day_part[1]) + (number * 7919 % (DAY_MS // day_part[1]))
    picked = (F.pow(chance, 4) * MERCHANTS).cast("int")
    made: dict[str, Any] = {
        "fact_id": F.format_string("pay-%018d", number), "payment_id": F.format_string("pay-%018d", number), "kind": F.lit("payment"),
        "merchant_id": F.concat(F.lit("merchant-"), picked), "window_start": F.timestamp_millis(at - at % 600_000),
        "currency": F.lit("USD"), "occurred_at": F.timestamp_millis(at), "amount": 100 + number * 7919 % 20_000,
        "points_used": F.lit(0), "points_earned": number * 7919 % 200, "customer_key": F.format_string("%022d", number * 7919 % 50_000),
        "method": F.element_at(F.array(*map(F.lit, ("card", "cash", "wallet"))), (number % 3 + 1).cast("int")),
        "gender": F.when(number % 2 == 0, "female").otherwise("male"), "age_band": F.lit("25-34"), "grade": F.lit("gold"),
        "country": F.element_at(F.array(*map(F.lit, ("US", "DE", "KR"))), (number % 3 + 1).cast("int")),
        "device": F.when(number % 2 == 0, "mobile").otherwise("pos"), "version": F.lit(FIRST_MS // 1000 << 32) + number,
        "version_order": F.lit("2B022C0100296E5A100463F1E0C1E5B0"), "retracted": F.lit(False),
    }  # fmt: skip
    return spark.range(first, first + count).select(*(made[name].alias(name) for name in COLUMNS))


def files(lake: Lake) -> dict[str, Any]:
    """The table's present data files."""
    rows = lake.session.table(f"{lake.facts}.files").select("file_size_in_bytes", "record_count").collect()
    sizes = sorted(row[0] for row in rows)
    return {
        "files": len(sizes),
        "facts": sum(row[1] for row in rows),
        "smallestMB": round(sizes[0] / MB, 1),
        "medianMB": round(statistics.median(sizes) / MB, 1),
        "largestMB": round(sizes[-1] / MB, 1),
        "below64MB": sum(size < GOAL for size in sizes),
        "totalMB": round(sum(sizes) / MB, 1),
    }


def measure(lake: Lake, options: argparse.Namespace) -> dict[str, Any]:
    """Fill, look, join, look again."""
    size = options.facts // options.batches
    for number in range(options.batches):
        lake.append(facts(lake.session, number * size, size, (number, options.batches)), "bench", number)
    before = files(lake)
    print(f"before: {before}", flush=True)
    began = time.monotonic()
    joined, made = maintenance.join_facts(lake)
    return {"before": before, "joined": joined, "made": made, "seconds": round(time.monotonic() - began, 1), "after": files(lake)}


def main() -> None:
    """Start Spark, measure, print; exit 1 where a file stays below 64 MB."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="also write the figures there")
    parser.add_argument("--facts", type=int, default=9_000_000)
    parser.add_argument("--batches", type=int, default=18)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="millrace-files-") as folder:
        environ = {**spark_jars(StackSettings.load(os.environ), print), "MILLRACE_HOME": folder, "MILLRACE_SPARK_DRIVER_MEMORY": "3g"}
        config = Config.load(environ)
        lake = Lake(session.build(config, "files"), config.lake, config.names.lake_namespace)
        lake.declare()
        result = measure(lake, options)
    print(json.dumps(result, indent=2))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    raise SystemExit(1 if result["after"]["below64MB"] else 0)


if __name__ == "__main__":
    main()
