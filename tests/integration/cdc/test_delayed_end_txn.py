"""An EndTxn that the network holds back and delivers later must not end the next transaction (I2)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition
from pymongo.collection import Collection

from millrace_cdc.errors import ProducerInDoubt
from millrace_cdc.portions import Portion
from millrace_cdc.projection import Share
from millrace_cdc.running import Configuration
from millrace_cdc.sink import KafkaSink
from millrace_runtime.stopping import StopSignal
from tests.integration.cdc.capture import RelayProcess, Topic, payment
from tests.support.kafka_proxy import Proxy, proxied

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]
Environ = dict[str, str]
REFUSALS = {KafkaError.INVALID_PRODUCER_EPOCH, KafkaError.PRODUCER_FENCED}


@pytest.fixture
def proxy(environ: Environ) -> Iterator[Proxy]:
    with proxied(environ["MILLRACE_KAFKA_BOOTSTRAP"]) as made:
        yield made


@pytest.fixture
def sink(environ: Environ, proxy: Proxy) -> KafkaSink:
    settings = Configuration.load({**environ, "MILLRACE_KAFKA_BOOTSTRAP": proxy.bootstrap})
    capture = settings.capture(Share())
    return settings.sink(capture.topics, capture.max_message_bytes, 0, StopSignal())


def seen(environ: Environ, topic: str, isolation: str) -> list[bytes]:
    """Keys of the change topic's records, to its end as this isolation sees it; not through the proxy."""
    options = {"bootstrap.servers": environ["MILLRACE_KAFKA_BOOTSTRAP"], "group.id": "t", "isolation.level": isolation}
    consumer = Consumer({**options, "enable.partition.eof": True, "fetch.wait.max.ms": 20})
    try:
        left = set(consumer.list_topics(topic, timeout=60).topics[topic].partitions)
        consumer.assign([TopicPartition(topic, each, OFFSET_BEGINNING) for each in left])
        found: list[bytes] = []
        while left:
            for message in consumer.consume(1_000, 0.1):
                if message.error():
                    left.discard(message.partition())
                elif message.key() is not None:
                    found.append(bytes(message.key()))
        return sorted(found)
    finally:
        consumer.close()


@pytest.mark.parametrize("end", ["commit", "abort"])
def test_a_delayed_end_of_a_transaction_does_not_end_the_next_one(environ: Environ, proxy: Proxy, sink: KafkaSink, end: str) -> None:
    topic = f"{environ['MILLRACE_NAMES_TOPIC_PREFIX']}.{environ['MILLRACE_NAMES_DATABASE']}.payments"
    sink.fence()
    sink.begin()
    sink.produce(Portion(events=[(b"first", b"{}")]))
    sink.flush()
    proxy.hold_next_end_txn()
    # The client loses the connection on which it had sent the end, and sends it again on another one: that one counts.
    if end == "commit":
        sink.commit({"token": b"1"}, None)
    else:
        sink.abort()
    assert proxy.held.is_set()
    before = [b"first"] if end == "commit" else []
    assert seen(environ, topic, "read_committed") == before

    with pytest.raises(ProducerInDoubt):
        sink.begin()
    sink.fence()
    sink.begin()
    sink.produce(Portion(events=[(b"second", b"{}")]))
    sink.flush()
    proxy.release()
    assert proxy.answered.wait(60)
    assert proxy.answer in REFUSALS, (proxy.version, proxy.answer)
    assert seen(environ, topic, "read_committed") == before
    sink.commit({"token": b"2"}, None)
    assert seen(environ, topic, "read_committed") == [*before, b"second"]


def test_a_relay_whose_commit_was_repeated_goes_on_behind_what_it_committed(
    environ: Environ, proxy: Proxy, payments: Collection[dict[str, Any]], relay: Callable[..., RelayProcess], read: Callable[[str], Topic]
) -> None:
    with relay(MILLRACE_KAFKA_BOOTSTRAP=proxy.bootstrap) as running:
        running.wait_streaming()
        proxy.hold_next_end_txn()
        payments.insert_one(payment(1))
        assert proxy.held.wait(120)
        payments.insert_one(payment(2))
        events = read("payments").wait_events(2)
        proxy.release()
        assert proxy.answered.wait(60)
        payments.insert_one(payment(3))
        events = read("payments").wait_events(3)
        assert running.stop() == 0
    assert proxy.answer in REFUSALS, (proxy.version, proxy.answer)
    assert sorted(event["after"]["_id"] for event in events) == ["p000001", "p000002", "p000003"]
