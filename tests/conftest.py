"""Fixtures of the whole run: one server of each kind, started when a test first asks for it."""

from __future__ import annotations

import os
import signal
import zoneinfo
from collections.abc import Iterator

import pytest
from hypothesis import settings
from pyspark.sql import SparkSession

from millrace_processors.session import build
from millrace_processors.settings import Config
from tests.support.examples import examples
from tests.support.servers import Servers, close_home, open_home, unique_names


def pytest_configure(config: pytest.Config) -> None:
    """A SIGTERM ends the run as Ctrl-C does: fixtures are finalized, so that no server stays behind. No example has a deadline.

    Spark's drivers, also those of processes under test, are compiled by the first compiler only: what they do here is over before the
    second one's code pays for itself, which takes half of the processor time.
    """
    zoneinfo.reset_tzpath(to=())  # expected values follow the pinned table of zones, not this host's
    os.environ.setdefault("SPARK_SUBMIT_OPTS", "-XX:TieredStopAtLevel=1")
    settings.register_profile("millrace", deadline=None, max_examples=examples())
    settings.load_profile("millrace")
    # A shell starts what runs in its background with SIGINT ignored, which every process under test would inherit.
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, signal.default_int_handler)


@pytest.fixture(scope="session")
def servers(request: pytest.FixtureRequest) -> Iterator[Servers]:
    """The shared servers, for tests that pause, kill or restart one; a test leaves them running as it found them."""
    shared = Servers(open_home())
    try:
        yield shared
    finally:
        shared.stop()
        close_home(shared.home, keep_logs=request.session.testsfailed > 0)


@pytest.fixture(scope="session")
def mongo_server(servers: Servers) -> dict[str, str]:
    """MongoDB: MILLRACE_MONGO_*_URI; only the administrator exists until mongo-init is applied."""
    return servers.use("mongo")


@pytest.fixture(scope="session")
def kafka_server(servers: Servers) -> dict[str, str]:
    """Kafka: MILLRACE_KAFKA_BOOTSTRAP."""
    return servers.use("kafka")


@pytest.fixture(scope="session")
def connect_server(servers: Servers) -> dict[str, str]:
    """Kafka Connect with its Kafka: MILLRACE_CONNECT_URL, MILLRACE_KAFKA_BOOTSTRAP."""
    return servers.use("connect")


@pytest.fixture(scope="session")
def cassandra_server(servers: Servers) -> dict[str, str]:
    """Cassandra: MILLRACE_CASSANDRA_HOSTS and _PORT."""
    return servers.use("cassandra")


@pytest.fixture(scope="session")
def redis_server(servers: Servers) -> dict[str, str]:
    """Redis: MILLRACE_REDIS_URL."""
    return servers.use("redis")


@pytest.fixture(scope="session")
def spark_jars(servers: Servers) -> dict[str, str]:
    """Spark's extra jars: MILLRACE_SPARK_JARS."""
    return servers.spark_jars()


@pytest.fixture(scope="session")
def spark_settings(spark_jars: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What a Spark session of the run is built with; each test has a lake namespace of its own."""
    lake = tmp_path_factory.mktemp("lake")
    sizes = {"MILLRACE_SPARK_DRIVER_MEMORY": "1g", "MILLRACE_SPARK_SHUFFLE_PARTITIONS": "2"}
    return {**spark_jars, **sizes, "MILLRACE_LAKE_WAREHOUSE": str(lake), "MILLRACE_HOME": str(lake / ".millrace")}


@pytest.fixture(scope="session")
def spark(spark_settings: dict[str, str]) -> Iterator[SparkSession]:
    """One Spark session, local[2], for the whole run: starting one takes ten seconds."""
    session = build(Config.load(spark_settings), "tests")
    yield session
    session.stop()


@pytest.fixture
def names() -> dict[str, str]:
    """MILLRACE_NAMES_* of the test's own."""
    return unique_names()
