"""Kafka: one node that is broker and controller (KRaft), without automatic topics, with transactions."""

from __future__ import annotations

import subprocess
import uuid
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from millrace_stack.errors import StackError
from millrace_stack.processes import ProcessSpec
from millrace_stack.readiness import Probe, tail
from millrace_stack.servers.base import Context, Server, java_command, log4j2_config

_FLAGS = ["-XX:MaxGCPauseMillis=20", "-Djava.awt.headless=true"]


class Kafka(Server):
    """The broker."""

    name = "kafka"
    ports = ("kafka", "kafka-controller")
    sets = ("kafka",)

    def spec(self, context: Context) -> ProcessSpec:
        """The broker; its storage is formatted the first time."""
        data = context.home.data(self.name)
        properties = data / "server.properties"
        properties.write_text("".join(f"{key}={value}\n" for key, value in _properties(context).items()))
        flags = [*_FLAGS, log4j2_config(data)]
        jars = [f"{context.artefacts['kafka']}/*"]
        if not (data / "topics" / "meta.properties").exists():
            tool = java_command(context, 256, jars, "kafka.tools.StorageTool", [*flags, "-XX:TieredStopAtLevel=1"], [])
            _format(tool, properties, context.home.log(self.name))
        command = java_command(context, context.settings.kafka_heap_mb, jars, "kafka.Kafka", flags, [str(properties)])
        return self.process(context, command, 30.0)

    def healthy(self, context: Context) -> Probe:
        """Whether the cluster's metadata lists the broker."""
        return lambda: _has_broker(context.ports["kafka"])

    def endpoints(self, context: Context) -> dict[str, str]:
        """The bootstrap address."""
        return {"MILLRACE_KAFKA_BOOTSTRAP": f"127.0.0.1:{context.ports['kafka']}"}


def _properties(context: Context) -> dict[str, str]:
    broker, controller = context.ports["kafka"], context.ports["kafka-controller"]
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@127.0.0.1:{controller}",
        "listeners": f"PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{broker}",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": str(context.home.data("kafka") / "topics"),
        "auto.create.topics.enable": "false",
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "4",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "share.coordinator.state.topic.num.partitions": "1",
        # After kill -9 the broker may register again when its old session has ended; the default of 9 s would be most of the restart.
        "broker.session.timeout.ms": "5000",
        "broker.heartbeat.interval.ms": "1000",
        "group.initial.rebalance.delay.ms": "0",
        # Debezium's producers send requests of up to 4 MiB.
        "message.max.bytes": "4194304",
        "replica.fetch.max.bytes": "4194304",
        "log.segment.bytes": "134217728",
        # The cleaner's buffer comes out of the heap; the default of 128 MiB is for much larger compacted topics.
        "log.cleaner.dedupe.buffer.size": "33554432",
    }


def _format(tool: list[str], properties: Path, log: Path) -> None:
    cluster = cluster_id(uuid.uuid4().bytes)
    with log.open("ab") as output:
        done = subprocess.run(
            [*tool, "format", "--ignore-formatted", "-t", cluster, "-c", str(properties)],
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode:
        raise StackError(f"kafka: its storage could not be formatted; {tail(log)}")


def cluster_id(random: bytes) -> str:
    """A cluster's id of 16 random bytes. It never begins with a dash, which the tool would take for an option: one in 64 did."""
    return urlsafe_b64encode(bytes([random[0] & 0x7F]) + random[1:]).rstrip(b"=").decode()


def _has_broker(port: int) -> bool:
    try:
        # librdkafka would print refused connections; log_level 0 keeps it silent while we poll.
        quiet: dict[str, Any] = {"log_level": 0, "error_cb": lambda error: None}
        client = AdminClient({"bootstrap.servers": f"127.0.0.1:{port}", **quiet})
        return len(client.list_topics(timeout=2.0).brokers) > 0
    except KafkaException:
        return False
