"""The tier's errors as a command shows them: one line each, with its exit code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

from millrace_contracts import exit_codes
from millrace_processors.errors import CommandError, ProcessorsError, UnavailableError
from millrace_runtime.waiting import reason_of as shown


class Failed(click.ClickException):
    """A job failed; a supervisor may start it again."""

    exit_code = exit_codes.FATAL


class Refused(Failed):
    """What was asked for can not be done."""

    exit_code = exit_codes.USAGE


class Away(Failed):
    """A server does not answer."""

    exit_code = exit_codes.UNAVAILABLE


@contextmanager
def reported() -> Iterator[None]:
    """Show the tier's errors as one line each."""
    try:
        yield
    except Exception as error:
        found = in_words(error)
        if found is None:
            raise
        kind = Refused if isinstance(found, CommandError) else Away if isinstance(found, UnavailableError) else Failed
        raise kind(str(found)) from None


def in_words(error: Exception) -> ProcessorsError | None:
    """What an error of the tier or of a driver means for a person; None where it is neither, and ours to mend."""
    if isinstance(error, ProcessorsError):
        return error
    # Imported once something has failed: the help of a command needs none of them.
    from cassandra import DriverException, RequestValidationException
    from cassandra.cluster import NoHostAvailable
    from confluent_kafka import KafkaException
    from py4j.protocol import Py4JError
    from pymongo.errors import PyMongoError
    from pyspark.errors import PySparkException

    from millrace_processors.streaming import is_away, reason_of

    away = {(DriverException, NoHostAvailable): "Cassandra", (KafkaException,): "Kafka", (PyMongoError,): "MongoDB"}
    if isinstance(error, RequestValidationException):
        return CommandError(f"Cassandra refuses to answer ({shown(error)}); run `millrace process tables`")
    for kinds, server in away.items():
        if isinstance(error, kinds):
            return UnavailableError(f"{server} does not answer ({shown(error)}); is the stack up?")
    if isinstance(error, PySparkException | Py4JError | ConnectionError):
        kind = UnavailableError if is_away(error) else ProcessorsError
        return kind(f"failed, run it again: {reason_of(error)}")
    return None
