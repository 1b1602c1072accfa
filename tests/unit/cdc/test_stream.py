"""What the stream does where MongoDB fails a whole reply for one change over 16 MB; the reader is a fake with the server's behaviour."""

from __future__ import annotations

import time
from typing import Any, cast

import bson
import pytest
from bson import Timestamp

from millrace_cdc.errors import Oversize, RelayError
from millrace_cdc.events import EventForm
from millrace_cdc.mongo import RawReader
from millrace_cdc.portions import Portion
from millrace_cdc.progress import Position
from millrace_cdc.replies import PART_BYTES, ReplyEncoder
from millrace_cdc.stream import ChangeStream, change_stream, resumed
from tests.unit.cdc.fake_reader import START, FakeReader, token


def drained(reader: FakeReader, batch_size: int) -> tuple[list[bytes | None], list[str], RelayError]:
    """Keys in order, the recorded tokens, and how the stream ended."""
    encoder = ReplyEncoder("payments", EventForm("c", "payments"), lambda ids: {}, 1_000_000)
    tokens: list[str] = []

    def record(token: str, start_after: bool) -> tuple[str, bytes]:
        tokens.append(token)
        return "position", token.encode()

    stream = ChangeStream(
        cast(RawReader, reader), encoder, record, lambda change: (Portion(), RelayError("control")), batch_size, 2**20, split=False
    )
    stream.open(change_stream(Position(0, 1, "f", 4, START), []))
    keys: list[bytes | None] = []
    try:
        while True:
            portion = stream.take(60)
            keys += [key for key, _ in portion.events] if portion else []
    except RelayError as error:
        return keys, tokens, error
    finally:
        stream.close()


def test_all_that_stands_before_an_oversized_change_is_read_and_recorded() -> None:  # I4
    reader = FakeReader(last=20, large=8)
    keys, tokens, error = drained(reader, 5)
    assert keys == [f"p{number}".encode() for number in range(1, 8)]
    assert tokens[-1] == token(7)
    assert isinstance(error, Oversize)
    assert f"up to token {token(7)}" in str(error)
    assert f"millrace relay skip {token(8)} " in str(error)
    assert reader.asked == [5, 5, 1, 1, 1]


def test_whole_replies_are_asked_for_again_when_no_oversized_change_comes() -> None:
    """A before-image that expires meanwhile makes the change smaller."""

    class Shrinking(FakeReader):
        def more(self, batch_size: int, max_time_ms: int | None = None) -> bytes:
            if batch_size == 1:
                self._large = 19
            return super().more(batch_size, max_time_ms)

    reader = Shrinking(last=20, large=3)
    keys, _, _ = drained(reader, 4)
    assert keys == [f"p{number}".encode() for number in range(1, 19)]
    assert reader.asked[:6] == [4, 1, 1, 1, 1, 4]


@pytest.mark.parametrize("start", [{"startAtOperationTime": Timestamp(5, 1)}, {"resumeAfter": {"_data": "82AA"}}])
def test_a_stream_is_opened_again_behind_what_it_has_read(start: dict[str, Any]) -> None:
    images = {"fullDocument": "whenAvailable", "fullDocumentBeforeChange": "whenAvailable"}
    again = resumed([{"$changeStream": {**images, **start}}, {"$match": {}}], "82BB")
    assert again == [{"$changeStream": {**images, "resumeAfter": {"_data": "82BB"}}}, {"$match": {}}]


def test_behind_an_invalidate_nothing_but_start_after_goes_on() -> None:
    pipeline = [{"$changeStream": {"startAfter": {"_data": "82AA"}}}]
    assert resumed(pipeline, "82AA") == pipeline


class OneReply(FakeReader):
    """What is given, in one reply; then nothing."""

    def __init__(self, changes: list[dict[str, Any]]) -> None:
        super().__init__(0, 0)
        self._changes = changes

    def more(self, batch_size: int, max_time_ms: int | None = None) -> bytes:
        changes, self._changes = self._changes, []
        if not changes:
            time.sleep((max_time_ms or 0) / 1000)  # as the server waits: a fetch that spins fills the queue, and that is a backlog
        self.token = token(99) if changes else self.token
        return bson.encode({"cursor": {"id": 1, "nextBatch": changes, "postBatchResumeToken": {"_data": self.token}}})


def large(number: int) -> dict[str, Any]:
    """A change that makes a part of its own."""
    document = {"_id": f"p{number}", "text": "x" * PART_BYTES}
    return {"_id": {"_data": token(number)}, "operationType": "insert", "documentKey": {"_id": f"p{number}"}, "fullDocument": document}


def test_a_reply_of_several_parts_is_a_backlog_until_its_end() -> None:
    encoder = ReplyEncoder("payments", EventForm("c", "payments"), lambda ids: {}, 1_000_000)
    reader = cast(RawReader, OneReply([large(1), large(2), large(3)]))
    stream = ChangeStream(
        reader, encoder, lambda token, after: (token, b""), lambda change: (Portion(), RelayError("control")), 100, 2**20, split=False
    )
    stream.open(change_stream(Position(0, 1, "f", 4, START), []))
    assert stream.take(60) is not None  # the reply of the opening, without changes
    seen = []
    for _ in range(3):
        portion = stream.take(60)
        seen.append((portion and list(portion.progress), stream.backlog))
    stream.close()
    assert seen == [([token(1)], True), ([token(2)], True), ([token(99)], False)]


def test_nothing_behind_a_drop_is_taken_from_a_later_part() -> None:
    drop = {"_id": {"_data": token(2)}, "operationType": "drop"}
    keys, tokens, error = drained(OneReply([large(1), drop, large(3)]), 100)
    assert (keys, tokens, str(error)) == ([b"p1"], [START, token(1)], "control")
