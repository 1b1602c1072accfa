"""How a replay tells a person what it does: a bar on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from datetime import timedelta
from types import TracebackType
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from millrace_cdc.pump import Committed
from millrace_cdc.replay.keystrings import instant
from millrace_cdc.replay.records import Replay
from millrace_cdc.replay.run import Ended
from millrace_cdc.replay.sinks import DrySink
from millrace_runtime.screen import echo

EVERY_SECONDS = 5.0
OPS = {"c": "created", "u": "updated", "d": "deleted", "r": "read"}


class Bar:
    """Progress by cluster time, on standard error."""

    def __init__(self, replay: Replay) -> None:
        self._start, self._end = replay.start_at[0], max(replay.end_at[0], replay.start_at[0] + 1)
        self._terminal = sys.stderr.isatty()
        self._told = time.monotonic()
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, console=Console(stderr=True), disable=not self._terminal)
        self._task = self._progress.add_task("replaying", total=self._end - self._start)

    def __enter__(self) -> Bar:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._progress.stop()

    def __call__(self, replay: Replay, done: Committed) -> None:
        """Show a committed transaction."""
        at = done.cluster_seconds or self._start
        text = f"{replay.sent:,} events, at {instant(at)}"
        self._progress.update(self._task, completed=min(at, self._end) - self._start, description=text)
        if not self._terminal and time.monotonic() - self._told >= EVERY_SECONDS:
            self._told = time.monotonic()
            echo(text, err=True)


def dry_run_json(found: DrySink, seconds: float, rate: int, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The answer of a dry run. Reading and encoding is all but the sending, so the real run takes about as long, or what the rate says."""
    paced = found.events / rate if rate else 0.0
    return {
        **facts,
        "events": found.events,
        "by_op": found.by_op,
        "bytes": found.size,
        "dead_letters": found.dead_letters,
        "estimated_seconds": round(max(seconds * 1.25, paced), 1),
        "samples": found.samples,
    }


def dry_run_text(answer: Mapping[str, Any]) -> str:
    """The same for a person."""
    ops = ", ".join(f"{count:,} {OPS[op]}" for op, count in sorted(answer["by_op"].items())) or "none"
    lines = [
        f"from      {answer['from']}",
        f"to        {answer['to']}",
        f"which     {answer['filter']}",
        f"topic     {answer['topic']}",
        f"reach     {answer['reach']}",
        f"events    {answer['events']:,} ({ops}), {answer['bytes']:,} bytes",
        f"duration  about {timedelta(seconds=round(answer['estimated_seconds']))}",
    ]
    if answer["dead_letters"]:
        lines.append(f"also      {answer['dead_letters']:,} changes that can not be sent, to the dead letters")
    lines += [f"sample    {sample['key']}  {click.style(str(sample['value'])[:200], dim=True)}" for sample in answer["samples"]]
    return "\n".join([*lines, "nothing was sent: dry run"])


def ended_json(ended: Ended) -> dict[str, Any]:
    """The answer of a replay."""
    return {
        "id": ended.replay.id,
        "finished": ended.finished,
        "sent": ended.replay.sent,
        "dead_letters": ended.dead_letters,
        "topic": ended.replay.topic,
        "seconds": round(ended.seconds, 1),
    }


def ended_text(ended: Ended) -> str:
    """The same for a person."""
    answer = ended_json(ended)
    if not ended.finished:
        return f"stopped after {answer['sent']:,} events; go on with: millrace replay --resume {answer['id']}"
    letters = f", {answer['dead_letters']:,} dead letters" if answer["dead_letters"] else ""
    return f"replayed {answer['sent']:,} events to {answer['topic']} in {answer['seconds']:,} s{letters}"
