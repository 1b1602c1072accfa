"""Whether the stream stays as it is: memory and the time of a batch over many live batches.

    python bench/soak.py [--json PATH] [--batches 200] [--events 2000]

`millrace process stream` runs as the process that it is, on real Kafka, Cassandra and Redis and a lake on this machine's disk, and takes
one live-sized batch after another without a pause. Of a batch's events 80 % are new payments, 10 % pay late (up to three hours), 5 % are
updates of earlier ones (a refund is added) and 5 % come a second time. A fourth of the batches fills one 10-minute window; late payments
are of all merchants alike, so that hardly two meet in one report. What a batch reads back is then the same in every fourth (it is told):
memory that grows does so for another reason. Small files are joined as in the demo, but once a fourth.

Sampled after each batch: resident memory of the driver's JVM (its heap, and everything else), of the driver's Python and of the workers
(all, and by process), seconds of the steps; twenty times the heap that is alive after a full collection (this needs `jcmd`); once a fourth
what the JVM says of its memory outside of the heap, files of the lake's metadata and of the checkpoint.

Flat is what, over the last half, grows by less than MOST_GROWTH or LEAST_MIB in 100 batches. Resident memory of the heap is not asked: it
grows to what `MILLRACE_SPARK_DRIVER_MEMORY` allows, whatever is in it; what is alive in it is.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from analysis_events import FIRST_MS, MERCHANTS, Events, change, payment
from millrace_contracts.windows import WINDOW_MS
from millrace_processors import tables
from millrace_processors.settings import Config
from millrace_stack.home import Home
from millrace_stack.settings import StackSettings
from millrace_stack.supervisor import Stack, spark_jars

MIB = 1 << 20
QUARTERS = 4
MOST_GROWTH = 0.02
"""Flat is what grows by less than this share of itself in 100 batches, or by less than LEAST_MIB."""
LEAST_MIB = 4.0
FLAT = ("driverJvmOther", "driverPython", "workers", "liveHeap")
TOLD = (*FLAT, "driverJvmHeap", "largestWorker", "workerProcesses", "facts", "seconds")
LIVE = 20
"""How often the live heap is looked at."""
_TRACKED = {"JAVA_TOOL_OPTIONS": "-XX:NativeMemoryTracking=summary"}
PATIENCE_SECONDS = 400


def produce(events: Events, batches: int, size: int) -> None:
    """All events of the soak, in the order of the change stream."""
    chance, producer = np.random.default_rng(1), events.producer()
    taken: list[tuple[dict[str, Any], int]] = []
    order = number = 0
    for batch in range(batches):
        now = FIRST_MS + (18 + batch * QUARTERS // batches) * WINDOW_MS
        merchants, kinds, late = chance.zipf(1.2, size) % MERCHANTS, chance.random(size), chance.integers(0, 18 * WINDOW_MS, size)
        for merchant, kind, back in zip(merchants.tolist(), kinds.tolist(), late.tolist(), strict=True):
            if taken and kind < 0.05:
                before, at = taken[int(chance.integers(len(taken)))]
                value = change(at, before)
            elif taken and kind < 0.10:
                before, _ = taken[int(chance.integers(len(taken)))]
                after = {**before, "refunds": [{"id": f"r{order}", "amount": 1, "refundedAt": now}]}
                value = change(order, after, before)
            else:
                late_one = kind < 0.20
                whose = int(chance.integers(MERCHANTS)) if late_one else merchant
                before = payment(number, whose, now - back if late_one else now + number * 7919 % WINDOW_MS)
                value, number = change(order, before), number + 1
                taken = [*taken[-5_000:], (before, order)] if len(taken) > 10_000 else taken
                taken.append((before, order))
            producer.produce(events.topic, value, before["_id"])
            order += 1
        events.mark(producer, FIRST_MS + order)
        producer.flush()


class Job:
    """The stream as a process, and what it is made of."""

    def __init__(self, environ: dict[str, str], log: Path) -> None:
        self._log = log
        self._heap: tuple[int, int] | None = None
        command = [sys.executable, "-m", "millrace", "process", "stream", "--query", "payments", "--trigger", "0 seconds"]
        self._file = log.open("wb")
        self._process = subprocess.Popen(command, env={**environ, **_TRACKED}, stderr=self._file, stdout=self._file)

    def batches(self) -> Iterator[dict[str, Any]]:
        """What the log says of each batch, as it comes.

        Raises:
            SystemExit: no batch ends any more.
        """
        seen, last = 0, time.monotonic()
        while True:
            lines = self._log.read_bytes().splitlines(keepends=True)
            for line in lines[seen:]:
                if line.endswith(b"\n"):
                    seen += 1
                    if b'"stream.batch"' in line:
                        last = time.monotonic()
                        yield json.loads(line)
            if self._process.poll() is not None or time.monotonic() - last > PATIENCE_SECONDS:
                raise SystemExit(f"the stream stands still; its log ends with: {lines[-3:]}")
            time.sleep(0.05)

    def memory(self) -> dict[str, float]:
        """MiB of resident memory, and how many workers there are."""
        found = {"driverPython": _rss(psutil.Process(self._process.pid)), "workers": 0.0, "largestWorker": 0.0, "workerProcesses": 0.0}
        for child in psutil.Process(self._process.pid).children(recursive=True):
            try:
                size = _rss(child)
                if child.name() == "java":
                    heap = self._heap_resident(child.pid)
                    found |= {"driverJvmHeap": heap, "driverJvmOther": size - heap}
                    continue
            except (psutil.Error, OSError):
                continue
            found["workers"] += size
            found["largestWorker"] = max(found["largestWorker"], size)
            found["workerProcesses"] += 1
        return found

    def _heap_resident(self, java: int) -> float:
        """MiB of the heap's addresses that are resident."""
        if self._heap is None:
            told = _jcmd(java, "GC.heap_info")
            ends = [int(each, 16) for each in re.findall(r"0x([0-9a-f]{8,16})", told)]
            self._heap = min(ends), max(ends)
        total = 0
        with Path(f"/proc/{java}/smaps").open() as lines:
            inside = False
            for line in lines:
                if span := re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line):
                    inside = int(span[1], 16) < self._heap[1] and int(span[2], 16) > self._heap[0]
                elif inside and line.startswith("Rss:"):
                    total += int(line.split()[1])
        return total / 1024

    def live_heap(self) -> float:
        """MiB of the JVM's heap that a full collection leaves, without the arrays of long: the sorts of the next batch hold those."""
        told = _jcmd(self._java(), "GC.class_histogram")
        sizes = {name: int(size) for size, name in re.findall(r"^ *\d+: +\d+ +(\d+) +(\S+)", told, re.MULTILINE)}
        return round((sum(sizes.values()) - sizes.get("[J", 0)) / MIB, 1)

    def outside_the_heap(self) -> dict[str, float]:
        """MiB that the JVM has taken for each of its own purposes, the largest of them."""
        told = re.findall(
            r"^- +(.+?) \(reserved=\d+KB, committed=(\d+)KB", _jcmd(self._java(), "VM.native_memory", "summary"), re.MULTILINE
        )
        sizes = {name.strip(): round(int(size) / 1024, 1) for name, size in told if name.strip() != "Java Heap"}
        return dict(sorted(sizes.items(), key=lambda item: -item[1])[:8])

    def _java(self) -> int:
        return next(each.pid for each in psutil.Process(self._process.pid).children(recursive=True) if each.name() == "java")

    def stop(self) -> int:
        """Stop as an operator would; the exit code."""
        self._process.terminate()
        code = self._process.wait(120)
        self._file.close()
        return code


def _jcmd(pid: int, *command: str) -> str:
    return subprocess.run(["jcmd", str(pid), *command], check=True, capture_output=True, text=True).stdout


def _rss(process: psutil.Process) -> float:
    return float(process.memory_info().rss / MIB)


def soak(job: Job, batches: int, home: Path) -> list[dict[str, Any]]:
    """One row a batch."""
    rows: list[dict[str, Any]] = []
    for told in job.batches():
        row = {
            "seconds": sum(told["seconds"].values()),
            "steps": told["seconds"],
            "reports": told["reports"],
            "facts": told["facts"],
            **job.memory(),
        }
        rows.append(row)
        if len(rows) % max(1, batches // LIVE) == 0:
            row["liveHeap"] = job.live_heap()
        if len(rows) % (batches // QUARTERS) == 0:
            row |= {"jvmOutsideOfHeap": job.outside_the_heap(), **files(home)}
            kept = {name: value for name, value in row.items() if name != "steps"}
            print(f"{len(rows)} of {batches} batches: {kept}", flush=True)
        if len(rows) == batches:
            return rows
    raise AssertionError("the batches do not end")


def files(home: Path) -> dict[str, int]:
    """What lies on the disk."""
    metadata = [each for each in (home / "lake").rglob("metadata/*") if each.is_file()]
    return {
        "metadataFiles": len(metadata),
        "newestTableMetadataBytes": max((each.stat().st_size for each in metadata if each.name.endswith(".metadata.json")), default=0),
        "dataFiles": sum(1 for _ in (home / "lake").rglob("*.parquet")),
        "checkpointFiles": sum(1 for each in (home / "checkpoints").rglob("*") if each.is_file()),
    }


def growth(values: list[float]) -> float:
    """The median of the slopes between all pairs (Theil and Sen): a single batch that is unlike the others does not move it."""
    at, found = np.arange(len(values)), np.array(values)
    later, earlier = np.triu_indices(len(values), 1)[::-1]
    return float(np.median((found[later] - found[earlier]) / (at[later] - at[earlier])))


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """First and last fourth, and the growth over the last half: before that the JVM fills the heap that it was given."""
    size = len(rows) // QUARTERS
    first, last, settled = rows[:size], rows[-size:], rows[-2 * size :]
    found: dict[str, Any] = {}
    for name in (
        "driverJvmHeap",
        "driverJvmOther",
        "driverPython",
        "workers",
        "largestWorker",
        "workerProcesses",
        "facts",
        "seconds",
        "liveHeap",
    ):
        values = [[row[name] for row in part if name in row] for part in (first, last, settled)]
        slope = growth(values[2]) * 100 * (len(values[2]) / len(settled))
        found[name] = {
            "firstFourth": round(statistics.median(values[0]), 2),
            "lastFourth": round(statistics.median(values[1]), 2),
            "per100Batches": round(slope, 3),
        }
        if name in FLAT:
            found[name]["flat"] = slope <= max(LEAST_MIB, MOST_GROWTH * statistics.median(values[2]))
    return {
        **found,
        "stepSeconds": {
            name: [round(statistics.median(row["steps"].get(name, 0) for row in part), 3) for part in (first, last)]
            for name in rows[-1]["steps"]
        },
        "fourths": [
            {name: row[name] for name in ("jvmOutsideOfHeap", "metadataFiles", "newestTableMetadataBytes", "dataFiles", "checkpointFiles")}
            for row in rows[size - 1 :: size]
        ],
    }


def main() -> None:
    """Start the servers, let it run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="also write the figures and every batch there")
    parser.add_argument("--batches", type=int, default=200)
    parser.add_argument("--events", type=int, default=2_000, help="change events of one batch")
    options = parser.parse_args()
    if shutil.which("jcmd") is None:
        parser.error("jcmd of a JDK is needed on the PATH")
    if options.batches % QUARTERS:
        parser.error("--batches is a multiple of four")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the servers are stopped either way
    with tempfile.TemporaryDirectory(prefix="millrace-soak-") as folder:
        home = Home(Path(folder) / ".millrace")
        settings = StackSettings.load(os.environ)
        stack = Stack(home, settings, print)
        try:
            environ = {**stack.up(["kafka", "cassandra", "redis"]), **spark_jars(settings, print), "MILLRACE_HOME": str(home.path)}
            environ |= {
                "MILLRACE_PROCESSORS_MAX_EVENTS_PER_BATCH": str(options.events),
                "MILLRACE_PROCESSORS_JOIN_FILES_EVERY": str(options.batches // QUARTERS),
            }
            config = Config.load(environ)
            tables.declare_store(config)
            # Some more than are looked at: the last batch is not to wait for the end of the topic.
            produce(Events(config.kafka.bootstrap, config.names), options.batches + 4, options.events)
            job = Job({**os.environ, **environ}, Path(folder) / "stream.log")
            try:
                rows = soak(job, options.batches, home.path)
            finally:
                code = job.stop()
        finally:
            stack.down()
    result = {"batches": options.batches, "events": options.events, "exitCode": code, **summary(rows)}
    print(json.dumps(result, indent=2))
    if options.json:
        options.json.write_text(json.dumps({**result, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
