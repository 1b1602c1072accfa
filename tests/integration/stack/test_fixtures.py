"""What every other integration test stands on: the shared servers answer their own clients."""

from __future__ import annotations

import httpx
import pytest
import redis
from cassandra.cluster import Cluster
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from pymongo import MongoClient
from pymongo.errors import OperationFailure

from millrace_contracts.settings import ConnectSettings
from tests.support.servers import Servers

pytestmark = pytest.mark.stack


def test_mongo_is_a_replica_set_with_authentication(mongo_server: dict[str, str]) -> None:
    with MongoClient(mongo_server["MILLRACE_MONGO_ADMIN_URI"]) as client:
        assert client.admin.command("hello")["setName"] == "rs0"
        with client.watch(max_await_time_ms=10) as stream:
            assert stream.try_next() is None
    host = mongo_server["MILLRACE_MONGO_ADMIN_URI"].split("@")[1]
    with MongoClient(f"mongodb://{host}") as stranger, pytest.raises(OperationFailure, match="requires authentication"):
        stranger.list_database_names()


def test_kafka_commits_transactions_and_makes_no_topic_by_itself(kafka_server: dict[str, str], names: dict[str, str]) -> None:
    bootstrap, topic = kafka_server["MILLRACE_KAFKA_BOOTSTRAP"], f"{names['MILLRACE_NAMES_TOPIC_PREFIX']}.one"
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(60)
    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": topic})
    producer.init_transactions(60)
    producer.begin_transaction()
    producer.produce(topic, b"value")
    producer.commit_transaction(60)
    admin.list_topics("never-declared", timeout=60)
    assert "never-declared" not in admin.list_topics(timeout=60).topics


def test_connect_offers_the_debezium_connector_for_mongodb(connect_server: dict[str, str]) -> None:
    url, login = connect_server["MILLRACE_CONNECT_URL"], ConnectSettings.load(connect_server).login()
    plugins = httpx.get(f"{url}/connector-plugins", trust_env=False, auth=login).json()
    assert "io.debezium.connector.mongodb.MongoDbConnector" in [plugin["class"] for plugin in plugins]


def test_cassandra_keeps_what_was_acknowledged_through_kill_9(
    cassandra_server: dict[str, str], servers: Servers, names: dict[str, str]
) -> None:
    """I7: a report counted as written in the checkpoint must be there after a crash."""
    keyspace = names["MILLRACE_NAMES_KEYSPACE"]
    port, patient = int(cassandra_server["MILLRACE_CASSANDRA_PORT"]), {"connect_timeout": 60, "control_connection_timeout": 60}
    with Cluster(["127.0.0.1"], port=port, **patient) as cluster, cluster.connect() as session:
        session.default_timeout = 60
        session.execute(f"CREATE KEYSPACE {keyspace} WITH replication = {{'class': 'SimpleStrategy', 'replication_factor': 1}}")
        session.execute(f"CREATE TABLE {keyspace}.written (id int PRIMARY KEY)")
        for row in range(500):
            session.execute(f"INSERT INTO {keyspace}.written (id) VALUES ({row})")
        servers.kill("cassandra")
    servers.use("cassandra")
    with Cluster(["127.0.0.1"], port=port, **patient) as cluster, cluster.connect() as session:
        session.default_timeout = 60
        found = session.execute(f"SELECT id FROM {keyspace}.written")
        assert sorted(row.id for row in found) == list(range(500))
        session.execute(f"DROP KEYSPACE {keyspace}")


def test_a_paused_redis_hangs_and_goes_on(redis_server: dict[str, str], servers: Servers) -> None:
    url = redis_server["MILLRACE_REDIS_URL"]
    with redis.Redis.from_url(url, socket_timeout=60) as patient, redis.Redis.from_url(url, socket_timeout=0.3, retry=None) as hasty:
        assert patient.ping()
        servers.pause("redis")
        with pytest.raises(redis.TimeoutError):
            hasty.ping()
        servers.resume("redis")
        assert patient.ping()


def test_the_folder_of_spark_jars_holds_jars_only(spark_jars: dict[str, str]) -> None:
    from pathlib import Path

    files = list(Path(spark_jars["MILLRACE_SPARK_JARS"]).iterdir())
    assert len(files) == 5
    assert {file.suffix for file in files} == {".jar"}
