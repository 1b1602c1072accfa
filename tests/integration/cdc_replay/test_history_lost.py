"""The oplog rolls over in the middle of a replay: on a mongod of its own with an oplog of 16 MB."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from millrace_cdc.replay.keystrings import instant
from tests.integration.cdc.capture import SmallOplog
from tests.integration.cdc.conftest import small  # noqa: F401 - a fixture
from tests.integration.cdc_replay.conftest import answer, offsets, payment, process, records, run
from tests.support.waiting import wait_until

pytestmark = pytest.mark.stack
CHANGES = 1_500
MERCHANT = "m" * 4_000
"""Large enough that the replay has read little more than it has sent: its queue holds 1 MiB."""


def test_a_replay_whose_rest_is_lost_names_how_far_it_came_and_sends_nothing_twice(
    small: SmallOplog,  # noqa: F811
    tmp_path: Path,
) -> None:
    environ, log, topic = small.environ, tmp_path / "log", f"{small.environ['MILLRACE_NAMES_TOPIC_PREFIX']}.again"
    tight = {
        **environ,
        "MILLRACE_RELAY_QUEUE_BYTES": str(2**20),
        "MILLRACE_RELAY_TRANSACTION_EVENTS": "10",
        "MILLRACE_RELAY_TRANSACTION_TIMEOUT_MS": "900000",  # the broker does not end what the stopped process has open
    }
    with MongoClient[dict[str, Any]](environ["MILLRACE_MONGO_ADMIN_URI"]) as client:
        payments = client[environ["MILLRACE_NAMES_DATABASE"]]["payments"]
        answer(environ, "bookmark", "add", "start")
        for first in range(0, CHANGES, 100):
            payments.insert_many(
                [payment(f"k{number:05d}", MERCHANT) for number in range(first, first + 100)], bypass_document_validation=True
            )
        with process(tight, log, "replay", "--from", "start", "--topic", topic, "--rate", "100") as running:
            wait_until(lambda: offsets(environ, topic) > 0 or running.poll() is not None, 120, "some are sent")
            # It stands still while the oplog rolls over, however long that takes, and so can not come to its end before.
            running.send_signal(signal.SIGSTOP)
            small.roll_over(client)
            running.send_signal(signal.SIGCONT)
            assert running.wait(200) == 5, log.read_text()
        oldest = client.local["oplog.rs"].find_one(sort=[("$natural", 1)])
        assert oldest is not None
    (own,) = answer(environ, "--list")
    sent = [record.key for record in records(environ, topic)]
    assert 0 < len(sent) < CHANGES
    assert sorted(sent) == [f"k{number:05d}" for number in range(len(sent))], "exactly the first ones, each once"
    assert own["sent"] == len(sent)
    told = log.read_text()
    for words in (f"where replay {own['id']} is, behind token 82", f"{len(sent):,} events were sent", "`millrace relay snapshot`"):
        assert words in told
    assert "Traceback" not in told
    again = run(environ, "--resume", own["id"])
    assert again.return_value == 5
    assert "no longer reaches back" in again.output
    assert instant(oldest["ts"].time)[:-8] in again.output, "where the oplog begins now, to the minute"
    assert sorted(record.key for record in records(environ, topic)) == sorted(sent), "nothing is sent twice"
    for point in ("-2h", "2020-01-01T00:00:00Z", "start"):
        refused = run(environ, "--from", point, "--dry-run")
        assert refused.return_value == 5, refused.output
        assert "the oplog no longer reaches back to" in refused.output
    assert [each["reachable"] for each in answer(environ, "bookmark", "list")] == [False]
