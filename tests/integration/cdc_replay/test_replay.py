"""Replays on real MongoDB and Kafka: the same events again, bounded, filtered, and what is refused."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest

from millrace_cdc.replay.keystrings import instant
from tests.integration.cdc_replay.conftest import NOW, Record, Settings, answer, live_topic, payment, records, relay, run
from tests.support.waiting import wait_until

pytestmark = pytest.mark.stack


class History:
    """What was done to the collection, with the token and cluster time of each change as MongoDB told them."""

    def __init__(self, payments: Any) -> None:
        with payments.watch() as stream:
            payments.insert_many([payment("p1", "m1"), payment("p2", "m2", 200), payment("p3", "m1", 300)])
            payments.update_one({"_id": "p1"}, {"$push": {"refunds": {"id": "r1", "amount": 40, "refundedAt": NOW}}})
            payments.update_one({"_id": "p2"}, {"$set": {"merchantId": "m1"}})  # moved
            payments.update_one({"_id": "p3"}, {"$set": {"user.id": "OTHER-RAW-USER"}})
            payments.delete_one({"_id": "p3"})
            with payments.database.client.start_session() as session, session.start_transaction():
                payments.insert_many([payment(f"t{i}", "m3") for i in range(3)], session=session)
            events = [stream.next() for _ in range(10)]
        self.tokens = [event["_id"]["_data"] for event in events]
        self.times = [event["clusterTime"] for event in events]
        self.changes = [(event["documentKey"]["_id"], event["operationType"][0].replace("i", "c")) for event in events]

    def time(self, index: int) -> str:
        return f"{self.times[index].time}.{self.times[index].inc}"


@pytest.fixture(scope="module")
def live(environ: Settings, payments: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[History, list[Record]]:
    """The changes, and the events that a live relay made of them."""
    with relay(environ, tmp_path_factory.mktemp("relay") / "log"):
        made = History(payments)
        wait_until(lambda: len(records(environ, live_topic(environ))) == 10, 180, "ten events on the live topic")
    return made, records(environ, live_topic(environ))


@pytest.fixture(scope="module")
def history(live: tuple[History, list[Record]]) -> History:
    return live[0]


def ordered(found: list[Record]) -> list[tuple[str | None, str]]:
    """(document, op) in the order of the versions."""
    rows = sorted(
        found, key=lambda record: (record.value["source"]["ts_ms"], record.value["source"]["ord"], record.value["source"]["token"])
    )
    return [(record.key, record.value["op"]) for record in rows]


def replayed(environ: Settings, topic: str, *arguments: str) -> list[tuple[str | None, str]]:
    assert run(environ, *arguments, "--topic", topic).return_value == 0
    return ordered(records(environ, topic))


def test_a_replay_sends_the_relays_own_events_with_a_header_that_says_so(environ: Settings, live: tuple[History, list[Record]]) -> None:
    history, sent = live
    told = answer(environ, "--from", f"{history.times[0].time}", "--topic", "all-again")
    assert (told["finished"], told["sent"], told["dead_letters"], told["topic"]) == (True, 10, 0, "all-again")
    again = records(environ, "all-again")

    def essence(found: list[Record]) -> list[tuple[Any, ...]]:
        # Everything but when the event was read, so also its version and its partition (I3, I5).
        return sorted(
            (record.partition, record.key, str({name: value for name, value in record.value.items() if name != "ts_ms"}))
            for record in found
        )

    assert essence(again) == essence(sent)
    assert {record.headers.pop("millrace-replay") for record in again} == {told["id"]}
    assert {tuple(sorted(record.headers.items())) for record in again} == {tuple(sorted(sent[0].headers.items()))}
    assert "RAW-USER" not in str(again)  # I12


def test_a_time_is_included_a_token_is_what_was_seen(environ: Settings, history: History) -> None:
    assert replayed(environ, "from-time", "--from", history.time(3)) == history.changes[3:]
    assert replayed(environ, "from-token", "--from", history.tokens[3]) == history.changes[4:]


def test_the_end_is_included_also_inside_a_transaction(environ: Settings, history: History) -> None:
    start = history.time(0)
    assert replayed(environ, "to-time", "--from", start, "--to", history.time(5)) == history.changes[:6]
    assert replayed(environ, "to-token", "--from", start, "--to", history.tokens[8]) == history.changes[:9]
    # The whole transaction has one cluster time; a token in its middle is a place of its own.
    assert replayed(environ, "in-transaction", "--from", history.tokens[7]) == history.changes[8:]


def test_a_merchants_replay_holds_payments_that_moved_to_or_from_it(environ: Settings, history: History) -> None:
    start = history.time(0)
    m1 = [("p1", "c"), ("p3", "c"), ("p1", "u"), ("p2", "u"), ("p3", "u"), ("p3", "d")]
    assert replayed(environ, "of-m1", "--from", start, "--merchant", "m1") == m1
    assert replayed(environ, "of-m2", "--from", start, "--merchant", "m2") == [("p2", "c"), ("p2", "u")]
    assert replayed(environ, "of-p2", "--from", start, "--id", "p2", "--id", "t1") == [("p2", "c"), ("p2", "u"), ("t1", "c")]
    assert replayed(environ, "of-both", "--from", start, "--merchant", "m1", "--id", "p2") == [("p2", "u")]


def test_a_token_whose_change_the_filter_hides_is_no_obstacle(environ: Settings, history: History) -> None:
    # peerdb#3246: a token stays valid, but a changed $match hides its change, and the stream can not be resumed there.
    assert history.changes[1] == ("p2", "c")
    found = replayed(environ, "hidden-token", "--from", history.tokens[1], "--merchant", "m3")
    assert found == [("t0", "c"), ("t1", "c"), ("t2", "c")]


def test_a_dry_run_counts_and_samples_and_sends_nothing(environ: Settings, history: History) -> None:
    before = len(records(environ, live_topic(environ)))
    told = answer(environ, "--from", history.time(0), "--dry-run", "--rate", "2")
    assert (told["events"], told["by_op"]) == (10, {"c": 6, "u": 3, "d": 1})
    assert [sample["key"] for sample in told["samples"]] == ["p1", "p2", "p3"]
    assert told["samples"][0]["value"]["after"]["amount"] == 100
    assert told["estimated_seconds"] == 5.0
    assert "the oplog reaches back" in told["reach"]
    assert len(records(environ, live_topic(environ))) == before
    text = run(environ, "--from", history.time(0), "--dry-run", "--id", "p2").output
    assert "events    2 (1 created, 1 updated)" in text
    assert "nothing was sent: dry run" in text


def test_a_replay_to_the_live_topic_repeats_versions_that_are_there_already(environ: Settings, history: History) -> None:
    # I5: a fact is (id, version); a reader that keeps the newest version of each sees no difference.
    before = {(record.key, record.value["source"]["token"]) for record in records(environ, live_topic(environ))}
    told = answer(environ, "--from", history.time(0), "--id", "p1")
    assert told["topic"] == live_topic(environ)
    after = records(environ, live_topic(environ))
    assert {(record.key, record.value["source"]["token"]) for record in after} == before
    assert [record.key for record in after if "millrace-replay" in record.headers] == ["p1", "p1"]


def test_the_rate_is_kept(environ: Settings, history: History) -> None:
    started = time.monotonic()
    assert answer(environ, "--from", history.time(0), "--topic", "slow", "--rate", "5")["sent"] == 10
    # Ten events at five a second: the last of them not before 9/5 s have passed.
    assert time.monotonic() - started >= 1.8


def test_a_bookmark_names_the_present_and_is_replayed_from(environ: Settings, history: History, payments: Any) -> None:
    made = answer(environ, "bookmark", "add", "here", "--note", "before b1")
    payments.insert_one(payment("b1"))
    payments.insert_one(payment("b2"))
    assert replayed(environ, "from-bookmark", "--from", "here") == [("b1", "c"), ("b2", "c")]
    listed = answer(environ, "bookmark", "list")
    assert [(row["name"], row["note"], row["token"], row["reachable"]) for row in listed] == [("here", "before b1", made["token"], True)]
    refused = run(environ, "bookmark", "add", "here")
    assert (refused.return_value, "--force replaces it" in refused.output) == (2, True)
    assert run(environ, "bookmark", "add", "here", "--at", history.tokens[8], "--force").return_value == 0
    assert replayed(environ, "from-moved", "--from", "here") == [("t2", "c"), ("b1", "c"), ("b2", "c")]
    shown = answer(environ, "bookmark", "show", "here")
    assert (shown["documentKey"], shown["clusterTime"]) == ("t1", [history.times[8].time, history.times[8].inc])
    assert run(environ, "bookmark", "remove", "here").return_value == 0
    assert answer(environ, "bookmark", "list") == []


def test_any_token_is_told_in_a_persons_words(environ: Settings, history: History) -> None:
    shown = answer(environ, "bookmark", "show", history.tokens[3])
    namespace = f"{environ['MILLRACE_NAMES_DATABASE']}.payments"
    assert shown["words"].startswith(f"the change of {namespace} p1 at ")
    assert f"(cluster time {history.time(3)})" in shown["words"]
    assert (shown["collection"], shown["documentKey"]) == (namespace, "p1")


def test_a_token_of_another_cluster_or_collection_is_told_apart(environ: Settings, history: History, payments: Any) -> None:
    # The same form and time, another collection's UUID: what another cluster would have given out in the same second.
    start = history.tokens[3].index("5A1004") + 6
    foreign = history.tokens[3][:start] + "0123456789ABCDEF0123456789ABCDEF" + history.tokens[3][start + 32 :]
    with payments.database.merchants.watch() as stream:
        payments.database.merchants.insert_one(
            {"_id": "m", "name": "M", "currency": "EUR", "timeZone": "UTC", "status": "active", "createdAt": NOW, "updatedAt": NOW,
             "schemaVersion": 1}
        )  # fmt: skip
        other = stream.next()["_id"]["_data"]
    for token in (foreign, other):
        refused = run(environ, "--from", token, "--dry-run")
        assert refused.return_value == 2
        assert "the token is of another cluster or collection" in refused.output


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--from", "82FFFFFFFF000000012B0229296E04"], 2, "in the future of this cluster"),
        (["--from", "oldest", "--to", "2100-01-01T00:00:00Z"], 2, "--to: .*in the future"),
        (["--from", "8260000000000000012B0229296E04"], 2, "2021-01-14 .* lies before the replica set's first change"),
        (["--from", "1795600000.4294967296"], 2, "is no cluster time"),
        (["--from", "0001-01-01T00:00:00+01:00"], 2, "is not a time from 1970 to 2100"),
        (["--from", "82xx000000000000000000"], 2, "is not a resume token"),
        (["--from", "nowhere"], 2, "has no bookmark 'nowhere'"),
        (["--resume", "nothing"], 2, "has no replay 'nothing'"),
        (["--from", "now", "--collection", "users"], 2, "millrace connect offsets set"),
        (["--from", "now", "--topic", "no such topic!"], 2, "--topic: no such topic!"),
    ],
)
def test_a_wrong_point_is_one_line_that_says_why(environ: Settings, history: History, arguments: list[str], code: int, words: str) -> None:
    refused = run(environ, *arguments)
    assert refused.return_value == code, refused.output
    assert len(refused.output.strip().splitlines()) == 1
    assert re.search(words, refused.output), refused.output


@pytest.mark.parametrize("point", ["-30d", "-99999999999d", "2020-01-01T00:00:00Z", "1577836800.1"])
def test_a_point_before_the_replica_sets_first_change_means_from_the_beginning(
    environ: Settings, history: History, payments: Any, point: str
) -> None:
    """The server of the tests is as young as a newcomer's: its oplog still begins with the entry that initiated the set."""
    first = payments.database.client.local["oplog.rs"].find_one(sort=[("$natural", 1)])
    assert first["o"]["msg"] == "initiating set"
    told, everything = (answer(environ, "--from", each, "--dry-run") for each in (point, "oldest"))
    assert told["events"] == everything["events"] >= 10
    assert "the replica set's first change" in told["from"]
    assert told["from"].startswith(f"the beginning of the oplog, {instant(first['ts'].time)}")
    assert "none was ever lost" in told["reach"]
    name = "early"
    answer(environ, "bookmark", "add", name, "--at", point, "--force")
    assert [each["reachable"] for each in answer(environ, "bookmark", "list") if each["name"] == name] == [True]
    assert answer(environ, "--from", name, "--dry-run")["events"] == everything["events"]


def test_an_end_before_the_beginning_is_refused(environ: Settings, history: History) -> None:
    refused = run(environ, "--from", history.time(5), "--to", history.time(4))
    assert refused.return_value == 2, refused.output
    assert "lies before --from" in refused.output


def test_servers_that_are_away_are_one_line_and_an_exit_code(environ: Settings) -> None:
    away = {**environ, "MILLRACE_MONGO_RELAY_URI": "mongodb://u:sesame@127.0.0.1:9/?authSource=admin"}
    refused = run(away, "--from", "-1m")
    assert (refused.return_value, "MongoDB does not answer" in refused.output) == (3, True)
    assert "sesame" not in refused.output
