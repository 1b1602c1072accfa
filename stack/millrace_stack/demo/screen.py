"""What a person sees of the demo: bars and colours on a terminal, plain lines elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Advance = Callable[[int], None]
_EVERY_SECONDS = 5.0


class Screen:
    """Prints from any thread."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True, highlight=False, soft_wrap=True)
        self._lock = threading.Lock()

    def say(self, text: str) -> None:
        """One line."""
        with self._lock:
            self.console.print(text, markup=False)

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        """Say what is being done, and afterwards how long it took."""
        self.say(f"{text} …")
        began = time.monotonic()
        yield
        self.say(f"{text}: {time.monotonic() - began:.1f} s")

    @contextmanager
    def progress(self, text: str, total: int) -> Iterator[Advance]:
        """A bar over ``total`` things; the yielded function is told how many more are done."""
        began = time.monotonic()
        done = 0
        if self.console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            with Progress(*columns, console=self.console, transient=True) as bar:
                task = bar.add_task(text, total=total)

                def advance(count: int) -> None:
                    nonlocal done
                    done += count
                    bar.advance(task, count)

                yield advance
        else:
            said = began

            def tell(count: int) -> None:
                nonlocal done, said
                with self._lock:
                    done += count
                    late = time.monotonic() - said > _EVERY_SECONDS
                    said = time.monotonic() if late else said
                if late:
                    self.say(f"{text}: {done:,} of {total:,}")

            yield tell
        seconds = time.monotonic() - began
        self.say(f"{text}: {done:,} in {seconds:.1f} s ({done / seconds if seconds else 0:,.0f}/s)")
