"""kill -9 of a replay at random, again and again: every change once and in order for a reader of committed records (I2, I3)."""

from __future__ import annotations

import random
import threading
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from tests.integration.cdc_replay.conftest import Settings, answer, environ, payment, payments, process, records  # noqa: F401
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.stack, pytest.mark.timeout(1_800)]

DOCUMENTS, UPDATES, KILLS = 10_000, 5, 10
TOPIC = "killed-again-and-again"


def test_ten_kills_lose_repeat_and_reorder_nothing(environ: Settings, payments: Any, tmp_path: Path) -> None:  # noqa: F811
    answer(environ, "bookmark", "add", "start")
    payments.insert_many([payment(f"k{number}", amount=0) for number in range(DOCUMENTS)])
    for amount in range(1, UPDATES + 1):
        payments.update_many({}, {"$set": {"amount": amount}})
    settings = {**environ, "MILLRACE_RELAY_TRANSACTION_EVENTS": "500"}
    draw, log = random.Random(20_261_125), tmp_path / "log"
    arguments: tuple[str, ...] = ("--from", "start", "--topic", TOPIC, "--rate", "6000")
    seen: list[int] = []
    for _ in range(KILLS):
        before = len(log.read_bytes()) if log.exists() else 0
        with process(settings, log, "replay", *arguments) as running:
            wait_until(lambda: len(log.read_bytes()) > before or running.poll() is not None, 120, "it has begun")  # noqa: B023
            # From before the first transaction to some way into the work.
            threading.Event().wait(draw.uniform(0.0, 1.0))
            assert running.poll() is None, log.read_text()
            running.kill()
        listed = answer(environ, "--list")
        if listed:  # a kill before the first transaction leaves nothing to resume
            arguments = ("--resume", listed[0]["id"])
            seen.append(listed[0]["sent"])
    assert seen == sorted(seen)
    assert 0 < seen[-1] < DOCUMENTS * (UPDATES + 1), "the kills came while it worked"
    done = answer(environ, *arguments)
    assert (done["finished"], done["sent"]) == (True, DOCUMENTS * (UPDATES + 1))
    amounts: dict[str | None, list[int]] = defaultdict(list)
    for record in records(environ, TOPIC):
        amounts[record.key].append(record.value["after"]["amount"])
    assert amounts == {f"k{number}": list(range(UPDATES + 1)) for number in range(DOCUMENTS)}
