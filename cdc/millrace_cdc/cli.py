"""``millrace relay``: capture the payments of MongoDB into Kafka, exactly once."""

from __future__ import annotations

from collections.abc import Mapping

import click
import structlog
from confluent_kafka import Producer
from prometheus_client import CollectorRegistry

from millrace_cdc.admin import find_topics
from millrace_cdc.errors import RelayError
from millrace_cdc.mongo import connect
from millrace_cdc.progress import read_records
from millrace_cdc.projection import CAPTURED, Share, fingerprint
from millrace_cdc.relay import Capture, Relay
from millrace_cdc.settings import MongoSettings, RelaySettings
from millrace_cdc.sink import KafkaSink, producer_config
from millrace_cdc.state import RelayState
from millrace_contracts import exit_codes, topics
from millrace_contracts.settings import KafkaSettings, NamesSettings, RuntimeSettings
from millrace_runtime.logs import configure
from millrace_runtime.ops import OpsServer
from millrace_runtime.stopping import StopSignal


class Failed(click.ClickException):
    """The relay ended with an error; its exit code says of which kind."""

    def __init__(self, error: RelayError) -> None:
        super().__init__(str(error))
        self.exit_code: int = error.exit_code  # type: ignore[misc]


@click.group()
def relay() -> None:
    """Capture payments from MongoDB's change stream into Kafka, exactly once.

    \b
    millrace relay run                    capture until SIGTERM or Ctrl-C
    millrace relay run --ops-port 9464    with /health, /ready and /metrics there
    """


@relay.command()
@click.option(
    "--ops-port", type=click.IntRange(0, 65535), help="Port of /health, /ready and /metrics; 0 takes a free one; none without it."
)
@click.pass_obj
def run(environ: Mapping[str, str], ops_port: int | None) -> int:
    """Capture until SIGTERM or Ctrl-C; the transaction in hand is finished first.

    The first start snapshots the collection, then follows its changes; a later one goes on where the last committed transaction ended.

    \b
    Example: millrace relay run --ops-port 9464
    Exit codes: 0 stopped, 2 a wrong setting or missing topic, 3 a server stayed away, 4 another relay took over,
    5 the oplog no longer reaches back, 6 any other failure.
    """
    runtime = RuntimeSettings.load(environ)
    mongo, settings = MongoSettings.load(environ), RelaySettings.load(environ)
    kafka, names = KafkaSettings.load(environ), NamesSettings.load(environ)
    configure(runtime, "relay")
    stop = StopSignal().install()
    registry = CollectorRegistry()
    state = RelayState(registry, settings.collection, 0)
    try:
        if ops_port is None:
            _run(mongo, kafka, names, settings, state, stop)
        else:
            with OpsServer(registry, state.readiness, runtime.host, ops_port) as ops:
                structlog.get_logger().info("serving operators", url=ops.address)
                _run(mongo, kafka, names, settings, state, stop)
    except RelayError as error:
        structlog.get_logger().error("relay ended", error=str(error), exit_code=error.exit_code)
        raise Failed(error) from None
    structlog.get_logger().info("relay stopped")
    return exit_codes.OK


def _run(
    mongo: MongoSettings, kafka: KafkaSettings, names: NamesSettings, settings: RelaySettings, state: RelayState, stop: StopSignal
) -> None:
    found, max_message_bytes = find_topics(kafka.bootstrap, names, settings.collection, settings.retry_seconds)
    fields, share = CAPTURED[settings.collection], Share()
    capture = Capture(
        names.database,
        settings.collection,
        share,
        fields,
        fingerprint(names.database, settings.collection, fields),
        found,
        max_message_bytes,
    )
    transactional_id = topics.transactional_id(names, settings.collection, share.stream)
    producer = Producer(producer_config(kafka.bootstrap, transactional_id, settings.transaction_timeout_ms, max_message_bytes))
    sink = KafkaSink(producer, found, transactional_id, settings.retry_seconds, lambda: stop.is_set)
    with connect(mongo.relay_uri) as client:
        Relay(
            capture, client, sink, lambda: read_records(kafka.bootstrap, found.progress, settings.retry_seconds), settings, state, stop
        ).run()
