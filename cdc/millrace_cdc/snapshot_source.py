"""Reads a snapshot: threads fetch raw replies of chunks, ``take`` makes op r events of them."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import bson
import structlog
from bson.raw_bson import RawBSONDocument

from millrace_cdc.audit import count
from millrace_cdc.byte_queue import ByteQueue, Closed
from millrace_cdc.deadletters import dead_letter, undecodable
from millrace_cdc.errors import RelayError, SourceLost
from millrace_cdc.events import EventForm
from millrace_cdc.mongo import Client, RawReader, SnapshotTooOld, cluster_now, now_ms
from millrace_cdc.portions import Portion
from millrace_cdc.replies import HEADROOM, decode
from millrace_cdc.snapshot import Chunk, Snapshot, Time, encode_chunk, find_command, id_text, snapshot_key
from millrace_contracts.changes import OP_READ
from millrace_contracts.values import bson_json

log = structlog.get_logger()


@dataclass(frozen=True)
class _Reply:
    chunk: int
    at: Time
    raw: bytes
    last: bool


class ReadEncoder:
    """Makes op r events of what a find returned.

    ``max_message_bytes`` is the broker's limit for one message; ``wanted`` says whether a document (key, image) is to be sent.
    """

    def __init__(
        self,
        namespace: str,
        collection: str,
        form: EventForm,
        max_message_bytes: int,
        wanted: Callable[[bytes, bytes], bool] = lambda key, image: True,
    ) -> None:
        self._wanted = wanted
        self.namespace = namespace
        self._collection = collection
        self._form = form
        self._max = max_message_bytes - HEADROOM

    def portion(self, raw: bytes, at: Time, skip: str | None) -> tuple[Portion, str | None]:
        """The events of a reply without the document ``skip``, and the last id in it (extended JSON), None of an empty reply."""
        decoded = decode(raw)
        read_ms = now_ms()
        made = Portion(cluster_seconds=at[0])
        documents = decoded.documents
        if skip is not None and documents and id_text(documents[0]["_id"]) == skip:
            documents = documents[1:]
        for document in documents:
            self._add(made, document, at, read_ms)
        made.dead_letters.extend(undecodable(self._collection, broken, read_ms) for broken in decoded.broken)
        return made, _last_id(raw) if decoded.broken else id_text(decoded.documents[-1]["_id"]) if decoded.documents else None

    def _add(self, made: Portion, document: Mapping[str, Any], at: Time, read_ms: int) -> None:
        key = bson_json.key_text(document["_id"])
        try:
            image = bson_json.encode(document)
            value = self._form.read(OP_READ, image, at, read_ms)
        except TypeError as error:
            reason = f"a value has no JSON form: {error}"
            made.dead_letters.append(dead_letter(self._collection, None, reason, bson.encode(document), key, read_ms))
            return
        if not self._wanted(key, image):
            return
        if len(value) + len(key) > self._max:
            reason = f"the message has {len(value)} bytes, Kafka takes {self._max}; raise max.message.bytes of the topic"
            made.dead_letters.append(dead_letter(self._collection, None, reason, bson.encode(document), key, read_ms))
            return
        made.events.append((key, value))
        count(made.counts, OP_READ, document)


def _last_id(raw: bytes) -> str | None:
    cursor = RawBSONDocument(raw, bson_json.RAW)["cursor"]
    batch = cursor["nextBatch"] if "nextBatch" in cursor else cursor["firstBatch"]
    return id_text(batch[-1]["_id"]) if batch else None


class Throttle:
    """Spreads documents over time: ``rate`` a second over all threads, 0 for no bound."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._free_at = 0.0
        self._lock = threading.Lock()

    def pause(self, documents: int, now: float | None = None) -> float:
        """Seconds to wait after so many documents."""
        if not self._rate:
            return 0.0
        with self._lock:
            now = time.monotonic() if now is None else now
            self._free_at = max(self._free_at, now) + documents / self._rate
            return self._free_at - now


class SnapshotSource:
    """A ``Source`` of op r events; ``threads`` read chunks at the same time, ``finish`` gives the records that end it.

    ``rate`` bounds the documents a second (0: none); ``record`` is whether chunks leave progress records; ``first`` comes
    before all else (the plan's records).
    """

    def __init__(
        self,
        client: Client,
        database: str,
        collection: str,
        fields: tuple[str, ...],
        snapshot: Snapshot,
        encoder: ReadEncoder,
        finish: Callable[[Snapshot], dict[str, bytes | None]],
        *,
        threads: int,
        batch_size: int,
        queue_bytes: int,
        rate: int = 0,
        record: bool = True,
        first: Portion | None = None,
    ) -> None:
        self._client, self._database, self._collection, self._fields = client, database, collection, fields
        self._snapshot = snapshot
        self._chunks = {chunk.index: chunk for chunk in snapshot.chunks}
        self._encoder = encoder
        self._finish = finish
        self._batch_size = batch_size if not rate else max(1, min(batch_size, rate // 4))
        self._throttle = Throttle(rate)
        self._record = record
        self._first = first
        self._queue: ByteQueue[_Reply | Exception] = ByteQueue(queue_bytes)
        self._pending = [chunk for chunk in reversed(snapshot.chunks) if not chunk.done]
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._threads = [threading.Thread(target=self._work, name=f"snapshot-{n}", daemon=True) for n in range(threads)]
        self._last_read: dict[int, str | None] = {}
        self.finished = False

    def finish_with(self, finish: Callable[[Snapshot], dict[str, bytes | None]]) -> None:
        """Change what ends it."""
        self._finish = finish

    def open(self) -> SnapshotSource:
        """Start to read."""
        for thread in self._threads:
            thread.start()
        return self

    @property
    def backlog(self) -> bool:
        """Whether more is to be expected: until it is finished."""
        return not self.finished

    @property
    def chunks_left(self) -> int:
        """Chunks that are not in the topic yet."""
        return sum(not chunk.done for chunk in self._chunks.values())

    def take(self, seconds: float) -> Portion | None:
        """The next reply as a portion; the last one ends the snapshot."""
        if self._first is not None:
            portion, self._first = self._first, None
            return portion
        if self.chunks_left == 0:
            return self._end()
        item = self._queue.get(seconds)
        if isinstance(item, Exception):
            raise item
        return self._portion(item) if item is not None else None

    def _end(self) -> Portion:
        self.finished = True
        return Portion(progress=self._finish(replace(self._snapshot, done=True)))

    def _portion(self, reply: _Reply) -> Portion:
        chunk = self._chunks[reply.chunk]
        portion, last = self._encoder.portion(reply.raw, reply.at, skip=chunk.last)
        chunk = replace(chunk, at=reply.at, last=last or chunk.last, done=reply.last, events=chunk.events + portion.count)
        self._chunks[chunk.index] = chunk
        if self._record:
            portion.progress[f"{snapshot_key(self._encoder.namespace, self._snapshot.id)}/{chunk.index}"] = encode_chunk(chunk)
        return portion

    def _work(self) -> None:
        try:
            while (chunk := self._next()) is not None:
                for reply in self._read(chunk):
                    self._queue.put(reply, len(reply.raw))
        except Closed:
            pass
        except (SourceLost, RelayError) as error:
            self._fail(error)
        except Exception as error:
            log.exception("snapshot failed")
            self._fail(RelayError(f"reading the snapshot failed: {error}"))

    def _next(self) -> Chunk | None:
        with self._lock:
            return self._pending.pop() if self._pending and not self._closing.is_set() else None

    def _read(self, chunk: Chunk) -> Iterator[_Reply]:
        reader = RawReader(self._client, self._database, self._collection)
        try:
            while True:
                try:
                    yield from self._replies(reader, chunk)
                    return
                except SnapshotTooOld as error:
                    # What was queued stays good; the rest of the chunk is read at a newer time.
                    now = cluster_now(self._client, self._database, self._collection)
                    log.warning("snapshot time is gone, reading the rest at a newer one", chunk=chunk.index, error=str(error), at=now)
                    chunk = replace(chunk, at=now, last=self._last_read.pop(chunk.index, chunk.last))
        finally:
            reader.close()

    def _replies(self, reader: RawReader, chunk: Chunk) -> Iterator[_Reply]:
        raw = reader.open(find_command(self._collection, chunk, self._fields, self._snapshot.filter, self._batch_size))
        while True:
            yield _Reply(chunk.index, chunk.at, raw, reader.exhausted)
            self._last_read[chunk.index] = _last_id(raw) or chunk.last
            self._closing.wait(self._throttle.pause(self._batch_size))
            if reader.exhausted:
                return
            raw = reader.more(self._batch_size)

    def _fail(self, error: Exception) -> None:
        with contextlib.suppress(Closed):
            self._queue.put(error, 0)

    def close(self) -> None:
        """Stop to read."""
        self._closing.set()
        self._queue.close()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(10)
