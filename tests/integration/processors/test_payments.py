"""Micro-batches of payments on real Kafka, Iceberg, Cassandra and Redis: steps 1 to 7 and what repeats of them change (nothing)."""

from __future__ import annotations

import functools
import json
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from cassandra.cluster import Session

from millrace_contracts.notices import SINCE, changed_key, channel, epoch_key, missed_key
from millrace_contracts.reports import PROGRESS_PAYMENTS
from millrace_contracts.topics import dead_letter_topic
from millrace_processors import refresh, report_store, tables
from tests.integration.processors.conftest import Place
from tests.integration.processors.events import MINUTE, T0, change, payment, refund
from tests.support.servers import Servers
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]
FIGURES = ("payments", "gross", "refunds", "refunded_amount", "failed", "smallest", "largest", "points_earned", "revision")


def window(minutes: int = 0, merchant: str = "m", currency: str = "USD") -> tuple[str, datetime, str]:
    # The driver hands out naive UTC times.
    return merchant, datetime(2025, 11, 24, 15, 50, tzinfo=UTC).replace(tzinfo=None) + timedelta(minutes=minutes), currency


def history() -> list[tuple[str, str]]:
    """Payments of two merchants in two currencies that are refunded, corrected, moved, deleted and failed."""
    events = []
    for number in range(40):
        first = payment(
            f"p{number}",
            merchantId=f"m{number % 2}",
            amount=100 + number,
            currency=("USD", "EUR")[number % 3 == 0],
            paidAt=T0 + number * MINUTE,
            user={"key": f"k{number % 7}"},
        )
        second = {**first, "refunds": [refund("r", 10, first["paidAt"] + 30 * MINUTE)]}
        third = {**second, "amount": 50} if number % 4 else {**second, "paidAt": first["paidAt"] + 25 * MINUTE}
        at = number * 10 + 1
        events.append(change("c", first, at=at))
        events.append(change("u", second, first, at=at + 1))
        events.append(change("u", third, second, at=at + 2))
        if number % 5 == 0:
            events.append(change("d", None, third, at=at + 3))
    return events


def next_of(listener: redis.client.PubSub, kind: str) -> Any:
    """What the next message holds, which is of this kind."""
    message = listener.get_message(timeout=60)
    assert message is not None
    assert message["type"] == kind
    return message["data"]


def test_a_batch_becomes_reports_progress_and_notices(place: Place) -> None:
    client = redis.Redis.from_url(place.config.redis.url)
    prefix = place.config.names.redis_prefix
    listener = client.pubsub()
    listener.subscribe(channel(prefix))
    next_of(listener, "subscribe")
    place.produce(
        [
            change("c", payment("p1", amount=500), at=1),
            change("c", payment("p2", amount=300, paidAt=T0 + 12 * MINUTE), at=2),
            change("u", payment("p1", amount=500, refunds=[refund("r", 20, T0 + 13 * MINUTE)]), payment("p1", amount=500), at=3),
        ],
        through_ms=T0 + 999,
    )
    outcome = place.run()
    assert (outcome.events, outcome.dead_letters, outcome.refreshed.reports, outcome.complete_through_ms) == (3, 0, 2, T0 + 999)
    assert place.reports(*FIGURES) == {
        window(): (1, 500, 0, 0, 0, 500, 500, 1, 2),
        window(10): (1, 300, 1, 20, 0, 300, 300, 1, 2),
    }
    session = tables.connected(place.config)
    row = session.execute(
        f"SELECT to_unix_timestamp(complete_through) AS t, batch_id FROM {place.config.names.keyspace}.progress WHERE name = %s",
        (PROGRESS_PAYMENTS,),
    ).one()
    assert (row.t, row.batch_id) == (T0 + 999, 0)
    client.publish(channel(prefix), "null")
    notices = list(iter(lambda: json.loads(next_of(listener, "message")), None))  # up to that last one
    assert [(each["merchantId"], each["grain"], each["completeThrough"]) for each in notices] == [("m", "10m", T0 + 999)]
    assert sorted(notices[0]["windows"]) == [[T0, "USD"], [T0 + 10 * MINUTE, "USD"]]
    version = str(notices[0]["version"]).encode()
    assert client.hgetall(changed_key(prefix, "m")) == {SINCE.encode(): version, b"2025-11-24": version}
    assert (client.get(epoch_key(prefix)), client.get(missed_key(prefix))) == (b"1", version)
    listener.close()
    client.close()


def test_duplicates_any_order_and_any_cut_into_batches_give_equal_bytes(  # I5, I6
    new_place: Callable[[], Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    straight, shuffled = new_place(), new_place()
    events = history()
    straight.produce(events)
    with monkeypatch.context() as patched:
        patched.setattr(refresh, "FEW_FACTS", -1)  # the way of a large batch
        straight.run()
    mixed = [*events, *events[::3]]
    random.Random(5).shuffle(mixed)
    batch = shuffled.batch()
    for number, cut in enumerate((mixed[:50], mixed[50:51], mixed[51:])):
        shuffled.produce(cut)
        # Each of these batches holds the earlier ones again, as after the loss of a checkpoint.
        shuffled.run(number, batch=batch)
    assert len(straight.reports()) > 20
    assert shuffled.reports() == straight.reports()


def test_a_batch_that_died_behind_its_append_goes_on_without_appending_again(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.produce([*history(), change("c", payment("bad", amount="ten"))])

    def died(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(refresh, "write", died)
        with pytest.raises(KeyboardInterrupt):
            place.run(7)
    facts = place.spark.table(place.lake.facts).count()
    assert facts > 0
    assert place.reports() == {}
    outcome = place.run(7)
    assert place.spark.table(place.lake.facts).count() == facts
    assert outcome.dead_letters == 1
    assert len(place.reports()) == outcome.refreshed.reports > 20


def test_an_older_computation_never_overwrites_a_newer_one(place: Place) -> None:  # I7
    place.produce([change("c", payment("p1"), at=1)])
    place.run(0)
    old = place.lake.current()
    assert old is not None
    place.produce([change("c", payment("p2", amount=7), at=2)])
    place.run(1)
    newer = place.reports()
    # A job that read the lake before the second batch writes what it found only now.
    assert refresh.write(place.config, place.lake.read(old), old, None).reports == 1
    assert place.reports() == newer
    assert place.reports("payments", "gross") == {window(): (2, 107)}


def test_the_reports_of_a_lake_that_was_rebuilt_win(place: Place) -> None:  # I7
    place.produce([change("c", payment("p1"), at=1)])
    for number in range(3):
        place.run(number, query=f"q{number}")
    before = place.reports("version")[window()][0]
    for table in (place.lake.facts,):
        place.spark.sql(f"DROP TABLE {table} PURGE")
    place.lake.declare()
    place.produce([change("u", payment("p1", amount=90), payment("p1"), at=2)])
    place.run(0)
    (version, gross) = place.reports("version", "gross")[window()]
    assert version > before
    assert gross == 90


def test_what_can_not_be_decoded_is_a_dead_letter_with_its_place_and_the_rest_counts(place: Place) -> None:  # I4
    place.produce([change("c", payment("p1"), at=1), change("c", payment("p2", amount="ten"), at=2), ("p3", "{broken")])
    assert place.run().dead_letters == 2
    assert place.reports("payments", "gross") == {window(): (1, 100)}
    letters = {record.key(): json.loads(record.value()) for record in place.records(dead_letter_topic(place.config.names))}
    assert set(letters) == {b"p2", b"p3"}
    assert letters[b"p2"]["reason"].startswith("amount is ten; expected an integer")
    assert letters[b"p3"]["payload"] == "{broken"
    assert (letters[b"p2"]["stage"], letters[b"p2"]["collection"], letters[b"p2"]["topic"]) == ("processors", "payments", place.topic)
    assert {"partition", "offset", "at_ms"} <= letters[b"p2"].keys()


def test_a_batch_of_markers_only_moves_the_progress_and_touches_no_lake(place: Place) -> None:
    place.produce([], through_ms=T0)
    batch = place.batch()
    outcome = place.run(batch=batch)
    assert (outcome.events, outcome.complete_through_ms) == (0, T0)
    assert place.lake.current() is None


def test_a_redis_that_is_away_costs_no_report_and_makes_every_chunk_stale_once_it_is_back(
    place: Place, servers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = redis.Redis.from_url(place.config.redis.url)
    batch = place.batch()
    place.produce([change("c", payment("p1"), at=1)])
    place.run(0, batch=batch)
    prefix = place.config.names.redis_prefix
    epoch = int(client.get(epoch_key(prefix)) or 0)
    told = client.hget(changed_key(prefix, "m"), SINCE)
    assert client.get(missed_key(prefix)) == told, "who was told of the newest version has missed nothing"
    servers.pause("redis")
    try:
        place.produce([change("c", payment("p2"), at=2)])
        assert place.run(1, batch=batch).refreshed.unnoticed == 1
    finally:
        servers.resume("redis")
    assert place.reports("payments")[window()] == (2,)
    place.produce([change("c", payment("p3"), at=3)])
    place.run(2, batch=batch)
    assert int(client.get(epoch_key(prefix)) or 0) > epoch
    newest = place.lake.current()
    assert newest is not None
    assert int(client.get(missed_key(prefix)) or 0) == newest.version + 1, "no watermark of before is gone on from"
    assert client.hget(changed_key(prefix, "m"), SINCE) == told
    client.close()


def impatient(given_up: Path, task: Callable[..., Iterator[Any]], *arguments: Any) -> Iterator[Any]:
    """A task in a worker whose attempts to reach Cassandra end after two seconds and not after twenty; a file tells of the first."""

    def telling(found: Callable[..., Any]) -> Callable[..., Any]:
        def told(*given: Any) -> Any:
            try:
                made = found(*given)
            except report_store.RETRIED:
                given_up.touch()
                raise
            if found is attempt and made[0]:
                given_up.touch()
            return made

        return told

    def hasty(session: Session, *given: Any) -> Any:
        profile = session.cluster.profile_manager.default
        profile.request_timeout, usual = 2, profile.request_timeout
        try:
            return telling(attempt)(session, *given)
        finally:
            profile.request_timeout = usual

    attempt, session = report_store._attempt, report_store.session
    report_store._attempt, report_store.session = hasty, telling(session)
    try:
        yield from task(*arguments)
    finally:
        report_store._attempt, report_store.session = attempt, session  # the worker goes on with the tasks of others


def test_a_cassandra_that_hangs_slows_a_batch_and_loses_nothing(
    place: Place, servers: Servers, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given_up = tmp_path / "given-up"
    place.produce(history())
    batch = place.batch()
    monkeypatch.setattr(refresh, "_task", functools.partial(impatient, given_up, refresh._task))

    def back() -> None:
        try:
            wait_until(given_up.exists, 200, "an attempt has failed")
        finally:
            servers.resume("cassandra")

    servers.pause("cassandra")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(back)
        outcome = place.run(batch=batch)
        waiting.result()
    assert outcome.refreshed.reports == len(place.reports()) > 20


def test_batches_of_reports_stay_below_what_cassandra_warns_of(place: Place) -> None:
    # Two hundred merchants with six windows each: the batches mix partitions, and none is refused.
    events = [
        change("c", payment(f"p{merchant}-{slot}", merchantId=f"m{merchant}", paidAt=T0 + slot * 10 * MINUTE), at=merchant * 6 + slot)
        for merchant in range(200)
        for slot in range(6)
    ]
    place.produce(events)
    assert place.run().refreshed.reports == 1_200
    assert len(place.reports("payments")) == 1_200


def test_a_payment_with_a_slash_is_told_from_the_refund_of_another(place: Place) -> None:  # I5 I6
    events = [
        change("c", payment("A", amount=1_000, refunds=[refund("B", 300, T0 + MINUTE)]), at=1),
        change("c", payment("A/B", amount=500), at=2),
    ]
    place.produce(events, T0 + 60 * MINUTE)
    place.run()
    assert place.reports("payments", "gross", "refunds", "refunded_amount", "revision") == {window(): (2, 1_500, 1, 300, 3)}


def test_a_lake_that_has_a_slash_unescaped_is_put_right_by_the_payments_next_change(place: Place) -> None:  # I5
    old, new = payment("A/B", amount=500), payment("A/B", amount=600)
    place.produce([change("c", old, at=1)], T0 + 60 * MINUTE)
    place.run()
    place.spark.sql(f"UPDATE {place.lake.facts} SET fact_id = payment_id")  # as it was written before
    place.produce([change("u", new, old, at=2)], T0 + 60 * MINUTE)
    place.run(1)
    assert place.reports("payments", "gross") == {window(): (1, 600)}
