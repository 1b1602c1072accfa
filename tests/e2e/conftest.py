"""One pipeline for all end-to-end tests: the demo itself, with a small year."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from millrace_contracts.identity import SCOPES
from millrace_stack.demo.tiers import millrace
from millrace_stack.home import Home
from millrace_stack.load.client import CollectionClient
from tests.e2e.pipeline import DemoProcess, Running, demo, payment

BASKETS = 1_500
LIVE = "until Ctrl-C"


@pytest.fixture(scope="session")
def demo_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home that all end-to-end tests share."""
    return tmp_path_factory.mktemp("e2e") / ".millrace"


@dataclass(frozen=True)
class Regulars:
    """A merchant whose customers come on the days before ``today``, which is a start of a day."""

    merchant: str
    today: datetime


@pytest.fixture(scope="module")
def starting_demo(demo_home: Path) -> Iterator[DemoProcess]:
    """The demo, while it starts; payments can be posted already."""
    with demo(demo_home, demo_home.parent / "demo.log", "--limit-baskets", str(BASKETS), "--rate", "1", "--jobs-every", "3600") as started:
        started.await_output("Starting relay", 600)
        yield started


@pytest.fixture(scope="module")
def regulars(starting_demo: DemoProcess, demo_home: Path) -> Regulars:
    """Their payments are there before the year is, hence before the demo's jobs begin."""
    home, settings = Home(demo_home), Home(demo_home).settings()
    scopes = [part for scope in SCOPES for part in ("--scope", scope)]
    key = json.loads(millrace(home, ("collection", "keys", "create", "--name", "e2e", *scopes, "--json")))["key"]
    made = Regulars("e2e-regulars", datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0))
    with closing(CollectionClient(settings["MILLRACE_COLLECTION_URL"], key)) as client:
        client.put(f"/v1/merchants/{made.merchant}", {"name": "Regulars", "currency": "USD", "timeZone": "UTC"})
        for days_ago, user in ((3, "a"), (3, "b"), (2, "c"), (2, "a"), (1, "a")):
            line = payment(made.merchant, 100, made.today - timedelta(days=days_ago, hours=-12), userId=user)
            assert client.single(line).answers[0].status == 201
    assert "Replaying" not in starting_demo.output
    return made


@pytest.fixture(scope="module")
def live_demo(starting_demo: DemoProcess, regulars: Regulars) -> DemoProcess:
    """The demo, in its live phase."""
    starting_demo.await_output(LIVE, 600)
    return starting_demo


@pytest.fixture(scope="module")
def running(live_demo: DemoProcess, demo_home: Path) -> Iterator[Running]:
    """Clients of the running demo."""
    clients = Running(Home(demo_home))
    yield clients
    clients.close()
