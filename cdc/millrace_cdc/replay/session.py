"""What the commands work with: settings, MongoDB, the topics and the history, wired in one place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import orjson

from millrace_cdc.capture import Capture
from millrace_cdc.errors import Misconfigured
from millrace_cdc.mongo import Client, connect
from millrace_cdc.progress import Records, read_records
from millrace_cdc.projection import CAPTURED, WHOLE
from millrace_cdc.replay import bookmarks
from millrace_cdc.replay.history import History
from millrace_cdc.reporting import answering, reported
from millrace_cdc.running import Configuration
from millrace_runtime import logs
from millrace_runtime.screen import echo

READ_PATIENCE = 90.0
"""Seconds to read the progress topic to its end: the open transaction of a process that was killed hides it until the broker ends that."""


@dataclass(frozen=True)
class Session:
    """Open connections beside what is captured."""

    settings: Configuration
    capture: Capture
    client: Client

    @property
    def namespace(self) -> str:
        """``<database>.<collection>``."""
        return self.capture.namespace

    def records(self) -> Records:
        """The progress topic as it is now."""
        return read_records(self.settings.kafka, self.capture.topics.progress, READ_PATIENCE)

    @property
    def history(self) -> History:
        """The past of the collection."""
        return History(
            self.client,
            self.capture.database,
            self.capture.collection,
            lambda name: bookmarks.find(self.namespace, self.records(), name).token,
        )

    def write(self, key: str, value: bytes | None) -> None:
        """Write one record to the progress topic."""
        bookmarks.write(self.settings.kafka, self.capture.topics.progress, key, value)


@contextmanager
def session(environ: Mapping[str, str], collection: str | None, tier: str) -> Iterator[Session]:
    """A session whose errors end the command in one line with their exit code."""
    settings = Configuration.load(environ if collection is None else {**environ, "MILLRACE_RELAY_COLLECTION": collection})
    logs.configure(settings.runtime, tier)
    with reported(), answering():
        if settings.relay.collection not in CAPTURED:
            raise Misconfigured(
                f"--collection: {settings.relay.collection} is not captured by the relay ({', '.join(CAPTURED)} is); "
                "a connector's collection goes on elsewhere with `millrace connect offsets set`"
            )
        found = settings.quick().capture(WHOLE)
        with connect(settings.mongo.relay_uri) as client:
            yield Session(settings, found, client)


def show_json(document: object) -> None:
    """One JSON document on standard output."""
    echo(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())
