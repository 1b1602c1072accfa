"""The change stream of one collection: a thread fetches raw replies into a queue bounded in bytes, ``take`` encodes them in parts."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Any

import structlog
from bson import Timestamp

from millrace_cdc.byte_queue import ByteQueue, Closed
from millrace_cdc.errors import Oversize, RelayError, SourceLost
from millrace_cdc.fragments import STAGE, fragments_of, joined_reply, split_of
from millrace_cdc.mongo import RawReader, now_ms
from millrace_cdc.portions import Portion
from millrace_cdc.progress import Position
from millrace_cdc.replies import Change, Reply, ReplyEncoder

BACKLOG_BYTES = 256 * 1024
"""So much may wait without being a backlog: at thousands of changes a second a little always does; no transaction is to grow for it."""
AWAIT_MS = 100
"""How long the server waits for a change before it sends an empty reply; also how soon a stop is seen."""
_EMPTY = {"batchSize": 0}
log = structlog.get_logger()


def change_stream(position: Position, stages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The aggregation that opens the stream where a position says."""
    # whenAvailable: `required` would wedge the stream on one missing image.
    options: dict[str, Any] = {"fullDocument": "whenAvailable", "fullDocumentBeforeChange": "whenAvailable"}
    if position.token is not None:
        options["startAfter" if position.start_after else "resumeAfter"] = {"_data": position.token}
    elif position.at is not None:
        options["startAtOperationTime"] = Timestamp(*position.at)
    return [{"$changeStream": options}, *stages]


def resumed(pipeline: list[dict[str, Any]], token: str) -> list[dict[str, Any]]:
    """The same stream from behind a token that it has given; as it is where that is the token it starts after."""
    options, *rest = pipeline
    starts = {name: value for name, value in options["$changeStream"].items() if name in ("startAfter", "resumeAfter")}
    if not token or {"_data": token} in starts.values():
        return pipeline
    images = {name: value for name, value in options["$changeStream"].items() if name.startswith("fullDocument")}
    return [{"$changeStream": {**images, "resumeAfter": {"_data": token}}}, *rest]


class ChangeStream:
    """A ``Source`` that never finishes by itself."""

    finished = False

    def __init__(
        self,
        reader: RawReader,
        encoder: ReplyEncoder,
        record: Callable[[str, bool], tuple[str, bytes]],
        on_control: Callable[[Change], tuple[Portion, RelayError | SourceLost]],
        batch_size: int,
        queue_bytes: int,
        *,
        split: bool,
    ) -> None:
        """``record`` makes the progress record of a token; ``on_control`` decides about drops and the like.

        ``split``: the server can send a change over 16 MB in fragments.
        """
        self._reader = reader
        self._encoder = encoder
        self._record = record
        self._on_control = on_control
        self._batch_size, self._split = batch_size, split
        self._queue: ByteQueue[bytes | Exception] = ByteQueue(queue_bytes)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._fetch, name="fetch", daemon=True)
        self._full = False
        self._reply: Reply | None = None
        self._token = ""
        self._failure: Exception | None = None
        self._pipeline: list[dict[str, Any]] = []

    def open(self, pipeline: list[dict[str, Any]]) -> ChangeStream:
        """Open the cursor and start to fetch.

        Raises:
            SourceLost, RelayError: as MongoDB answers.
        """
        reply = self._open(pipeline)
        self._queue.put(reply, len(reply))
        self._thread.start()
        return self

    def _open(self, pipeline: list[dict[str, Any]]) -> bytes:
        self._pipeline = pipeline
        return self._reader.open({"aggregate": self._reader.collection, "pipeline": pipeline, "cursor": _EMPTY})

    @property
    def backlog(self) -> bool:
        """Whether much waits, or the last reply was full so that more is to be expected, or is not yet taken to its end."""
        return self._full or self._reply is not None or self._queue.bytes > BACKLOG_BYTES

    @property
    def queued_bytes(self) -> int:
        """Bytes of raw replies that wait."""
        return self._queue.bytes

    def take(self, seconds: float) -> Portion | None:
        """The next part of a reply that moves the stream on, encoded."""
        if self._failure is not None:
            raise self._failure
        if self._reply is None:
            item = self._queue.get(seconds)
            if isinstance(item, Exception):
                raise item
            if item is None:
                return None
            self._reply = Reply(item)
            self._full = self._reply.count >= self._batch_size
        return self._encode(self._reply)

    def _encode(self, reply: Reply) -> Portion | None:
        decoded = reply.take()
        if not reply.left:
            self._reply = None
        if not reply.count and decoded.token == self._token:
            return None
        portion, control = self._encoder.portion(decoded, now_ms())
        if control is not None:
            before = decoded.documents[: decoded.documents.index(control)]
            return self._end(portion, before[-1]["_id"]["_data"] if before else None, control)
        self._token = decoded.token
        key, value = self._record(decoded.token, False)
        portion.progress[key] = value
        return portion

    def _end(self, portion: Portion, token: str | None, control: Change) -> Portion:
        """Close a portion at a change of the whole collection; the policy's answer comes with the next take.

        ``token`` is that of the last change before it in this part: what is committed goes exactly so far.
        """
        if token is not None:
            key, value = self._record(token, False)
            portion.progress[key] = value
        extra, self._failure = self._on_control(control)
        portion.audits.extend(extra.audits)
        portion.progress.update(extra.progress)
        self._reply = None
        # The reply's own token lies after the control: neither it nor its low-water mark is true yet.
        portion.through_ms = None
        return portion

    def _fetch(self) -> None:
        one_by_one = 0
        try:
            while not self._closing.is_set():
                try:
                    reply = self._reader.more(1 if one_by_one else self._batch_size, AWAIT_MS)
                except Oversize as error:
                    if one_by_one and self._split:
                        self._in_fragments()
                    elif one_by_one:
                        raise self.past(error, self._reader.token) from None
                    else:
                        self._one_by_one()
                    one_by_one = self._batch_size
                    continue
                one_by_one = max(0, one_by_one - 1)
                self._queue.put(reply, len(reply))
                if self._reader.exhausted:
                    raise SourceLost("the server closed the cursor")
        except Closed:
            pass
        except (SourceLost, RelayError) as error:
            self._put(error)
        except Exception as error:
            log.exception("fetch failed")
            self._put(RelayError(f"fetching from MongoDB failed: {error}"))

    def _one_by_one(self) -> None:
        """MongoDB fails a whole reply for one change over 16 MB: what stands before it is read singly, so that none of it is lost (I4)."""
        log.warning("a change over 16 MB: reading up to it one by one", after=self._reader.token)
        self._open(resumed(self._pipeline, self._reader.token))

    def _in_fragments(self) -> None:
        """Read the one change over 16 MB in fragments, queue it whole as a reply of its own, and go on behind it."""
        before, fragments = self._reader.token, list[bytes]()
        log.warning("a change over 16 MB: reading it in fragments", after=before)
        self._reader.open({"aggregate": self._reader.collection, "pipeline": [*resumed(self._pipeline, before), STAGE], "cursor": _EMPTY})
        number = of = 0
        while number < max(of, 1) and not self._closing.is_set():
            try:
                reply = self._reader.more(1, AWAIT_MS)
            except Oversize as error:
                raise self.past(error, before) from None
            for fragment in fragments_of(reply):
                number, of = split_of(fragment)
                fragments.append(fragment)
        if number < max(of, 1):
            return  # closing
        whole, token = joined_reply(fragments, before)
        self._queue.put(whole, len(whole))
        self._open(resumed(self._pipeline, token))

    def past(self, error: Oversize, before: str) -> RelayError:
        """The error that ends the stream at a change over 16 MB; ``before`` is the token up to which everything was read."""
        token = error.token or "TOKEN"
        return Oversize(
            f"{error}. All that came before it is captured, up to token {before}. Make the captured fields smaller, or go past it on "
            f"purpose: `millrace relay skip {token} --reason …`; then read the document by its id",
            error.token,
        )

    def _put(self, error: Exception) -> None:
        with contextlib.suppress(Closed):
            self._queue.put(error, 0)

    def close(self) -> None:
        """Stop to fetch and close the cursor."""
        self._closing.set()
        self._queue.close()
        if self._thread.is_alive():
            self._thread.join(10)
        self._reader.close()
