"""The numbers of this process's metrics in a file that all workers of a server read, so that each of them can show the sum.

A number is a double in shared memory, so that a worker that is killed loses none. A worker holds a lock on its file for as long as it
lives: gauges of one that has ended count no more, its counters do.
"""

from __future__ import annotations

import fcntl
import json
import mmap
import os
import secrets
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

FOLDER_VARIABLE = "MILLRACE_API_METRICS_FOLDER"
"""Where the workers of one command have their numbers; the command tells them."""
SLOTS = 65_536
"""Numbers of a worker. 200 operations, with a histogram each, take 4,000."""
_ENDED = "ended"
Series = tuple[str, tuple[str, ...]]
"""A metric's name and the values of its labels."""
Cells: TypeAlias = "memoryview[float]"


class Board:
    """The numbers of this process; ``folder`` None where nobody else shows them."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._used = 0
        self._own: dict[Series, Cells] = {}
        self._snapshot: dict[Series, list[tuple[bool, list[float]]]] | None = None
        self._name = f"{os.getpid()}-{secrets.token_hex(4)}"
        if folder is None:
            self._cells = memoryview(bytearray(SLOTS * 8)).cast("d")
            return
        with _locked(folder):
            _fold(folder)
            self._names = (folder / f"{self._name}.names").open("a", encoding="utf-8")
            self._file = (folder / f"{self._name}.values").open("w+b")
            self._file.truncate(SLOTS * 8)
            fcntl.flock(self._file, fcntl.LOCK_EX)
        self._cells = memoryview(mmap.mmap(self._file.fileno(), SLOTS * 8)).cast("d")

    def cells(self, name: str, labels: tuple[str, ...], count: int = 1) -> Cells:
        """The numbers of a series, zero at first."""
        if self._used + count > SLOTS:
            return memoryview(bytearray(count * 8)).cast("d")  # counted, and not shown
        if self._folder is not None:
            self._names.write(json.dumps([name, labels, self._used, count]) + "\n")
            self._names.flush()
        found = self._own[name, labels] = self._cells[self._used : self._used + count]
        self._used += count
        return found

    def end(self) -> None:
        """Count no more; what was counted is shown on. A process that ends needs not call it."""
        if self._folder is not None:
            self._names.close()
            self._file.close()

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Show the numbers of one moment while this is open."""
        self._snapshot = self.shown()
        try:
            yield
        finally:
            self._snapshot = None

    def shown(self) -> dict[Series, list[tuple[bool, list[float]]]]:
        """Each series' numbers, worker by worker, with whether that one lives; the own ones alone without a folder."""
        if self._snapshot is not None:
            return self._snapshot
        if self._folder is None:
            return {series: [(True, list(cells))] for series, cells in self._own.items()}
        with _locked(self._folder):
            return _read(self._folder)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _read(folder: Path) -> dict[Series, list[tuple[bool, list[float]]]]:
    found: dict[Series, list[tuple[bool, list[float]]]] = {}
    for names in sorted(folder.glob("*.names")):
        values = names.with_suffix(".values")
        lives = names.stem != _ENDED and _lives(values)
        numbers = memoryview(values.read_bytes()).cast("d")
        for line in names.read_text(encoding="utf-8").splitlines():
            try:
                name, labels, first, count = json.loads(line)
            except ValueError:
                continue  # killed while it wrote the line: nothing was counted there
            found.setdefault((name, tuple(labels)), []).append((lives, list(numbers[first : first + count])))
    return found


def _lives(values: Path) -> bool:
    with values.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _fold(folder: Path) -> None:
    """Make one of all that have ended: a server that puts new workers in place of old ones for years has no more to read."""
    over = [names for names in sorted(folder.glob("*.names")) if names.stem == _ENDED or not _lives(names.with_suffix(".values"))]
    if len(over) < 2:
        return
    sums = {series: [sum(column) for column in zip(*rows, strict=True)] for series, rows in _ended_rows(folder).items()}
    draft = folder / "draft"
    lines: list[str] = []
    numbers: list[float] = []
    for (name, labels), values in sums.items():
        lines.append(json.dumps([name, labels, len(numbers), len(values)]))
        numbers += values
    draft.write_bytes(array("d", numbers).tobytes())
    for names in over:
        names.unlink()
        names.with_suffix(".values").unlink()
    draft.replace(folder / f"{_ENDED}.values")
    (folder / f"{_ENDED}.names").write_text("\n".join(lines), encoding="utf-8")


def _ended_rows(folder: Path) -> dict[Series, list[list[float]]]:
    return {series: rows for series, found in _read(folder).items() if (rows := [values for lives, values in found if not lives])}
