"""What bounds the memory of the driver's JVM and of the workers outside of the heap."""

from __future__ import annotations

import os
from collections.abc import Iterator
from unittest import mock

import pytest
from pyspark.sql import SparkSession

from millrace_processors import session
from millrace_processors.settings import Config


def config(**given: str) -> Config:
    return Config.load({f"MILLRACE_SPARK_{name.upper()}": value for name, value in {"jars": ".", **given}.items()})


@pytest.fixture
def no_spark() -> Iterator[mock.Mock]:
    """A session's builder that starts nothing."""
    builder = mock.MagicMock()
    builder.appName.return_value.master.return_value = builder
    builder.config.return_value = builder
    with mock.patch.object(SparkSession, "builder", builder), mock.patch.dict(os.environ):
        yield builder


@pytest.mark.parametrize("whose", ["driver", "executor"])
def test_compiled_code_and_the_buffers_that_a_thread_keeps_are_bounded(whose: str) -> None:
    told = session.properties(config())[f"spark.{whose}.extraJavaOptions"].split()
    assert {"-XX:ReservedCodeCacheSize=96m", "-Djdk.nio.maxCachedBufferSize=262144"} <= set(told)


def test_a_pool_of_threads_has_at_most_sixteen() -> None:
    made = session.properties(config())
    names = ("broadcastExchange", "shuffleExchange", "resultQueryStage")
    assert {made[f"spark.sql.{name}.maxThreadThreshold"] for name in names} == {"16"}


def test_an_operators_properties_win() -> None:
    made = session.properties(
        config(extra="spark.driver.extraJavaOptions=-XX:ReservedCodeCacheSize=240m;spark.sql.broadcastExchange.maxThreadThreshold=128")
    )
    assert made["spark.driver.extraJavaOptions"] == "-XX:ReservedCodeCacheSize=240m"
    assert made["spark.sql.broadcastExchange.maxThreadThreshold"] == "128"


def test_the_drivers_malloc_is_told_to_give_large_blocks_back_unless_the_environment_says_otherwise(no_spark: mock.Mock) -> None:
    os.environ["MALLOC_ARENA_MAX"] = "7"
    for name in ("MALLOC_MMAP_THRESHOLD_", "ARROW_DEFAULT_MEMORY_POOL"):
        os.environ.pop(name, None)
    session.build(config(), "test")
    no_spark.getOrCreate.assert_called_once_with()
    assert os.environ["MALLOC_ARENA_MAX"] == "7"
    assert (os.environ["MALLOC_MMAP_THRESHOLD_"], os.environ["ARROW_DEFAULT_MEMORY_POOL"]) == ("262144", "system")


def test_the_job_is_called_by_its_name(no_spark: mock.Mock) -> None:
    session.build(config(), "stream")
    no_spark.appName.assert_called_once_with("millrace stream")


def test_workers_keep_large_blocks() -> None:
    made = session.properties(config())
    assert {name: value for name, value in made.items() if name.startswith("spark.executorEnv.")} == {
        "spark.executorEnv.MALLOC_ARENA_MAX": "2",
        "spark.executorEnv.MALLOC_MMAP_THRESHOLD_": "33554432",
        "spark.executorEnv.MALLOC_TRIM_THRESHOLD_": "67108864",
        "spark.executorEnv.ARROW_DEFAULT_MEMORY_POOL": "system",
    }
