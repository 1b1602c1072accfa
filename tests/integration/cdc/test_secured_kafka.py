"""The relay, its commands and a replay against a broker with TLS and a login."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from pymongo.collection import Collection

from millrace_contracts.settings import KafkaSettings
from tests.integration.cdc.capture import RelayProcess, millrace, payment
from tests.support.ports import free_port
from tests.support.secured_kafka import PASSWORD, SecuredKafka
from tests.support.waiting import wait_until

pytestmark = pytest.mark.stack
Payments = Collection[dict[str, Any]]


@pytest.fixture
def secured(environ: dict[str, str], tmp_path: Path) -> Iterator[dict[str, str]]:
    """Settings of the test with a broker of its own, on which the topics are declared."""
    with SecuredKafka(environ["MILLRACE_KAFKA_BOOTSTRAP"], tmp_path / "kafka", (free_port(), free_port())) as kafka:
        yield {**environ, **kafka.environ}


def test_every_client_comes_over_tls_and_logs_in(secured: dict[str, str], payments: Payments, tmp_path: Path) -> None:
    declared = millrace(secured, "topics", "apply")
    assert declared.returncode == 0, declared.stderr
    payments.insert_many([payment(number) for number in range(5)])
    with RelayProcess(secured, tmp_path, "--shared") as running:
        payments.insert_one(payment(5))
        asked = millrace(secured, "relay", "snapshot", "--filter", '{"_id": "p000003"}', "--wait")
        assert asked.returncode == 0, asked.stderr
        wait_until(lambda: running.metric("events_total") == 7, 120, "five reads, a change and a read that was asked for")
        assert running.stop() == 0, running.log
    for command in (("relay", "status"), ("replay", "--from", "-1m")):
        done = millrace(secured, *command)
        assert done.returncode == 0, done.stderr
        assert PASSWORD not in done.stdout + done.stderr
    topic = f"{secured['MILLRACE_NAMES_TOPIC_PREFIX']}.{secured['MILLRACE_NAMES_DATABASE']}.payments"
    config = {**KafkaSettings.load(secured).client(), "group.id": "t", "isolation.level": "read_committed"}
    consumer = Consumer({**config, "auto.offset.reset": "earliest"})
    consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in range(4)])
    keys: list[bytes] = []
    wait_until(lambda: keys.extend(each.key() for each in consumer.consume(1000, 0.2) if each.key()) or len(keys) >= 7, 120, "events")
    consumer.close()
    assert {key.decode() for key in keys} == {f"p{number:06d}" for number in range(6)}
    wrong = millrace({**secured, "MILLRACE_KAFKA_PASSWORD": "guessed"}, "relay", "status")
    assert (wrong.returncode, "Kafka at" in wrong.stderr, "guessed" in wrong.stderr) == (3, True, False), wrong.stderr
