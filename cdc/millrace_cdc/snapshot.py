"""Snapshots: every document as it was at one cluster time (op r), in chunks of the ``_id`` index, resumable at any reply.

A chunk is a range of the ``_id`` index given to find as ``min`` and ``max``. Index bounds compare whole BSON values, also of
different types; a filter ``{_id: {$gt: x}}`` would be limited to the type of x and would skip documents whose ids have other types.

Progress, beside the events in the same transaction: the snapshot's record names the cluster time ``start`` from which the stream
goes on once it is done; each chunk's record holds its range, the cluster time ``at`` it is read at, and ``last``, the id up to
which it is in the topic. Ids are canonical extended JSON.

MongoDB keeps the past for a while only (minSnapshotHistoryWindowInSeconds, 5 minutes). When it no longer knows the snapshot's time,
what is left is read at a newer one. The result stays right: the stream starts at the first time, every change since then is in it,
and a document's newest version wins (I5).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import orjson
from bson import Timestamp, json_util

from millrace_cdc.mongo import Client, cluster_now, translated
from millrace_cdc.progress import FORMAT, Records

INITIAL = "initial"
SAMPLE_PER_CHUNK = 10
Time = tuple[int, int]


@dataclass(frozen=True)
class Chunk:
    """A range [lower, upper) of ids; None is open. ``last`` is the id up to which it is in the topic."""

    index: int
    lower: str | None
    upper: str | None
    at: Time
    last: str | None = None
    done: bool = False
    events: int = 0


@dataclass(frozen=True)
class Snapshot:
    """A snapshot: ``start`` is the cluster time after which the stream goes on; ``filter`` is extended JSON or None."""

    id: str
    start: Time
    filter: str | None
    chunks: tuple[Chunk, ...]
    done: bool = False


def snapshot_key(namespace: str, snapshot_id: str) -> str:
    """Key of a snapshot's record; its chunks' are below it."""
    return f"{namespace}/snapshot/{snapshot_id}"


def encode_snapshot(namespace: str, made: Snapshot, timestamp_ms: int) -> dict[str, bytes]:
    """The snapshot's record and those of all its chunks."""
    key = snapshot_key(namespace, made.id)
    own = {
        "format": FORMAT,
        "kind": "snapshot",
        "start": made.start,
        "filter": made.filter,
        "chunks": len(made.chunks),
        "done": made.done,
        "recorded_ms": timestamp_ms,
    }
    return {key: orjson.dumps(own), **{f"{key}/{chunk.index}": encode_chunk(chunk) for chunk in made.chunks}}


def encode_chunk(chunk: Chunk) -> bytes:
    """A chunk's record."""
    return orjson.dumps({"format": FORMAT, "kind": "chunk", **{name: getattr(chunk, name) for name in _CHUNK_FIELDS}})


_CHUNK_FIELDS = ("index", "lower", "upper", "at", "last", "done", "events")


def decode_snapshot(namespace: str, snapshot_id: str, records: Records) -> Snapshot | None:
    """A snapshot from the progress records, or None where there is none."""
    key = snapshot_key(namespace, snapshot_id)
    own = records.get(key)
    if own is None:
        return None
    rows = [records[f"{key}/{index}"] for index in range(own["chunks"])]
    chunks = tuple(Chunk(**{**{name: row[name] for name in _CHUNK_FIELDS}, "at": (row["at"][0], row["at"][1])}) for row in rows)
    return Snapshot(snapshot_id, (own["start"][0], own["start"][1]), own["filter"], chunks, own["done"])


def plan(
    client: Client, database: str, collection: str, snapshot_id: str, chunk_documents: int, filter_json: str | None = None
) -> Snapshot:
    """Fix the cluster time and cut the ``_id`` index into chunks of about ``chunk_documents`` (by a sample)."""
    with translated(collection):
        start = cluster_now(client, database, collection)
        count = client[database][collection].estimated_document_count()
        bounds: list[str] = []
        if count > chunk_documents:
            wanted = -(-count // chunk_documents)
            stages: list[dict[str, Any]] = [
                {"$sample": {"size": wanted * SAMPLE_PER_CHUNK}},
                {"$project": {"_id": 1}},
                {"$sort": {"_id": 1}},
            ]
            ids = [id_text(row["_id"]) for row in client[database][collection].aggregate(stages)]
            bounds = list(dict.fromkeys(ids[SAMPLE_PER_CHUNK::SAMPLE_PER_CHUNK]))
    edges = [None, *bounds, None]
    chunks = tuple(Chunk(index, lower, upper, start) for index, (lower, upper) in enumerate(pairwise(edges)))
    return Snapshot(snapshot_id, start, filter_json, chunks)


def id_text(document_id: object) -> str:
    """An id as it is recorded."""
    return json_util.dumps({"_id": document_id}, json_options=json_util.CANONICAL_JSON_OPTIONS)


def _bound(text: str) -> dict[str, Any]:
    bound: dict[str, Any] = json_util.loads(text, json_options=json_util.CANONICAL_JSON_OPTIONS)
    return bound


def find_command(collection: str, chunk: Chunk, fields: tuple[str, ...], filter_json: str | None, batch_size: int) -> dict[str, Any]:
    """The read of what is left of a chunk. ``min`` is inclusive: the document ``last`` comes again and is dropped by the reader."""
    lower = chunk.last or chunk.lower
    command: dict[str, Any] = {
        "find": collection,
        "filter": _bound(filter_json) if filter_json else {},
        "hint": {"_id": 1},
        "projection": dict.fromkeys(fields, 1),
        "batchSize": batch_size,
        "readConcern": {"level": "snapshot", "atClusterTime": Timestamp(*chunk.at)},
    }
    if lower is not None:
        command["min"] = _bound(lower)
    if chunk.upper is not None:
        command["max"] = _bound(chunk.upper)
    return command
