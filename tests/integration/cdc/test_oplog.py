"""Whether the oplog still holds the replica set's first change, as a real mongod tells it to the relay's own user."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import pytest
from bson import Timestamp
from click.testing import CliRunner
from prometheus_client import CollectorRegistry
from pymongo import MongoClient

from millrace_cdc import oplog
from millrace_cdc.errors import HistoryLost, Misconfigured
from millrace_cdc.oplog import OplogWatch, is_complete, read_reach
from millrace_cdc.replay.history import History
from millrace_cdc.replay.points import Point, parse
from millrace_cdc.state import RelayState
from millrace_mongo_init.cli import mongo_init
from millrace_runtime.stopping import StopSignal
from tests.integration.cdc.capture import SmallOplog
from tests.support.servers import unique_names
from tests.support.waiting import wait_until

pytestmark = pytest.mark.stack
EARLIER = ("-2h", "-99999999999d", "2020-01-01T00:00:00Z", "1577836800.1")


def test_an_oplog_is_complete_until_it_turns_over(mongo_server: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with SmallOplog(mongo_server["MILLRACE_MONGO_ADMIN_URI"], tmp_path / "mongod") as server:
        server.environ |= unique_names() | {name: value for name, value in server.environ.items() if "MONGO" in name}
        assert CliRunner().invoke(mongo_init, ["apply"], obj=server.environ).exit_code == 0
        database = server.environ["MILLRACE_NAMES_DATABASE"]
        with (
            MongoClient[dict[str, Any]](server.environ["MILLRACE_MONGO_ADMIN_URI"]) as admin,
            MongoClient[dict[str, Any]](server.environ["MILLRACE_MONGO_RELAY_URI"]) as relay,
        ):
            first = admin.local["oplog.rs"].find_one(sort=[("$natural", 1)])
            assert first is not None
            reach = read_reach(relay, database, "payments")
            assert reach is not None
            assert (reach.oldest, reach.complete) == (first["ts"].time, True)
            admin[database].payments.insert_one({"_id": "p"}, bypass_document_validation=True)
            assert is_complete(relay, database, "payments"), "also where the collection has a first change to be found"
            token = History(relay, database, "payments", str).token_at((first["ts"].time, 0))
            history = History(relay, database, "payments", lambda _name: token)
            for text in EARLIER:
                place = history.find("--from", parse("--from", text, time.time()), history.reach())
                assert (place.at, place.token) == ((first["ts"].time, 0), None)
                assert "the replica set's first change" in place.words
            oldest = history.find("--from", Point("oldest"), history.reach())
            assert oldest.at == (first["ts"].time, 0), "no minute of margin: a stack of seconds has a history too"
            with relay[database].payments.watch(start_at_operation_time=Timestamp(*oldest.at)) as stream:
                assert stream.next()["documentKey"] == {"_id": "p"}
            assert history.find("--from", Point("bookmark", name="first"), history.reach()).at == oldest.at
            with pytest.raises(Misconfigured, match="of another cluster"):
                history.find("--from", parse("--from", "8260000000000000012B0229296E04", time.time()), history.reach())
            state, stop = RelayState(CollectorRegistry(), "payments", 0), StopSignal()
            state._cluster_seconds = reach.newest
            monkeypatch.setattr(oplog, "EVERY_SECONDS", 0.1)
            with OplogWatch(relay, database, "payments", state, stop):
                wait_until(lambda: _runway(state) == math.inf, 60, "nothing can be lost yet")
                server.roll_over(admin)
                wait_until(lambda: _runway(state) < math.inf, 60, "the runway is limited")
            later = read_reach(relay, database, "payments")
            assert later is not None
            assert not later.complete
            for point in (*(parse("--from", text, time.time()) for text in EARLIER), Point("bookmark", name="first")):
                with pytest.raises(HistoryLost, match="the oplog no longer reaches back to"):
                    history.find("--from", point, history.reach())


def _runway(state: RelayState) -> float:
    return float(state.runway._value.get())
