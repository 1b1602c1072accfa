"""What becomes of a relay whose worker ended; the workers are real processes that end as told."""

import subprocess

import pytest

from millrace_cdc.workers import Worker, WorkerFailed, Workers


def one_that_ends(code: int) -> Workers:
    process = subprocess.Popen(["/bin/sh", "-c", f"exit {code}"])
    process.wait()
    workers = Workers(1, {})
    workers._running[0] = Worker(0, process)
    return workers


def test_a_fenced_worker_is_waited_for_until_its_lease_is_told_to_be_lost() -> None:
    workers = one_that_ends(4)
    for _ in range(3):
        workers.check(fenced_seconds=3600)
    workers.stop([0])  # what the lost lease does
    workers.check()


@pytest.mark.parametrize(("code", "seconds"), [(4, 0.0), (6, 3600.0)])
def test_another_end_and_one_without_leases_end_the_relay_with_its_code(code: int, seconds: float) -> None:
    with pytest.raises(WorkerFailed) as failed:
        one_that_ends(code).check(seconds)
    assert failed.value.exit_code == code
