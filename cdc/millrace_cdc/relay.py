"""The relay of one stream: fence, read the position, then snapshot or stream until a stop; what goes wrong is retried or ends the process.

The order at the start is what makes it exactly once (I2): the transactional id is taken over FIRST, which ends whatever a predecessor had
open, and the position is read THEN, so that nothing can be committed behind it.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import structlog

from millrace_cdc.errors import Misconfigured, RelayError, SourceLost, TransactionAborted, Unavailable
from millrace_cdc.events import EventForm, marker
from millrace_cdc.mongo import Client, RawReader, now_ms
from millrace_cdc.portions import Portion, Source
from millrace_cdc.progress import Position, Records, decode_record, position_key
from millrace_cdc.projection import Share, projection_of, stages
from millrace_cdc.pump import Committed, Pace, Pump
from millrace_cdc.replies import Change, ReplyEncoder
from millrace_cdc.settings import RelaySettings
from millrace_cdc.sink import KafkaSink, Topics
from millrace_cdc.snapshot import INITIAL, Snapshot, decode_snapshot, encode_snapshot, plan
from millrace_cdc.snapshot_source import ReadEncoder, SnapshotSource
from millrace_cdc.state import RelayState
from millrace_cdc.stream import ChangeStream, change_stream
from millrace_runtime.stopping import StopSignal

BACKOFF_SECONDS = (0.1, 5.0)
log = structlog.get_logger()


@dataclass(frozen=True)
class Capture:
    """What is captured and by which part of it: the fixed facts of one run."""

    database: str
    collection: str
    share: Share
    fields: tuple[str, ...]
    fingerprint: str
    topics: Topics
    max_message_bytes: int

    @property
    def namespace(self) -> str:
        """``<database>.<collection>``."""
        return f"{self.database}.{self.collection}"

    @property
    def key(self) -> str:
        """Key of this stream's position."""
        return position_key(self.namespace, self.share.stream)

    def position(self, token: str | None = None, at: tuple[int, int] | None = None, *, stream: int | None = None) -> Position:
        """A position of this stream, or of another one."""
        number = self.share.stream if stream is None else stream
        return Position(number, self.share.streams, self.fingerprint, self.topics.partitions, token, at)


class Relay:
    """Runs one stream. ``read_progress`` reads the committed records to the end."""

    def __init__(
        self,
        capture: Capture,
        client: Client,
        sink: KafkaSink,
        read_progress: Callable[[], Records],
        settings: RelaySettings,
        state: RelayState,
        stop: StopSignal,
    ) -> None:
        self._capture = capture
        self._client = client
        self._sink = sink
        self._read_progress = read_progress
        self._settings = settings
        self._state = state
        self._stop = stop
        self._records: Records = {}
        self._form = EventForm(capture.database, capture.collection)
        self._failed_since: float | None = None
        self._position = capture.position()
        pace = Pace(settings.transaction_events, settings.transaction_ms / 1000, settings.linger_ms / 1000, settings.idle_ms / 1000)
        self._pump = Pump(sink, pace, stop, self._committed, state.idle, self._marker)

    def run(self) -> None:
        """Run until a stop is asked for.

        Raises:
            RelayError: with the exit code of the process.
        """
        self._state.enter("starting", "taking the transactional id over")
        self._sink.fence()  # 1. fence the predecessor (I3)
        self._records = self._read_progress()  # 2. then read where it stopped (I2)
        check(self._capture, self._records)
        self._await_snapshot()
        attempt = 0
        while not self._stop.is_set:
            source: Source | None = None
            try:
                source = self._open()  # 3. snapshot, or stream from the position
                self._pump.run(source)  # 4. read, produce, record the position, commit
                attempt = 0
            except (SourceLost, TransactionAborted) as error:
                attempt = self._recovering(error, attempt)
            finally:
                if source is not None:
                    source.close()
            if attempt:
                self._stop.wait(_backoff(attempt))

    def _await_snapshot(self) -> None:
        """Stream 0 makes the first snapshot; the others begin where it ends, so that no document's changes overtake its read (I3)."""
        while self._capture.share.stream and self._capture.key not in self._records and not self._stop.is_set:
            self._state.enter("snapshot", "waiting for stream 0 to finish the snapshot")
            if not self._stop.wait(1.0):
                self._records = self._read_progress()
                check(self._capture, self._records)

    def _open(self) -> Source:
        record = self._records.get(self._capture.key)
        if record is None:
            return self._open_snapshot()
        position = Position.decode(record)
        self._state.enter("connecting", "opening the change stream")
        reader = RawReader(self._client, self._capture.database, self._capture.collection)
        capture, self._position = self._capture, position
        encoder = ReplyEncoder(capture.collection, self._form, self._lookup, capture.max_message_bytes, position.already)
        settings = self._settings
        stream = ChangeStream(reader, encoder, self._record, self._control, settings.fetch_events, settings.queue_bytes)
        stream.open(change_stream(position, stages(capture.fields, capture.share, len(position.already))))
        self._state.enter("streaming")
        log.info("streaming", collection=self._capture.namespace, token=position.token, at=position.at)
        return stream

    def _open_snapshot(self) -> Source:
        capture, settings = self._capture, self._settings
        self._state.enter("connecting", "planning the snapshot")
        snapshot = decode_snapshot(capture.namespace, INITIAL, self._records)
        if snapshot is None:
            snapshot = plan(self._client, capture.database, capture.collection, INITIAL, settings.snapshot_chunk_documents)
            self._save(encode_snapshot(capture.namespace, snapshot, now_ms()))
        encoder = ReadEncoder(capture.namespace, capture.collection, self._form, capture.max_message_bytes)
        source = SnapshotSource(
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
        )
        self._state.enter("snapshot", f"{source.chunks_left} of {len(snapshot.chunks)} chunks left")
        log.info("snapshot", collection=capture.namespace, at=snapshot.start, chunks=len(snapshot.chunks), left=source.chunks_left)
        return source.open()

    def _snapshot_done(self, snapshot: Snapshot) -> dict[str, bytes]:
        """The records that end the snapshot: the stream goes on right after the time at which it was read, without a gap."""
        seconds, ordinal = snapshot.start
        capture, now = self._capture, now_ms()
        starts = (capture.position(at=(seconds, ordinal + 1), stream=stream) for stream in range(capture.share.streams))
        records = {position_key(capture.namespace, start.stream): start.encode(now) for start in starts}
        return {**encode_snapshot(capture.namespace, snapshot, now), **records}

    def _save(self, records: dict[str, bytes]) -> None:
        self._sink.begin()
        self._sink.commit(records, None)
        self._remember(records)

    def _record(self, token: str, start_after: bool) -> tuple[str, bytes]:
        # What an earlier topology had written matters until the stream is past all of it.
        already = self._position.already if any(token < other for other in self._position.already) else ()
        made = replace(self._capture.position(token), start_after=start_after, already=already)
        return self._capture.key, made.encode(now_ms())

    def _control(self, change: Change) -> tuple[Portion, RelayError | SourceLost]:
        what = change["operationType"]
        return Portion(), RelayError(f"the collection {self._capture.namespace} saw a {what}; the relay stops before it")

    def _lookup(self, ids: Any) -> Mapping[bytes, Mapping[str, Any]]:
        return lookup(self._client, self._capture, ids)

    def _marker(self, through_ms: int) -> bytes:
        share = self._capture.share
        return marker(share.stream, share.streams, through_ms, now_ms())

    def _committed(self, done: Committed) -> None:
        self._failed_since = None
        self._remember(done.progress)
        self._state.committed(done)

    def _remember(self, records: Mapping[str, bytes]) -> None:
        self._records.update({key: decode_record(value) for key, value in records.items()})

    def _recovering(self, error: Exception, attempt: int) -> int:
        """Count a failure that may pass; raise when it has lasted too long."""
        if isinstance(error, TransactionAborted):
            self._state.aborts.inc()
        self._state.reopens.inc()
        now = time.monotonic()
        self._failed_since = self._failed_since if self._failed_since is not None else now
        waited = now - self._failed_since
        phase = "waiting for Kafka" if isinstance(error, TransactionAborted) else "waiting for MongoDB"
        self._state.enter(phase, str(error))
        log.warning("going on from the committed position", phase=phase, error=str(error), waited_seconds=round(waited, 1))
        if waited > self._settings.retry_seconds:
            raise Unavailable(f"{phase} for {waited:.0f} s: {error}")
        return attempt + 1


def _backoff(attempt: int) -> float:
    low, high = BACKOFF_SECONDS
    delay: float = min(high, low * 2.0 ** min(attempt - 1, 10))
    return delay * random.uniform(0.75, 1.25)  # noqa: S311


def lookup(client: Client, capture: Capture, ids: Any) -> dict[bytes, Mapping[str, Any]]:
    """The captured fields of documents as they are now, by key text."""
    from millrace_cdc.events import CODEC, key_text
    from millrace_cdc.mongo import translated

    with translated(capture.collection):
        found = client[capture.database].get_collection(capture.collection, codec_options=CODEC)
        rows = found.find({"_id": {"$in": list(ids)}}, projection_of(capture.fields))
        return {key_text(row["_id"]): row for row in rows}


def check(capture: Capture, records: Records) -> None:
    """Compare what is recorded with what is configured.

    Raises:
        Misconfigured: names what has changed and what to do.
    """
    for key, record in records.items():
        if key.startswith(f"{capture.namespace}/stream/"):
            _check(capture, Position.decode(record))


def _check(capture: Capture, position: Position) -> None:
    if position.fingerprint != capture.fingerprint:
        raise Misconfigured(
            f"the saved position of {capture.namespace} is for another pipeline ({position.fingerprint}, now {capture.fingerprint}): "
            "captured fields or operations have changed; events before it have the old form. `millrace relay migrate` accepts the new one"
        )
    if position.partitions != capture.topics.partitions:
        raise Misconfigured(
            f"{capture.topics.changes} had {position.partitions} partitions and has {capture.topics.partitions}: the same key would go to "
            "another partition. Let its readers catch up, then `millrace relay migrate` accepts it"
        )
    if position.streams != capture.share.streams:
        raise Misconfigured(
            f"{capture.namespace} is captured by {position.streams} streams and {capture.share.streams} were asked for; "
            f"`millrace relay migrate --streams {capture.share.streams}` changes it without loss"
        )
