"""How fast the analysis tier is, beside what the engine and a columnar database could do with the same data at all.

    python bench/analysis.py [--json PATH] [--batch 1500000] [--small 100000] [--rounds 3] [--events 200000]

Real Kafka, Cassandra and Redis on this machine, the lake on its disk, Spark local[2]; events lie in Kafka before the clock starts.

limit A   Spark reads and parses the same topic to nowhere
stream    Kafka -> facts in Iceberg -> reports in Cassandra, a batch as large as a minute's trigger would see; median of the rounds
fill      ten small batches into one window: the first, fifth and tenth; a window a round
limit B   DuckDB computes everything that a report holds over the lake's files (the sums are compared with ours), and a light part of it
reprocess every report of the lake computed again: to nowhere, and with the writes to Cassandra
upserts   reports a second that Cassandra takes from Spark, which has computed them before, beside the driver's own best
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
from confluent_kafka import Consumer, TopicPartition
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

import analysis_upserts
from analysis_events import PARTITIONS, Events
from analysis_limits import LIGHT, WHOLE, Duck, differences, our_sums
from millrace_contracts.reports import PROGRESS_PAYMENTS
from millrace_processors import arranging, decoding, refresh, session, sources, tables
from millrace_processors.arrow_batches import whole_reports
from millrace_processors.lake import Lake
from millrace_processors.payments import PaymentsBatch
from millrace_processors.progress import ProgressTable
from millrace_processors.settings import Config
from millrace_stack.home import Home
from millrace_stack.settings import StackSettings
from millrace_stack.supervisor import Stack, spark_jars


class Bench:
    """One installation that is measured."""

    def __init__(self, config: Config, folder: Path) -> None:
        self.config, self.folder = config, folder
        self.spark = session.build(config, "bench")
        tables.declare_store(config)
        self.lake = Lake(self.spark, config.lake, config.names.lake_namespace)
        self.lake.declare()
        self.events = Events(config.kafka.bootstrap, config.names)
        store = ProgressTable(tables.connected(config), config.names.keyspace)
        self._batch = PaymentsBatch(config, self.lake, store, store.load(PROGRESS_PAYMENTS, PARTITIONS))
        self._number = 0
        self._done = {str(partition): 0 for partition in range(PARTITIONS)}

    def _ends(self) -> dict[str, int]:
        consumer = Consumer({"bootstrap.servers": self.config.kafka.bootstrap, "group.id": "bench"})
        ends = {str(p): consumer.get_watermark_offsets(TopicPartition(self.events.topic, p), timeout=30)[1] for p in range(PARTITIONS)}
        consumer.close()
        return ends

    def unread(self) -> DataFrame:
        """The records since the last batch, as a micro-batch sees them."""
        bounds = {"startingOffsets": self._done, "endingOffsets": self._ends()}
        given = {name: json.dumps({self.events.topic: offsets}) for name, offsets in bounds.items()}
        return sources.read(self.spark, self.config.kafka, self.events.topic, given)

    def parse(self) -> None:
        """Limit A."""
        decoding.decode(self.unread().where(decoding.is_change())).write.format("noop").mode("overwrite").save()

    def batch(self) -> dict[str, Any]:
        """One micro-batch of what is unread."""
        outcome, seconds = timed(lambda: self._batch.run(self.unread(), "bench", self._number))
        self._number += 1
        self._done = self._ends()
        return {"eventsPerSecond": round(outcome.events / seconds), "reports": outcome.refreshed.reports, "seconds": round(seconds, 2)}

    def files(self) -> list[str]:
        """The facts' data files."""
        return [str(path) for path in (Path(self.config.lake.warehouse) / self.config.names.lake_namespace / "facts").rglob("*.parquet")]


def timed(run: Callable[[], Any]) -> tuple[Any, float]:
    """What it gives, and the seconds."""
    began = time.monotonic()
    result = run()
    return result, time.monotonic() - began


def _compute_only(batches: Iterable[pa.RecordBatch]) -> Iterable[pa.RecordBatch]:
    for found, _ in whole_reports(iter(batches)):
        yield pa.RecordBatch.from_pylist([{"reports": len(found)}])


def measure_fill(bench: Bench, size: int, window: int) -> list[int]:
    """Events a second of ten batches into one window."""
    fill = []
    for _ in range(10):
        bench.events.write(size, window, 1)
        fill.append(bench.batch()["eventsPerSecond"])
    print(f"fill: {fill}", flush=True)
    return fill


def measure_reprocess(bench: Bench, duck: Duck) -> dict[str, Any]:
    """Limit B, the pure computation, and the whole reprocess; facts a second."""
    snapshot = bench.lake.current()
    assert snapshot is not None
    facts = bench.lake.read(snapshot)
    count = facts.count()
    light, whole_limit = duck.seconds(LIGHT), duck.seconds(*WHOLE)
    arranged = arranging.arranged(facts)
    _, pure = timed(lambda: arranged.mapInArrow(_compute_only, "reports bigint").agg(F.sum("reports")).collect())
    written, whole = timed(lambda: refresh.whole(bench.config, bench.lake, F.lit(True), None))
    return {
        "facts": count,
        "reports": written.reports,
        "lightLimitBFactsPerSecond": round(count / light),
        "limitBFactsPerSecond": round(count / whole_limit),
        "computeFactsPerSecond": round(count / pure),
        "computeBehindLimitB": round(pure / whole_limit, 2),
        "factsPerSecond": round(count / whole),
        "reportsPerSecond": round(written.reports / whole),
    }


def check_sums(bench: Bench, duck: Duck) -> int:
    """Compare what DuckDB and we have computed; how many totals there are.

    Raises:
        SystemExit: one of them differs.
    """
    snapshot = bench.lake.current()
    assert snapshot is not None
    made = arranging.arranged(bench.lake.read(snapshot)).mapInArrow(our_sums, "name string, value bigint")
    ours = {row["name"]: row["total"] for row in made.groupBy("name").agg(F.sum("value").alias("total")).collect()}
    if found := differences(ours, duck.sums()):
        raise SystemExit(f"DuckDB has computed something else than we have: {found[:20]}")
    return len(ours)


def measure(bench: Bench, options: argparse.Namespace) -> dict[str, Any]:
    """Everything, in one run."""
    size = bench.events.write(options.small, 0, 6)
    bench.batch()  # the JVM compiles what the rest is measured with
    parses, batches = [], []
    for number in range(options.rounds):
        bench.events.write(options.batch, 10 + number, 2)
        parses.append(timed(bench.parse)[1])
        batches.append(bench.batch())
        print(f"stream {number + 1} of {options.rounds}: {batches[-1]}", flush=True)
    fills = [measure_fill(bench, options.small, 50 + number) for number in range(options.rounds)]
    files = bench.files()
    duck = Duck(files)
    again = [measure_reprocess(bench, duck) for _ in range(options.rounds)]
    print(f"reprocess: {again}", flush=True)
    equal_sums = check_sums(bench, duck)
    snapshot = bench.lake.current()
    assert snapshot is not None
    target = replace(refresh.sink_of(bench.config, snapshot, None).target, version=snapshot.version + 1)
    return {
        "eventBytes": size,
        "limitAEventsPerSecond": round(options.batch / statistics.median(parses)),
        "streamEventsPerSecond": statistics.median(each["eventsPerSecond"] for each in batches),
        "streamReportsPerBatch": batches[0]["reports"],
        "fillEventsPerSecond": {
            f"{n}{th}": statistics.median(fill[n - 1] for fill in fills) for n, th in ((1, "st"), (5, "th"), (10, "th"))
        },
        "fillSlowdown": [round(fill[0] / fill[9], 2) for fill in fills],
        "reprocess": {name: statistics.median(each[name] for each in again) for name in again[0]},
        "equalSums": equal_sums,
        "upserts": analysis_upserts.measure(arranging.arranged(bench.lake.read(snapshot)), target),
        "lakeBytesPerMillionFacts": round(sum(Path(each).stat().st_size for each in files) / again[0]["facts"] * 1e6),
        "lakeFiles": len(files),
        "cores": psutil.cpu_count(),
        "load": [round(each, 1) for each in os.getloadavg()],
    }


def main() -> None:
    """Start the servers, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="also write the figures there")
    parser.add_argument("--batch", type=int, default=1_500_000, help="events of one batch: a minute at 25,000 a second")
    parser.add_argument("--small", type=int, default=100_000, help="events of the batches that fill a window")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--events", type=int, help="a small run: so many events in all, in place of --batch and --small")
    options = parser.parse_args()
    if options.events:
        # The batches take four fifths; the first batch and those that fill windows share the rest.
        options.batch, options.small = options.events * 4 // 5 // options.rounds, options.events // 5 // (1 + 10 * options.rounds)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the servers are stopped either way
    # Spark's Python workers import the parts of this bench too.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(Path(__file__).parent), os.environ.get("PYTHONPATH"))))
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as folder:
        home = Home(Path(folder) / ".millrace")
        settings = StackSettings.load(os.environ)
        stack = Stack(home, settings, print)
        try:
            environ = {**stack.up(["kafka", "cassandra", "redis"]), **spark_jars(settings, print), "MILLRACE_HOME": str(home.path)}
            result = measure(Bench(Config.load({**environ, **_spark()}), Path(folder)), options)
        finally:
            stack.down()
    print(json.dumps(result, indent=2))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


def _spark() -> dict[str, str]:
    return {"MILLRACE_SPARK_DRIVER_MEMORY": "3g", "MILLRACE_SPARK_SHUFFLE_PARTITIONS": "4"}


if __name__ == "__main__":
    main()
