"""The time that requests may take, watched by one timer for all: a timer for each costs as much as a tenth of a short request's reads."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any


class Budgets:
    """Equal time budgets of tasks. The oldest ends first, so that one timer is enough."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._open: dict[Budget, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def open(self) -> Budget:
        """A budget of the task that enters it, as ``asyncio.timeout``; use it in ``with``."""
        return Budget(self)

    def started(self, budget: Budget, loop: asyncio.AbstractEventLoop) -> None:
        """Watch a budget from now on."""
        budget.ends = loop.time() + self._seconds
        self._open[budget] = None
        if self._timer is None:
            self._timer = loop.call_at(budget.ends, self._look, loop)

    def ended(self, budget: Budget) -> None:
        """Watch it no longer."""
        self._open.pop(budget, None)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        now = loop.time()
        for budget in list(self._open):
            if budget.ends > now:
                self._timer = loop.call_at(budget.ends, self._look, loop)
                return
            del self._open[budget]
            budget.overrun()


class Budget:
    """One task's time, from ``with`` to its end.

    Raises:
        TimeoutError: at the end, where the task was cancelled because the time was over.
    """

    __slots__ = ("_cancelling", "_of", "_over", "_task", "ends")

    def __init__(self, of: Budgets) -> None:
        self._of = of
        self._task: asyncio.Task[Any] | None = None
        self._cancelling = 0
        self._over = False
        self.ends = 0.0

    def __enter__(self) -> Budget:
        task = asyncio.current_task()
        assert task is not None, "a budget is a task's"
        self._task = task
        self._cancelling = task.cancelling()
        self._of.started(self, task.get_loop())
        return self

    def overrun(self) -> None:
        """Cancel the task."""
        assert self._task is not None
        self._over = True
        self._task.cancel()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._of.ended(self)
        # Who else cancelled the task in the meantime is not to be robbed of that: as in asyncio.timeout.
        if self._over and self._task is not None and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error
