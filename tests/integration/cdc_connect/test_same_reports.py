"""The same payments through the relay and through Debezium give the same reports, byte for byte (I6)."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from confluent_kafka.admin import AdminClient
from pymongo import MongoClient
from pymongo.client_session import ClientSession
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from millrace_cdc.topics_cli import topics
from millrace_contracts.settings import NamesSettings
from millrace_contracts.topics import declared
from millrace_mongo_init.cli import mongo_init
from millrace_processors import rollup_run, sources, tables
from millrace_processors.dimensions import DimensionBatch
from millrace_processors.lake import Lake
from millrace_processors.query.engine import Limits, SparkEngine
from millrace_processors.query.rewriting import Scope, rewrite
from millrace_processors.settings import Config
from tests.integration.cdc_connect.conftest import Settings, client_of, read_topic, run
from tests.integration.cdc_replay.conftest import payment, relay
from tests.integration.processors.conftest import Place
from tests.support.merchants import SEOUL_BOOKS
from tests.support.servers import unique_names
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.stack, pytest.mark.timeout(900)]

T0 = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
LATER = T0 + timedelta(minutes=10)


@pytest.fixture(scope="module")
def installations(
    mongo_server: Settings, connect_server: Settings, cassandra_server: Settings, redis_server: Settings, spark_settings: Settings
) -> Iterator[tuple[Settings, Settings]]:
    """Two installations on one source database: what the relay captures and what Debezium captures."""
    shared = {**spark_settings, **cassandra_server, **redis_server, **connect_server, **mongo_server}
    database = unique_names()["MILLRACE_NAMES_DATABASE"]
    both = tuple({**shared, **unique_names(), "MILLRACE_NAMES_DATABASE": database} for _ in range(2))
    assert CliRunner().invoke(mongo_init, ["apply"], obj=both[0], standalone_mode=False).return_value == 0
    admin = AdminClient({"bootstrap.servers": shared["MILLRACE_KAFKA_BOOTSTRAP"]})
    for own in both:
        assert CliRunner().invoke(topics, ["apply"], obj=own, standalone_mode=False).return_value == 0
        names = {topic.name for topic in declared(NamesSettings.load(own))}
        wait_until(lambda: names <= admin.list_topics(timeout=60).topics.keys(), 60, "every topic is known to the broker")  # noqa: B023
    yield both[0], both[1]
    with client_of(shared) as client:
        for name in client.names():
            if name.startswith(both[1]["MILLRACE_NAMES_TOPIC_PREFIX"]):
                client.delete(name)


def topic_of(own: Settings) -> str:
    return f"{own['MILLRACE_NAMES_TOPIC_PREFIX']}.{own['MILLRACE_NAMES_DATABASE']}.payments"


def changes(own: Settings, at_least: int) -> list[tuple[str | None, str]]:
    """(document, op) of every change on an installation's topic, without tombstones."""
    found = read_topic(own["MILLRACE_KAFKA_BOOTSTRAP"], topic_of(own), at_least, 180)
    return sorted((record.key, record.value.get("op") or record.value["__op"]) for record in found if record.key and record.value)


def write(payments: Any) -> int:
    """Payments with all that moves a fact: refunds, another window, another merchant, another status, a deletion. How many changes."""
    made = [
        payment("plain", "m1", 1_000),
        {
            **payment("refunded", "m1", 2_000),
            "user": {"id": "u2", "key": "b" * 22, "gender": "female", "device": {"type": "pos", "os": "X"}},
        },
        payment("moved-window", "m1", 3_000),
        payment("moved-merchant", "m1", 4_000),
        payment("canceled", "m1", 5_000),
        payment("deleted", "m1", 6_000),
        {**payment("failed", "m2", 7_000), "status": "failed"},
    ]
    payments.insert_many([{**each, "paidAt": T0} for each in made])
    payments.update_one({"_id": "refunded"}, {"$push": {"refunds": {"id": "r1", "amount": 500, "refundedAt": LATER}}})
    payments.update_one({"_id": "refunded"}, {"$push": {"refunds": {"id": "r2", "amount": 250, "refundedAt": LATER}}})
    payments.update_one({"_id": "moved-window"}, {"$set": {"paidAt": LATER}})
    payments.update_one({"_id": "moved-merchant"}, {"$set": {"merchantId": "m2"}})
    payments.update_one({"_id": "canceled"}, {"$set": {"status": "canceled"}})
    payments.delete_one({"_id": "deleted"})
    return len(made) + 6


def place(own: Settings, spark: SparkSession) -> Place:
    config = Config.load(own)
    tables.declare_store(config)
    lake = Lake(spark, config.lake, config.names.lake_namespace)
    lake.declare()
    return Place(config, spark, lake)


def test_both_paths_give_the_same_reports(installations: tuple[Settings, Settings], spark: SparkSession, tmp_path: Path) -> None:
    by_relay, by_debezium = installations
    shutil.copy(Path(__file__).parents[3] / "connect-config" / "payments.json", tmp_path)
    debezium = {**by_debezium, "MILLRACE_CONNECT_CONFIG_DIR": str(tmp_path), "MILLRACE_CONNECT_ENABLE": "payments"}
    with (
        MongoClient[dict[str, Any]](by_relay["MILLRACE_MONGO_ADMIN_URI"]) as client,
        relay(by_relay, tmp_path / "relay.log"),
    ):
        payments = client[by_relay["MILLRACE_NAMES_DATABASE"]].payments
        payments.insert_one({**payment("early", "m1", 100), "paidAt": T0})
        assert run(debezium, "apply").return_value == 0
        changes(by_debezium, 1)  # its snapshot is over
        count = write(payments) + 1
        wait_until(lambda: len(changes(by_debezium, count)) == count, 180, "every change through Debezium")
        wait_until(lambda: len(changes(by_relay, count)) == count, 180, "every change through the relay")
    # Debezium met the first payment in its snapshot, the relay in its stream; everything else is the same.
    assert [key for key, _ in changes(by_debezium, count)] == [key for key, _ in changes(by_relay, count)]

    found = []
    for own in (by_relay, by_debezium):
        there = place(own, spark)
        outcome = there.run()
        assert (outcome.events, outcome.dead_letters) == (count, 0)
        found.append((there.reports(), there.reports("payments", "gross", "refunds", "refunded_amount", "failed")))
    (relays, by_hand), (debeziums, _) = found
    assert debeziums == relays
    # By hand: m1 keeps early, plain and refunded at T0; the other window has the moved payment and both refunds.
    t0, later = T0.replace(tzinfo=None), LATER.replace(tzinfo=None)
    assert by_hand == {
        ("m1", t0, "EUR"): (3, 3_100, 0, 0, 0),
        ("m1", later, "EUR"): (1, 3_000, 2, 750, 0),
        ("m2", t0, "EUR"): (1, 4_000, 0, 0, 1),
    }


def test_every_reader_of_the_merchants_has_the_last_change_of_a_transaction(
    installations: tuple[Settings, Settings], spark: SparkSession, tmp_path: Path
) -> None:  # I5
    _, own = installations
    for name in ("merchants", "payments"):
        shutil.copy(Path(__file__).parents[3] / "connect-config" / f"{name}.json", tmp_path)
    debezium = {**own, "MILLRACE_CONNECT_CONFIG_DIR": str(tmp_path), "MILLRACE_CONNECT_ENABLE": "payments"}
    topic = topic_of(own).replace("payments", "merchants")
    with MongoClient[dict[str, Any]](own["MILLRACE_MONGO_ADMIN_URI"]) as client, client.start_session() as session:
        merchants = client[own["MILLRACE_NAMES_DATABASE"]].merchants
        made = {**SEOUL_BOOKS, "createdAt": T0, "updatedAt": T0, "schemaVersion": 1}
        merchants.insert_many([{"_id": "updated", **made}, {"_id": "anew", **made}])
        assert run(debezium, "apply").return_value == 0
        read_topic(own["MILLRACE_KAFKA_BOOTSTRAP"], topic, 2, 180)

        def update(session: ClientSession) -> None:
            for name, zone in (("Zebra", "Asia/Tokyo"), ("Apple", "America/New_York")):
                merchants.update_one({"_id": "updated"}, {"$set": {"name": name, "timeZone": zone}}, session=session)

        def replace(session: ClientSession) -> None:
            merchants.delete_one({"_id": "anew"}, session=session)
            merchants.insert_one({"_id": "anew", **made, "name": "Anew"}, session=session)

        def insert(session: ClientSession) -> None:
            merchants.insert_one({"_id": "inserted", **made, "name": "First"}, session=session)
            merchants.update_one({"_id": "inserted"}, {"$set": {"name": "Second"}}, session=session)

        for transaction in (update, replace, insert):
            session.with_transaction(transaction)
        holds = {row["_id"]: (row["name"], row["timeZone"]) for row in merchants.find()}
    assert holds == {
        "updated": ("Apple", "America/New_York"), "anew": ("Anew", "Asia/Seoul"), "inserted": ("Second", "Asia/Seoul")
    }  # fmt: skip
    offsets = len(read_topic(own["MILLRACE_KAFKA_BOOTSTRAP"], topic, 9, 180))
    assert offsets == 9, "two snapshot reads, six changes and a tombstone"

    there = place(own, spark)
    records = sources.read(spark, there.config.kafka, topic).sort("offset").persist()
    places = [row[0] for row in records.select("offset").collect()]
    batch = DimensionBatch(there.config, there.lake, "merchants")
    for low, high in pairwise((0, 3, 5, 8, 9)):  # each behind the first change of a transaction
        batch.run(records.where(F.col("offset").isin(places[low:high])), "q", low)
    zones = rollup_run.zones_of(there.lake, there.lake.newest_of(there.lake.merchants)).collect()
    assert dict(map(tuple, zones)) == {name: zone for name, (_, zone) in holds.items()}
    stored = tables.connected(there.config).execute(f"SELECT merchant_id, name, time_zone FROM {there.config.names.keyspace}.merchants")
    assert {row[0]: tuple(row[1:]) for row in stored} == holds
    engine = SparkEngine(spark, there.lake)
    scope = Scope(None, everything=True, start=T0, end=LATER)
    asked = rewrite("SELECT merchant_id, name, time_zone FROM merchants", scope, engine.sources().tables)
    answer = engine.run("job", "tenant", asked, Limits(1_000, 1_000, 1_000_000), lambda: False)
    assert {row["merchant_id"]: (row["name"], row["time_zone"]) for row in answer.table.to_pylist()} == holds
    records.unpersist()
