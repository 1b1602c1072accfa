"""Where a topic is read from, and where of the change stream."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from millrace_cdc.tokens import packed_time
from millrace_processors import kafka_part
from millrace_processors.errors import CommandError
from tests.integration.processors.events import SECOND, token


def test_where_a_topic_is_read_from() -> None:
    assert kafka_part.of_records(None, None, "t").options == {}
    assert json.loads(kafka_part.of_records(None, "0:15,1:20", "t").options["startingOffsets"]) == {"t": {"0": 15, "1": 20}}
    at = kafka_part.of_records(datetime(1970, 1, 1, 0, 1, tzinfo=UTC), None, "t")
    assert at.options["startingTimestamp"] == "60000"
    for wrong in ("0", "0:", ":5", "a:1", "0:1,"):
        with pytest.raises(CommandError, match="is not partition:offset, such as 0:1500,1:1320"):
            kafka_part.of_records(None, wrong, "t")


def test_a_token_is_read_from_a_little_before_its_time() -> None:
    found = kafka_part.of_changes(token(SECOND, 3), None, merchants=["m"])
    assert found.options["startingTimestamp"] == str(SECOND * 1000 - 300_000)
    assert (found.token, found.since, found.merchants) == (token(SECOND, 3), None, ("m",))
    since = datetime.fromtimestamp(SECOND, UTC)
    by_time = kafka_part.of_changes(None, since, since + timedelta(hours=1))
    assert (by_time.options, by_time.token, by_time.since) == (found.options, None, since)


def test_a_tokens_time_is_the_relays() -> None:
    assert kafka_part.packed_time(token(SECOND, 3)) == packed_time(token(SECOND, 3))
    for wrong in ("", "82", "83" + "0" * 16, token(SECOND, 3).lower(), "8269246C00 00000001"):
        with pytest.raises(CommandError, match="is not a resume token: it starts with 82"):
            kafka_part.packed_time(wrong)


def test_another_part_has_another_name() -> None:
    parts = [
        kafka_part.Part(), kafka_part.Part(merchants=("m",)), kafka_part.of_records(None, "0:1", "t"),
        kafka_part.of_changes(token(SECOND, 3), None), kafka_part.of_changes(token(SECOND, 4), None),
    ]  # fmt: skip
    assert len({part.name for part in parts}) == len(parts)
    assert kafka_part.of_changes(token(SECOND, 3), None).name == parts[3].name
