"""Formats that outlive a process, and the filter that the server evaluates."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from millrace_cdc.errors import Misconfigured
from millrace_cdc.replay.bookmarks import Bookmark, bookmark_key, bookmarks, check_name, find
from millrace_cdc.replay.records import Filter, Replay, new_id, replay_key, replays, unfinished
from millrace_cdc.replay.stream import batch_of

MADE = Replay("r1", "82AA", (5, 1), None, (9, 2), "look-again", Filter(("m1",), ("p1", "p2")), 100, 7, "82BB", 40, None)
GOLDEN = (
    '{"format":1,"kind":"replay","from":{"token":"82AA","at":[5,1]},"to":{"token":null,"at":[9,2]},"topic":"look-again",'
    '"merchants":["m1"],"ids":["p1","p2"],"rate":100,"started_ms":7,"token":"82BB","sent":40,"finished_ms":null}'
)


def test_a_replays_record_has_its_golden_form_and_comes_back_whole() -> None:
    assert MADE.encode().decode() == GOLDEN
    assert Replay.decode("r1", json.loads(GOLDEN)) == MADE


def test_a_bookmarks_record_has_its_golden_form_and_comes_back_whole() -> None:
    made = Bookmark("b", "82AA", (5, 1), "why", 7)
    golden = '{"format":1,"kind":"bookmark","token":"82AA","at":[5,1],"note":"why","created_ms":7}'
    assert made.encode().decode() == golden
    assert Bookmark.decode("b", json.loads(golden)) == made


def test_replays_are_listed_newest_first_and_only_an_unfinished_one_is_resumed() -> None:
    done = json.loads(GOLDEN) | {"finished_ms": 9, "started_ms": 8}
    records = {
        replay_key("c.p", "r1"): json.loads(GOLDEN),
        replay_key("c.p", "r2"): done,
        replay_key("c.other", "r3"): done,
        "c.p/stream/0": {},
    }
    assert [each.id for each in replays("c.p", records)] == ["r2", "r1"]
    assert unfinished("c.p", records, "r1") == MADE
    with pytest.raises(Misconfigured, match="the replay r2 has ended, it sent 40 events"):
        unfinished("c.p", records, "r2")
    with pytest.raises(Misconfigured, match=r"no replay 'r9' \(unfinished: r1\)"):
        unfinished("c.p", records, "r9")


def test_a_missing_bookmark_is_told_with_those_that_there_are() -> None:
    records = {
        bookmark_key("c.p", name): json.loads(Bookmark(name, "82", (at, 0), "", 0).encode()) for name, at in (("late", 9), ("early", 1))
    }
    assert list(bookmarks("c.p", records)) == ["early", "late"]
    assert find("c.p", records, "late").at == (9, 0)
    with pytest.raises(Misconfigured, match=r"c\.p has no bookmark 'noon' \(there are: early, late\)"):
        find("c.p", records, "noon")


@pytest.mark.parametrize("name", ["now", "oldest", "1795616217", "-2h", "a b", "", "82" + "0" * 20])
def test_a_name_that_could_mean_another_point_names_no_bookmark(name: str) -> None:
    with pytest.raises(Misconfigured, match="can not name a bookmark"):
        check_name(name)


def test_no_filter_is_no_stage() -> None:
    assert Filter().stages() == []
    assert Filter().words() == "every document"


def test_a_filter_keeps_both_merchants_of_a_moved_payment_and_what_happens_to_the_collection() -> None:
    [stage] = Filter(("m1",), ("p1",)).stages()
    others, conditions = stage["$match"]["$or"]
    assert others == {"operationType": {"$nin": ["insert", "update", "replace", "delete"]}}
    assert conditions["$and"] == [
        {"$or": [{"fullDocument.merchantId": {"$in": ["m1"]}}, {"fullDocumentBeforeChange.merchantId": {"$in": ["m1"]}}]},
        {"documentKey._id": {"$in": ["p1"]}},
    ]
    assert Filter(("m1",), ("p1",)).words() == "merchant m1 and document p1"


def test_an_id_tells_when_it_was_made() -> None:
    made = new_id(datetime(2026, 11, 25, 14, 15, 0, tzinfo=UTC))
    assert made.startswith("20261125T141500-")
    assert made != new_id(datetime(2026, 11, 25, 14, 15, 0, tzinfo=UTC))


def test_a_slow_replay_reads_small_replies() -> None:
    assert [batch_of(rate, 4000) for rate in (0, 1, 100, 100_000)] == [4000, 1, 25, 4000]
