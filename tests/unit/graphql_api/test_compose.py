"""However a range is composed of days, hours and 10-minute reports, the numbers are the same."""

import asyncio
import itertools
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace_contracts.metrics import METRICS
from millrace_contracts.values.zones import digest
from millrace_contracts.windows import Grain as Stored
from millrace_contracts.windows import to_ms
from millrace_graphql.ranges.calendar import Grain, boundaries
from millrace_graphql.ranges.columns import Group, Rows
from millrace_graphql.ranges.compose import MAX_LAG_MS, Composer, Spans, usable_through
from millrace_graphql.ranges.directory import Progress
from millrace_graphql.ranges.merge import Merge
from millrace_graphql.ranges.plan import Range
from tests.unit.graphql_api.facts import DAY, PAYMENTS, WINDOW, oracle
from tests.unit.graphql_api.shelf import Facts, Shelf

HOUR = 3_600_000
START = to_ms(datetime(2026, 3, 6, tzinfo=UTC))  # New York's clocks change on 8 March
DAYS = 6
EVERYTHING = frozenset(Group)
FACTS = st.dictionaries(
    # Few instants, near the hours at which days of the zones begin, so that facts, rollups and edges meet.
    st.tuples(
        st.tuples(st.integers(0, DAYS - 1), st.sampled_from([0, 1, 30, 108, 109, 110, 111, 112, 143])).map(
            lambda at: START + at[0] * DAY + at[1] * WINDOW
        ),
        st.sampled_from(["USD", "KRW"]),
    ),
    st.tuples(PAYMENTS, st.lists(st.integers(1, 10**6), max_size=2), st.integers(0, 2)),
    min_size=6,
    max_size=20,
)
ZONES = ["UTC", "Asia/Seoul", "Asia/Kathmandu", "America/New_York", "Asia/Kolkata"]


def composed(shelf: Shelf, asked: Range, home: str, through: int | None) -> Rows:
    return asyncio.run(Composer(shelf, None, 0).read("m", asked.edges, EVERYTHING, zone=home, through_ms=through))


def windows(grain: Grain, zone: str) -> list[tuple[int, int]]:
    bounds = boundaries(grain, zone, START, START + DAYS * DAY).tolist()
    return list(itertools.pairwise(bounds))


@given(
    FACTS,
    st.sampled_from(ZONES),
    st.sampled_from(ZONES),
    st.sampled_from([Grain.HOUR, Grain.DAY, Grain.WEEK, Grain.MONTH]),
    st.data(),
)
def test_every_composition_gives_the_numbers_of_the_facts(facts: Facts, home: str, zone: str, grain: Grain, data: st.DataObject) -> None:
    through = START + data.draw(st.sampled_from([DAYS * 144, DAYS * 144, 3 * 144 + 5, 110, 0])) * WINDOW + 7
    rolled: dict[Stored, dict[tuple[int, int], int]] = {}
    chance = data.draw(st.randoms(use_true_random=False))
    for stored, candidates in ((Stored.DAY, windows(Grain.DAY, home)), (Stored.HOUR, windows(Grain.HOUR, "UTC"))):
        share = data.draw(st.sampled_from([0.0, 0.3, 0.7, 1.0]))
        rolled[stored] = {window: through for window in candidates if chance.random() < share}
    aligned = boundaries(Grain.HOUR if grain is Grain.HOUR else Grain.DAY, zone, START, START + DAYS * DAY).tolist()
    low = data.draw(st.sampled_from(aligned[: len(aligned) // 2]))
    high = data.draw(st.sampled_from(aligned[len(aligned) // 2 :]))
    asked = Range(low, high, grain, zone)
    shelf = Shelf(facts, rolled)
    whole = Merge.of(composed(shelf, asked, home, through), asked, "USD", sparse=False)
    plain = Merge.of(composed(shelf, asked, home, None), asked, "USD", sparse=False)
    for merge, other in ((whole, plain), (whole.total(asked), plain.total(asked))):
        assert {m.name: merge.metric(m) for m in METRICS} == {m.name: other.metric(m) for m in METRICS}
        assert merge.sums("revision").tolist() == other.sums("revision").tolist()
        assert merge.breakdowns("by_method") == other.breakdowns("by_method")
    expected = [oracle(facts, start, end, "USD", 1) for start, end in zip(asked.starts.tolist(), asked.ends.tolist(), strict=True)]
    for metric in METRICS:
        if metric.name in expected[0]:
            assert whole.metric(metric) == [values[metric.name] for values in expected], metric.name


def paid(*starts: int) -> Facts:
    return {(start, "USD"): ([(100, 1)], [], 0) for start in starts}


def test_a_day_that_is_rolled_up_is_not_read_again_and_an_open_one_is() -> None:
    facts = paid(START + HOUR, START + DAY + HOUR)
    shelf = Shelf(facts, {Stored.DAY: {(START, START + DAY): START + DAY}, Stored.HOUR: {}})
    asked = Range(START, START + 2 * DAY, Grain.DAY)
    merge = Merge.of(composed(shelf, asked, "UTC", START + DAY), asked, "USD", sparse=False)
    assert merge.sums("payments").tolist() == [1, 1]
    assert shelf.raw_spans == [(START + DAY, START + 2 * DAY)]


@pytest.mark.parametrize("known", [START + DAY - 1, START + HOUR])
def test_a_rollup_that_was_written_before_its_window_closed_is_left_out(known: int) -> None:
    facts = paid(START + HOUR)
    shelf = Shelf(facts, {Stored.DAY: {(START, START + DAY): known}, Stored.HOUR: {}})
    asked = Range(START, START + DAY, Grain.DAY)
    composed(shelf, asked, "UTC", START + 2 * DAY)
    assert shelf.raw_spans == [(START, START + DAY)]


def test_days_that_follow_other_rules_of_their_zone_are_left_out_and_hours_are_not() -> None:
    # Vancouver's 1 November 2026: its end was eight hours after midnight UTC by the rules before release 2026c, and is seven.
    progress = Progress(0, START + 2 * DAY, START + 2 * DAY, {"America/Vancouver": "other", "Asia/Seoul": digest("Asia/Seoul")})
    assert [progress.days_of(zone) for zone in ("America/Vancouver", "Asia/Seoul", "UTC")] == [None, "Asia/Seoul", "UTC"]
    stored = {Stored.DAY: {(START, START + DAY): START + DAY}, Stored.HOUR: {(START, START + HOUR): START + DAY}}
    shelf, asked = Shelf(paid(START), stored), Range(START, START + DAY, Grain.DAY)
    asyncio.run(Composer(shelf, None, 0).read("m", asked.edges, EVERYTHING, zone=None, through_ms=START + 2 * DAY))
    assert shelf.raw_spans == [(START + HOUR, START + DAY)]


def test_a_rollup_that_progress_does_not_vouch_for_is_left_out() -> None:
    shelf = Shelf(paid(START), {Stored.DAY: {(START, START + DAY): START + DAY}, Stored.HOUR: {}})
    asked = Range(START, START + DAY, Grain.DAY)
    composed(shelf, asked, "UTC", START + DAY - 1)
    assert shelf.raw_spans == [(START, START + DAY)]


def test_days_of_the_merchants_zone_do_not_stand_for_days_of_another() -> None:
    seoul = START - 9 * HOUR
    shelf = Shelf(paid(START), {Stored.DAY: {(seoul + DAY, seoul + 2 * DAY): START + 9 * DAY}, Stored.HOUR: {}})
    asked = Range(START, START + 2 * DAY, Grain.DAY, "UTC")
    composed(shelf, asked, "Asia/Seoul", START + 9 * DAY)
    assert shelf.raw_spans == [(START, START + 2 * DAY)]


def test_a_window_of_which_one_currency_is_not_complete_is_taken_for_none() -> None:
    facts = {(START, "USD"): ([(100, 1)], [], 0), (START, "KRW"): ([(7, 1)], [], 0)}
    shelf = Shelf(facts, {Stored.DAY: {(START, START + DAY): START + DAY}, Stored.HOUR: {}})
    shelf._rolled[Stored.DAY].through_ms[0] = START
    asked = Range(START, START + DAY, Grain.DAY)
    for currency, gross in (("USD", 100), ("KRW", 7)):
        rows = composed(shelf, asked, "UTC", START + DAY)
        assert Merge.of(rows, asked, currency, sparse=False).sums("gross").tolist() == [gross]


@pytest.mark.parametrize(
    ("reports_through", "rollups_through", "usable"),
    [
        (100, 90, 90), (90, 100, 90), (None, 100, None), (100, None, None),
        (MAX_LAG_MS + 5, 5, 5), (MAX_LAG_MS + 6, 5, None),
    ],
)  # fmt: skip
def test_rollups_are_used_while_they_keep_up(reports_through: int | None, rollups_through: int | None, usable: int | None) -> None:
    assert usable_through(Progress(0, reports_through, rollups_through)) == usable


@given(st.sets(st.integers(0, 40), max_size=12))
def test_spans_less_their_parts_hold_what_is_left(taken: set[int]) -> None:
    others = Spans(np.array(sorted(taken), np.int64), np.array(sorted(taken), np.int64) + 1)
    left = Spans.of(0, 41).without(others)
    points = {point for low, high in zip(left.starts.tolist(), left.ends.tolist(), strict=True) for point in range(low, high)}
    assert points == set(range(41)) - taken


def test_hours_of_a_day_that_is_rolled_up_are_not_counted_again() -> None:
    hours = {(START + n * HOUR, START + (n + 1) * HOUR): START + 2 * DAY for n in range(48)}
    shelf = Shelf(paid(START + HOUR, START + DAY + HOUR), {Stored.DAY: {(START, START + DAY): START + 2 * DAY}, Stored.HOUR: hours})
    asked = Range(START, START + 2 * DAY, Grain.DAY)
    merge = Merge.of(composed(shelf, asked, "UTC", START + 2 * DAY), asked, "USD", sparse=False)
    assert merge.sums("payments").tolist() == [1, 1]


def test_no_window_is_no_read() -> None:
    shelf = Shelf(paid(START), {Stored.DAY: {}, Stored.HOUR: {}})
    rows = asyncio.run(Composer(shelf, None, 0).read("m", np.array([START], np.int64), EVERYTHING, through_ms=START))
    assert (shelf.raw_spans, {len(data.starts) for data in rows.values()}) == ([], {0})
