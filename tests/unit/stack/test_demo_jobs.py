"""The jobs that the demo runs beside its payments: one after the other, named where they fail, ended by the stop."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from millrace_stack.demo.jobs import Jobs
from millrace_stack.home import Home
from tests.support.waiting import wait_until

JOBS = (("process", "first"), ("process", "second"))


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Stand in for Python: a script that notes what it was called with; the file of notes."""

    def make(body: str) -> Path:
        script, notes = tmp_path / "python", tmp_path / "notes"
        script.write_text(f'#!/bin/sh\necho "$@ in $MILLRACE_HOME" >> {notes}\n{body}\n')
        script.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(script))
        return notes

    return make


def test_the_jobs_run_in_turn_and_again_and_it_is_said_once(tmp_path: Path, program: Callable[[str], Path]) -> None:
    notes, said = program("echo counted"), list[str]()
    with Jobs(Home(tmp_path), 0.05, said.append, JOBS):
        wait_until(lambda: notes.exists() and len(notes.read_text().splitlines()) >= 6, 60, "three rounds")
    lines = notes.read_text().splitlines()[:6]
    assert lines == [f"-m millrace process {name} in {tmp_path}" for name in ("first", "second")] * 3
    assert [line.split(" (")[0] for line in said] == ["Hours, days and new customers are counted"]
    assert (tmp_path / "logs" / "first.log").read_text().startswith("counted")


def test_they_begin_once_they_may_and_a_stop_is_seen_before(tmp_path: Path, program: Callable[[str], Path]) -> None:
    notes, asked = program("echo counted"), list[bool]()

    def begin() -> bool:
        asked.append(notes.exists())
        return len(asked) == 2

    with Jobs(Home(tmp_path), 60, lambda line: None, JOBS, begin):
        wait_until(lambda: notes.exists() and len(notes.read_text().splitlines()) == 2, 120, "one round")
    assert asked == [False, False]
    with Jobs(Home(tmp_path), 60, lambda line: None, JOBS, lambda: False):
        pass
    assert len(notes.read_text().splitlines()) == 2


def test_a_failed_job_is_named_keeps_none_from_running_and_comes_again_alone_until_it_holds(
    tmp_path: Path, program: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("millrace_stack.demo.jobs._FIRST_PAUSE", 0.05)
    there = tmp_path / "there"
    notes, said = program(f'case "$4" in first) test -e {there} || exit 3;; esac'), list[str]()
    with Jobs(Home(tmp_path), 3600, said.append, JOBS):
        wait_until(lambda: len(said) >= 2, 60, "two failures are said")
        there.touch()
        wait_until(lambda: said[-1].startswith("Hours, days"), 120, "it holds")
    named = f"! millrace process first ended with 3; see {tmp_path / 'logs' / 'first.log'}; again in "
    assert all(line.startswith(named) for line in said[:-1])
    ran = [line.split()[3] for line in notes.read_text().splitlines()]
    assert ran == ["first", "second", *["first"] * len(said[:-1])]


def test_a_stop_ends_the_job_that_runs_and_begins_no_other(tmp_path: Path, program: Callable[[str], Path]) -> None:
    notes, said = program("exec sleep 300"), list[str]()
    with Jobs(Home(tmp_path), 60, said.append, JOBS):
        wait_until(notes.exists, 60, "the first job runs")
        began = time.monotonic()
    assert time.monotonic() - began < 120
    assert (len(notes.read_text().splitlines()), said) == (1, [])
