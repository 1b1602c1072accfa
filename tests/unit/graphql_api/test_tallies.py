"""The hot path's counters say what Prometheus's own would say."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from millrace_graphql.boards import FOLDER_VARIABLE, Board
from millrace_graphql.tallies import Clocks, Tallies

BOUNDS = (0.5, 1, 10)
VALUES = (0.1, 0.5, 0.7, 1, 1.5, 10, 11.25)


def _samples(registry: CollectorRegistry) -> list[str]:
    """The lines of a scrape but for those that tell when a metric was made."""
    return [line for line in generate_latest(registry).decode().splitlines() if "_created" not in line]


def test_a_counter_reads_as_prometheus_own() -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    tallies = Tallies("x_things", "Things.", ["kind", "result"], ours)
    counter = Counter("x_things", "Things.", ["kind", "result"], registry=theirs)
    for found in (tallies, counter):
        found.labels("a", "ok").inc()
        found.labels("a", 'not "ok"').inc(3)
        found.labels("a", "ok").inc(2)
    assert _samples(ours) == _samples(theirs)
    assert ours.get_sample_value("x_things_total", {"kind": "a", "result": "ok"}) == 3.0


def test_a_histogram_reads_as_prometheus_own() -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    clocks = Clocks("x_seconds", "Time.", ["kind"], BOUNDS, ours)
    histogram = Histogram("x_seconds", "Time.", ["kind"], buckets=BOUNDS, registry=theirs)
    for value in VALUES:
        clocks.labels("a").observe(value)
        histogram.labels("a").observe(value)
    assert _samples(ours) == _samples(theirs)


def test_one_without_labels_is_one_number() -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    clock = Clocks("x_points", "Points.", [], BOUNDS, ours).labels()
    histogram = Histogram("x_points", "Points.", buckets=BOUNDS, registry=theirs)
    for value in VALUES:
        clock.observe(value)
        histogram.observe(value)
    assert _samples(ours) == _samples(theirs)


WORKER = """
import os, sys
from millrace_graphql.observability import FEED, REQUESTS, SECONDS, SUBSCRIPTIONS, exposition
for _ in range(int(sys.argv[1])):
    REQUESTS.labels("rest", "/v1", "ok").inc()
    SECONDS.labels("rest", "/v1").observe(0.003)
SUBSCRIPTIONS.labels("sse").inc()
FEED.set(1)
print("counted", flush=True)
for line in sys.stdin:
    if line == "die\\n":
        os.kill(os.getpid(), 9)
    sys.stdout.write(exposition()[0].decode() + "END\\n")
    sys.stdout.flush()
"""


class Worker:
    """A process with the API's metrics beside others of the same folder."""

    def __init__(self, folder: Path, count: int) -> None:
        environ = {**os.environ, FOLDER_VARIABLE: str(folder)}
        command = [sys.executable, "-c", WORKER, str(count)]
        self._process = subprocess.Popen(command, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "counted\n"

    def scrape(self) -> dict[str, float]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("scrape\n")
        self._process.stdin.flush()
        lines = iter(self._process.stdout.readline, "END\n")
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))}

    def kill(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("die\n")
        self._process.stdin.flush()
        self._process.wait()
        self.close()

    def close(self) -> None:
        with self._process:
            self._process.stdin.close()  # type: ignore[union-attr]


def test_each_worker_shows_the_sum_of_all_and_what_a_killed_one_had_counted(tmp_path: Path) -> None:
    requests = 'millrace_api_requests_total{kind="rest",operation="/v1",outcome="ok"}'
    seconds = 'millrace_api_request_seconds_count{kind="rest",operation="/v1"}'
    subscriptions = 'millrace_api_subscriptions{transport="sse"}'

    def shown(worker: Worker) -> list[float]:
        found = worker.scrape()
        return [found[name] for name in (requests, seconds, subscriptions, "millrace_api_notices_trusted")]

    one, two = Worker(tmp_path, 100), Worker(tmp_path, 20)
    assert shown(one) == shown(two) == [120.0, 120.0, 2.0, 1.0]
    two.kill()
    assert shown(one) == [120.0, 120.0, 1.0, 1.0]
    for count in (3, 0, 5):
        Worker(tmp_path, count).kill()
    last = Worker(tmp_path, 1)
    assert shown(one) == shown(last) == [129.0, 129.0, 2.0, 1.0]
    assert len(list(tmp_path.glob("*.names"))) == 3, "all that have ended are one"
    one.close()
    last.close()


@given(st.lists(st.lists(st.integers(0, 2**40), min_size=1, max_size=5), min_size=1, max_size=5))
def test_numbers_of_boards_that_have_ended_are_summed_exactly(workers: list[list[int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for numbers in workers:
            board = Board(Path(folder))
            for place, number in enumerate(numbers):
                board.cells("x", (str(place),))[0] = number
            board.end()
        last = Board(Path(folder))
        rows = last.shown()
        last.end()
        for place in range(5):
            expected = sum(numbers[place] for numbers in workers if place < len(numbers))
            assert sum(values[0] for _, values in rows.get(("x", (str(place),)), [])) == expected
