"""Wait for something to become true; never by sleeping for a guessed time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


def wait_until(predicate: Callable[[], object], seconds: float, what: str) -> None:
    """Poll until the predicate is true; fail naming ``what`` when the time is over."""
    deadline = time.monotonic() + seconds
    while True:
        # Taken before the look: a stop of this process in between must not be the last word.
        over = time.monotonic() > deadline
        if predicate():
            return
        assert not over, f"after {seconds:.0f} s still not: {what}"
        threading.Event().wait(0.05)
