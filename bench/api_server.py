"""Processes that bench/api.py measures: ours, a bare one, and the peers."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import venv
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

BENCH = Path(__file__).parent
HELLO = """
BODY = b'{"data":{"hello":"world"}}'
START = {"type": "http.response.start", "status": 200,
         "headers": [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(BODY))]}
async def app(scope, receive, send):
    if scope["type"] == "http":
        await send(START)
        await send({"type": "http.response.body", "body": BODY})
"""


@dataclass(frozen=True)
class Process:
    """A running server."""

    url: str
    pid: int

    def cpu_seconds(self) -> float:
        """Processor time that it and its workers have taken."""
        whole = [psutil.Process(self.pid), *psutil.Process(self.pid).children(recursive=True)]
        return sum(sum(each.cpu_times()[:2]) for each in whole)

    def rss_bytes(self) -> int:
        """Memory of the largest of its processes."""
        whole = [psutil.Process(self.pid), *psutil.Process(self.pid).children(recursive=True)]
        return max(each.memory_info().rss for each in whole)


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(command: list[str], environ: Mapping[str, str], port: int, ready: str, seconds: float = 60) -> Iterator[Process]:
    """A server until it answers, and its end."""
    url = f"http://127.0.0.1:{port}"
    with subprocess.Popen(command, env={**os.environ, **environ}, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + seconds
            while not _answers(url + ready):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"{' '.join(command)[:200]} does not answer at {url}{ready}")
                time.sleep(0.05)
            yield Process(url, process.pid)
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).status_code < 500
    except httpx.TransportError:
        return False


@contextmanager
def hello(folder: Path, workers: int = 1, *, batch: bool = False) -> Iterator[Process]:
    """The limit: an ASGI application that does nothing, on the same server as it comes; with ``batch``, scheduled as our workers are."""
    (folder / "hello.py").write_text(HELLO)
    port = free_port()
    granian = Path(sys.executable).parent / "granian"
    command = [str(granian), "--interface", "asgi", "--loop", "uvloop", "--port", str(port), "--log-level", "error", "hello:app"]
    command[-1:-1] = ["--workers", str(workers)]
    if batch:
        command[:0] = ["chrt", "--batch", "0"]
    with running(command, {"PYTHONPATH": str(folder)}, port, "/") as process:
        yield process


@contextmanager
def ours(environ: Mapping[str, str], workers: int = 1, **settings: str) -> Iterator[Process]:
    """`millrace api` with some settings of MILLRACE_API_*."""
    port = free_port()
    more = {f"MILLRACE_API_{name.upper()}": value for name, value in settings.items()}
    command = [sys.executable, "-m", "millrace", "api", "--port", str(port), "--workers", str(workers)]
    with running(command, {**environ, **more}, port, "/ready") as process:
        time.sleep(2)  # until notices are trusted
        yield process


@contextmanager
def strawberry(environ: Mapping[str, str], folder: Path, workers: int) -> Iterator[Process]:
    """Strawberry on uvicorn."""
    python = folder / "venv" / "bin" / "python"
    if not python.exists():
        venv.create(folder / "venv", with_pip=True)
        requirements = BENCH / "peer_api" / "requirements.txt"
        subprocess.run([str(python), "-m", "pip", "install", "-q", "-r", str(requirements)], check=True)
    port = free_port()
    command = [str(python), "-m", "uvicorn", "strawberry_app:app", "--port", str(port), "--log-level", "error", "--workers", str(workers)]
    command += ["--app-dir", str(BENCH / "peer_api")]
    with running(command, {**environ, **_peer(environ), "PYTHONPATH": ""}, port, "/graphql?query=%7B__typename%7D") as process:
        yield process


@contextmanager
def yoga(environ: Mapping[str, str], folder: Path, *, cache: bool) -> Iterator[Process]:
    """GraphQL Yoga on Node."""
    home = folder / "node"
    if not (home / "node_modules").exists():
        home.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            (home / name).write_bytes((BENCH / "peer_api" / name).read_bytes())
        subprocess.run(["npm", "ci", "--silent", "--no-audit", "--no-fund"], cwd=home, check=True)
    (home / "yoga.mjs").write_bytes((BENCH / "peer_api" / "yoga.mjs").read_bytes())
    port = free_port()
    more = {**_peer(environ), "PEER_PORT": str(port), "PEER_CACHE": "1" if cache else "0", "NODE_ENV": "production"}
    with running(["node", str(home / "yoga.mjs")], {**environ, **more}, port, "/graphql?query=%7B__typename%7D") as process:
        yield process


def _peer(environ: Mapping[str, str]) -> dict[str, str]:
    return {"PEER_JWKS": str(Path(environ["MILLRACE_HOME"]) / "keys" / "jwks.json")}
