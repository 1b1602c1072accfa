"""Every kind of reprocess while the stream runs and events come: no report goes back, and all is as the stream alone makes it (I7)."""

from __future__ import annotations

import signal
import subprocess
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.integration.processors.events import MINUTE, SECOND, T0, change, payment, token
from tests.integration.processors_jobs.conftest import pipeline, source  # noqa: F401
from tests.integration.processors_jobs.jobs import Jobs
from tests.integration.processors_jobs.pipeline import Pipeline
from tests.integration.processors_jobs.source import Source
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.stack, pytest.mark.timeout(1_500)]
PART = 150
STREAM = ("stream", "--query", "payments", "--trigger", "1 second")
REPROCESSES = (
    ("reprocess", "--no-diff"),
    ("reprocess", "--from", "kafka", "--no-diff"),
    ("reprocess", "--from", "token", "--token", token(SECOND, 1), "--no-diff"),
    ("reprocess", "--merchant", "m1", "--merchant", "m2"),
)
Key = tuple[str, int, str]


class Watched:
    """The payments of each report: as created ones only come, none may ever be fewer (I7)."""

    def __init__(self, made: Pipeline) -> None:
        self._made = made
        self.seen: dict[Key, int] = {}

    def total(self) -> int:
        found = {key: int(row[0]) for key, row in self._made.reports().items()}
        back = {key: (before, found.get(key)) for key, before in self.seen.items() if found.get(key, 0) < before}
        assert not back, f"went back: {back}"
        self.seen = found
        return sum(found.values())


class Writer:
    """Writes payments, part by part."""

    def __init__(self, made: Pipeline) -> None:
        self._made = made
        self.parts = 0
        self.expected = Counter[Key]()

    def write(self) -> int:
        """One part; how many payments there are in all."""
        first = self.parts * PART
        images = [payment(f"p{first + n}", merchantId=f"m{n % 9}", amount=n, paidAt=T0 + n % 60 * MINUTE) for n in range(PART)]
        self._made.produce([change("c", image, at=first + n + 1) for n, image in enumerate(images)], T0 + self.parts)
        self.expected.update((image["merchantId"], image["paidAt"] - image["paidAt"] % (10 * MINUTE), "USD") for image in images)
        self.parts += 1
        return self.parts * PART


def test_reprocesses_beside_the_stream_never_set_a_report_back(pipeline: Pipeline, tmp_path: Path) -> None:  # noqa: F811
    jobs, watched, writer = Jobs(pipeline, tmp_path), Watched(pipeline), Writer(pipeline)
    with jobs.running(*STREAM) as stream:
        held = writer.write()
        wait_until(lambda: watched.total() == held, 300, "the first payments")
        for arguments in REPROCESSES:
            with ExitStack() as stack:
                job: subprocess.Popen[bytes] = stack.enter_context(jobs.running(*arguments, "--json"))
                while job.poll() is None:
                    held = writer.write()
                    wait_until(lambda: watched.total() >= held, 300, f"{held} payments beside {arguments}")  # noqa: B023
                assert job.returncode == 0, arguments
        held = writer.parts * PART
        wait_until(lambda: watched.total() == held, 300, f"{held} payments")
        assert stream.poll() is None
        stream.send_signal(signal.SIGTERM)
        assert stream.wait(180) == 0
    assert writer.parts > len(REPROCESSES), "events came while they worked"
    assert watched.seen == dict(writer.expected)
    compared = jobs.run("reprocess", "--dry-run")
    assert (compared["equal"], compared["changed"], compared["added"]) == (len(writer.expected), 0, 0)


def test_a_dry_run_from_each_of_four_places_tells_and_writes_nothing(pipeline: Pipeline, source: Source, tmp_path: Path) -> None:  # noqa: F811
    made, jobs = pipeline, Jobs(pipeline, tmp_path)
    history = [change("c", payment(f"p{n}", amount=100 + n, paidAt=T0 + n * 10 * MINUTE), at=n + 1) for n in range(12)]
    made.produce(history, T0)
    made.live()
    source.hold(history)
    good = made.reports()
    place = f"merchant_id = 'm' AND grain = '10m' AND window_start = {T0} AND currency = 'USD'"
    row = made.session.execute(f"SELECT bucket FROM {made.config.names.keyspace}.reports WHERE {place} ALLOW FILTERING").one()
    made.session.execute(f"UPDATE {made.config.names.keyspace}.reports SET gross = 7 WHERE {place} AND bucket = '{row.bucket}'")
    damaged = made.reports()
    assert damaged != good
    for arguments in ((), ("--from", "kafka"), ("--from", "token", "--token", token(SECOND, 0)), ("--from", "mongo")):
        with jobs.running("reprocess", *arguments, "--dry-run") as process:
            out, _ = process.communicate(timeout=300)
        assert process.returncode == 1, (arguments, out)
        said = out.decode()
        assert "gross 7 -> 100" in said, (arguments, said)
        assert "Expected to take" in said
        assert "11 equal, 1 changed, 0 not in the store before" in said
        assert made.reports() == damaged, "nothing was written"
