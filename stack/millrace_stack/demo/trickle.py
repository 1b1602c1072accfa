"""Live payments: the baskets of the year once more, each paid now."""

from __future__ import annotations

import base64
import itertools
import threading
import time
from collections.abc import Iterator

from millrace_stack.demo import derived
from millrace_stack.demo.baskets import Commands
from millrace_stack.load.client import CollectionClient, Line


def live(commands: Commands, started_ms: int) -> Iterator[tuple[str, Line]]:
    """Bulk lines without end; their ids depend on the basket and on ``started_ms``, so that two runs do not collide."""
    for turn in itertools.count():
        for payment in commands.payments:
            data = derived.digest("live", f"{payment['id']}:{started_ms}:{turn}")[:16]
            identifier = base64.urlsafe_b64encode(data).rstrip(b"=").decode()
            yield identifier, {**payment, "id": identifier}


def trickle(commands: Commands, client: CollectionClient, rate: float, stopped: threading.Event) -> int:
    """Post live payments at ``rate`` a second until ``stopped``; how many were written."""
    written = 0
    for _, line in live(commands, int(time.time() * 1000)):
        if stopped.wait(1 / rate):
            break
        outcome = client.single({**line, "paidAt": int(time.time() * 1000)})
        written += outcome.answers[0].status == 201
    return written
