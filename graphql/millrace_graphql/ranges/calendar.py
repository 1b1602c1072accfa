"""Windows of a calendar: hours, days, weeks and months of any zone as instants, and the presets. Pure.

A day begins at the first instant of its date, which is not midnight where the clocks change at midnight; a date that a zone
skipped has no window; an hour that the clocks repeat is two windows. An hour in the middle of which the clocks change by whole hours,
as Chatham's do at a quarter to, is one window still, as MongoDB's $dateTrunc has it. Weeks begin on Monday (ISO 8601).
"""

from __future__ import annotations

from enum import StrEnum

import numpy as np

from millrace_contracts.windows import WINDOW_MS
from millrace_graphql.ranges.columns import Ints
from millrace_graphql.ranges.zones import DAY_MS, Offsets, offsets

HOUR_MS = 3_600_000
_MARGIN_MS = 40 * DAY_MS
"""How far before a range its windows are counted, so that the first week and month inside are known as such."""


class Grain(StrEnum):
    """The length of a window of an answer."""

    TEN_MINUTES = "TEN_MINUTES"
    HOUR = "HOUR"
    DAY = "DAY"
    WEEK = "WEEK"
    MONTH = "MONTH"


class Preset(StrEnum):
    """A range that moves with the day."""

    TODAY = "TODAY"
    YESTERDAY = "YESTERDAY"
    LAST_7_DAYS = "LAST_7_DAYS"
    LAST_28_DAYS = "LAST_28_DAYS"
    LAST_90_DAYS = "LAST_90_DAYS"
    MONTH_TO_DATE = "MONTH_TO_DATE"
    YEAR_TO_DATE = "YEAR_TO_DATE"


_LAST_DAYS = {Preset.TODAY: 1, Preset.LAST_7_DAYS: 7, Preset.LAST_28_DAYS: 28, Preset.LAST_90_DAYS: 90}


def boundaries(grain: Grain, zone: str, start_ms: int, end_ms: int) -> Ints:
    """Every instant in [start, end] at which a window of the grain begins, ascending."""
    if grain is Grain.TEN_MINUTES:
        return np.arange(-(-start_ms // WINDOW_MS) * WINDOW_MS, end_ms + 1, WINDOW_MS, dtype=np.int64)
    if grain is Grain.HOUR:
        found, _ = _steps(offsets(zone, start_ms - DAY_MS, end_ms), start_ms - DAY_MS, end_ms, HOUR_MS)
    else:
        found, dates = days(zone, start_ms - _MARGIN_MS, end_ms)
        periods = dates if grain is Grain.DAY else (dates + 3) // 7 if grain is Grain.WEEK else months_of(dates)
        found = found[np.append(True, periods[1:] > periods[:-1])]
    return found[np.searchsorted(found, start_ms) :]


def days(zone: str, start_ms: int, end_ms: int) -> tuple[Ints, Ints]:
    """(the instant, the number of days since 1970-01-01) of each day that begins in [start, end]."""
    found, dates = _steps(offsets(zone, start_ms - DAY_MS, end_ms), start_ms - DAY_MS, end_ms, DAY_MS)
    # A date that the clocks go back into has begun before; one that they jump over never begins.
    newest = np.maximum.accumulate(dates)
    first = np.append(False, dates[1:] > newest[:-1]) & (found >= start_ms)
    return found[first], dates[first]


def months_of(dates: Ints) -> Ints:
    """The number of months since January 1970 of days since 1970-01-01."""
    result: Ints = dates.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
    return result


def _steps(of: Offsets, start_ms: int, end_ms: int, step: int) -> tuple[Ints, Ints]:
    """(instant, number of steps on the wall clock since 1970) where the wall clock reaches or jumps into a step, in [start, end]."""
    instants, numbers = [], []
    for index, (start, offset) in enumerate(zip(of.starts.tolist(), of.offsets.tolist(), strict=True)):
        low = max(start, start_ms)
        high = min(int(of.starts[index + 1]), end_ms + 1) if index + 1 < len(of.starts) else end_ms + 1
        if high <= low:
            continue
        first = -(-(low + offset) // step)
        on_clock = np.arange(first, -(-(high + offset) // step), dtype=np.int64)
        within_an_hour = step == HOUR_MS and index > 0 and (offset - int(of.offsets[index - 1])) % step == 0
        if first * step - offset > low and not within_an_hour:  # the piece begins in the middle of a step
            instants.append(np.array([low], np.int64))
            numbers.append(np.array([first - 1], np.int64))
        instants.append(on_clock * step - offset)
        numbers.append(on_clock)
    return np.concatenate(instants), np.concatenate(numbers)


def preset_range(preset: Preset, zone: str, now_ms: int) -> tuple[int, int]:
    """[start, end) of a preset: whole days of the zone. Every preset but yesterday ends with the day that is running."""
    starts, dates = days(zone, now_ms - 400 * DAY_MS, now_ms + 3 * DAY_MS)
    today = int(np.searchsorted(starts, now_ms, side="right")) - 1
    if preset is Preset.YESTERDAY:
        return int(starts[today - 1]), int(starts[today])
    if preset in _LAST_DAYS:
        return int(starts[today - _LAST_DAYS[preset] + 1]), int(starts[today + 1])
    months = months_of(dates)
    periods = months if preset is Preset.MONTH_TO_DATE else months // 12
    return int(starts[np.searchsorted(periods, periods[today])]), int(starts[today + 1])
