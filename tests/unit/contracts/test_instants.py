"""Instants and days as text, against the grammar of RFC 3339 (5.6) written out a second time: field by field, without Python's parser."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from millrace_contracts.values.instants import parse_bound, parse_day, parse_instant
from tests.support.instant_texts import ALMOST_INSTANTS, NO_INSTANTS, RFC_3339, Parts


@given(RFC_3339)
@example(Parts("0001-01-01T00:00:00+01:00", -62_135_600_400_000_000))
@example(Parts("9999-12-31T23:59:59-05:00", 253_402_318_799_000_000))
def test_every_text_of_the_grammar_is_its_instant_or_said_to_be_out_of_reach(parts: Parts) -> None:
    epoch, us = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
    if -62_135_596_800_000_000 <= parts.us < 253_402_300_800_000_000:
        found = parse_instant(parts.text)
        assert (found - epoch) // us == parts.us
        assert found.utcoffset() == timedelta(0)
    else:
        with pytest.raises(ValueError, match="before the year 1 or after 9999"):
            parse_instant(parts.text)


@pytest.mark.parametrize("text", NO_INSTANTS)
def test_what_rfc_3339_has_not_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"not an instant|no offset|no day of the calendar|leap second"):
        parse_instant(text)


@given(st.one_of(ALMOST_INSTANTS, st.text()))
@pytest.mark.parametrize("parse", [parse_instant, parse_bound, parse_day])
def test_any_text_is_a_value_or_a_refusal_in_our_own_words(parse: Callable[[str], date], text: str) -> None:
    value: date | ValueError
    try:
        value = parse(text)
    except ValueError as refused:
        value = refused
    in_our_words = r"not a|no offset|no day|out of reach|leap second"
    assert isinstance(value, date) or (type(value) is ValueError and re.search(in_our_words, str(value)))


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("2016-12-31T23:59:60Z", datetime(2017, 1, 1, tzinfo=UTC)),
        ("1990-12-31T15:59:60.5-08:00", datetime(1991, 1, 1, 0, 0, 0, 500_000, UTC)),  # appendix D of RFC 3339
        ("2012-07-01t08:59:60+09:00", datetime(2012, 7, 1, tzinfo=UTC)),
    ],
)
def test_a_leap_second_is_the_second_after_it(text: str, after: datetime) -> None:
    assert parse_instant(text) == parse_bound(text) == after


@pytest.mark.parametrize("text", ["2016-12-31T22:59:60Z", "2016-12-30T23:59:60Z", "2016-12-31T23:59:60+01:00", "2026-11-24T09:30:60Z"])
def test_a_leap_second_anywhere_else_is_refused_by_that_name(text: str) -> None:
    with pytest.raises(ValueError, match="leap second"):
        parse_instant(text)


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-11-24", datetime(2026, 11, 24, tzinfo=UTC)),
        ("2026-11-24T15:00Z", datetime(2026, 11, 24, 15, tzinfo=UTC)),
        ("2026-11-24t15:00", datetime(2026, 11, 24, 15, tzinfo=UTC)),
        ("2026-11-25T00:00+09:00", datetime(2026, 11, 24, 15, tzinfo=UTC)),
        ("2026-11-24 15:00:00.25z", datetime(2026, 11, 24, 15, 0, 0, 250_000, UTC)),
        ("1970-01-01", datetime(1970, 1, 1, tzinfo=UTC)),
        ("2100-01-01T00:00:00Z", datetime(2100, 1, 1, tzinfo=UTC)),
    ],
)
def test_a_bound_may_leave_out_seconds_offset_or_time(text: str, instant: datetime) -> None:
    assert parse_bound(text) == instant


@pytest.mark.parametrize("text", ["1969-12-31T23:59:59Z", "2100-01-01T00:00:01Z", "0001-01-01", "9999-12-31", "9999-12-31T23:59:59-05:00"])
def test_a_bound_out_of_reach_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="out of reach"):
        parse_bound(text)


@given(st.dates())
def test_a_day_is_written_in_one_way(day: date) -> None:
    assert parse_day(f"{day.year:04d}-{day.month:02d}-{day.day:02d}") == day


@pytest.mark.parametrize(
    "text", ["0", "20260301", "2026-W09-7", "2026-3-1", "2026-060", "2026-03-01T00:00:00", "2026-02-30", "0000-01-01", ""]
)
def test_what_is_no_day_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a day|no day of the calendar"):
        parse_day(text)
