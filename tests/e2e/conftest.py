"""One pipeline for all end-to-end tests: the demo itself, with a small year."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from millrace_stack.home import Home
from tests.e2e.pipeline import DemoProcess, Running, demo

BASKETS = 3_000
LIVE = "until Ctrl-C"


@pytest.fixture(scope="session")
def demo_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home that all end-to-end tests share."""
    return tmp_path_factory.mktemp("e2e") / ".millrace"


@pytest.fixture(scope="module")
def live_demo(demo_home: Path) -> Iterator[DemoProcess]:
    """The demo, in its live phase."""
    with demo(demo_home, demo_home.parent / "demo.log", "--limit-baskets", str(BASKETS), "--rate", "1", "--jobs-every", "3600") as started:
        started.await_output(LIVE, 400)
        yield started


@pytest.fixture(scope="module")
def running(live_demo: DemoProcess, demo_home: Path) -> Iterator[Running]:
    """Clients of the running demo."""
    clients = Running(Home(demo_home))
    yield clients
    clients.close()
