"""What is kept is never believed past a change that was heard of."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace_contracts.notices import Notice
from millrace_graphql.ranges.changes import DAY_MS, Changes, Reads, note_clock, note_directory, note_progress, note_reports, record

DAY = 20_000
"""A UTC day, in days since 1970."""


def notice(merchant: str, *days: int, grain: str = "10m") -> Notice:
    windows = [(day * DAY_MS, "USD") for day in days]
    return {"merchantId": merchant, "grain": grain, "windows": windows, "version": 1, "completeThrough": None}


def reads(**days: tuple[int, int]) -> Reads:
    return Reads(days=dict(days))


merchants = st.sampled_from("abc")
days = st.integers(DAY, DAY + 6)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("keep"), merchants, days, st.integers(0, 3)),
        st.tuples(st.just("notice"), merchants, days, st.integers(1, 3)),
        st.tuples(st.just("forget"), merchants, days, st.just(0)),
    ),
    max_size=40,
)


@given(steps, st.sampled_from([1, 2, 100]))
def test_an_answer_is_good_exactly_while_none_of_its_days_has_changed(walk: list[tuple[str, str, int, int]], capacity: int) -> None:
    changes = Changes(capacity)
    kept: list[tuple[Reads, int, str, range]] = []
    still_good: list[bool] = []
    for step, merchant, day, length in walk:
        if step == "keep":
            touched = range(day, day + length + 1)
            kept.append((Reads(days={merchant: (touched[0], touched[-1])}), changes.seq, merchant, touched))
            still_good.append(True)
        elif step == "notice":
            noticed = range(day, day + length)
            changes.heard(notice(merchant, *noticed))
            still_good = [
                good and not (merchant == owner and set(touched) & set(noticed))
                for good, (_, _, owner, touched) in zip(still_good, kept, strict=True)
            ]
        else:
            changes.forget()
            still_good = [False] * len(kept)
    for (answer, seq, _, _), expected in zip(kept, still_good, strict=True):
        # A merchant that fell out of a small memory makes answers doubtful, never wrong.
        assert changes.good(answer, seq) == expected if capacity == 100 else expected or not changes.good(answer, seq)


def test_a_window_of_a_calendar_day_touches_both_utc_days_that_it_lies_in() -> None:
    changes = Changes()
    seq = changes.seq
    start = DAY * DAY_MS + 15 * 3_600_000  # midnight in Seoul
    changes.heard({"merchantId": "a", "grain": "1d", "windows": [(start, "USD")], "version": 1, "completeThrough": None})
    assert [changes.unchanged("a", day, day, seq) for day in (DAY - 1, DAY, DAY + 1, DAY + 2)] == [True, False, False, True]


@pytest.mark.parametrize(
    ("horizon", "through", "later", "good"),
    [
        (10 * DAY_MS, 10 * DAY_MS, 11 * DAY_MS, True),  # wholly covered already: new progress adds nothing
        (10 * DAY_MS, 9 * DAY_MS, 11 * DAY_MS, False),
        (10 * DAY_MS, None, 1 * DAY_MS, False),
        (10 * DAY_MS, 9 * DAY_MS, 9 * DAY_MS, True),
    ],
)
def test_progress_counts_until_the_range_is_covered(horizon: int, through: int | None, later: int, good: bool) -> None:
    changes = Changes()
    changes.advance(through)
    answer = Reads(days={"a": (1, 9)}, horizon_ms=horizon, progress=True, through_ms=through)
    seq = changes.seq
    changes.advance(later)
    assert changes.good(answer, seq) is good


def test_an_answer_that_only_tells_progress_ends_with_it() -> None:
    changes = Changes()
    changes.advance(5)
    seq = changes.seq
    answer = Reads(progress=True, through_ms=5)
    assert changes.good(answer, seq)
    changes.advance(6)
    assert not changes.good(answer, seq)


def test_what_is_read_is_recorded_once_recording_has_begun() -> None:
    note_reports("a", 0, DAY_MS)
    noted = record()
    note_reports("a", 3 * DAY_MS, 4 * DAY_MS)
    note_reports("a", 1 * DAY_MS + 5, 2 * DAY_MS + 1)
    note_progress(7)
    note_directory()
    note_clock()
    assert noted == Reads(days={"a": (1, 3)}, horizon_ms=4 * DAY_MS, progress=True, through_ms=7, directory=True, clock=True)
