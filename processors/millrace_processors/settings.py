"""The analysis tier's settings: MILLRACE_SPARK_*, MILLRACE_LAKE_* and MILLRACE_PROCESSORS_*."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field

from millrace_contracts.settings import (
    CassandraSettings,
    KafkaSettings,
    NamesSettings,
    RedisSettings,
    RuntimeSettings,
    Settings,
    SettingsError,
)


class SourceSettings(Settings, group="MONGO"):
    """The source database, for the jobs that look at it."""

    truth_uri: str = ""
    """MongoDB as a user that only reads."""


class SparkSettings(Settings, group="SPARK"):
    """The engine."""

    jars: str = ""
    """Folder of the extra jars (Kafka source, Iceberg); ``millrace stack resolve`` makes one."""
    master: str = Field("local[2]", pattern=r"^(local(\[.+\])?|spark://.+|yarn|k8s://.+)$")
    """local[N], spark://host:port, yarn or k8s://…"""
    driver_memory: str = "1500m"
    executor_memory: str = "1500m"
    shuffle_partitions: int = Field(4, ge=1)
    """Tasks of a shuffle; about two for each core of the cluster."""
    executors: int = Field(2, ge=1)
    """Executors on YARN or Kubernetes."""
    executor_cores: int = Field(1, ge=1)
    """Cores, and Python workers, of each of them."""
    driver_host: str = ""
    """Name or address under which executors reach the driver; default: this machine's own."""
    driver_bind: str = ""
    """Address that the driver listens on, where it is not that one (0.0.0.0 in a pod behind a service)."""
    driver_port: int = Field(0, ge=0, le=65534)
    """First of the two ports that executors reach the driver on; 0 takes free ones."""
    python: str = ""
    """Interpreter of the workers on a cluster; default: this one's path, or the archive's."""
    archive: str = ""
    """Packed Python environment (venv-pack), by path or URL, that every executor unpacks."""
    image: str = ""
    """Container image of the executors on Kubernetes."""
    namespace: str = "default"
    """Of the executors on Kubernetes."""
    extra: str = ""
    """More Spark properties as key=value, separated by semicolons."""


class LakeSettings(Settings, group="LAKE"):
    """The Iceberg lake."""

    warehouse: str = ""
    """URL or path on any Hadoop file system; the local default is <home>/lake."""
    time_partition: Literal["hours", "days", "months"] = "days"
    """Hours for a busy live stream, days for a quiet one, months where one batch may span years (a replay of little data)."""
    buckets: int = Field(2, ge=1, le=4096)
    """Hash buckets of merchants inside a time partition."""


class ProcessorsSettings(Settings, group="PROCESSORS"):
    """The streaming job."""

    checkpoints: str = ""
    """URL or path of Spark's checkpoints; the local default is <home>/checkpoints."""
    max_events_per_batch: int = Field(200_000, ge=1)
    """Kafka records that one micro-batch takes at most: the back-pressure of the stream."""
    join_files_every: int = Field(0, ge=0)
    """Batches after which the stream itself joins the small files of its facts; 0 leaves that to `millrace process maintain`."""
    report_partition_facts: int = Field(500_000, ge=1_000)
    """Facts that one task reads back at the most when reports are rebuilt in bulk (a plan, not a promise)."""
    cassandra_inflight: int = Field(64, ge=1)
    """Statements in flight from one Python worker."""
    patience_seconds: float = Field(600.0, gt=0)
    """How long a query of the stream may go without a finished batch, at the start too, before the process ends: with code 3 where a
    server is away."""
    cassandra_patience_seconds: float = Field(180.0, gt=0)
    """How long a worker retries a write before the batch fails and runs again."""


@dataclass(frozen=True)
class Config:
    """Everything that a job needs to know, loaded once."""

    names: NamesSettings
    kafka: KafkaSettings
    cassandra: CassandraSettings
    redis: RedisSettings
    spark: SparkSettings
    lake: LakeSettings
    processors: ProcessorsSettings
    runtime: RuntimeSettings
    source: SourceSettings

    @classmethod
    def load(cls, environ: Mapping[str, str]) -> Config:
        """Load every group, with the local defaults of folders.

        Raises:
            SettingsError: names the variable and the fix.
        """
        home = Path(environ.get("MILLRACE_HOME", ".millrace"))
        spark = SparkSettings.load(environ)
        if not spark.jars or not Path(spark.jars).is_dir():
            fix = "the folder of Spark's jars is missing; run `millrace stack resolve`, or name the folder"
            raise SettingsError(SparkSettings.variable("jars"), f"{spark.jars!r}: {fix}")
        lake = LakeSettings.load(environ)
        processors = ProcessorsSettings.load(environ)
        return cls(
            names=NamesSettings.load(environ),
            kafka=KafkaSettings.load(environ),
            cassandra=CassandraSettings.load(environ),
            redis=RedisSettings.load(environ),
            spark=spark,
            lake=lake.model_copy(update={"warehouse": lake.warehouse or str((home / "lake").resolve())}),
            processors=processors.model_copy(update={"checkpoints": processors.checkpoints or str((home / "checkpoints").resolve())}),
            runtime=RuntimeSettings.load(environ),
            source=SourceSettings.load(environ),
        )
