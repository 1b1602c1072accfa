"""Changes over 16 MB in fragments; tokens and form are what MongoDB 6.0.27 sent for a payment of 9 MB with both images."""

from __future__ import annotations

import json
from typing import Any, cast

import bson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace_cdc.errors import Oversize, RelayError
from millrace_cdc.events import EventForm
from millrace_cdc.fragments import STAGE, can_split, fragments_of, joined_reply, split_of
from millrace_cdc.mongo import RawReader
from millrace_cdc.portions import Portion
from millrace_cdc.progress import Position
from millrace_cdc.replies import ReplyEncoder
from millrace_cdc.stream import ChangeStream, change_stream
from tests.unit.cdc.fake_reader import START, FakeReader, token

UUID = "2EB3135B5D9B475DB5C153235FC929EA"
PLAIN = f"826B074D58000000052B022C0100296E5A1004{UUID}463C5F6964003C7031000004"
SPLIT = f"826B074D58000000052B042C0100296E5A1004{UUID}463C6F7065726174696F6E54797065003C7570646174650046646F63756D656E744B657900"
FIRST, LAST = f"{SPLIT}463C5F6964003C70310000002904", f"{SPLIT}463C5F6964003C70310000002B0204"
BEFORE = f"826B074D58000000042B022C0100296E5A1004{UUID}463C5F6964003C7030000004"


def fragments(first: str, last: str, key: str) -> list[dict[str, Any]]:
    """An update with both images."""
    before, after = {"_id": key, "amount": 1, "text": "é"}, {"_id": key, "amount": 2, "refunds": []}
    change = {"operationType": "update", "documentKey": {"_id": key}, "fullDocumentBeforeChange": before}
    return [
        {"_id": {"_data": first}, "splitEvent": {"fragment": 1, "of": 2}, **change},
        {"_id": {"_data": last}, "splitEvent": {"fragment": 2, "of": 2}, "fullDocument": after},
    ]


def test_fragments_become_one_change_with_the_token_that_it_has_in_the_plain_stream() -> None:
    first, last = fragments(FIRST, LAST, "p1")
    raw, behind = joined_reply([bson.encode(first), bson.encode(last)], BEFORE)
    (change,) = bson.decode(raw)["cursor"]["nextBatch"]
    expected = {**first, **last, "_id": {"_data": PLAIN}}
    del expected["splitEvent"]
    assert (change, behind) == (expected, PLAIN)
    assert bson.decode(raw)["cursor"]["postBatchResumeToken"] == {"_data": PLAIN}


def test_a_stream_whose_tokens_are_of_version_2_keeps_them() -> None:
    first, last = fragments(FIRST, LAST, "p1")
    _, behind = joined_reply([bson.encode(first), bson.encode(last)], BEFORE.replace("2B02", "2B04", 1))
    assert behind == f"{SPLIT}463C5F6964003C703100000004"


def test_a_token_of_another_form_is_refused_by_name() -> None:
    first, last = fragments(FIRST, "826B074D58000000052B0699", "p1")
    with pytest.raises(RelayError, match="not known here: 826B074D58000000052B0699"):
        joined_reply([bson.encode(first), bson.encode(last)], BEFORE)


def test_a_fragment_says_its_number() -> None:
    found = [split_of(bson.encode(each)) for each in fragments(FIRST, LAST, "p1")]
    assert [*found, split_of(bson.encode({"_id": {"_data": PLAIN}}))] == [(1, 2), (2, 2), (1, 1)]


@given(st.lists(st.dictionaries(st.text(min_size=1).filter(lambda name: "\0" not in name), st.integers(0, 99)), max_size=4))
def test_the_documents_of_a_reply_are_taken_out_as_they_are(documents: list[dict[str, int]]) -> None:
    raw = bson.encode({"cursor": {"id": 1, "nextBatch": documents}, "ok": 1.0})
    assert fragments_of(raw) == [bson.encode(each) for each in documents]


class Splitting(FakeReader):
    """Sends the large change in fragments where it is asked to, one a reply."""

    def __init__(self, last: int, large: int) -> None:
        super().__init__(last, large)
        self._fragments: list[dict[str, Any]] | None = None
        self.opened: list[tuple[str, bool]] = []

    def open(self, command: dict[str, Any]) -> bytes:
        reply = super().open(command)
        asked = command["pipeline"][-1] == STAGE
        self.opened.append((self.token, asked))
        tail = f"6E5A1004{UUID}463C6F7065726174696F6E54797065003C7570646174650046646F63756D656E744B657900463C5F6964003C70000000"
        large = f"{token(self._large)[:18]}2B042C010029{tail}"
        self._fragments = fragments(f"{large}2904", f"{large}2B0204", f"p{self._large}") if asked else None
        return reply

    def more(self, batch_size: int, max_time_ms: int | None = None) -> bytes:
        if not self._fragments:
            return super().more(batch_size, max_time_ms)
        fragment = self._fragments.pop(0)
        self.asked.append(batch_size)
        return bson.encode({"cursor": {"id": 1, "nextBatch": [fragment], "postBatchResumeToken": fragment["_id"]}})


def test_only_the_large_change_is_read_in_fragments_and_the_stream_goes_on_behind_it() -> None:
    """I2 and I4; complaint 15 (estuary/connectors#5136): a checkpoint within a split change never advanced."""
    reader = Splitting(last=9, large=4)
    encoder = ReplyEncoder("payments", EventForm("c", "payments"), lambda ids: {}, 1_000_000)
    recorded: list[str] = []

    def record(at: str, start_after: bool) -> tuple[str, bytes]:
        recorded.append(at)
        return "position", at.encode()

    stream = ChangeStream(cast(RawReader, reader), encoder, record, lambda change: (Portion(), RelayError("control")), 5, 2**20, split=True)
    stream.open(change_stream(Position(0, 1, "f", 4, START), []))
    events: list[tuple[bytes | None, bytes]] = []
    while len(events) < 9:
        portion = stream.take(5)
        events += portion.events if portion else []
    stream.close()
    assert [key for key, _ in events] == [f"p{number}".encode() for number in range(1, 10)]
    large = json.loads(events[3][1])
    assert (large["op"], large["before"]["amount"], large["after"]["amount"]) == ("u", 1, 2)
    assert not any("002904" in each or "2B0204" in each for each in recorded)


def test_what_even_fragments_can_not_carry_ends_the_stream_at_the_change() -> None:
    class TooLarge(Splitting):
        def more(self, batch_size: int, max_time_ms: int | None = None) -> bytes:
            if self._fragments:
                raise Oversize("a field is larger than 16 MB", token(self._large))
            return super().more(batch_size, max_time_ms)

    encoder = ReplyEncoder("payments", EventForm("c", "payments"), lambda ids: {}, 1_000_000)
    reader = cast(RawReader, TooLarge(last=9, large=4))
    stream = ChangeStream(
        reader,
        encoder,
        lambda at, after: ("position", at.encode()),
        lambda change: (Portion(), RelayError("control")),
        5,
        2**20,
        split=True,
    )
    stream.open(change_stream(Position(0, 1, "f", 4, START), []))
    keys: list[bytes | None] = []

    def drain() -> None:
        while True:
            portion = stream.take(5)
            if portion is not None:
                keys.extend(key for key, _ in portion.events)

    with pytest.raises(Oversize, match=f"up to token {token(3)}"):
        drain()
    stream.close()
    assert keys == [b"p1", b"p2", b"p3"]


@pytest.mark.parametrize(
    ("version", "can"), [([6, 0, 5, 0], False), ([6, 0, 9, 0], True), ([6, 2, 1, 0], False), ([7, 0, 0, 0], True), ([8, 0, 4, 0], True)]
)
def test_servers_split_from_6_0_9_and_7_0_on(version: list[int], can: bool) -> None:
    assert can_split(version) is can
