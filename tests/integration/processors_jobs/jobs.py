"""The jobs' commands in processes of their own, to be run to the end or killed at work."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.integration.processors_jobs.pipeline import Pipeline
from tests.support.waiting import wait_until


class Jobs:
    """Runs the commands of one installation in processes of their own."""

    def __init__(self, made: Pipeline, folder: Path, events_per_batch: int = 1_500) -> None:
        self.pipeline, self._log = made, folder / "job.log"
        self._settings = {"MILLRACE_PROCESSORS_MAX_EVENTS_PER_BATCH": str(events_per_batch)}

    @contextmanager
    def running(self, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        """A command in a process group of its own, which is killed at the end."""
        environ = {**os.environ, **self.pipeline.environ, **self._settings}
        with self._log.open("ab") as log:
            command = [sys.executable, "-m", "millrace", "process", *arguments]
            process = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=log, start_new_session=True)
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate(timeout=60)

    def kill(self, begun: Callable[[], object], *arguments: str) -> None:
        """Kill a command as soon as something of its work can be seen."""
        with self.running(*arguments) as process:
            wait_until(lambda: begun() or process.poll() is not None, 300, f"{arguments} has begun to work")
            assert process.poll() is None, f"{arguments} was over before it could be killed: {self._log.read_text()[-3000:]}"

    def run(self, *arguments: str) -> dict[str, Any]:
        """Run a command to its end; its summary."""
        with self.running(*arguments, "--json") as process:
            out, _ = process.communicate(timeout=600)
        assert process.returncode == 0, self._log.read_text()[-3000:]
        found: dict[str, Any] = json.loads(out)
        return found
