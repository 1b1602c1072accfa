"""``millrace topics``: declare the Kafka topics."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import click
import orjson
from confluent_kafka import KafkaException
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourceType,
    TopicMetadata,
)
from pydantic import Field

from millrace_cdc.errors import Unavailable
from millrace_cdc.reporting import reported
from millrace_contracts import exit_codes
from millrace_contracts.settings import KafkaSettings, NamesSettings, Settings
from millrace_contracts.topics import Topic, declared
from millrace_runtime.screen import echo

REQUEST_SECONDS = 10.0
READY_SECONDS = 60.0
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of lines.")


class TopicsSettings(Settings, group="TOPICS"):
    """How topics are made; partitions only ever grow."""

    replication_factor: int = Field(1, ge=1)
    payment_partitions: int = Field(4, ge=1)
    dimension_partitions: int = Field(1, ge=1)


@dataclass(frozen=True)
class Change:
    """One difference between what is declared and what is there. ``sign``: + missing, ~ differs, ! can not be mended here."""

    sign: str
    topic: str
    detail: str
    partitions: int = 0
    config: tuple[tuple[str, str], ...] = ()

    def line(self) -> str:
        """The change as a line for a person."""
        return f"{self.sign} {self.topic}: {self.detail}"


@click.group()
def topics() -> None:
    """Declare the Kafka topics; safe to repeat, never removes anything.

    \b
    millrace topics plan      what differs (exit code 1) or nothing (0)
    millrace topics apply     make it so
    """


@topics.command("plan")
@AS_JSON
@click.pass_obj
def plan_command(environ: Mapping[str, str], as_json: bool) -> int:
    """Print what `apply` would do: + is missing, ~ differs, ! has more partitions than declared and is left alone."""
    with reported():
        changes = _compare(*_connected(environ))
    _report(changes, as_json)
    return exit_codes.DIFFERENT if any(change.sign != "!" for change in changes) else exit_codes.OK


@topics.command("apply")
@AS_JSON
@click.pass_obj
def apply_command(environ: Mapping[str, str], as_json: bool) -> int:
    """Create missing topics, add missing settings and partitions. Partitions are never taken away.

    \b
    MILLRACE_TOPICS_REPLICATION_FACTOR (1), _PAYMENT_PARTITIONS (4) and _DIMENSION_PARTITIONS (1) size them.
    More partitions for payments move keys: stop the relay first, see cdc/README.md.
    """
    with reported():
        admin, wanted, settings = _connected(environ)
        changes = _compare(admin, wanted, settings)
        for change in changes:
            _make(admin, change, settings)
        if changes:
            _await_leaders(admin, wanted)
    _report(changes, as_json)
    return exit_codes.OK


def _connected(environ: Mapping[str, str]) -> tuple[AdminClient, list[Topic], TopicsSettings]:
    kafka, names, settings = KafkaSettings.load(environ), NamesSettings.load(environ), TopicsSettings.load(environ)
    admin = AdminClient({**kafka.client(), "log_level": 0})
    try:
        admin.list_topics(timeout=REQUEST_SECONDS)
    except KafkaException as error:
        raise Unavailable(f"Kafka at {kafka.bootstrap} does not answer ({error.args[0].str()}); see MILLRACE_KAFKA_BOOTSTRAP") from None
    wanted = declared(names, payment_partitions=settings.payment_partitions, dimension_partitions=settings.dimension_partitions)
    return admin, wanted, settings


def _compare(admin: AdminClient, wanted: list[Topic], settings: TopicsSettings) -> list[Change]:
    there = admin.list_topics(timeout=REQUEST_SECONDS).topics
    resources = [ConfigResource(ResourceType.TOPIC, topic.name) for topic in wanted if topic.name in there]
    futures = admin.describe_configs(resources, request_timeout=REQUEST_SECONDS) if resources else {}
    configs = {resource.name: {key: entry.value for key, entry in future.result().items()} for resource, future in futures.items()}
    return [
        change
        for topic in wanted
        for change in difference(topic, len(there[topic.name].partitions) if topic.name in there else None, configs.get(topic.name, {}))
    ]


def difference(topic: Topic, partitions: int | None, config: Mapping[str, str | None]) -> list[Change]:
    """What a topic lacks; ``partitions`` is None where it does not exist. Pure."""
    if partitions is None:
        return [Change("+", topic.name, f"{topic.partitions} partitions", topic.partitions, tuple(topic.config.items()))]
    found = []
    if partitions < topic.partitions:
        found.append(Change("~", topic.name, f"{partitions} partitions, declared {topic.partitions}", topic.partitions))
    if partitions > topic.partitions:
        found.append(Change("!", topic.name, f"has {partitions} partitions, declared {topic.partitions}; left alone"))
    wrong = tuple((key, value) for key, value in topic.config.items() if config.get(key) != value)
    if wrong:
        found.append(Change("~", topic.name, ", ".join(f"{key}={value}" for key, value in wrong), 0, wrong))
    return found


def _make(admin: AdminClient, change: Change, settings: TopicsSettings) -> None:
    try:
        if change.sign == "+":
            made = NewTopic(change.topic, change.partitions, settings.replication_factor, config=dict(change.config))
            admin.create_topics([made], request_timeout=REQUEST_SECONDS)[change.topic].result()
        elif change.sign == "~" and change.partitions:
            admin.create_partitions([NewPartitions(change.topic, change.partitions)])[change.topic].result()
        elif change.sign == "~":
            entries = [ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET) for key, value in change.config]
            resource = ConfigResource(ResourceType.TOPIC, change.topic, incremental_configs=entries)
            admin.incremental_alter_configs([resource])[resource].result()
    except KafkaException as error:
        problem = error.args[0]
        if problem.name() != "TOPIC_ALREADY_EXISTS":
            raise click.ClickException(f"{change.topic}: {problem.str()}") from None


def _await_leaders(admin: AdminClient, wanted: list[Topic]) -> None:
    """Wait until every partition can be written: a broker acknowledges a new topic some time before it serves it."""
    deadline = time.monotonic() + READY_SECONDS
    while waiting := unready(admin.list_topics(timeout=REQUEST_SECONDS).topics, wanted):
        if time.monotonic() > deadline:
            raise Unavailable(f"Kafka made {', '.join(waiting)} but does not serve them after {READY_SECONDS:.0f} s; look at its log")
        time.sleep(0.1)


def unready(there: Mapping[str, TopicMetadata], wanted: list[Topic]) -> list[str]:
    """Names of topics without all their partitions, or with one that has no leader."""
    found = {name: [each.leader for each in topic.partitions.values()] for name, topic in there.items()}
    return [topic.name for topic in wanted if len(found.get(topic.name, [])) < topic.partitions or -1 in found[topic.name]]


def _report(changes: list[Change], as_json: bool) -> None:
    if as_json:
        rows = [{"sign": change.sign, "topic": change.topic, "detail": change.detail} for change in changes]
        echo(orjson.dumps({"changes": rows}))
        return
    for change in changes:
        echo(change.line())
    echo(f"{len(changes)} differences" if changes else "the topics are as declared", err=True)
