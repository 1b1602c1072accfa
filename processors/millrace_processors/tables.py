"""Declare what the analysis tier writes to: Cassandra's keyspace and tables, and the lake's tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from cassandra import RequestValidationException
from cassandra.cluster import Session
from pyspark.sql import SparkSession

from millrace_contracts.reports import statements
from millrace_processors import report_store
from millrace_processors.errors import CommandError, UnavailableError
from millrace_processors.lake import Lake
from millrace_processors.settings import Config
from millrace_runtime.waiting import reason_of, until_answered

T = TypeVar("T")


def connected(config: Config) -> Session:
    """The session of this process, with patience while Cassandra starts.

    Raises:
        UnavailableError: it did not answer in time.
    """
    return asked(config, lambda session: session)


def asked(config: Config, question: Callable[[Session], T], patience: float | None = None) -> T:
    """What Cassandra answers to an idempotent question of a start, such as where to go on; asked again while it is away.

    ``patience``: seconds, MILLRACE_RUNTIME_AWAY_SECONDS by default.

    Raises:
        UnavailableError: it did not answer in time.
        CommandError: it knows no such table.
    """
    seconds = config.runtime.away_seconds if patience is None else patience
    where = f"Cassandra at {config.cassandra.hosts}:{config.cassandra.port}"

    def ask() -> T:
        try:
            return question(report_store.session(config.cassandra))
        except RequestValidationException as error:  # an answer, though the driver counts it among its failures
            raise CommandError(f"{where} refuses to answer ({reason_of(error)}); run `millrace process tables`") from None

    return until_answered(where, ask, report_store.RETRIED, seconds, UnavailableError)


def declare_store(config: Config) -> list[str]:
    """Create the keyspace and tables that are missing; their names."""

    def declare(session: Session) -> Session:
        there = config.names.keyspace in session.cluster.metadata.keyspaces  # where an administrator makes it, this login may not
        for statement in statements(config.names.keyspace, config.cassandra.replication)[1 if there else 0 :]:
            session.execute(statement, timeout=60)
        return session

    session = asked(config, declare)
    return sorted(f"{config.names.keyspace}.{name}" for name in session.cluster.metadata.keyspaces[config.names.keyspace].tables)


def declare_lake(config: Config, session: SparkSession) -> list[str]:
    """Create the lake's tables that are missing; their names."""
    return Lake(session, config.lake, config.names.lake_namespace).declare()
