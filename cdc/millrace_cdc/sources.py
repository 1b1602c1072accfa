"""Opens what the relay reads next: the first snapshot, the comparison that closes a gap, or the change stream with ad-hoc snapshots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import orjson
import structlog
from bson import json_util

from millrace_cdc.capture import Capture
from millrace_cdc.controls import decide
from millrace_cdc.errors import RelayError, Reopen
from millrace_cdc.events import EventForm
from millrace_cdc.gaps import Gap, gap_key, read_captured
from millrace_cdc.mongo import Client, RawReader, now_ms, splits, translated
from millrace_cdc.portions import Portion, Source
from millrace_cdc.progress import Position, Records, position_key
from millrace_cdc.projection import bucket_of, projection_of, stages
from millrace_cdc.reconcile import ReconcileSource
from millrace_cdc.replies import Change, ReplyEncoder
from millrace_cdc.requests import RequestWatch, StreamWithSnapshots, request_key
from millrace_cdc.settings import RelaySettings
from millrace_cdc.snapshot import INITIAL, Snapshot, decode_snapshot, encode_snapshot, plan, snapshot_key
from millrace_cdc.snapshot_source import ReadEncoder, SnapshotSource
from millrace_cdc.state import RelayState
from millrace_cdc.stream import ChangeStream, change_stream
from millrace_contracts.settings import KafkaSettings
from millrace_contracts.values.bson_json import CODEC, key_text

log = structlog.get_logger()


class Sources:
    """Makes sources of one stream. ``watch`` holds the requests for ad-hoc snapshots; stream 0 carries them out."""

    def __init__(
        self, capture: Capture, client: Client, kafka: KafkaSettings, settings: RelaySettings, state: RelayState, watch: RequestWatch | None
    ) -> None:
        self._capture = capture
        self._client = client
        self._kafka = kafka
        self._settings = settings
        self._state = state
        self._watch = watch
        self._form = EventForm(capture.database, capture.collection)
        self._position = capture.position()
        self._records: Records = {}
        self._finished: set[str] = set()

    def open(self, records: Records) -> Source:
        """What the committed records ask for.

        Raises:
            SourceLost, RelayError: as MongoDB answers.
        """
        self._records = records
        self._finished.clear()
        gap = records.get(gap_key(self._capture.namespace, self._capture.share.stream))
        if gap is not None and gap["to"] is None:
            return self._reconcile(Gap.decode(gap))
        record = records.get(self._capture.key)
        return self._first_snapshot() if record is None else self._stream(Position.decode(record))

    def _stream(self, position: Position) -> Source:
        capture, settings, self._position = self._capture, self._settings, position
        self._state.enter("connecting", "opening the change stream")
        reader = RawReader(self._client, capture.database, capture.collection)
        encoder = ReplyEncoder(capture.collection, self._form, self._lookup, capture.max_message_bytes, position.already)
        stream = ChangeStream(
            reader, encoder, self._record, self._control, settings.fetch_events, settings.queue_bytes, split=splits(self._client)
        )
        stream.open(change_stream(position, stages(capture.fields, capture.share, len(position.already))))
        self._state.enter("streaming")
        log.info("streaming", stream=capture.share.stream, token=position.token, at=position.at)
        return StreamWithSnapshots(stream, self._wanted, self._failed) if self._watch is not None else stream

    def _record(self, token: str, start_after: bool) -> tuple[str, bytes]:
        return self._capture.key, self._position.behind(token, start_after).encode(now_ms())

    def _control(self, change: Change) -> tuple[Portion, RelayError | Reopen]:
        return decide(self._capture.namespace, change, self._settings.on_drop, self._record)

    def _lookup(self, ids: Sequence[Any]) -> Mapping[bytes, Mapping[str, Any]]:
        """The captured fields of documents as they are now, by key text."""
        with translated(self._capture.collection):
            found = self._client[self._capture.database].get_collection(self._capture.collection, codec_options=CODEC)
            rows = found.find({"_id": {"$in": list(ids)}}, projection_of(self._capture.fields))
            return {key_text(row["_id"]): row for row in rows}

    def _first_snapshot(self) -> Source:
        capture = self._capture
        self._state.enter("connecting", "planning the snapshot")
        known = decode_snapshot(capture.namespace, INITIAL, self._records)
        snapshot = known or self._plan(INITIAL, None)
        first = None if known else Portion(progress=dict(encode_snapshot(capture.namespace, snapshot, now_ms())))
        source = self._reads(snapshot, self._encoder(), first)
        self._state.enter("snapshot", f"{source.chunks_left} of {len(snapshot.chunks)} chunks left")
        log.info("snapshot", at=snapshot.start, chunks=len(snapshot.chunks), left=source.chunks_left)
        return source.open()

    def _plan(self, snapshot_id: str, filter_json: str | None) -> Snapshot:
        capture = self._capture
        return plan(self._client, capture.database, capture.collection, snapshot_id, self._settings.snapshot_chunk_documents, filter_json)

    def _encoder(self) -> ReadEncoder:
        capture = self._capture
        return ReadEncoder(capture.namespace, capture.collection, self._form, capture.max_message_bytes)

    def _reads(self, snapshot: Snapshot, encoder: ReadEncoder, first: Portion | None, *, record: bool = True) -> SnapshotSource:
        capture, settings = self._capture, self._settings
        return SnapshotSource(
            self._client,
            capture.database,
            capture.collection,
            capture.fields,
            snapshot,
            encoder,
            self._snapshot_done,
            threads=settings.snapshot_threads,
            batch_size=settings.fetch_events,
            queue_bytes=settings.queue_bytes,
            rate=settings.snapshot_rate,
            record=record,
            first=first,
        )

    def _snapshot_done(self, snapshot: Snapshot) -> dict[str, bytes | None]:
        """The records that end a snapshot."""
        capture, now = self._capture, now_ms()
        if snapshot.id != INITIAL:
            self._finished.add(snapshot.id)
            done = [request_key(capture.namespace, snapshot.id), *encode_snapshot(capture.namespace, snapshot, now)]
            return dict.fromkeys(done)
        # The streams go on right after the time at which the snapshot was read, without a gap (I2).
        seconds, ordinal = snapshot.start
        starts = (capture.position(at=(seconds, ordinal + 1), stream=stream) for stream in range(capture.share.streams))
        records = {position_key(capture.namespace, start.stream): start.encode(now) for start in starts}
        own = snapshot_key(capture.namespace, INITIAL)
        return {own: encode_snapshot(capture.namespace, snapshot, now)[own], **records}

    def _wanted(self) -> Source | None:
        """The next ad-hoc snapshot that was asked for."""
        asked = self._watch.next() if self._watch is not None else None
        if asked is None or asked[0] in self._finished:
            return None
        snapshot_id, filter_json = asked
        known = decode_snapshot(self._capture.namespace, snapshot_id, self._records)
        snapshot = known or self._plan(snapshot_id, filter_json)
        first = None if known else Portion(progress=dict(encode_snapshot(self._capture.namespace, snapshot, now_ms())))
        log.info("ad-hoc snapshot", id=snapshot_id, filter=filter_json, chunks=len(snapshot.chunks))
        return self._reads(snapshot, self._encoder(), first).open()

    def _failed(self, error: RelayError) -> Portion:
        """An ad-hoc snapshot that can not be read ends alone: the request is removed, the audit topic says why."""
        asked = self._watch.next() if self._watch is not None else None
        snapshot_id = asked[0] if asked else "?"
        self._finished.add(snapshot_id)
        log.error("ad-hoc snapshot failed", id=snapshot_id, error=str(error))
        record = {"kind": "request-failed", "collection": self._capture.namespace, "id": snapshot_id, "error": str(error)}
        key = request_key(self._capture.namespace, snapshot_id)
        return Portion(audits=[(self._capture.namespace.encode(), orjson.dumps(record))], progress={key: None})

    def _reconcile(self, gap: Gap) -> Source:
        capture = self._capture
        self._state.enter("reconciling", f"history from {gap.start} on is lost; comparing the source with the topic")
        share = capture.share
        mine = {"$expr": {"$eq": [bucket_of("$_id", share.streams), share.stream]}} if share.streams > 1 else None
        # The source is read at a time after the topic's end, so that nothing lies between the two.
        captured = read_captured(self._kafka, capture.topics.changes)
        try:
            snapshot = self._plan("gap", None if mine is None else json_util.dumps(mine))
        except BaseException:
            captured.close()
            raise
        log.info("reconciling", stream=share.stream, gap_from=gap.start, at=snapshot.start)
        encoder = ReadEncoder(capture.namespace, capture.collection, self._form, capture.max_message_bytes, captured.differs)
        reads = self._reads(snapshot, encoder, None, record=False)
        reads.finish_with(lambda done: {})

        def finish(repeated: int, removed: int) -> Portion:
            closed = replace(gap, end=snapshot.start, repeated=repeated, removed=removed)
            seconds, ordinal = snapshot.start
            position = capture.position(at=(seconds, ordinal + 1)).encode(now_ms())
            log.info("gap closed", gap_from=gap.start, gap_to=snapshot.start, repeated=repeated, removed=removed)
            records: dict[str, bytes | None] = {gap_key(capture.namespace, share.stream): closed.encode(), capture.key: position}
            return Portion(audits=[gap_audit(capture.namespace, closed)], progress=records)

        return ReconcileSource(reads.open(), captured, self._form, snapshot.start, self._mine, finish)

    def _mine(self, keys: Sequence[bytes]) -> list[bytes]:
        """The keys whose documents belong to this stream, as the server hashes them."""
        share, texts = self._capture.share, [key.decode() for key in keys]
        if share.streams == 1:
            return list(keys)
        asked = {"$map": {"input": {"$literal": texts}, "as": "key", "in": bucket_of("$$key", share.streams)}}
        with translated(self._capture.collection):
            collection = self._client[self._capture.database][self._capture.collection]
            rows = list(collection.aggregate([{"$limit": 1}, {"$project": {"_id": 0, "buckets": asked}}]))
        buckets = rows[0]["buckets"] if rows else [0] * len(texts)
        return [key for key, bucket in zip(keys, buckets, strict=True) if bucket == share.stream]


def gap_audit(namespace: str, gap: Gap) -> tuple[bytes, bytes]:
    """The audit record of a gap's opening or closing."""
    return namespace.encode(), orjson.dumps({**orjson.loads(gap.encode()), "collection": namespace})
