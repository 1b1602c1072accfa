"""Load by wrk from a process of its own: requests are drawn once, written to a file and sent in turn."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CONNECTIONS = 32
_SCRIPT = """
local requests, n, pause = {}, 0, %(pause)s
function init(args)
  local file = io.open("%(file)s", "rb")
  local count = tonumber(file:read("*l"))
  for i = 1, count do
    local size = tonumber(file:read("*l"))
    requests[i] = file:read(size)
    file:read(1)
  end
  file:close()
  math.randomseed(os.time())
end
function request()
  n = n + 1
  return requests[n %% #requests + 1]
end
%(delay)s
function done(summary, latency, requests)
  local e = summary.errors
  local failed = e.connect + e.read + e.write + e.timeout
  io.write(string.format("RESULT [%%d, %%d, %%d, %%d, %%d, %%f, %%f]\\n", summary.requests, summary.duration, summary.bytes,
    failed, e.status, latency:percentile(50) / 1000, latency:percentile(99) / 1000))
end
"""
_DELAY = "function delay() return math.floor(-math.log(1 - math.random()) * pause) end"
"""Exponential think times: arrivals that do not wait for one another, as from many independent readers."""


@dataclass(frozen=True)
class Request:
    """One request to send."""

    method: str
    target: str
    headers: dict[str, str]
    body: str = ""

    def raw(self, host: str) -> bytes:
        """Its bytes."""
        content = self.body.encode()
        headers = {"Host": host, **self.headers, **({"Content-Length": str(len(content))} if content else {})}
        lines = [f"{self.method} {self.target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        return "\r\n".join(lines).encode() + content


def zipf(count: int, draws: int, seed: int = 1) -> list[int]:
    """Numbers below ``count``, the n-th drawn in proportion to 1/(n+1)."""
    weights = [1 / (n + 1) for n in range(count)]
    return random.Random(seed).choices(range(count), weights, k=draws)


def run(url: str, requests: Sequence[Request], seconds: float, connections: int = CONNECTIONS, pause_ms: float = 0.0) -> dict[str, Any]:
    """Requests a second and latencies in ms, with the count of failed and of refused ones.

    Without a pause each connection asks again at once; with one, after an exponential time of that mean.
    """
    wrk = shutil.which("wrk")
    if wrk is None:
        raise SystemExit("wrk is not here; on Debian or Ubuntu: apt-get install -y wrk")
    host = url.removeprefix("http://").split("/")[0]
    with tempfile.TemporaryDirectory(prefix="millrace-load-") as folder:
        file, script = Path(folder) / "requests", Path(folder) / "script.lua"
        parts = [request.raw(host) for request in requests]
        file.write_bytes(f"{len(parts)}\n".encode() + b"".join(b"%d\n%b\n" % (len(part), part) for part in parts))
        script.write_text(_SCRIPT % {"file": file, "pause": pause_ms, "delay": _DELAY if pause_ms else ""})
        command = [wrk, "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "10s", "-s", str(script), url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60, check=True)
    found = re.search(r"RESULT (.*)", done.stdout)
    assert found, done.stdout + done.stderr
    count, micros, size, failed, refused, p50, p99 = json.loads(found[1])
    return {
        "perSecond": round(count / micros * 1e6),
        "p50Ms": round(p50, 2),
        "p99Ms": round(p99, 2),
        "errors": failed,
        "refused": refused,
        "bytesEach": round(size / max(1, count)),
    }
