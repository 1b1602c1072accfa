"""How fast the API is on this machine, beside its limits and its peers, all in one run with the load on the same machine.

    python bench/api.py [--json PATH] [--peers FOLDER] [--only CASES] [--workers 2] [--merchants 10000] [--filled 2000] [--seconds 5]
        [--home FOLDER]

Zipf over the merchants, each asked about with a token of its own; the first of them have a report in every window of the day that is
asked for. `wrk` makes the load (apt-get install wrk). Each line also says how much processor time a request took, which other work on
the machine disturbs less than the rate. With --peers, Strawberry on uvicorn and Yoga on Node are installed into a folder and measured.
Everything is measured of one worker and, but for the peers and what one worker's memory decides, again of --workers of them; a name such
as columnsFromRedis@2 says so. Load, Redis and Cassandra share the machine: of two cores, two workers never have both.

    python bench/api.py --only hello,columnsFromRedis,everyCacheOff --seconds 2 --home /tmp/bench
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psutil

import api_limits
import api_load
import api_push
import api_server
import api_store
from api_load import Request
from api_requests import HASHES, QUERIES, Asker, variables
from api_server import Process
from millrace_stack.home import Home
from millrace_stack.settings import StackSettings
from millrace_stack.supervisor import Stack

DRAWS = 8_000
KEPT = ("cachedPost", "cachedPostAt70", "cachedGet", "notModified")
EXECUTED: dict[str, dict[str, str]] = {
    "columnsFromRedis": {"response_cache_bytes": "0", "chunk_memory_bytes": "0"},
    "columnsInProcess": {"response_cache_bytes": "0"},
    "everyCacheOff": {"response_cache_bytes": "0", "chunk_cache": "false", "rate_points": "0"},
}
"""Executions: columns from Redis, from the process's memory, and from Cassandra, where the day is packed."""
CASES = ("hello", "helloBatch", "cassandraReads", "redisGets", *KEPT, *EXECUTED, "cold", "fanOut", "peers")
OPEN_CONNECTIONS = 200
BUSY = 0.7
ROUNDS = 3


class Bench:
    """The cases, in order; each prints its line."""

    def __init__(self, environ: dict[str, str], options: argparse.Namespace, folder: Path) -> None:
        self.environ = environ
        self.folder = folder
        self.seconds: float = options.seconds
        self.merchants: int = options.merchants
        self.filled: int = options.filled
        self.asker = Asker(Path(environ["MILLRACE_HOME"]) / "keys")
        self.results: dict[str, Any] = {}
        self.only: frozenset[str] = options.only
        self.draws = api_load.zipf(self.merchants, DRAWS)
        self.filled_draws = api_load.zipf(self.filled, DRAWS, seed=2)

    def note(self, name: str, result: Any) -> None:
        """Keep and print a figure."""
        self.results[name] = result
        print(f"{name:34} {json.dumps(result)}", flush=True)

    def measure(self, name: str, process: Process, requests: Sequence[Request], **more: Any) -> dict[str, Any]:
        """One load."""
        result = self._window(process, requests, **more)
        self.note(name, result)
        return result

    def _window(self, process: Process, requests: Sequence[Request], **more: Any) -> dict[str, Any]:
        before = process.cpu_seconds()
        result = api_load.run(process.url, requests, self.seconds, **more)
        result["cpuMicros"] = round((process.cpu_seconds() - before) / max(1, result["perSecond"] * self.seconds) * 1e6, 1)
        return result

    def wants(self, *names: str) -> bool:
        """Whether one of these cases is to be measured."""
        return not self.only.isdisjoint(names)

    def limits(self) -> None:
        """What the stores' clients can do alone."""
        if self.wants("cassandraReads"):
            for name, shape in (("cassandraReads", "rows"), ("cassandraPackedReads", "packed")):
                self.note(name, {"perSecond": api_limits.cassandra_reads(self.environ, self.filled_draws, self.seconds, shape)})
            self.note("packedDay", api_store.costs())
        if self.wants("redisGets"):
            self.note("redisGets", {"perSecond": api_limits.redis_gets(self.environ, self.seconds)})

    def cached(self, workers: int = 1) -> None:
        """Whole answers from the process, and in turn with them a server that does nothing else than answer always the same."""
        if not self.wants("hello", "helloBatch", *KEPT):
            return
        began = time.perf_counter()
        with (
            api_server.ours(self.environ, workers) as process,
            api_server.hello(self.folder, workers) as bare,
            api_server.hello(self.folder, workers, batch=True) as batch,
        ):
            if workers == 1:
                self._first(process, began)
            self._warm(process)
            posts = self.asker.posts(self.draws)
            self._in_turn(
                workers,
                {
                    "hello": (bare, posts),
                    "helloBatch": (batch, posts),
                    "cachedPost": (process, posts),
                    "cachedGet": (process, self.asker.gets(self.draws)),
                    "notModified": (process, [self._conditional(process)]),
                },
            )
            if self.wants("cachedPostAt70"):
                most = self.results.get(_name("cachedPost", workers)) or self._window(process, posts)
                self._open(_name("cachedPostAt70", workers), process, posts, most["perSecond"])
            self.note(_name("memory", workers), {"rssMiB": round(process.rss_bytes() / 2**20)})

    def _in_turn(self, workers: int, cases: dict[str, tuple[Process, Sequence[Request]]]) -> None:
        """The window of the median rate of each, of ROUNDS in which all have their turn: what else the machine does meets all alike."""
        rounds = [{name: self._window(*case) for name, case in cases.items() if self.wants(name)} for _ in range(ROUNDS)]
        for name in rounds[0]:
            windows = sorted((each[name] for each in rounds), key=lambda window: int(window["perSecond"]))
            self.note(_name(name, workers), {**windows[ROUNDS // 2], "rounds": [each[name]["perSecond"] for each in rounds]})

    def _conditional(self, process: Process) -> Request:
        request = self.asker.get(0)
        etag = httpx.get(process.url + request.target, headers=request.headers).headers["etag"]
        return self.asker.get(0, etag=etag)

    def _first(self, process: Process, began: float) -> None:
        request = self.asker.post(0)
        sent = time.perf_counter()
        httpx.post(process.url + request.target, headers=request.headers, content=request.body).raise_for_status()
        now = time.perf_counter()
        self.note("first", {"startSeconds": round(sent - began, 2), "firstRequestMs": round(1000 * (now - sent), 1)})

    def _warm(self, process: Process) -> None:
        """Every question once, and the documents by their hash."""
        with httpx.Client(base_url=process.url, timeout=30) as client:
            for which, query in enumerate(QUERIES):
                extensions = {"persistedQuery": {"version": 1, "sha256Hash": HASHES[which]}}
                request = self.asker.post(0, which)
                body = {"query": query, "variables": variables("bench-00000"), "extensions": extensions}
                client.post("/graphql", json=body, headers=request.headers).raise_for_status()
        for requests in (self.asker.posts(self.draws), self.asker.gets(self.draws)):
            for _ in range(6):
                if api_load.run(process.url, requests, 3)["p99Ms"] < 30:
                    break

    def _open(self, name: str, process: Process, requests: Sequence[Request], most: int) -> None:
        """Arrivals at 70 % of the most, that do not wait for one another."""
        pause = OPEN_CONNECTIONS / (BUSY * most) * 1000
        self.measure(name, process, requests, connections=OPEN_CONNECTIONS, pause_ms=pause)

    def executed(self, workers: int = 1) -> None:
        """Answers that are made anew."""
        requests = self.asker.posts(self.filled_draws)
        for name, settings in EXECUTED.items():
            if self.wants(name):
                with api_server.ours(self.environ, workers, **settings) as process:
                    api_load.run(process.url, requests, self.seconds * 2)
                    self.measure(_name(name, workers), process, requests)

    def cold(self) -> None:
        """Long ranges of merchants that nobody asked about before."""
        if not self.wants("cold"):
            return
        end = api_store.DAY + timedelta(days=1)
        cases = {"ninetyDaysByDayCold": (90, "DAY"), "fourWeeksByTenMinutesCold": (28, "TEN_MINUTES")}
        query = (
            "query($m: ID!, $s: DateTime!, $e: DateTime!, $g: Grain!) { series(merchantId: $m, start: $s, end: $e, grain: $g, "
            'currency: "USD", timeZone: "UTC") { points { start payments gross net customers } totals { gross customers } } }'
        )
        with api_server.ours(self.environ, chunk_cache="false", response_cache_bytes="0") as process:
            for name, (days, grain) in cases.items():
                times = []
                for number in range(api_store.LONG_MERCHANTS):
                    given = {"m": api_store.merchant_name(number), "s": (end - timedelta(days=days)).isoformat(), "e": end.isoformat()}
                    headers = self.asker.headers(given["m"])
                    began = time.perf_counter()
                    body = {"query": query, "variables": {**given, "g": grain}}
                    answer = httpx.post(f"{process.url}/graphql", json=body, headers=headers, timeout=60)
                    times.append(1000 * (time.perf_counter() - began))
                    assert "errors" not in answer.json(), answer.text
                self.note(name, {"medianMs": round(statistics.median(times), 1), "worstMs": round(max(times), 1)})

    def push(self, clients: int) -> None:
        """Subscribers of one worker."""
        if not self.wants("fanOut"):
            return
        with api_server.ours(self.environ) as process:
            self.note("fanOut", api_push.fan_out(self.environ, process, self.asker, clients))

    def peers(self, folder: Path) -> None:
        """The usual parts."""
        if not self.wants("peers"):
            return
        requests = [self.asker.post(number) for number in self.filled_draws]
        cases: list[tuple[str, AbstractContextManager[Process]]] = [
            ("peerStrawberry", api_server.strawberry(self.environ, folder, 1)),
            ("peerStrawberryTwoWorkers", api_server.strawberry(self.environ, folder, 2)),
            ("peerYoga", api_server.yoga(self.environ, folder, cache=False)),
            ("peerYogaCached", api_server.yoga(self.environ, folder, cache=True)),
        ]
        for name, starting in cases:
            with starting as process:
                first = requests[0]
                answer = httpx.post(process.url + first.target, headers=first.headers, content=first.body, timeout=30)
                assert len(answer.json()["data"]["series"]["points"]["gross"]) == 144, answer.text
                api_load.run(process.url, requests, self.seconds * (4 if "Cached" in name else 1))
                self.measure(name, process, requests)


def _name(case: str, workers: int) -> str:
    return case if workers == 1 else f"{case}@{workers}"


def ratios(results: dict[str, Any], workers: int) -> dict[str, float]:
    """The figures that are promised, as parts of their limits, of those that were measured."""
    bare = ("hello", "helloBatch")
    pairs = [(_name(case, n), _name(limit, n)) for n in sorted({1, workers}) for case in (*KEPT, *EXECUTED) for limit in bare]
    pairs += [(_name("everyCacheOff", n), reads) for n in sorted({1, workers}) for reads in ("cassandraReads", "cassandraPackedReads")]
    rates = {name: float(found["perSecond"]) for name, found in results.items() if isinstance(found, dict) and "perSecond" in found}
    if "peerYogaCached" in rates:
        uncached = max(rates[name] for name in ("peerStrawberry", "peerStrawberryTwoWorkers", "peerYoga"))
        rates |= {"better peer": uncached, "better peer cached": max(rates["peerYogaCached"], uncached)}
        pairs += [("cachedPost", "better peer cached"), ("everyCacheOff", "better peer")]
    return {f"{above}/{below}": round(rates[above] / rates[below], 2) for above, below in pairs if above in rates and below in rates}


def chosen(text: str) -> frozenset[str]:
    """The cases of --only."""
    names = frozenset(part.strip() for part in text.split(",") if part.strip())
    if unknown := sorted(names - set(CASES)):
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: no such case; take some of {', '.join(CASES)}")
    return names


def loads() -> list[float]:
    """How busy the machine is."""
    return [round(each, 2) for each in os.getloadavg()]


def main() -> None:
    """Run all of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="also write the figures there")
    parser.add_argument("--peers", type=Path, help="install the peers there and measure them too")
    parser.add_argument("--only", type=chosen, default=frozenset(CASES), metavar="CASES", help=f"some of {', '.join(CASES)}")
    parser.add_argument("--workers", type=int, default=2, help="measure with so many workers too; 1 measures one only")
    parser.add_argument("--merchants", type=int, default=10_000)
    parser.add_argument("--filled", type=int, default=2_000, help="merchants with reports")
    parser.add_argument("--clients", type=int, default=5_000, help="subscribers")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--home", type=Path, help="keep servers' data there; it is filled only once")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as folder:
        home = Home((options.home or Path(folder) / ".millrace").resolve())
        stack = Stack(home, StackSettings.load(os.environ), lambda line: print(line, file=sys.stderr))
        own = {"MILLRACE_NAMES_KEYSPACE": "bench", "MILLRACE_NAMES_REDIS_PREFIX": "bench", "MILLRACE_HOME": str(home.path)}
        try:
            environ = {**stack.up(["cassandra", "redis"]), **own}
            api_store.fill(environ, options.filled)
            bench = Bench(environ, options, Path(folder))
            machine = {
                "cores": psutil.cpu_count(),
                "python": platform.python_version(),
                "at": datetime.now(UTC).isoformat(timespec="seconds"),
            }
            bench.note("machine", {**machine, "load": [round(each, 2) for each in os.getloadavg()]})
            bench.limits()
            for workers in sorted({1, options.workers}):
                bench.cached(workers)
                bench.executed(workers)
            bench.cold()
            bench.push(options.clients)
            if options.peers:
                bench.peers(options.peers.resolve())
            bench.note("ratios", ratios(bench.results, options.workers))
            bench.note("loadAfter", loads())
        finally:
            stack.down()
    if options.json:
        options.json.write_text(json.dumps(bench.results, indent=2) + "\n")


if __name__ == "__main__":
    main()
