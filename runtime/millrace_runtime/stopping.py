"""A clean stop: SIGTERM and Ctrl-C set a flag that loops look at; a second one ends the process at once."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType

from millrace_contracts import exit_codes


class StopSignal:
    """Set by SIGTERM or SIGINT once installed; loops wait on it instead of sleeping."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def install(self) -> StopSignal:
        """Take over SIGTERM and SIGINT; main thread only."""
        signal.signal(signal.SIGTERM, self._handle)
        signal.signal(signal.SIGINT, self._handle)
        return self

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if self._event.is_set():
            os._exit(exit_codes.INTERRUPTED)
        self._event.set()

    def set(self) -> None:
        """Ask for the stop from code."""
        self._event.set()

    @property
    def is_set(self) -> bool:
        """Whether a stop was asked for."""
        return self._event.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait for the stop at most so long; whether it was asked for."""
        return self._event.wait(seconds)
