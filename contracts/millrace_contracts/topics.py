"""Kafka topics: names, partitions and settings, in one place."""

from __future__ import annotations

from dataclasses import dataclass, field

from millrace_contracts.settings import NamesSettings


@dataclass(frozen=True)
class Topic:
    """A topic to declare. ``partitions`` is for a local stack; production overrides it by setting."""

    name: str
    partitions: int
    config: dict[str, str] = field(default_factory=dict)


def change_topic(names: NamesSettings, collection: str) -> str:
    """``<prefix>.<database>.<collection>``, as Debezium names it."""
    return f"{names.topic_prefix}.{names.database}.{collection}"


def progress_topic(names: NamesSettings) -> str:
    """The relay's progress: compacted, key = stream partition, value = resume token; one partition keeps its order."""
    return f"{names.topic_prefix}.relay.progress"


def dead_letter_topic(names: NamesSettings) -> str:
    """Changes or events that could not be decoded (I4)."""
    return f"{names.topic_prefix}.dead-letters"


def audit_topic(names: NamesSettings) -> str:
    """Audit counts: events and amount sums by window."""
    return f"{names.topic_prefix}.audit"


def transactional_id(names: NamesSettings, collection: str, stream: int) -> str:
    """Transactional id of one stream partition's relay; a second relay with it fences the first (I3)."""
    return f"{names.topic_prefix}.relay.{names.database}.{collection}.{stream}"


_KEEP = {"cleanup.policy": "delete", "retention.ms": str(7 * 86_400_000)}
_COMPACT = {"cleanup.policy": "compact"}


def declared(names: NamesSettings, *, payment_partitions: int = 4, dimension_partitions: int = 1) -> list[Topic]:
    """Every topic that must exist before the tiers start."""
    return [
        Topic(change_topic(names, "payments"), payment_partitions, {**_KEEP, "compression.type": "producer"}),
        Topic(change_topic(names, "merchants"), dimension_partitions, _COMPACT),
        Topic(change_topic(names, "users"), dimension_partitions, _COMPACT),
        Topic(progress_topic(names), 1, _COMPACT),
        Topic(dead_letter_topic(names), 1, {"cleanup.policy": "delete", "retention.ms": str(90 * 86_400_000)}),
        Topic(audit_topic(names), 1, _KEEP),
    ]
