"""A replay that is killed, stopped, taken over, or meets a dropped collection."""

from __future__ import annotations

import json
import random
import signal
import threading
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from tests.integration.cdc_replay.conftest import Settings, answer, offsets, payment, process, records, run
from tests.support.waiting import wait_until

pytestmark = pytest.mark.stack

DOCUMENTS = 3_000
UPDATES = 2


@pytest.fixture(scope="module")
def start(environ: Settings, payments: Any) -> str:
    """A bookmark before 9,000 changes: 3,000 payments, each updated twice."""
    answer(environ, "bookmark", "add", "start")
    payments.insert_many([payment(f"k{i}", amount=0) for i in range(DOCUMENTS)])
    for amount in range(1, UPDATES + 1):
        payments.update_many({"_id": {"$regex": "^k"}}, {"$set": {"amount": amount}})
    return "start"


def committed(environ: Settings, topic: str) -> int:
    return len(records(environ, topic))


def replay_id(environ: Settings) -> str:
    return str(answer(environ, "--list")[0]["id"])


def check_exactly_once_in_order(environ: Settings, topic: str) -> None:
    """Every change once for a read_committed reader, those of one document in order (I2, I3)."""
    amounts: dict[str, list[int]] = defaultdict(list)
    for record in records(environ, topic):
        amounts[str(record.key)].append(record.value["after"]["amount"])
    assert dict(amounts) == {f"k{i}": list(range(UPDATES + 1)) for i in range(DOCUMENTS)}


def test_a_replay_that_is_killed_twice_is_resumed_without_loss_or_repetition(environ: Settings, start: str, tmp_path: Path) -> None:
    # The broker soon ends the transaction that a kill leaves open: it hides the replay's record from this test.
    small = {**environ, "MILLRACE_RELAY_TRANSACTION_EVENTS": "200", "MILLRACE_RELAY_TRANSACTION_TIMEOUT_MS": "10000"}
    log, topic, draw = tmp_path / "log", "killed", random.Random(7)
    arguments: tuple[str, ...] = ("--from", start, "--topic", topic, "--rate", "1000")
    for kill in (1, 2):
        at_least = draw.randint(200, 1_000) * kill
        with process(small, log, "replay", *arguments) as running:
            wait_until(lambda: offsets(environ, topic) >= at_least or running.poll() is not None, 120, "some events are there")  # noqa: B023
            assert running.poll() is None, log.read_text()
            running.kill()
        arguments = ("--resume", replay_id(environ))
    seen = committed(environ, topic)
    assert 0 < seen < DOCUMENTS * (UPDATES + 1)
    done = answer(environ, *arguments)
    assert (done["finished"], done["sent"]) == (True, DOCUMENTS * (UPDATES + 1))
    check_exactly_once_in_order(environ, topic)
    refused = run(environ, *arguments)
    assert (refused.return_value, "has ended" in refused.output) == (2, True)


def test_a_replay_that_is_stopped_says_how_to_go_on(environ: Settings, start: str, tmp_path: Path) -> None:
    log, topic = tmp_path / "log", "stopped"
    with process(environ, log, "replay", "--from", start, "--topic", topic, "--rate", "500") as running:
        wait_until(lambda: offsets(environ, topic) > 0, 120, "some events are there")
        running.send_signal(signal.SIGTERM)
        assert running.wait(120) == 130
    own = replay_id(environ)
    assert f"go on with: millrace replay --resume {own}" in log.read_text()
    assert 0 < committed(environ, topic) < DOCUMENTS * (UPDATES + 1)
    listed = {row["id"]: row for row in answer(environ, "--list")}[own]
    assert (listed["finished"], listed["sent"]) == (False, committed(environ, topic))
    # What is left is sent at the rate that the replay was begun with: only its beginning is looked at here.
    with process(environ, log, "replay", "--resume", own) as running:
        before = offsets(environ, topic)
        wait_until(lambda: offsets(environ, topic) > before, 120, "it goes on")
        keys = [(record.key, record.value["after"]["amount"]) for record in records(environ, topic)]
        assert len(keys) == len(set(keys))


def test_a_second_process_with_the_same_replay_ends_the_first(environ: Settings, start: str, tmp_path: Path) -> None:
    log, topic = tmp_path / "log", "twice"
    with process(environ, log, "replay", "--from", start, "--topic", topic, "--rate", "400") as first:
        wait_until(lambda: offsets(environ, topic) > 0, 120, "some events are there")
        with process(environ, tmp_path / "second", "replay", "--resume", replay_id(environ)) as second:
            assert first.wait(120) == 4, log.read_text()
            assert second.poll() is None
            keys = [(record.key, record.value["after"]["amount"]) for record in records(environ, topic)]
            assert len(keys) == len(set(keys))
    assert "another relay has taken over" in log.read_text()


def test_mongod_that_dies_in_the_middle_is_waited_for(environ: Settings, servers: Any, start: str, tmp_path: Path) -> None:
    log, topic = tmp_path / "log", "mongod-killed"
    with process(environ, log, "replay", "--from", start, "--topic", topic, "--rate", "1000", "--json") as running:
        wait_until(lambda: offsets(environ, topic) > 0, 120, "some events are there")
        servers.kill("mongo")
        assert running.poll() is None, "it works while mongod dies"
        threading.Event().wait(1.0)
        servers.restart("mongo")
        assert running.wait(120) == 0, log.read_text()
    check_exactly_once_in_order(environ, topic)


def test_a_replay_ends_before_a_drop_and_says_where_to_go_on(environ: Settings, payments: Any, tmp_path: Path) -> None:
    answer(environ, "bookmark", "add", "before-drop")
    payments.insert_one(payment("d1"))
    payments.drop()
    payments.database.create_collection("payments", changeStreamPreAndPostImages={"enabled": True})
    payments.insert_one(payment("d2"))
    ended = run(environ, "--from", "before-drop", "--topic", "dropped")
    assert ended.return_value == 6, ended.output
    assert "saw a drop at" in ended.output
    assert [record.key for record in records(environ, "dropped")] == ["d1"]
    behind = ended.output.split("--from ")[1].split()[0]
    wait_until(lambda: run(environ, "--from", behind, "--dry-run").return_value == 0, 120, "that second is over")
    assert json.loads(run(environ, "--from", behind, "--dry-run", "--json").stdout)["dead_letters"] == 0
