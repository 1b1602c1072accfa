"""What `millrace relay status` shows: every stream's position, lag, runway, gap and snapshot, from the topics and MongoDB."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from typing import Any

from confluent_kafka import Consumer, TopicPartition

from millrace_cdc.capture import Capture
from millrace_cdc.errors import HistoryLost, SourceLost
from millrace_cdc.gaps import gap_key
from millrace_cdc.mongo import Client, connect
from millrace_cdc.oplog import Oplog, read_reach
from millrace_cdc.probing import count_waiting
from millrace_cdc.progress import Position, Records, position_key, read_records
from millrace_cdc.projection import Share
from millrace_cdc.running import Configuration
from millrace_cdc.snapshot import INITIAL, decode_snapshot
from millrace_cdc.topology import cluster_time, known
from millrace_contracts.settings import KafkaSettings

Waiting = dict[int, tuple[int, bool]]
"""Stream -> events that wait, and whether that is all of them."""
PATIENCE_SECONDS = 5.0
"""How long the status waits for a server before it says that it is away."""
COUNT_SECONDS = 3.0
"""How long the events that wait are counted, all streams together; what is not counted by then is told as such."""


def status(settings: Configuration) -> dict[str, Any]:
    """The status as JSON has it.

    Raises:
        Misconfigured, Unavailable: a topic is missing, or Kafka away.
    """
    settings = settings.quick(PATIENCE_SECONDS)
    capture = settings.capture(Share())
    records = read_records(settings.kafka, capture.topics.progress, PATIENCE_SECONDS)
    with connect(settings.mongo.relay_uri) as client:
        oplog = read_reach(client, capture.database, capture.collection)
        waiting = _waiting(client, capture, records, oplog)
    found = describe(capture.namespace, records, oplog, time.time(), waiting)
    end = _messages(settings.kafka, capture.topics.dead_letters)
    return {**found, "fingerprintMatches": _matches(found, capture.fingerprint), "deadLetters": end}


def _waiting(client: Client, capture: Capture, records: Records, oplog: Oplog | None) -> Waiting:
    """The events that each stream has before it; none for a stream whose history is lost, or where MongoDB does not answer."""
    found = known(capture.namespace, records)
    counted: Waiting = {}
    if oplog is None:
        return counted
    for each in found:
        with contextlib.suppress(HistoryLost, SourceLost):
            within = COUNT_SECONDS / len(found)
            counted[each.stream] = count_waiting(client, capture.database, capture.collection, each, oplog.newest, within)
    return counted


def _matches(found: Mapping[str, Any], fingerprint: str) -> bool:
    return all(stream["fingerprint"] == fingerprint for stream in found["streams"])


def describe(namespace: str, records: Records, oplog: Oplog | None, now: float, waiting: Waiting | None = None) -> dict[str, Any]:
    """The status from progress records; pure. ``waiting`` is what was counted before each stream."""
    found = known(namespace, records)
    snapshot = decode_snapshot(namespace, INITIAL, records)
    requests = [key.rsplit("/", 1)[1] for key in records if key.startswith(f"{namespace}/request/")]
    return {
        "collection": namespace,
        "oplog": None
        if oplog is None
        else {"oldest": oplog.oldest, "newest": oplog.newest, "seconds": oplog.newest - oplog.oldest, "complete": oplog.complete},
        "snapshot": None
        if snapshot is None
        else {
            "done": snapshot.done,
            "at": snapshot.start,
            "chunks": len(snapshot.chunks),
            "chunksDone": sum(chunk.done for chunk in snapshot.chunks),
            "documents": sum(chunk.events for chunk in snapshot.chunks),
        },
        "requests": requests,
        "streams": [_stream(namespace, each, records, oplog, now, (waiting or {}).get(each.stream)) for each in found],
    }


def _stream(
    namespace: str, each: Position, records: Records, oplog: Oplog | None, now: float, waiting: tuple[int, bool] | None
) -> dict[str, Any]:
    seconds, ordinal = cluster_time(each)
    recorded_ms = records[position_key(namespace, each.stream)]["recorded_ms"]
    gap = records.get(gap_key(namespace, each.stream))
    return {
        "stream": each.stream,
        "streams": each.streams,
        "token": each.token,
        "clusterTime": [seconds, ordinal],
        "ageSeconds": round(max(0.0, now - seconds), 1),
        "recordedSecondsAgo": round(max(0.0, now - recorded_ms / 1000), 1),
        "eventsWaiting": waiting[0] if waiting else None,
        "eventsWaitingIsAll": waiting[1] if waiting else None,
        "runwaySeconds": oplog.runway_seconds(seconds) if oplog else None,
        "runwayIsAtLeast": bool(oplog and oplog.complete),
        # A token from before the replica set's first change is of another set; a time from before it misses nothing.
        "historyLost": bool(oplog and seconds < oplog.oldest and (not oplog.complete or each.token is not None)),
        "fingerprint": each.fingerprint,
        "catchingUpTopology": bool(each.already),
        "gap": {"from": gap["from"], "to": gap["to"], "repeated": gap["repeated"], "removed": gap["removed"]} if gap else None,
    }


def table(found: Mapping[str, Any]) -> str:
    """The status for a person."""
    lines = [f"collection    {found['collection']}"]
    oplog, snapshot = found["oplog"], found["snapshot"]
    begins = ", to the replica set's first change: nothing was ever lost" if oplog and oplog["complete"] else ""
    lines.append(f"oplog         reaches back {_span(oplog['seconds'])}{begins}" if oplog else "oplog         not told by this server")
    if snapshot is not None:
        state = "done" if snapshot["done"] else f"{snapshot['chunksDone']} of {snapshot['chunks']} chunks"
        lines.append(f"snapshot      {state}, {snapshot['documents']} documents")
    lines.append(f"dead letters  {found['deadLetters']}")
    if found["requests"]:
        lines.append(f"asked for     {len(found['requests'])} ad-hoc snapshots wait: {', '.join(found['requests'])}")
    if not found["fingerprintMatches"]:
        lines.append("pipeline      differs from the saved one; `millrace relay migrate` accepts it")
    if not found["streams"]:
        lines.append("streams       none yet; start with `millrace relay run`")
    for stream in found["streams"]:
        lines.append(_line(stream))
    return "\n".join(lines)


def _line(stream: Mapping[str, Any]) -> str:
    runway = "?" if stream["runwaySeconds"] is None else _span(stream["runwaySeconds"])
    runway = f"{runway} at least" if stream["runwayIsAtLeast"] else runway
    line = f"stream {stream['stream']} of {stream['streams']}  position {_span(stream['ageSeconds'])} old, "
    line += f"recorded {_span(stream['recordedSecondsAgo'])} ago, {_events(stream)}may be down for {runway}"
    if stream["historyLost"]:
        line += "  HISTORY LOST"
    if stream["gap"]:
        ending = "OPEN" if stream["gap"]["to"] is None else f"closed at {stream['gap']['to']}, {stream['gap']['repeated']} repeated"
        line += f"  gap from {stream['gap']['from']}: {ending}"
    return line


def _events(stream: Mapping[str, Any]) -> str:
    if stream["eventsWaiting"] is None:
        return ""
    return f"{'' if stream['eventsWaitingIsAll'] else 'more than '}{stream['eventsWaiting']:,} events wait, "


def _span(seconds: float) -> str:
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"


def _messages(kafka: KafkaSettings, topic: str) -> int:
    """Offsets between a topic's beginning and its end: an upper bound of its messages."""
    consumer = Consumer({**kafka.client(), "group.id": "millrace-status", "log_level": 0})
    try:
        partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        marks = [consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=10) for partition in partitions]
        return sum(high - low for low, high in marks)
    finally:
        consumer.close()
