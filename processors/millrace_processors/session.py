"""The Spark session: one per process, with the lake as catalogue ``lake``."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from millrace_processors import cluster
from millrace_processors.errors import CommandError
from millrace_processors.java_zones import home as java_home
from millrace_processors.settings import Config

CATALOG = "lake"
_ICEBERG = "org.apache.iceberg.spark"
_DRIVER_JAVA = "spark.driver.extraJavaOptions"
_POOLS = ("broadcastExchange", "shuffleExchange", "resultQueryStage")


def build(config: Config, name: str) -> SparkSession:
    """Start (or get) the session; ten seconds the first time in a process.

    Raises:
        CommandError: a property in MILLRACE_SPARK_EXTRA is not key=value.
        SettingsError: something that the cluster needs is missing.
    """
    os.environ.setdefault("PYSPARK_PYTHON", cluster.python(config.spark))
    os.environ.setdefault("PYSPARK_DRIVER_PYTHON", sys.executable)
    for variable, value in cluster.DRIVER.items():
        os.environ.setdefault(variable, value)
    if config.spark.master.startswith("local"):
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    builder = SparkSession.builder.appName(f"millrace {name}").master(config.spark.master)
    found = properties(config)
    # Spark's functions then take the zones that the other tiers take; executors of a cluster have a Java of their own.
    found[_DRIVER_JAVA] = f"{found[_DRIVER_JAVA]} {java_home.option(os.environ)}".rstrip()
    for key, value in found.items():
        builder = builder.config(key, value)
    with _deaf_children():
        return builder.getOrCreate()


@contextmanager
def _deaf_children() -> Iterator[None]:
    """Let the JVM start with SIGTERM ignored: one that is sent to the whole process group must not take it from under a running batch.

    The JVM ends when this process does, since it reads a pipe from it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler)


def release_readers(session: SparkSession) -> int:
    """Let go of what Iceberg's readers leave open in this JVM, an allocator a file; how many. Nothing may be reading the lake meanwhile.

    https://github.com/apache/iceberg/issues/13937: they are never closed, and a stream opens many files.
    """
    jvm: Any = session._jvm
    left = jvm.org.apache.iceberg.arrow.ArrowAllocation.rootAllocator().getChildAllocators()
    count = int(left.size())
    jvm.org.apache.iceberg.shaded.org.apache.arrow.util.AutoCloseables.close(left)
    return count


def properties(config: Config) -> dict[str, str]:
    """Spark's properties, MILLRACE_SPARK_EXTRA last."""
    jars = sorted(str(path) for path in Path(config.spark.jars).glob("*.jar"))
    # Generated code of wide projections is larger than the JIT takes by default; without this it stays interpreted.
    # Compiled code and what a thread keeps of the buffers that it wrote from would grow for hours: docs/performance-pipeline.md.
    java = "-XX:-DontCompileHugeMethods -XX:ReservedCodeCacheSize=96m -Djdk.nio.maxCachedBufferSize=262144 -XX:+UseParallelGC"
    log = f"-Dlog4j2.configurationFile=file:{Path(__file__).with_name('log4j2.properties')}"
    found = {
        "spark.jars": ",".join(jars),
        "spark.driver.memory": config.spark.driver_memory,
        "spark.executor.memory": config.spark.executor_memory,
        _DRIVER_JAVA: f"{java} {log}",
        "spark.executor.extraJavaOptions": java,
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        # Spark keeps what its pages would show of the last thousand jobs, stages and plans, also without the pages.
        **dict.fromkeys(("spark.ui.retainedJobs", "spark.ui.retainedStages", "spark.sql.ui.retainedExecutions"), "50"),
        "spark.ui.retainedTasks": "1000",
        # Each of these pools adds a thread for every plan, up to 128 or 1,024, though a few are at work at a time.
        **dict.fromkeys((f"spark.sql.{name}.maxThreadThreshold" for name in _POOLS), "16"),
        "spark.sql.streaming.numRecentProgressUpdates": "10",
        "spark.scheduler.mode": "FAIR",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": str(config.spark.shuffle_partitions),
        # Equal work for equal input: coalescing by size would merge the few tasks that write to Cassandra into one.
        "spark.sql.adaptive.coalescePartitions.enabled": "false",
        "spark.sql.execution.arrow.maxRecordsPerBatch": "65536",
        # A limit in bytes is asked for at every row, which costs a third of handing facts over; the limit in rows is enough.
        "spark.sql.execution.arrow.maxBytesPerBatch": str(2**31 - 1),
        "spark.sql.execution.arrow.pyspark.enabled": "true",
        # Workers talk to the JVM of their machine without a port that others could reach.
        "spark.python.unix.domain.socket.enabled": "true",
        "spark.sql.streaming.stopTimeout": "60000",
        # Columns that know the Python line which made them cost a live batch a tenth of its time.
        "spark.python.sql.dataFrameDebugging.enabled": "false",
        "spark.sql.extensions": f"{_ICEBERG}.extensions.IcebergSparkSessionExtensions",
        f"spark.sql.catalog.{CATALOG}": f"{_ICEBERG}.SparkCatalog",
        f"spark.sql.catalog.{CATALOG}.type": "hadoop",
        f"spark.sql.catalog.{CATALOG}.warehouse": config.lake.warehouse,
        # foreachBatch runs in a cloned session: with the cache on, the other session would see stale tables.
        f"spark.sql.catalog.{CATALOG}.cache-enabled": "false",
    }
    return found | cluster.properties(config, os.environ) | _extra(config.spark.extra)


def _extra(text: str) -> dict[str, str]:
    pairs = [pair.strip().partition("=") for pair in text.split(";") if pair.strip()]
    for key, equals, _ in pairs:
        if not equals or not key.startswith("spark."):
            raise CommandError(f"MILLRACE_SPARK_EXTRA: {key!r} is not spark.<property>=<value>; separate properties by semicolons")
    return {key: value for key, _, value in pairs}
