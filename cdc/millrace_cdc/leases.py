"""Leases: which machine runs which stream. The store is Kafka's own group membership; nothing of ours needs to be kept alive.

Machines that run ``millrace relay run --shared`` join one consumer group on the change topic. Who is given partition i of the topic
runs stream i (so there are at most as many streams as partitions); nothing is read through this membership. A holder that dies is put
out of the group after the session timeout, 6 seconds by default, and its streams go to the others. Even if two believed to hold a
stream, the transactional id lets one of them write only (I3).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import structlog
from confluent_kafka import Consumer, KafkaException, TopicPartition

from millrace_cdc.errors import Misconfigured
from millrace_contracts.settings import KafkaSettings

log = structlog.get_logger()


def lease_group(prefix: str, namespace: str) -> str:
    """Name of the group."""
    return f"{prefix}.relay.leases.{namespace}"


class Leases:
    """Membership; ``gained`` and ``lost`` are called from ``poll`` with stream numbers."""

    def __init__(
        self,
        kafka: KafkaSettings,
        group: str,
        topic: str,
        streams: int,
        session_ms: int,
        gained: Callable[[Sequence[int]], None],
        lost: Callable[[Sequence[int]], None],
    ) -> None:
        self._streams = streams
        self._gained, self._lost = gained, lost
        self._consumer = Consumer(
            {
                **kafka.client(),
                "group.id": group,
                "enable.auto.commit": False,
                "session.timeout.ms": session_ms,
                "heartbeat.interval.ms": max(500, session_ms // 6),
                # Deals partition after partition to member after member, so that the first ones, which are the streams, are spread.
                "partition.assignment.strategy": "roundrobin",
                "auto.offset.reset": "latest",
                "log_level": 2,
            }
        )
        found = self._consumer.list_topics(topic, timeout=10).topics[topic]
        if len(found.partitions) < streams:
            raise Misconfigured(f"{topic} has {len(found.partitions)} partitions; {streams} shared streams need one each")
        self._consumer.subscribe([topic], on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._revoked)

    def poll(self, seconds: float) -> None:
        """Take part in the group; calls back on changes."""
        message = self._consumer.poll(seconds)
        if message is not None and message.error():
            log.warning("leases", error=str(message.error()))

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        consumer.assign(partitions)
        consumer.pause(partitions)
        streams = self._of(partitions)
        log.info("leases gained", streams=streams)
        self._gained(streams)

    def _revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        streams = self._of(partitions)
        log.info("leases lost", streams=streams)
        self._lost(streams)
        consumer.unassign()

    def _of(self, partitions: list[TopicPartition]) -> list[int]:
        return sorted(partition.partition for partition in partitions if partition.partition < self._streams)

    def close(self) -> None:
        """Leave the group, so that the others need not wait for the session's end."""
        try:
            self._consumer.close()
        except KafkaException as error:
            log.warning("leaving the lease group", error=str(error))
