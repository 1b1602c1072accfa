"""Who wants to know of a merchant's changes in this process: each subscriber holds what it has not been told yet, merged and bounded.

A slow reader costs a bounded set and never delays another; what does not fit in the set becomes "read again what you show".
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from millrace_contracts.notices import Notice
from millrace_contracts.windows import Grain
from millrace_graphql.errors import ApiError

MOST_WINDOWS = 2_000
"""Windows that a subscriber may have waiting: two weeks of one currency."""


class TooManySubscriptionsError(ApiError):
    """This worker holds as many subscriptions as it may."""

    code = "TOO_MANY_SUBSCRIPTIONS"
    status = 503


@dataclass(frozen=True)
class Change:
    """What has changed for a merchant since the event before. ``watermark`` resumes after it."""

    merchant_id: str
    windows: tuple[tuple[int, str], ...]
    """(start in epoch ms, currency) of 10-minute reports, in time order."""
    watermark: int
    reset: bool = False
    """Changes may have been missed, or are too many to name: read again what you show."""


@dataclass(eq=False)
class Subscriber:
    """One reader of one merchant, or with ``merchant_id`` None of the progress alone."""

    merchant_id: str | None
    _windows: set[tuple[int, str]] = field(default_factory=set)
    _watermark: int = 0
    _reset: bool = False
    _told: asyncio.Event = field(default_factory=asyncio.Event)

    def tell(self, notice: Notice) -> None:
        """Take a notice; returns at once."""
        self._watermark = max(self._watermark, notice["version"])
        if notice["grain"] != Grain.TEN_MINUTES.value:
            return  # hours and days are merges of what was told already
        self._windows.update((start, currency) for start, currency in notice["windows"])
        if len(self._windows) > MOST_WINDOWS:
            self.reset()
        self._told.set()

    def reset(self) -> None:
        """What waits is not all that has changed."""
        self._windows.clear()
        self._reset = True
        self._told.set()

    def poke(self) -> None:
        """Something that has no content of its own has changed."""
        self._told.set()

    async def next(self) -> Change:
        """Wait for changes and take all of them as one."""
        await self._told.wait()
        self._told.clear()
        change = Change(self.merchant_id or "", tuple(sorted(self._windows)), self._watermark, self._reset)
        self._windows = set()
        self._reset = False
        return change


class Hub:
    """The subscribers of this process, by merchant."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._merchants: dict[str | None, set[Subscriber]] = {}
        self.count = 0

    def open(self, merchant_id: str | None) -> Subscriber:
        """Begin to listen; whatever is heard from now on waits for the subscriber.

        Raises:
            TooManySubscriptionsError: the process holds as many as it may.
        """
        if self.count >= self._most:
            raise TooManySubscriptionsError(f"this server holds {self._most} subscriptions and takes no more; try again later")
        subscriber = Subscriber(merchant_id)
        self._merchants.setdefault(merchant_id, set()).add(subscriber)
        self.count += 1
        return subscriber

    def close(self, subscriber: Subscriber) -> None:
        """Forget a subscriber; doing it twice does no harm."""
        group = self._merchants.get(subscriber.merchant_id)
        if group is None or subscriber not in group:
            return
        group.discard(subscriber)
        self.count -= 1
        if not group:
            del self._merchants[subscriber.merchant_id]

    def heard(self, notice: Notice) -> None:
        """Tell the merchant's subscribers."""
        for subscriber in self._merchants.get(notice["merchantId"], ()):
            subscriber.tell(notice)

    def missed(self) -> None:
        """Notices may have been lost: everyone is told so."""
        for merchant_id, group in self._merchants.items():
            for subscriber in group:
                if merchant_id is None:
                    subscriber.poke()
                else:
                    subscriber.reset()

    def progressed(self) -> None:
        """The analysis has come further."""
        for subscriber in self._merchants.get(None, ()):
            subscriber.poke()
