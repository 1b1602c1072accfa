"""A standalone Spark cluster on 127.0.0.1 out of pyspark's own files: a master, and workers that can be killed."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyspark

from tests.support.ports import free_port
from tests.support.waiting import wait_until

_CLASS = Path(pyspark.__file__).parent / "bin" / "spark-class"
_DEPLOY = "org.apache.spark.deploy"


class Cluster:
    """The master's URL and the workers, each with one core; what runs for a worker dies with it."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._port = folder, free_port()
        self.url = f"spark://127.0.0.1:{self._port}"
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, workers: int) -> None:
        """Start the master and then the workers."""
        self._start("master", "master.Master", "--host", "127.0.0.1", "--port", str(self._port), "--webui-port", "0")
        wait_until(lambda: "I have been elected leader" in self._log("master"), 120, "the master is there")
        for number in range(workers):
            folder = str(self._folder / f"work-{number}")
            more = ["--webui-port", "0", "-c", "1", "-m", "1g", "-d", folder, self.url]
            self._start(f"worker-{number}", "worker.Worker", "--host", "127.0.0.1", *more)
        wait_until(lambda: self._log("master").count("Registering worker") == workers, 120, f"{workers} workers")

    def kill(self, worker: int) -> None:
        """kill -9 of a worker with its executors."""
        process = self._processes.pop(f"worker-{worker}")
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)

    def lost(self) -> int:
        """How many workers the master has given up."""
        return self._log("master").count("Removing worker")

    def executors(self) -> int:
        """How many executors were ever started."""
        return self._log("master").count("Launching executor")

    def stop(self) -> None:
        """Kill what is left."""
        for process in self._processes.values():
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(30)

    def _start(self, name: str, main: str, *arguments: str) -> None:
        environ = {**os.environ, "SPARK_LOCAL_IP": "127.0.0.1", "SPARK_DAEMON_MEMORY": "256m", "SPARK_NO_DAEMONIZE": "1"}
        with self._file(name).open("ab") as log:
            command = [str(_CLASS), f"{_DEPLOY}.{main}", *arguments]
            self._processes[name] = subprocess.Popen(command, env=environ, stdout=log, stderr=log, start_new_session=True)

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}.log"

    def _log(self, name: str) -> str:
        return self._file(name).read_text()


@contextmanager
def spark_cluster(folder: Path, workers: int) -> Iterator[Cluster]:
    """A cluster with its logs and work in a folder."""
    folder.mkdir(parents=True)
    made = Cluster(folder)
    try:
        made.start(workers)
        yield made
    finally:
        made.stop()
