"""Carries out a migration: fence every old stream, read where they stopped, write where the new ones start, in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from millrace_cdc.capture import Capture
from millrace_cdc.errors import Misconfigured
from millrace_cdc.mongo import now_ms
from millrace_cdc.portions import Portion
from millrace_cdc.progress import position_key, read_records
from millrace_cdc.projection import Share
from millrace_cdc.running import COMMAND_SECONDS, Configuration
from millrace_cdc.sink import KafkaSink
from millrace_cdc.topology import migrated, positions
from millrace_runtime.stopping import StopSignal


def migrate(settings: Configuration, streams: int | None, stop: StopSignal) -> dict[str, Any]:
    """Move a collection to ``streams`` streams (as many as now without it) and to the configured fields and partitions.

    Raises:
        RelayError: nothing to migrate yet, or a server is away.
    """
    capture = settings.quick().capture(Share())
    kafka, patience = settings.kafka, COMMAND_SECONDS
    before = positions(capture.namespace, read_records(kafka, capture.topics.progress, patience))
    if not before:
        raise Misconfigured(f"{capture.namespace} has never been captured; just start it with `millrace relay run --streams N`")
    count = streams or len(before)
    sinks = fenced(settings, capture, max(len(before), count), stop)
    before = positions(capture.namespace, read_records(kafka, capture.topics.progress, patience))
    after = migrated(before, count, capture.fingerprint, capture.topics.partitions)
    records: dict[str, bytes | None] = {position_key(capture.namespace, each.stream): None for each in before}
    records |= {position_key(capture.namespace, each.stream): each.encode(now_ms()) for each in after}
    write_positions(capture.namespace, sinks, Portion(progress=records))
    lowest = after[0].token or f"cluster time {after[0].at}"
    return {"namespace": capture.namespace, "before": len(before), "after": len(after), "lowest": lowest}


def fenced(settings: Configuration, capture: Capture, streams: int, stop: StopSignal) -> list[KafkaSink]:
    """The sinks of every stream that runs, or will; what they had open is aborted, so that positions are to be read again behind this."""
    sinks = [settings.sink(capture.topics, capture.max_message_bytes, stream, stop) for stream in range(streams)]
    for sink in sinks:
        sink.fence()
    return sinks


def write_positions(namespace: str, sinks: Sequence[KafkaSink], made: Portion) -> None:
    """Write positions (and audits) in one transaction, unless a relay has been started since the sinks were fenced.

    Raises:
        Fenced: a relay was started meanwhile; nothing is written.
    """
    first, *others = sinks
    first.begin()
    first.produce(made)
    first.record(made.progress)
    first.flush()
    # A relay that was started since the fence has fenced its sink here, which this finds out; one that is started from now on reads
    # its position behind the records above, which it can only do once they are committed.
    for other in others:
        other.begin()
        other.commit({f"{namespace}/migration": None}, None)
    first.commit({}, None)
