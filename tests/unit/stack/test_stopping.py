"""What does not end keeps nothing else running."""

from __future__ import annotations

from pathlib import Path

import pytest

from millrace_stack.demo import pipeline
from millrace_stack.demo.pipeline import Pipeline
from millrace_stack.demo.screen import Screen
from millrace_stack.demo.tiers import ORDER
from millrace_stack.errors import StackError
from millrace_stack.home import Home
from millrace_stack.settings import StackSettings
from millrace_stack.supervisor import Stack


class Stops:
    """Remembers who was told to stop; one of them does not."""

    def __init__(self, stubborn: str) -> None:
        self.told: list[str] = []
        self._stubborn = stubborn

    def __call__(self, name: str, within: float | None = None) -> bool:
        self.told.append(name)
        if name == self._stubborn:
            raise StackError(f"{name}: pid 1 does not end after SIGKILL")
        return True


@pytest.mark.parametrize("stubborn", ["connect", "redis"])
def test_every_server_is_told_to_stop_and_the_one_that_does_not_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stubborn: str
) -> None:
    stack, stops = Stack(Home(tmp_path), StackSettings.load({}), lambda line: None), Stops(stubborn)
    monkeypatch.setattr(stack.processes, "stop", stops)
    with pytest.raises(StackError, match=stubborn):
        stack.down()
    assert sorted(stops.told) == ["cassandra", "connect", "kafka", "mongo", "redis"]


def test_a_tier_that_does_not_end_leaves_no_server_running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    demo, stops = Pipeline(Home(tmp_path), {}, Screen()), Stops("processors")
    ran: list[tuple[str, ...]] = []
    monkeypatch.setattr(demo.processes, "stop", stops)
    monkeypatch.setattr(pipeline, "millrace", lambda home, arguments, **_: ran.append(tuple(arguments)))
    demo.stop()
    assert sorted(stops.told) == sorted(ORDER)
    assert ran == [("stack", "down")]
