"""One pipeline a test, on the run's shared servers and Spark session."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from tests.integration.processors_jobs.pipeline import Pipeline
from tests.integration.processors_jobs.source import Source


@pytest.fixture
def pipeline(
    kafka_server: dict[str, str],
    cassandra_server: dict[str, str],
    redis_server: dict[str, str],
    spark_settings: dict[str, str],
    spark: SparkSession,
    names: dict[str, str],
    tmp_path: Path,
) -> Iterator[Pipeline]:
    """Topic, tables and lake are there; nothing is in them."""
    made = Pipeline(spark, {**kafka_server, **cassandra_server, **redis_server, **spark_settings, **names}, tmp_path)
    yield made
    made.session.execute(f"DROP KEYSPACE {made.config.names.keyspace}", timeout=120)


@pytest.fixture
def source(pipeline: Pipeline, mongo_server: dict[str, str]) -> Iterator[Source]:
    """The pipeline's source database, empty; the pipeline may read it."""
    pipeline.see({name: value for name, value in mongo_server.items() if "MONGO" in name})
    made = Source(pipeline.environ)
    yield made
    made.close()
