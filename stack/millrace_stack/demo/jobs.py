"""The jobs over closed days, run by the demo one after the other: two Spark sessions more would not fit into its memory."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence

from millrace_contracts import exit_codes
from millrace_runtime.waiting import GrowingPause
from millrace_stack.home import Home

JOBS: tuple[tuple[str, ...], ...] = (("process", "rollup"), ("process", "customers"))
"""What long ranges are composed of, and new and returning customers by day."""
_LOOK_EVERY = 1.0
_FIRST_PAUSE = 5.0
_GRACE = 20.0
"""Seconds between SIGTERM and SIGKILL."""


class Jobs:
    """A thread that runs the jobs once ``begin`` is true, and again every so many seconds. One that failed is named, and tried again with
    a growing pause until it holds."""

    def __init__(
        self,
        home: Home,
        every: float,
        say: Callable[[str], None],
        jobs: Sequence[Sequence[str]] = JOBS,
        begin: Callable[[], bool] = lambda: True,
    ) -> None:
        self._home, self._every, self._say, self._jobs, self._begin = home, every, say, jobs, begin
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._go, name="jobs", daemon=True)

    def __enter__(self) -> Jobs:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        """End the job that runs; it is done again the next time."""
        self._stopped.set()
        self._thread.join()

    def _go(self) -> None:
        while not self._begin():
            if self._stopped.wait(_LOOK_EVERY):
                return
        told, due, pauses, began = False, self._jobs, GrowingPause(_FIRST_PAUSE, self._every), time.monotonic()
        while not self._stopped.is_set():
            codes = [(job, self.run(job)) for job in due]
            failed = [job for job, code in codes if code]
            wait = pauses.next() if failed else self._every
            for job, code in codes:
                if code and not self._stopped.is_set():
                    self._say(f"! millrace {' '.join(job)} ended with {code}; see {self._home.log(job[-1])}; again in {wait:.0f} s")
            if not failed and not told:
                told = True
                self._say(f"Hours, days and new customers are counted ({time.monotonic() - began:.0f} s), again every {self._every:.0f} s")
            if not failed:
                pauses.reset()
            due = failed or self._jobs
            if self._stopped.wait(wait):
                return

    def run(self, job: Sequence[str]) -> int:
        """One job to its end or until the stop; its exit code."""
        if self._stopped.is_set():
            return exit_codes.INTERRUPTED
        # At a low priority: payments and their reports come first. In a session of its own: Ctrl-C is for us, and we end it.
        command = ["nice", "-n", "10", sys.executable, "-m", "millrace", *job]
        environment = {**os.environ, "MILLRACE_HOME": str(self._home.path)}
        log = self._home.log(job[-1])
        with log.open("ab") as out:
            child = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)
        while child.poll() is None and not self._stopped.wait(0.2):
            pass
        if child.poll() is None:
            _end(child)
            return exit_codes.INTERRUPTED
        return child.returncode


def _end(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.wait(_GRACE)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
