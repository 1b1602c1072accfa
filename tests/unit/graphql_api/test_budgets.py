"""The time of many requests by one timer: whoever is over it is cancelled and told so, and nobody else is."""

import asyncio
import selectors
from typing import Any

import pytest

from millrace_graphql.http.budgets import Budgets


class Turned(asyncio.SelectorEventLoop):
    """A loop whose clock is turned to the next timer where others wait for it: nothing is early or late by chance."""

    def __init__(self) -> None:
        self._now = 0.0
        selector = selectors.DefaultSelector()
        select = selector.select

        def turn(timeout: float | None = None) -> Any:
            self._now += timeout or 0.0
            return select(0)

        selector.select = turn  # type: ignore[method-assign]
        super().__init__(selector)

    def time(self) -> float:
        return self._now


async def within(budgets: Budgets, seconds: float) -> str:
    try:
        with budgets.open():
            await asyncio.sleep(seconds)
    except TimeoutError:
        return "over"
    return "done"


def test_who_takes_too_long_is_told_at_its_time_and_the_others_end_well() -> None:
    async def main() -> None:
        budgets = Budgets(0.2)
        loop = asyncio.get_running_loop()
        began = loop.time()
        early = [asyncio.create_task(within(budgets, seconds)) for seconds in (0.0, 30.0, 0.05, 30.0)]
        await asyncio.sleep(0.1)
        late = [asyncio.create_task(within(budgets, seconds)) for seconds in (30.0, 0.15)]
        assert await asyncio.gather(*early, *late) == ["done", "over", "done", "over", "over", "done"]
        assert loop.time() - began == pytest.approx(0.3)
        # Once idle, it watches again what comes next.
        assert await within(budgets, 30.0) == "over"
        assert await within(budgets, 0.0) == "done"

    with asyncio.Runner(loop_factory=Turned) as runner:
        runner.run(main())


def test_a_task_that_somebody_else_cancels_ends_as_cancelled() -> None:
    async def main() -> None:
        budgets = Budgets(0.05)
        gone = asyncio.create_task(within(budgets, 30.0))
        await asyncio.sleep(0)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone

        async def cancelled_by_both() -> None:
            with budgets.open() as budget:
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
                budget.overrun()
                await asyncio.sleep(30)

        both = asyncio.create_task(cancelled_by_both())
        with pytest.raises(asyncio.CancelledError):
            await both

    asyncio.run(main())


def test_an_error_of_the_work_itself_passes_as_it_is() -> None:
    async def main() -> None:
        with pytest.raises(ValueError, match="its own"), Budgets(1).open():
            raise ValueError("its own")

    asyncio.run(main())
