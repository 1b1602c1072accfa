"""Where a replay ends, and what it leaves out."""

from __future__ import annotations

from typing import Any, cast

import pytest

from millrace_cdc.errors import Oversize
from millrace_cdc.events import EventForm
from millrace_cdc.mongo import RawReader
from millrace_cdc.replay.records import Filter, Replay
from millrace_cdc.replay.sinks import DrySink
from millrace_cdc.replay.stream import BoundedEncoder, open_stream
from millrace_cdc.replies import Decoded
from tests.unit.cdc.fake_reader import FakeReader
from tests.unit.cdc.fake_reader import token as numbered


def token(seconds: int, ordinal: int, suffix: str = "2B022C0100") -> str:
    return f"82{seconds:08X}{ordinal:08X}{suffix}"


def change(seconds: int, ordinal: int, key: str = "p", suffix: str = "2B022C0100") -> dict[str, Any]:
    return {
        "_id": {"_data": token(seconds, ordinal, suffix)},
        "operationType": "insert",
        "documentKey": {"_id": key},
        "fullDocument": {"_id": key},
    }


def between(seconds: int, ordinal: int) -> str:
    return token(seconds, ordinal, "2B0229296E04")


def encoder(end_at: tuple[int, int] = (100, 5), end_token: str | None = None, batch: int = 10) -> BoundedEncoder:
    replay = Replay("r", None, (1, 0), end_token, end_at, "t", Filter(), sent=40)
    return BoundedEncoder("payments", EventForm("c", "payments"), lambda ids: {}, 1_000_000, replay, batch)


def keys(made: Any) -> list[bytes]:
    return [key for key, _ in made.events]


def test_the_change_at_the_end_is_the_last_that_is_sent() -> None:
    made = encoder()
    portion, _ = made.portion(Decoded([change(100, 4, "a"), change(100, 5, "b"), change(100, 6, "c")], [], token(100, 6)), 0)
    assert (keys(portion), made.done, made.sent) == ([b"a", b"b"], True, 42)


def test_it_goes_on_while_the_end_is_not_reached() -> None:
    made = encoder()
    portion, _ = made.portion(Decoded([change(99, 1, "a")], [], token(99, 1)), 0)
    assert (keys(portion), made.done) == ([b"a"], False)


def test_a_full_reply_that_ends_at_the_ends_own_time_may_be_followed_by_more_of_its_transaction() -> None:
    made = encoder(batch=2)
    first = [change(100, 5, "a", "2B022C0100296E"), change(100, 5, "b", "2B022C01002B02")]
    assert made.portion(Decoded(first, [], token(100, 5, "2B022C01002B02")), 0)[0].count == 2
    assert not made.done
    made.portion(Decoded([change(100, 5, "c", "2B022C01002B04")], [], token(100, 5, "2B022C01002B04")), 0)
    assert (made.done, made.sent) == (True, 43)


@pytest.mark.parametrize(("in_reply", "done"), [(3, True), (10, False)])
def test_a_part_at_the_ends_own_time_ends_nothing_while_more_of_its_reply_follows(in_reply: int, done: bool) -> None:
    made = encoder(batch=10)
    first, last = "2B022C0100296E", "2B022C01002B02"
    made.portion(Decoded([change(100, 5, "a", first)], [], token(100, 5, first), in_reply, more=True), 0)
    assert not made.done
    made.portion(Decoded([change(100, 5, "b", last)], [], token(100, 5, last), in_reply), 0)
    assert (made.done, made.sent) == (done, 42)


def test_what_is_not_behind_the_starts_token_is_left_out() -> None:
    replay = Replay("r", token(99, 1), (99, 1), None, (100, 5), "t", Filter())
    made = BoundedEncoder("payments", EventForm("c", "payments"), lambda ids: {}, 1_000_000, replay, 10)
    portion, _ = made.portion(Decoded([change(99, 1, "seen"), change(99, 2, "next")], [], token(99, 2)), 0)
    assert (keys(portion), made.done) == ([b"next"], False)


def test_rest_behind_a_full_reply_at_the_end_ends_it() -> None:
    made = encoder(batch=1)
    made.portion(Decoded([change(100, 5, "a")], [], token(100, 5)), 0)
    assert not made.done
    made.rest(token(100, 5))
    assert made.done


def test_an_idle_stream_ends_when_its_position_passes_the_end() -> None:
    made = encoder()
    made.portion(Decoded([], [], between(100, 4)), 0)
    assert not made.done
    made.portion(Decoded([], [], between(100, 5)), 0)
    assert made.done


@pytest.mark.parametrize(("last", "sent", "done"), [("2B022C0100296E", 1, False), ("2B022C01002B02", 2, True), ("2B022C01002B04", 2, True)])
def test_an_end_given_as_a_token_may_lie_inside_a_transaction(last: str, sent: int, done: bool) -> None:
    made = encoder((100, 5), token(100, 5, "2B022C01002B02"))
    suffixes = [suffix for suffix in ("2B022C0100296E", "2B022C01002B02", "2B022C01002B04") if suffix <= last]
    portion, _ = made.portion(Decoded([change(100, 5, suffix, suffix) for suffix in suffixes], [], token(100, 5, last)), 0)
    assert (len(portion.events), made.done) == (sent, done)


def test_a_replay_makes_no_statement_of_the_live_stream() -> None:
    portion, _ = encoder().portion(Decoded([change(99, 1)], [], token(99, 1)), 0)
    assert portion.through_ms is None, "no low-water mark"
    assert portion.counts == {}, "no audit counts"


def test_a_drop_ends_the_portion_and_is_handed_on() -> None:
    made = encoder()
    drop = {"_id": {"_data": token(99, 2)}, "operationType": "drop"}
    portion, control = made.portion(Decoded([change(99, 1, "a"), drop], [], token(99, 2)), 0)
    assert (keys(portion), control, made.done) == ([b"a"], drop, False)


def test_a_replay_ends_before_a_change_over_16_mb_and_says_where_to_go_on() -> None:  # I4
    reader, replay = FakeReader(last=20, large=8), Replay("r", None, (1000, 0), None, (1000, 20), "t", Filter())
    made = BoundedEncoder("payments", EventForm("c", "payments"), lambda ids: {}, 1_000_000, replay, 5)
    stream = open_stream(cast(RawReader, reader), made, "c.payments", replay, ("_id",), 5, 2**20, lambda seconds: False, split=False)
    sent: list[bytes] = []

    def read_on() -> None:
        while True:
            portion = stream.take(5)
            sent.extend(keys(portion) if portion else [])

    with pytest.raises(Oversize, match=f"ends before it, at token {numbered(7)}; .* --from {numbered(8)}"):
        read_on()
    stream.close()
    assert sent == [f"p{number}".encode() for number in range(1, 8)]


def test_a_reply_of_one_change_at_the_ends_time_is_not_yet_the_end() -> None:
    made = encoder(batch=10)
    made.singly()
    made.portion(Decoded([change(100, 5, "a")], [], token(100, 5)), 0)
    assert not made.done, "more of one transaction may follow"
    made.rest(token(100, 5))
    assert made.done


def test_a_dry_run_counts_and_samples() -> None:
    sink = DrySink(samples_wanted=1)
    deleted = {**change(99, 2, "b"), "operationType": "delete"}
    del deleted["fullDocument"]
    portion, _ = encoder().portion(Decoded([change(99, 1, "a"), change(99, 1, "c"), deleted], [], token(99, 2)), 0)
    sink.begin()
    sink.produce(portion)
    sink.commit({}, None)
    assert (sink.by_op, sink.events) == ({"c": 2, "d": 1}, 3)
    assert [(sample["key"], sample["value"]["after"]) for sample in sink.samples] == [("a", {"_id": "a"})]
    assert sink.size == sum(len(value) for _, value in portion.events)
