"""Wiring: one stream in this process, or several in processes of their own."""

from __future__ import annotations

import gc
import os
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

import structlog
from confluent_kafka import Producer
from prometheus_client import CollectorRegistry

from millrace_cdc.admin import find_topics
from millrace_cdc.capture import Capture
from millrace_cdc.errors import Misconfigured
from millrace_cdc.leases import Leases, lease_group
from millrace_cdc.mongo import connect
from millrace_cdc.oplog import OplogWatch
from millrace_cdc.progress import read_records
from millrace_cdc.projection import CAPTURED, Share, fingerprint
from millrace_cdc.relay import Relay
from millrace_cdc.requests import RequestWatch
from millrace_cdc.settings import MongoSettings, RelaySettings
from millrace_cdc.sink import KafkaSink, Topics, producer_config
from millrace_cdc.sources import Sources
from millrace_cdc.state import RelayState
from millrace_cdc.workers import WorkerMetrics, Workers
from millrace_contracts import topics
from millrace_contracts.settings import KafkaSettings, NamesSettings, RuntimeSettings
from millrace_runtime.ops import OpsServer, Readiness
from millrace_runtime.screen import echo
from millrace_runtime.stopping import StopSignal

log = structlog.get_logger()
CHECK_SECONDS = 0.5
COMMAND_SECONDS = 15.0
"""How long a command waits for Kafka before it says that it is away; a relay that runs waits MILLRACE_RELAY_RETRY_SECONDS."""


@dataclass(frozen=True)
class Configuration:
    """All settings of a relay, read once."""

    mongo: MongoSettings
    relay: RelaySettings
    kafka: KafkaSettings
    names: NamesSettings
    runtime: RuntimeSettings

    @classmethod
    def load(cls, environ: Mapping[str, str]) -> Configuration:
        """Read them.

        Raises:
            SettingsError: names the variable.
        """
        return cls(
            MongoSettings.load(environ),
            RelaySettings.load(environ),
            KafkaSettings.load(environ),
            NamesSettings.load(environ),
            RuntimeSettings.load(environ),
        )

    def quick(self, seconds: float = COMMAND_SECONDS) -> Configuration:
        """The same for a command that a person waits for."""
        relay = self.relay.model_copy(update={"retry_seconds": min(self.relay.retry_seconds, seconds)})
        return replace(self, relay=relay)

    @property
    def namespace(self) -> str:
        """``<database>.<collection>``."""
        return f"{self.names.database}.{self.relay.collection}"

    def capture(self, share: Share) -> Capture:
        """What a stream captures; asks the broker about its topics.

        Raises:
            Misconfigured, Unavailable: a topic is missing, or Kafka away.
        """
        collection = self.relay.collection
        if collection not in CAPTURED:
            raise Misconfigured(f"MILLRACE_RELAY_COLLECTION: {collection!r} has no captured fields; one of {', '.join(CAPTURED)}")
        found, max_message_bytes = find_topics(self.kafka, self.names, collection, self.relay.retry_seconds)
        fields = CAPTURED[collection]
        return Capture(
            self.names.database, collection, share, fields, fingerprint(self.names.database, collection, fields), found, max_message_bytes
        )

    def sink(self, found: Topics, max_message_bytes: int, stream: int, stop: StopSignal) -> KafkaSink:
        """The transactional producer of a stream."""
        transactional_id = topics.transactional_id(self.names, self.relay.collection, stream)
        config = producer_config(self.kafka, transactional_id, self.relay.transaction_timeout_ms, max_message_bytes)
        return KafkaSink(lambda: Producer(config), found, transactional_id, self.relay.retry_seconds, lambda: stop.is_set)

    def retry_sink(self, capture: Capture, stop: StopSignal) -> KafkaSink:
        """The producer of a retried dead letter: a transactional id of its own, so that the running relay is not fenced."""
        transactional_id = f"{topics.transactional_id(self.names, self.relay.collection, 0)}.retry"
        config = producer_config(self.kafka, transactional_id, self.relay.transaction_timeout_ms, capture.max_message_bytes)
        return KafkaSink(lambda: Producer(config), capture.topics, transactional_id, self.relay.retry_seconds, lambda: stop.is_set)


@contextmanager
def operators(
    settings: Configuration, registry: CollectorRegistry, readiness: Readiness, port: int | None, *, tell: bool
) -> Iterator[None]:
    """The operators' endpoint, if a port is given; ``tell`` prints its address for a parent process."""
    if port is None:
        yield
        return
    try:
        server = OpsServer(registry, readiness, "127.0.0.1" if tell else settings.runtime.host, port)
    except OSError as error:
        raise Misconfigured(f"--ops-port {port} can not be used ({error.strerror}); take another, or 0 for a free one") from None
    with server:
        log.info("serving operators", url=server.address)
        if tell:
            echo(server.address)
            sys.stdout.flush()
        yield


def run_stream(settings: Configuration, share: Share, ops_port: int | None, stop: StopSignal, *, child: bool) -> None:
    """Run one stream until a stop."""
    _tune_python()
    registry = CollectorRegistry()
    state = RelayState(registry, settings.relay.collection, share.stream)
    if child:
        threading.Thread(target=_stop_with_parent, args=(stop,), name="parent", daemon=True).start()
    with operators(settings, registry, state.readiness, ops_port, tell=child):
        capture = settings.capture(share)
        sink = settings.sink(capture.topics, capture.max_message_bytes, share.stream, stop)
        state.watch_sink(lambda: sink.waiting_since)
        kafka, patience = settings.kafka, settings.relay.retry_seconds
        watch = RequestWatch(kafka, capture.topics.progress, capture.namespace).start() if share.stream == 0 else None
        try:
            with connect(settings.mongo.relay_uri) as client, OplogWatch(client, capture.database, capture.collection, state, stop):
                sources = Sources(capture, client, kafka, settings.relay, state, watch)
                progress = partial(read_records, kafka, capture.topics.progress, patience)
                Relay(capture, sources, sink, progress, settings.relay, state, stop).run()
        finally:
            if watch is not None:
                watch.close()


def _tune_python() -> None:
    """Collect rarely: a reply makes some 20,000 dictionaries and no cycle; looking for one every 700 objects cost a fifth of the CPU time.

    Hand the interpreter over soon: the thread that fetches waits for it at each piece of a reply, 5 ms each time by default, while
    MongoDB waits to be asked for the next one.
    """
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
    sys.setswitchinterval(0.0005)


def _stop_with_parent(stop: StopSignal) -> None:
    while os.read(0, 1024):
        pass
    stop.set()


def run_streams(
    settings: Configuration, streams: int, ops_port: int | None, stop: StopSignal, environ: Mapping[str, str], *, shared: bool
) -> None:
    """Run all streams in processes of their own, or, ``shared``, those whose lease this machine gets, until a stop.

    Raises:
        WorkerFailed: a worker ended; the others are stopped.
    """
    workers = Workers(streams, environ)
    registry = CollectorRegistry()
    registry.register(WorkerMetrics(workers.metrics))
    with operators(settings, registry, workers.readiness, ops_port, tell=False):
        leases = _join(settings, streams, workers) if shared else None
        try:
            if leases is None:
                for stream in range(streams):
                    workers.start(stream)
            told_within = 2 * settings.relay.lease_ms / 1000 if shared else 0.0
            while not stop.is_set:
                workers.check(told_within)
                if leases is None:
                    stop.wait(CHECK_SECONDS)
                else:
                    leases.poll(CHECK_SECONDS)
        finally:
            workers.stop()
            if leases is not None:
                leases.close()


def _join(settings: Configuration, streams: int, workers: Workers) -> Leases:
    capture = settings.capture(Share(0, streams))

    def gained(numbers: Sequence[int]) -> None:
        for number in numbers:
            workers.start(number)

    group = lease_group(settings.names.topic_prefix, settings.namespace)
    session_ms = settings.relay.lease_ms
    return Leases(settings.kafka, group, capture.topics.changes, streams, session_ms, gained, workers.stop)
