"""Carries out a migration: fence every old stream, read where they stopped, write where the new ones start, in one transaction."""

from __future__ import annotations

from typing import Any

from millrace_cdc.errors import Misconfigured
from millrace_cdc.mongo import now_ms
from millrace_cdc.progress import position_key, read_records
from millrace_cdc.projection import Share
from millrace_cdc.running import Configuration
from millrace_cdc.topology import migrated, positions
from millrace_runtime.stopping import StopSignal


def migrate(settings: Configuration, streams: int | None, stop: StopSignal) -> dict[str, Any]:
    """Move a collection to ``streams`` streams (as many as now without it) and to the configured fields and partitions.

    Raises:
        RelayError: nothing to migrate yet, or a server is away.
    """
    capture = settings.capture(Share())
    bootstrap, patience = settings.kafka.bootstrap, settings.relay.retry_seconds
    before = positions(capture.namespace, read_records(bootstrap, capture.topics.progress, patience))
    if not before:
        raise Misconfigured(f"{capture.namespace} has never been captured; just start it with `millrace relay run --streams N`")
    count = streams or len(before)
    # Every stream that runs, or will, is fenced first; what they had open is aborted, then the positions are read again.
    sinks = [settings.sink(capture.topics, capture.max_message_bytes, stream, stop) for stream in range(max(len(before), count))]
    for sink in sinks:
        sink.fence()
    before = positions(capture.namespace, read_records(bootstrap, capture.topics.progress, patience))
    after = migrated(before, count, capture.fingerprint, capture.topics.partitions)
    records: dict[str, bytes | None] = {position_key(capture.namespace, each.stream): None for each in before}
    records |= {position_key(capture.namespace, each.stream): each.encode(now_ms()) for each in after}
    first, *others = sinks
    first.begin()
    first.record(records)
    first.flush()
    # A relay that was started since the fence has fenced its sink here, which this finds out; one that is started from now on reads
    # its position behind the records above, which it can only do once they are committed.
    for other in others:
        other.begin()
        other.commit({f"{capture.namespace}/migration": None}, None)
    first.commit({}, None)
    lowest = after[0].token or f"cluster time {after[0].at}"
    return {"namespace": capture.namespace, "before": len(before), "after": len(after), "lowest": lowest}
