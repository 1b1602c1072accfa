"""Start again what dies: servers and tiers, each with a growing pause until it holds, in sight of the person who watches."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from millrace_runtime.waiting import GrowingPause
from millrace_stack.errors import StackError
from millrace_stack.processes import Processes, ProcessSpec

_LOOK_EVERY = 0.5
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 15.0
_CALM = 60.0
"""Seconds of life after which a death counts as the first one again."""


@dataclass
class _Deaths:
    pauses: GrowingPause = field(default_factory=lambda: GrowingPause(_FIRST_PAUSE, _LONGEST_PAUSE))
    back: float = 0.0
    thread: threading.Thread | None = None


class Watch:
    """A thread that looks after the processes of a home.

    Tiers are started by their spec; everything else with a record is a server, and ``revive_servers`` brings back whichever is gone.
    What somebody stopped leaves no record, and stays down.
    """

    def __init__(
        self, processes: Processes, specs: Mapping[str, ProcessSpec], revive_servers: Callable[[], object], say: Callable[[str], None]
    ) -> None:
        self._processes, self._specs, self._revive, self._say = processes, specs, revive_servers, say
        self._stopped = threading.Event()
        self._deaths: dict[str, _Deaths] = {}
        self._thread = threading.Thread(target=self._look, name="watch", daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        """Stop looking, then wait for the starts that are under way, so that none comes up behind the stop."""
        self._stopped.set()
        self._thread.join()
        for deaths in self._deaths.values():
            if deaths.thread is not None:
                deaths.thread.join()

    def _look(self) -> None:
        while not self._stopped.wait(_LOOK_EVERY):
            dead = [name for name in self._processes.names() if self._processes.find(name) is None]
            servers = [name for name in dead if name not in self._specs]
            for name in dead:
                if name in self._specs:
                    self._restart(name, name)
            if servers:
                self._restart("servers", ", ".join(servers))

    def _restart(self, key: str, shown: str) -> None:
        deaths = self._deaths.setdefault(key, _Deaths())
        if deaths.thread is not None and deaths.thread.is_alive():
            return
        if time.monotonic() - deaths.back > _CALM:
            deaths.pauses.reset()
        pause = deaths.pauses.next()
        self._say(f"! {shown} died; starting again in {pause:.1f} s")
        deaths.thread = threading.Thread(target=self._start, args=(key, shown, deaths, pause), name=f"restart-{key}", daemon=True)
        deaths.thread.start()

    def _start(self, key: str, shown: str, deaths: _Deaths, pause: float) -> None:
        """Try until it holds: a start that failed leaves no record by which the loop would find it again."""
        while not self._stopped.wait(pause):
            began = time.monotonic()
            try:
                if key in self._specs:
                    self._processes.start(self._specs[key])
                else:
                    self._revive()
                self._say(f"  {shown} is back after {time.monotonic() - began:.1f} s")
                deaths.back = time.monotonic()
                return
            except StackError as error:
                pause = deaths.pauses.next()
                self._say(f"! {shown} did not come back: {error.brief}; again in {pause:.1f} s")
