"""Declare what the analysis tier writes to: Cassandra's keyspace and tables, and the lake's tables."""

from __future__ import annotations

import time

from cassandra import DriverException
from cassandra.cluster import NoHostAvailable, Session
from pyspark.sql import SparkSession

from millrace_contracts.reports import statements
from millrace_processors import report_store
from millrace_processors.errors import UnavailableError
from millrace_processors.lake import Lake
from millrace_processors.settings import Config

PATIENCE_SECONDS = 60.0


def connected(config: Config, patience: float = PATIENCE_SECONDS) -> Session:
    """The session of this process, with patience while Cassandra starts.

    Raises:
        UnavailableError: it did not answer in time.
    """
    deadline, pause = time.monotonic() + patience, 0.5
    while True:
        try:
            return report_store.session(config.cassandra)
        except (NoHostAvailable, DriverException, OSError) as error:
            if time.monotonic() > deadline:
                where = f"{config.cassandra.hosts}:{config.cassandra.port}"
                raise UnavailableError(f"Cassandra at {where} does not answer ({error}); is the stack up?") from None
        time.sleep(pause)
        pause = min(pause * 2, 5.0)


def declare_store(config: Config) -> list[str]:
    """Create the keyspace and tables that are missing; their names."""
    session = connected(config)
    for statement in statements(config.names.keyspace, config.cassandra.replication):
        session.execute(statement, timeout=60)
    return sorted(f"{config.names.keyspace}.{name}" for name in session.cluster.metadata.keyspaces[config.names.keyspace].tables)


def declare_lake(config: Config, session: SparkSession) -> list[str]:
    """Create the lake's tables that are missing; their names."""
    return Lake(session, config.lake, config.names.lake_namespace).declare()
