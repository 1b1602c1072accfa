"""Starts a collection at a point that an operator names: behind a token, at a time, at a bookmark; guarded and recorded (I4)."""

from __future__ import annotations

import time
from typing import Any

import orjson

from millrace_cdc.capture import Capture
from millrace_cdc.errors import Misconfigured
from millrace_cdc.migrating import fenced, write_positions
from millrace_cdc.mongo import connect, now_ms
from millrace_cdc.portions import Portion
from millrace_cdc.progress import Position, Records, position_key, read_records
from millrace_cdc.projection import Share
from millrace_cdc.replay import bookmarks
from millrace_cdc.replay.history import History, Place
from millrace_cdc.replay.points import parse
from millrace_cdc.reporting import answering
from millrace_cdc.running import COMMAND_SECONDS, Configuration
from millrace_cdc.snapshot import INITIAL, snapshot_key
from millrace_cdc.topology import cluster_time, known
from millrace_runtime.stopping import StopSignal


def start_from(settings: Configuration, text: str, streams: int | None, replace: bool, stop: StopSignal) -> dict[str, Any]:
    """Put every stream's position at the point that ``text`` means; what was done, as JSON has it.

    Raises:
        Misconfigured: the point is none, or not of this cluster; or there is progress and ``replace`` is not given.
        HistoryLost: the oplog no longer reaches back to it.
        Unavailable: a server is away.
    """
    capture = settings.quick().capture(Share())

    def saved() -> Records:
        return read_records(settings.kafka, capture.topics.progress, COMMAND_SECONDS)

    before = saved()
    _guard(capture.namespace, before, replace)
    place = _find(settings, capture, before, text)
    old = known(capture.namespace, before)
    count = streams or (old[0].streams if old else settings.relay.streams)
    sinks = fenced(settings, capture, max([count, *(each.stream + 1 for each in old)]), stop)
    before = saved()
    _guard(capture.namespace, before, replace)
    made = started(capture, count, place)
    initial = snapshot_key(capture.namespace, INITIAL)
    gone = [key for key in before if key == initial or key.startswith((f"{initial}/", f"{capture.namespace}/stream/"))]
    records: dict[str, bytes | None] = {
        **dict.fromkeys(gone),
        **{position_key(capture.namespace, each.stream): each.encode(now_ms()) for each in made},
    }
    report = {
        "collection": capture.namespace,
        "streams": count,
        "at": list(place.at),
        "token": place.token,
        "before": [list(cluster_time(each)) for each in known(capture.namespace, before)],
    }
    audit = orjson.dumps({"kind": "started-from", **report, "recorded_ms": now_ms()})
    write_positions(capture.namespace, sinks, Portion(audits=[(capture.namespace.encode(), audit)], progress=records))
    return {**report, "words": place.words}


def _guard(namespace: str, records: Records, replace: bool) -> None:
    open_gaps = [key for key, each in records.items() if key.startswith(f"{namespace}/gap/") and each["to"] is None]
    if open_gaps:
        raise Misconfigured(
            f"{namespace} has lost history that is not reconciled yet ({', '.join(open_gaps)}); let the relay close it first"
        )
    there = [key for key in records if key.startswith((f"{namespace}/stream/", snapshot_key(namespace, INITIAL)))]
    if there and not replace:
        raise Misconfigured(
            f"{namespace} has progress already ({len(there)} records, `millrace relay status` shows them); --replace gives it up: "
            "changes between it and the point are then not captured, or are sent again"
        )


def _find(settings: Configuration, capture: Capture, records: Records, text: str) -> Place:
    def token_of(name: str) -> str:
        return bookmarks.find(capture.namespace, records, name).token

    with answering(), connect(settings.mongo.relay_uri) as client:
        history = History(client, capture.database, capture.collection, token_of)
        place = history.find("POINT", parse("POINT", text, time.time()), history.reach())
    # Behind the newest change, not at it: what is there now has been seen.
    return Place((place.at[0], place.at[1] + 1), None, place.words) if text == "now" else place


def started(capture: Capture, streams: int, place: Place) -> list[Position]:
    """The positions of all streams at a place; pure.

    Behind a token they open at its time and leave out what is not behind it: MongoDB refuses to resume after a change that another
    stream's filter hides (280).
    """
    already = (place.token,) if place.token is not None else ()
    return [
        Position(stream, streams, capture.fingerprint, capture.topics.partitions, None, place.at, already=already)
        for stream in range(streams)
    ]
