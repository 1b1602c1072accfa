"""Reports are computed again from the lake and from Kafka: of what was asked for, and what differs is said (I6)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis

from millrace_contracts.notices import epoch_key, missed_key
from millrace_processors import expected, kafka_part, notices, reprocessing
from millrace_processors.expected import Ran
from millrace_processors.kafka_part import Part
from millrace_processors.refresh import Mode
from millrace_processors.reprocessing import Reprocessed
from millrace_processors.scope import Scope
from millrace_runtime.stopping import StopSignal
from tests.integration.processors.events import MINUTE, SECOND, T0, change, payment, token
from tests.integration.processors_jobs.pipeline import Pipeline

pytestmark = pytest.mark.stack
START = datetime.fromtimestamp(T0 / 1000, UTC)


def quiet(so_far: Reprocessed) -> None:
    """Nobody watches."""


def test_what_the_store_has_lost_or_holds_wrong_is_named_and_mended(pipeline: Pipeline) -> None:
    pipeline.produce([change("c", payment(f"p{n}", amount=100 + n, paidAt=T0 + n * 10 * MINUTE), at=n + 1) for n in range(4)], T0)
    pipeline.live()
    good, keyspace = pipeline.reports(), pipeline.config.names.keyspace
    place = f"merchant_id = 'm' AND grain = '10m' AND bucket = '{START:%Y-%m}' AND window_start = {T0} AND currency = 'USD'"
    pipeline.session.execute(f"UPDATE {keyspace}.reports SET gross = 99999 WHERE {place}")
    lost = f"window_start = {T0 + 10 * MINUTE}"
    pipeline.session.execute(f"DELETE FROM {keyspace}.reports WHERE {place.replace(f'window_start = {T0}', lost)}")
    looked = reprocessing.from_lake(pipeline.config, pipeline.lake, Scope(), Mode.COMPARE).refreshed
    assert (looked.equal, looked.changed, looked.added) == (2, 1, 1)
    assert f"m {START:%Y-%m-%dT%H:%MZ} USD: gross 99999 -> 100" in looked.examples
    assert any("not in the store; computed 1 payments, gross 101" in line for line in looked.examples)
    assert pipeline.reports() != good, "a comparison writes nothing"


def test_only_the_asked_merchants_and_windows_are_computed(pipeline: Pipeline) -> None:
    made = [
        change("c", payment(f"p{n}", merchantId=merchant, paidAt=T0 + n * 10 * MINUTE), at=n + 1)
        for n, merchant in enumerate(["a", "b", "a", "b", "a"])
    ]
    pipeline.produce(made, T0)
    pipeline.live()
    scope = Scope(START + timedelta(minutes=10), START + timedelta(minutes=40), ("a",))
    found = reprocessing.from_lake(pipeline.config, pipeline.lake, scope, Mode.COMPARE).refreshed
    assert (found.reports, found.facts, found.equal) == (1, 1, 1)


def test_a_stopped_reprocess_from_kafka_goes_on_where_it_was(pipeline: Pipeline) -> None:
    made = [change("c", payment(f"p{n}", paidAt=T0 + (n % 9) * 10 * MINUTE), at=n + 1) for n in range(100)]
    pipeline.produce(made, T0)
    config, stop = pipeline.in_batches(60), StopSignal()
    seen: list[int] = []

    def tell(so_far: Reprocessed) -> None:
        seen.append(so_far.events)
        stop.set()

    first = reprocessing.from_kafka(config, pipeline.lake, Part(), Mode.WRITE, stop, tell)
    assert not first.finished
    assert 0 < first.events < 100
    rest = reprocessing.from_kafka(config, pipeline.lake, Part(), Mode.WRITE, StopSignal(), quiet)
    assert rest.finished
    assert first.events + rest.events == 100
    assert sum(row[0] for row in pipeline.reports().values()) == 100  # payments, counted once each


def test_a_preview_of_kafka_says_what_would_become_different_and_writes_nothing(pipeline: Pipeline) -> None:
    images = [payment(f"p{n}", amount=n, paidAt=T0 + n * 10 * MINUTE) for n in range(4)]
    pipeline.produce([change("c", image, at=n + 1) for n, image in enumerate(images)], T0)
    pipeline.live()
    same = reprocessing.preview_kafka(pipeline.config, pipeline.lake, Part())
    assert (same.events, same.refreshed.reports, same.refreshed.equal) == (4, 4, 4)
    # One moves, of which no before-image tells; one is deleted; one comes. And one can not be decoded.
    moved = change("u", {**images[0], "paidAt": T0 + 10 * MINUTE}, at=11)
    more = [moved, change("d", None, images[3], at=12), change("c", payment("p9", paidAt=T0 + 90 * MINUTE), at=13), ("bad", "{}")]
    pipeline.produce(more)
    found = reprocessing.preview_kafka(pipeline.config, pipeline.lake, Part())
    assert (found.events, found.dead_letters) == (8, 1)
    before = pipeline.reports()
    counts = found.refreshed
    assert (counts.reports, counts.equal, counts.changed, counts.added) == (5, 1, 3, 1)
    assert (counts.payments, counts.gross) == (4, 0 + 1 + 2 + 100)
    assert pipeline.reports() == before
    pipeline.live()
    assert len(pipeline.reports()) == 5


def test_only_the_changes_from_a_token_on_and_of_the_asked_merchants_are_taken(pipeline: Pipeline) -> None:
    made = [change("c", payment(f"p{n}", merchantId=f"m{n % 2}", paidAt=T0 + n * 10 * MINUTE), at=n + 1) for n in range(6)]
    mixed = [made[4], made[0], made[5], made[2], made[1], made[3], ("bad", "{}")]
    pipeline.produce(mixed, T0)
    from_third = kafka_part.of_changes(token(SECOND, 3), None)
    found = reprocessing.preview_kafka(pipeline.config, pipeline.lake, from_third)
    assert (found.events, found.dead_letters) == (5, 1), "p2 to p5, and what tells nothing of itself"
    assert found.refreshed.added == 4
    one = kafka_part.of_changes(None, datetime.fromtimestamp(SECOND, UTC), None, ["m1"])
    done = reprocessing.from_kafka(pipeline.config, pipeline.lake, one, Mode.WRITE, StopSignal(), quiet)
    assert (done.events, done.dead_letters, done.finished) == (4, 1, True)
    assert {merchant for merchant, _, _ in pipeline.reports()} == {"m1"}
    later = kafka_part.of_changes(None, datetime.fromtimestamp(SECOND + 1, UTC))
    assert reprocessing.preview_kafka(pipeline.config, pipeline.lake, later).refreshed.reports == 0
    until = kafka_part.of_records(None, None, pipeline.topic, datetime(2026, 1, 1, tzinfo=UTC))
    assert reprocessing.preview_kafka(pipeline.config, pipeline.lake, until).events == 0, "they were written later"


def test_the_rate_of_a_run_is_kept_for_the_next_dry_run_from_the_same_place(pipeline: Pipeline) -> None:
    keyspace = pipeline.config.names.keyspace
    assert expected.recall(pipeline.session, keyspace, "lake") is None
    for ran in (Ran(1_000_000, 12.5), Ran(2_000_000, 20.0)):
        expected.remember(pipeline.session, keyspace, "lake", ran)
    assert expected.recall(pipeline.session, keyspace, "lake") == Ran(2_000_000, 20.0)
    assert expected.recall(pipeline.session, keyspace, "kafka") is None


def test_notices_that_redis_did_not_take_make_a_new_epoch_once_it_is_back(
    pipeline: Pipeline, servers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.produce([change("c", payment("p1"), at=1)], T0)
    pipeline.live()
    prefix = pipeline.config.names.redis_prefix
    newest = pipeline.lake.current()
    assert newest is not None
    with redis.Redis.from_url(pipeline.config.redis.url) as client:
        before = int(client.get(epoch_key(prefix)) or 0)
        assert client.get(missed_key(prefix)) == str(newest.version).encode()
        new_epoch, told = notices.new_epoch, list[bool]()

        def back_after_one_try(*arguments: Any) -> bool:
            told.append(new_epoch(*arguments))
            servers.resume("redis")
            return told[-1]

        monkeypatch.setattr(notices, "new_epoch", back_after_one_try)
        servers.pause("redis")
        try:
            done = reprocessing.from_lake(pipeline.config, pipeline.lake, Scope(), Mode.WRITE).refreshed
        finally:
            servers.resume("redis")
        assert (told[0], told[-1]) == (False, True)
        assert (done.reports, done.unnoticed) == (1, 1)
        assert int(client.get(epoch_key(prefix)) or 0) > before, "nothing that a cache holds is believed any longer"
        assert client.get(missed_key(prefix)) == str(newest.version + 1).encode()
        assert notices.new_epoch(pipeline.config.redis, prefix, 5)
        assert client.get(missed_key(prefix)) == str(newest.version + 1).encode(), "it only grows"
