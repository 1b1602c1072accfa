"""What the stream does where MongoDB fails a whole reply for one change over 16 MB; the reader is a fake with the server's behaviour."""

from __future__ import annotations

from typing import Any, cast

import pytest
from bson import Timestamp

from millrace_cdc.errors import Oversize, RelayError
from millrace_cdc.events import EventForm
from millrace_cdc.mongo import RawReader
from millrace_cdc.portions import Portion
from millrace_cdc.progress import Position
from millrace_cdc.replies import ReplyEncoder
from millrace_cdc.stream import ChangeStream, change_stream, resumed
from tests.unit.cdc.fake_reader import START, FakeReader, token


def drained(reader: FakeReader, batch_size: int) -> tuple[list[bytes | None], list[str], RelayError]:
    """Keys in order, the recorded tokens, and how the stream ended."""
    encoder = ReplyEncoder("payments", EventForm("c", "payments"), lambda ids: {}, 1_000_000)
    tokens: list[str] = []

    def record(token: str, start_after: bool) -> tuple[str, bytes]:
        tokens.append(token)
        return "position", token.encode()

    stream = ChangeStream(cast(RawReader, reader), encoder, record, lambda change: (Portion(), RelayError("control")), batch_size, 2**20)
    stream.open(change_stream(Position(0, 1, "f", 4, START), []))
    keys: list[bytes | None] = []
    try:
        while True:
            portion = stream.take(5)
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
