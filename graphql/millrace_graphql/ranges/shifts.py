"""How far back an earlier period lies: days and months of the same zone's calendar, at the same time on its wall clock. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from millrace_graphql.ranges.calendar import Preset, days, months_of
from millrace_graphql.ranges.columns import Ints
from millrace_graphql.ranges.plan import Range
from millrace_graphql.ranges.zones import DAY_MS, offsets

_FIRST_MONTH = np.datetime64("1970-01", "M")


class Basis(StrEnum):
    """What a period is compared with."""

    PREVIOUS_PERIOD = "PREVIOUS_PERIOD"
    SAME_WEEKDAYS = "SAME_WEEKDAYS"
    LAST_YEAR = "LAST_YEAR"


@dataclass(frozen=True)
class Shift:
    """A way back in time: some months or days of the calendar, or some milliseconds."""

    months: int = 0
    days: int = 0
    ms: int = 0


def shift_for(asked: Range, zone: str, basis: Basis, preset: Preset | None) -> Shift:
    """How far back the counterpart of a range lies."""
    if basis is Basis.LAST_YEAR:
        return Shift(months=12)
    ends = np.array([asked.start_ms, asked.end_ms], np.int64)
    local = _wall_clock(ends, zone)
    first, last = (local // DAY_MS).tolist()
    length = -(-int(local[1] - local[0]) // DAY_MS)
    if basis is Basis.SAME_WEEKDAYS:
        return Shift(days=-(-length // 7) * 7)
    if bool((local % DAY_MS).any()):
        return Shift(ms=asked.end_ms - asked.start_ms)
    if preset in (Preset.MONTH_TO_DATE, Preset.YEAR_TO_DATE):
        return Shift(months=1 if preset is Preset.MONTH_TO_DATE else 12)
    months = months_of(local // DAY_MS)
    whole_months = months[1] > months[0] and bool((_month_starts(months) == local // DAY_MS).all())
    return Shift(months=int(months[1] - months[0])) if whole_months else Shift(days=last - first)


def _wall_clock(instants: Ints, zone: str) -> Ints:
    """The wall clock at each instant; at the first instant of a date its midnight, also where the clocks jumped over that."""
    low, high = int(instants.min()), int(instants.max())
    local = offsets(zone, low - DAY_MS, high).local(instants)
    starts, dates = days(zone, low, high)
    if not len(starts):
        return local
    place = np.minimum(np.searchsorted(starts, instants), len(starts) - 1)
    result: Ints = np.where(starts[place] == instants, dates[place] * DAY_MS, local)
    return result


def shifted(instants: Ints, zone: str, back: Shift) -> Ints:
    """Each instant so far back, at the same time on the wall clock.

    A date that the earlier month does not have becomes the first of the month after it, and a time that the clocks jumped over the
    instant of the jump; so a window whose counterpart never was has an empty one.
    """
    if back.ms:
        return instants - back.ms
    reach = (31 * back.months + back.days + 3) * DAY_MS
    of = offsets(zone, int(instants.min()) - reach, int(instants.max()))
    wanted = _earlier(_wall_clock(instants, zone), back)
    # Where a piece of constant offset ends on the wall clock; a time that comes twice is taken the first time.
    ends = of.starts[1:] + of.offsets[:-1]
    piece = np.searchsorted(ends, wanted, side="right")
    result: Ints = np.maximum(wanted - of.offsets[piece], of.starts[piece])
    return result


def _earlier(local: Ints, back: Shift) -> Ints:
    """Times of the wall clock so far back."""
    if not back.months:
        return local - back.days * DAY_MS
    dates = local // DAY_MS
    months = months_of(dates)
    first, after = _month_starts(months - back.months), _month_starts(months - back.months + 1)
    earlier = first + dates - _month_starts(months)
    result: Ints = np.where(earlier < after, earlier * DAY_MS + local % DAY_MS, after * DAY_MS)
    return result


def _month_starts(months: Ints) -> Ints:
    """Days since 1970-01-01 of the first of each month."""
    result: Ints = (_FIRST_MONTH + months).astype("datetime64[D]").astype(np.int64)
    return result
