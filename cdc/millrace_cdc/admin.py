"""What the relay asks the broker about its topics before it starts."""

from __future__ import annotations

import time

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

from millrace_cdc.errors import Misconfigured, Unavailable
from millrace_cdc.sink import Topics
from millrace_contracts import topics as names
from millrace_contracts.settings import KafkaSettings, NamesSettings

_REQUEST_SECONDS = 5.0


def find_topics(kafka: KafkaSettings, settings: NamesSettings, collection: str, within_seconds: float) -> tuple[Topics, int]:
    """The topics of a collection's relay, and the largest message that the change topic takes.

    Raises:
        Misconfigured: a topic is missing.
        Unavailable: Kafka does not answer.
    """
    admin = AdminClient({**kafka.client(), "log_level": 2})
    deadline = time.monotonic() + within_seconds
    while True:
        try:
            return _find(admin, settings, collection)
        except KafkaException as error:
            if time.monotonic() > deadline:
                raise Unavailable(f"Kafka at {kafka.bootstrap} does not answer: {error.args[0].str()}") from None
            time.sleep(0.2)


def _find(admin: AdminClient, settings: NamesSettings, collection: str) -> tuple[Topics, int]:
    found = admin.list_topics(timeout=_REQUEST_SECONDS).topics
    changes = names.change_topic(settings, collection)
    wanted = [changes, names.progress_topic(settings), names.dead_letter_topic(settings), names.audit_topic(settings)]
    missing = [name for name in wanted if name not in found]
    if missing:
        raise Misconfigured(f"topics are missing: {', '.join(missing)}; run `millrace topics apply` first")
    resource = ConfigResource(ResourceType.TOPIC, changes)
    config = admin.describe_configs([resource], request_timeout=_REQUEST_SECONDS)[resource].result()
    partitions = len(found[changes].partitions)
    return Topics(changes, partitions, wanted[1], wanted[2], wanted[3]), int(config["max.message.bytes"].value)
