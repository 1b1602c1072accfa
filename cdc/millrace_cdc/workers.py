"""Several streams on one machine: one process each, so that they do not share an interpreter."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
import structlog
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from millrace_cdc.errors import RelayError
from millrace_contracts import exit_codes

STOP_SECONDS = 20.0
log = structlog.get_logger()


@dataclass
class Worker:
    """The process of one stream; ``ops`` is the URL of its operators' endpoint once it has told."""

    stream: int
    process: subprocess.Popen[bytes]
    ops: str | None = None
    fenced_at: float | None = None
    """When it was seen that another relay had taken its stream over."""


class WorkerFailed(RelayError):
    """A worker ended by itself; ``exit_code`` is its own."""

    def __init__(self, stream: int, code: int) -> None:
        super().__init__(f"the worker of stream {stream} ended with exit code {code}; its log above says why")
        self.exit_code: int = code if code > 0 else exit_codes.FATAL


class Workers:
    """Starts and stops workers and looks after them. A worker stops by itself when this process dies: its standard input closes."""

    def __init__(self, streams: int, environ: Mapping[str, str]) -> None:
        self._streams = streams
        self._environ = dict(environ)
        self._running: dict[int, Worker] = {}
        self._lock = threading.Lock()

    def start(self, stream: int) -> None:
        """Start the worker of a stream; none if it runs."""
        with self._lock:
            if stream in self._running:
                return
            options = ["--streams", str(self._streams), "--stream", str(stream), "--ops-port", "0", "--child"]
            command = [sys.executable, "-m", "millrace", "relay", "run", *options]
            process = subprocess.Popen(command, env=self._environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            worker = Worker(stream, process)
            self._running[stream] = worker
        threading.Thread(target=_listen, args=(worker,), name=f"worker-{stream}", daemon=True).start()
        log.info("worker started", stream=stream, pid=process.pid)

    def stop(self, streams: Iterable[int] | None = None) -> None:
        """Stop workers (all by default) at the same time; each finishes its transaction."""
        with self._lock:
            chosen = list(self._running) if streams is None else [stream for stream in streams if stream in self._running]
            stopping = [self._running.pop(stream) for stream in chosen]
        for worker in stopping:
            worker.process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        for worker in stopping:
            try:
                worker.process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
            log.info("worker stopped", stream=worker.stream, exit_code=worker.process.returncode)

    def check(self, fenced_seconds: float = 0.0) -> None:
        """See that all live.

        For so many seconds a worker may be one whose stream another relay has taken over: a machine that stalled past its lease is told
        so by Kafka and by the lease in any order, and its worker is then stopped as one without a lease.

        Raises:
            WorkerFailed: for the first that does not.
        """
        now = time.monotonic()
        with self._lock:
            for worker in self._running.values():
                code = worker.process.poll()
                if code == exit_codes.FENCED:
                    worker.fenced_at = worker.fenced_at or now
                    if now - worker.fenced_at < fenced_seconds:
                        continue
                if code is not None:
                    raise WorkerFailed(worker.stream, code)

    def readiness(self) -> tuple[bool, dict[str, Any]]:
        """Ready when every worker is, also one without streams, which stands by; the state of each under its number."""
        states: dict[str, Any] = {}
        for worker in self._workers():
            body = _get(worker, "/ready")
            states[str(worker.stream)] = orjson.loads(body) if body else {"ready": False, "phase": "starting"}
        return all(state["ready"] for state in states.values()), {"streams": states}

    def metrics(self) -> list[str]:
        """The metrics text of each worker that answers."""
        return [body.decode() for worker in self._workers() if (body := _get(worker, "/metrics"))]

    def _workers(self) -> list[Worker]:
        with self._lock:
            return sorted(self._running.values(), key=lambda worker: worker.stream)


def _listen(worker: Worker) -> None:
    for line in worker.process.stdout or ():
        worker.ops = line.decode().strip() or worker.ops


def _get(worker: Worker, path: str) -> bytes | None:
    if worker.ops is None:
        return None
    try:
        with urllib.request.urlopen(worker.ops + path, timeout=2) as answer:  # noqa: S310 - our own worker's address
            return bytes(answer.read())
    except urllib.error.HTTPError as error:
        return bytes(error.read())
    except OSError:
        return None


class WorkerMetrics(Collector):
    """The workers' metrics as one registry's: they differ by the label ``stream``."""

    def __init__(self, texts: Callable[[], list[str]]) -> None:
        self._texts = texts

    def collect(self) -> Iterable[Metric]:
        """Merge families of the same name."""
        families: dict[str, Metric] = {}
        for text in self._texts():
            for family in text_string_to_metric_families(text):
                if family.name.endswith("_created"):
                    continue
                families.setdefault(family.name, family)
                if families[family.name] is not family:
                    families[family.name].samples.extend(family.samples)
        return families.values()
