"""The status, from progress records."""

from __future__ import annotations

import json

from millrace_cdc.gaps import Gap, gap_key
from millrace_cdc.oplog import Oplog
from millrace_cdc.progress import Position, Records, position_key
from millrace_cdc.status import describe, table

TOKEN = "826B06E671000000012B0229296E04"
SECONDS = 0x6B06E671


def records(*positions: Position, **more: bytes) -> Records:
    found = {position_key("d.c", each.stream): json.loads(each.encode(SECONDS * 1000)) for each in positions}
    return {**found, **{key: json.loads(value) for key, value in more.items()}}


def test_age_and_runway_come_from_the_position_and_the_oplog() -> None:
    found = describe("d.c", records(Position(0, 1, "f", 4, TOKEN)), Oplog(SECONDS - 7200, SECONDS + 60), SECONDS + 90)
    (stream,) = found["streams"]
    assert (stream["ageSeconds"], stream["recordedSecondsAgo"], stream["runwaySeconds"]) == (90.0, 90.0, 7200)
    assert (stream["historyLost"], stream["gap"], found["oplog"]["seconds"]) == (False, None, 7260)


def test_a_position_before_the_oplog_is_lost_history() -> None:
    found = describe("d.c", records(Position(0, 1, "f", 4, TOKEN)), Oplog(SECONDS + 1, SECONDS + 60), SECONDS + 90)
    assert found["streams"][0]["historyLost"]
    assert "HISTORY LOST" in table({**found, "deadLetters": 0, "fingerprintMatches": True})


def test_an_oplog_that_begins_with_the_set_has_lost_nothing_but_a_token_from_before_is_of_another_set() -> None:
    young = Oplog(SECONDS + 1, SECONDS + 2_401, complete=True)
    by_time, by_token = Position(0, 2, "f", 4, None, (SECONDS - 7_200, 0)), Position(1, 2, "f", 4, TOKEN)
    found = describe("d.c", records(by_time, by_token), young, SECONDS + 2_401)
    assert [each["historyLost"] for each in found["streams"]] == [False, True]
    assert found["oplog"]["complete"]
    text = table({**found, "deadLetters": 0, "fingerprintMatches": True})
    assert "to the replica set's first change: nothing was ever lost" in text
    here = describe("d.c", records(Position(0, 1, "f", 4, TOKEN)), Oplog(SECONDS - 600, SECONDS, complete=True), SECONDS)
    assert (here["streams"][0]["runwaySeconds"], here["streams"][0]["runwayIsAtLeast"]) == (600, True)
    assert "may be down for 10.0 min at least" in table({**here, "deadLetters": 0, "fingerprintMatches": True})


def test_an_open_gap_is_shown_until_it_is_closed() -> None:
    lost = Gap(0, (SECONDS, 1), None, 5)
    found = describe("d.c", records(Position(0, 1, "f", 4, TOKEN), **{gap_key("d.c", 0): lost.encode()}), None, SECONDS)
    text = table({**found, "deadLetters": 3, "fingerprintMatches": False})
    assert "gap from" in text
    assert "OPEN" in text
    assert "dead letters  3" in text
    assert "`millrace relay migrate` accepts it" in text


def test_events_that_wait_are_told_and_whether_they_are_all() -> None:
    two = records(Position(0, 2, "f", 4, TOKEN), Position(1, 2, "f", 4, TOKEN))
    found = describe("d.c", two, Oplog(SECONDS - 10, SECONDS), SECONDS, {0: (7, True), 1: (81_000, False)})
    assert [(each["eventsWaiting"], each["eventsWaitingIsAll"]) for each in found["streams"]] == [(7, True), (81_000, False)]
    first, second = table({**found, "deadLetters": 0, "fingerprintMatches": True}).splitlines()[-2:]
    assert ", 7 events wait, may be down" in first
    assert ", more than 81,000 events wait, may be down" in second
    unknown = describe("d.c", two, None, SECONDS)
    assert [each["eventsWaiting"] for each in unknown["streams"]] == [None, None]
    assert "wait" not in table({**unknown, "deadLetters": 0, "fingerprintMatches": True})


def test_before_the_first_start_it_says_what_to_do() -> None:
    text = table({**describe("d.c", {}, None, 0.0), "deadLetters": 0, "fingerprintMatches": True})
    assert "start with `millrace relay run`" in text
