"""The plan for topics; it is pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from millrace_cdc.topics_cli import TopicsSettings, difference, unready
from millrace_contracts.settings import SettingsError
from millrace_contracts.topics import Topic

TOPIC = Topic("t", 4, {"cleanup.policy": "delete", "retention.ms": "1000"})
AS_DECLARED = {"cleanup.policy": "delete", "retention.ms": "1000", "segment.bytes": "1"}


def lines(partitions: int | None, config: dict[str, str | None]) -> list[str]:
    return [change.line() for change in difference(TOPIC, partitions, config)]


def test_a_topic_as_declared_needs_nothing() -> None:
    assert lines(4, {**AS_DECLARED}) == []


def test_a_missing_topic_is_made_with_its_settings() -> None:
    (change,) = difference(TOPIC, None, {})
    assert (change.line(), change.partitions, dict(change.config)) == ("+ t: 4 partitions", 4, TOPIC.config)


def test_partitions_are_added() -> None:
    assert lines(2, {**AS_DECLARED}) == ["~ t: 2 partitions, declared 4"]


def test_partitions_are_never_taken_away() -> None:
    (change,) = difference(TOPIC, 8, {**AS_DECLARED})
    assert change.line() == "! t: has 8 partitions, declared 4; left alone"
    assert change.partitions == 0


def test_a_wrong_setting_is_put_right_alone() -> None:
    (change,) = difference(TOPIC, 4, {**AS_DECLARED, "retention.ms": "5"})
    assert (change.line(), change.config) == ("~ t: retention.ms=1000", (("retention.ms", "1000"),))


def test_a_bad_size_names_the_setting() -> None:
    with pytest.raises(SettingsError, match="MILLRACE_TOPICS_PAYMENT_PARTITIONS"):
        TopicsSettings.load({"MILLRACE_TOPICS_PAYMENT_PARTITIONS": "0"})


@dataclass
class Partition:
    leader: int


@dataclass
class Metadata:
    partitions: dict[int, Partition]


@pytest.mark.parametrize(
    ("leaders", "waiting"),
    [({0: 1, 1: 1}, []), ({0: 1, 1: -1}, ["t"]), ({0: 1}, ["t"]), ({}, ["t"]), (None, ["t"]), ({0: 1, 1: 2, 2: 3}, [])],
)
def test_a_topic_is_ready_once_each_of_its_partitions_has_a_leader(leaders: dict[int, int] | None, waiting: list[str]) -> None:
    there: Any = {} if leaders is None else {"t": Metadata({number: Partition(leader) for number, leader in leaders.items()})}
    assert unready(there, [Topic("t", 2)]) == waiting
