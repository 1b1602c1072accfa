"""A server or a process that is away: tried again with a growing pause, told in words, given up after its time."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import structlog

T = TypeVar("T")
log = structlog.get_logger()


@dataclass
class GrowingPause:
    """Seconds between tries: doubled from ``first`` to ``longest``, each spread by a quarter, so that many who wait do not come at once."""

    first: float = 0.5
    longest: float = 10.0
    _now: float = field(default=0.0, init=False)

    def next(self) -> float:
        """The pause before the next try."""
        self._now = min(self._now * 2, self.longest) if self._now else self.first
        return self._now * random.uniform(0.75, 1.25)  # noqa: S311 - jitter

    def reset(self) -> None:
        """It went well: the next failure counts as the first."""
        self._now = 0.0


def until_answered(
    server: str,
    ask: Callable[[], T],
    away: tuple[type[Exception], ...],
    seconds: float,
    given_up: Callable[[str], Exception],
    pause: GrowingPause | None = None,
    sleep: Callable[[float], object] = time.sleep,
) -> T:
    """What ``ask`` returns, tried again while it raises one of ``away``, for ``seconds`` from the first failure.

    Each failure is logged with the server's name. 0 seconds: one try.

    Raises:
        Exception: ``given_up`` of a line that names the server, the last reason and the fix.
    """
    pauses, since = pause or GrowingPause(), None
    while True:
        try:
            return ask()
        except away as error:
            now = time.monotonic()
            since = now if since is None else since
            waited, reason = now - since, reason_of(error)
            if waited >= seconds:
                after = f" for {waited:.0f} s" if waited >= 1 else ""
                raise given_up(f"{server} does not answer{after} ({reason}); is the stack up?") from None
            wait = min(pauses.next(), seconds - waited)
            log.warning("waiting for a server", server=server, reason=reason, waited_seconds=round(waited, 1), next_try_in=round(wait, 1))
        sleep(wait)


def reason_of(error: BaseException) -> str:
    """An error of a driver in one line, without what is meant for a debugger."""
    text = str(error).split(", Timeout:")[0].splitlines()
    return (text[0] if text and text[0].strip() else type(error).__name__)[:300]
