"""What a subscriber is told: everything, merged, bounded, and never another merchant's."""

import asyncio

import pytest

from millrace_contracts.notices import Notice
from millrace_graphql.ranges.subscribers import MOST_WINDOWS, Change, Hub, Subscriber, TooManySubscriptionsError


def notice(merchant: str, version: int, *windows: int, grain: str = "10m") -> Notice:
    return {
        "merchantId": merchant,
        "grain": grain,
        "windows": [(window, "USD") for window in windows],
        "version": version,
        "completeThrough": None,
    }


def waiting(subscriber: Subscriber) -> Change | None:
    """What the subscriber would be told at once."""

    async def take() -> Change | None:
        try:
            return await asyncio.wait_for(subscriber.next(), 0.01)
        except TimeoutError:
            return None

    return asyncio.run(take())


def test_notices_that_come_while_a_reader_is_busy_are_one_event_in_time_order() -> None:
    hub = Hub(10)
    subscriber = hub.open("m")
    for each in (notice("m", 1, 20, 10), notice("m", 3, 10), notice("m", 2, 30), notice("other", 9, 40)):
        hub.heard(each)
    assert waiting(subscriber) == Change("m", ((10, "USD"), (20, "USD"), (30, "USD")), 3)
    assert waiting(subscriber) is None


def test_a_reader_that_does_not_read_costs_a_bounded_set_and_is_told_to_read_again() -> None:
    hub = Hub(10)
    subscriber = hub.open("m")
    for number in range(10 * MOST_WINDOWS):
        hub.heard(notice("m", number + 1, number))
        assert len(subscriber._windows) <= MOST_WINDOWS
    change = waiting(subscriber)
    assert change is not None
    assert (change.reset, change.watermark) == (True, 10 * MOST_WINDOWS)


def test_lost_notices_are_told_to_everyone() -> None:
    hub = Hub(10)
    subscribers = [hub.open("a"), hub.open("b")]
    hub.missed()
    assert [change and change.reset for change in map(waiting, subscribers)] == [True, True]


def test_rollups_are_no_event_of_their_own() -> None:
    hub = Hub(10)
    subscriber = hub.open("m")
    hub.heard(notice("m", 5, 10, grain="1h"))
    assert waiting(subscriber) is None
    hub.heard(notice("m", 4, 20))
    assert waiting(subscriber) == Change("m", ((20, "USD"),), 5)


def test_there_is_an_end_to_subscriptions_and_a_closed_one_makes_room() -> None:
    hub = Hub(2)
    first, _ = hub.open("a"), hub.open(None)
    with pytest.raises(TooManySubscriptionsError, match="2 subscriptions"):
        hub.open("b")
    hub.close(first)
    hub.close(first)
    hub.open("b")
    assert hub.count == 2


def test_progress_reaches_its_own_subscribers_only() -> None:
    hub = Hub(10)
    reports, progress = hub.open("m"), hub.open(None)
    hub.progressed()
    assert waiting(reports) is None
    assert waiting(progress) is not None
