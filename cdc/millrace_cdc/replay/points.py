"""A point in the history of changes as a person writes it. Pure: ``history`` finds out whether it exists.

| written | means |
|---|---|
| `now` | the newest change |
| `oldest` | the beginning of the oplog |
| `826B06…` | behind the change with this resume token |
| `1795600000` or `1795600000.3` | a cluster time: seconds since 1970, ordinal |
| `2026-11-25T13:00:00Z` | a wall-clock time; without a zone it is refused |
| `-90m` (s, m, h, d) | so long ago |
| any other name | a bookmark |
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from millrace_cdc.errors import Misconfigured
from millrace_cdc.replay import keystrings
from millrace_cdc.tokens import BadToken
from millrace_contracts.values.instants import parse_bound
from millrace_contracts.windows import to_ms

Time = tuple[int, int]
Kind = Literal["now", "oldest", "token", "time", "bookmark"]
NAME = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,63}")
RESERVED = ("now", "oldest")

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
AGO = re.compile(r"-([0-9]{1,12})([smhd])")
_CLUSTER_TIME = re.compile(r"([0-9]{9,10})(?:\.([0-9]{1,10}))?")
_LIKE_A_TIME = re.compile(r"[0-9]{4}.*-")


@dataclass(frozen=True)
class Point:
    """A point; which field holds it follows from ``kind``."""

    kind: Kind
    token: str = ""
    at: Time = (0, 0)
    name: str = ""


def parse(option: str, text: str, now: float) -> Point:
    """The point that a text means; ``now`` is epoch seconds.

    Raises:
        Misconfigured: it means none; the message names the option and what can be written.
    """
    if text in RESERVED:
        return Point("now" if text == "now" else "oldest")
    if text.startswith("82") and len(text) >= 18:
        return Point("token", token=_token(option, text))
    if found := AGO.fullmatch(text):
        return Point("time", at=(max(1, int(now) - int(found[1]) * _UNITS[found[2]]), 0))
    if found := _CLUSTER_TIME.fullmatch(text):
        return Point("time", at=_cluster_time(option, int(found[1]), int(found[2] or 0)))
    if _LIKE_A_TIME.match(text):
        return Point("time", at=(_instant(option, text), 0))
    if NAME.fullmatch(text):
        return Point("bookmark", name=text)
    raise Misconfigured(f"{option}: {text!r} is no point; write now, oldest, a resume token, SECONDS.ORDINAL, {_EXAMPLES}")


_EXAMPLES = "a time such as 2026-11-25T13:00:00Z or -2h, or the name of a bookmark"


def _token(option: str, text: str) -> str:
    try:
        keystrings.decode(text)
    except BadToken as error:
        raise Misconfigured(f"{option}: {error}") from None
    return text.upper()


def _cluster_time(option: str, seconds: int, ordinal: int) -> Time:
    if max(seconds, ordinal) >= 1 << 32:
        raise Misconfigured(f"{option}: {seconds}.{ordinal} is no cluster time: two numbers of 32 bits, the first in seconds since 1970")
    return seconds, ordinal


def _instant(option: str, text: str) -> int:
    try:
        found = parse_bound(text)
    except ValueError:
        raise Misconfigured(f"{option}: {text!r} is not a time from 1970 to 2100; write for example 2026-11-25T13:00:00Z") from None
    if len(text) <= len("2026-11-25") or not (text[-1] in "Zz" or text[-6] in "+-"):
        zoned = text if len(text) > len("2026-11-25") else f"{text}T00:00"
        raise Misconfigured(f"{option}: {text!r} names no zone; write {zoned}Z for UTC, or an offset such as +09:00")
    return to_ms(found) // 1000
