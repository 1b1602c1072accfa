"""Instants and calendar days that arrive as text. One grammar for all tiers: RFC 3339, section 5.6.

- ``parse_instant``: RFC 3339 with seconds and an offset, for bodies and parameters of requests.
- ``parse_bound``: the same, also without seconds or offset (then UTC), or a day (its midnight in UTC), from 1970 to 2100; for options of
  commands and ranges of queries.
- ``parse_day``: ``2026-03-01``, for a date of birth.

``T`` and ``Z`` may be lower case, a space may stand for ``T``, and a fraction may have any number of digits: those below a
microsecond are cut off. A leap second is taken as the second after it. RFC 3339 is narrower than ISO 8601: weeks
(``2026-W48-2``), compact forms (``20261124T093000``), decimal commas and offsets with seconds are refused.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta

EARLIEST_BOUND, LATEST_BOUND = datetime(1970, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)

_DAY = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_OFFSET = r"[Zz]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9]"
_INSTANT = re.compile(rf"{_DAY}[Tt ](?:[01][0-9]|2[0-3]):[0-5][0-9](:(?:[0-5][0-9]|(60))(?:\.[0-9]+)?)?({_OFFSET})?")
_ONLY_DAY = re.compile(_DAY)
_NO_DAY = "no day of the calendar; write one such as 2026-03-01"
_SECOND = timedelta(seconds=1)


def parse_instant(text: str) -> datetime:
    """The UTC instant of an RFC 3339 text, to the microsecond.

    Raises:
        ValueError: it is none, or lies outside of the years 1 to 9999 in UTC.
    """
    found = _INSTANT.fullmatch(text)
    if found is None or found[1] is None:
        raise ValueError("not an instant; write RFC 3339 with an offset, such as 2026-03-01T09:30:00Z")
    if found[3] is None:
        raise ValueError("the instant has no offset; end it with Z or an offset such as +09:00")
    return _utc(text, found)


def parse_bound(text: str) -> datetime:
    """The UTC instant, from 1970 to 2100, that bounds a range as a person writes it.

    Raises:
        ValueError: it is neither an instant nor a day, or out of reach.
    """
    if _ONLY_DAY.fullmatch(text):
        bound = datetime.combine(parse_day(text), datetime.min.time(), UTC)
    elif found := _INSTANT.fullmatch(text):
        bound = _utc(text, found)
    else:
        raise ValueError("not an instant such as 2026-11-24T15:00Z or 2026-11-24")
    if not EARLIEST_BOUND <= bound <= LATEST_BOUND:
        raise ValueError("out of reach; give an instant from 1970 to 2100")
    return bound


def parse_day(text: str) -> date:
    """The day of a text such as ``2026-03-01``.

    Raises:
        ValueError: it is none, or no day of the calendar.
    """
    if not _ONLY_DAY.fullmatch(text):
        raise ValueError("not a day; write it as 2026-03-01")
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError(_NO_DAY) from None


def _utc(text: str, found: re.Match[str]) -> datetime:
    """The instant of a text that has the form, ``found``."""
    leap = found[2] is not None
    if leap:
        text = f"{text[: found.start(2)]}59{text[found.end(2) :]}"
    try:
        instant = datetime.fromisoformat(text.upper() if text[-1] == "z" else text)
    except ValueError:
        raise ValueError(_NO_DAY) from None
    try:
        instant = instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
        return _after_leap_second(instant) if leap else instant
    except OverflowError:
        raise ValueError("out of reach; in UTC the instant lies before the year 1 or after 9999") from None


def _after_leap_second(before: datetime) -> datetime:
    """The instant a second after 23:59:59 of a month's last day: UTC adds its leap seconds only there (RFC 3339, appendix D)."""
    after = before + _SECOND
    if (after.day, after.hour, after.minute, after.second) != (1, 0, 0, 0):
        raise ValueError("second 60 is a leap second, which can only end a month in UTC: 23:59:60Z; write a second up to 59")
    return after
