"""Hours, days, weeks and months that begin inside a 10-minute report hold what occurred in them, wherever the report has parts."""

import asyncio
import itertools
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace_contracts.metrics import METRICS
from millrace_contracts.windows import Grain as Stored
from millrace_contracts.windows import to_ms
from millrace_graphql.ranges.answers import Freshness, Series
from millrace_graphql.ranges.calendar import Grain, boundaries
from millrace_graphql.ranges.columns import Group
from millrace_graphql.ranges.compose import Composed, Composer
from millrace_graphql.ranges.directory import Progress
from millrace_graphql.ranges.merge import Merge
from millrace_graphql.ranges.plan import Range
from tests.unit.graphql_api.facts import DAY, PAYMENTS, WINDOW, oracle
from tests.unit.graphql_api.shelf import Facts, Shelf

HALF = WINDOW // 2
HOUR = 3_600_000
START = to_ms(datetime(2026, 4, 1, tzinfo=UTC))  # Chatham's clocks change on the 4th, at 14:00 UTC
DAYS = 6
HALVES = DAY // HALF
ODD = ["Asia/Kathmandu", "Pacific/Chatham", "Australia/Eucla"]
# A quarter past the hours at which days of these zones begin, on both sides and somewhere else.
PLACES = sorted({hour * 12 + half for hour in (10, 11, 15, 18) for half in (1, 2, 3, 4)} | {0, 100})
FACTS = st.dictionaries(
    st.tuples(
        st.tuples(st.integers(0, DAYS - 1), st.sampled_from(PLACES)).map(lambda at: START + at[0] * DAY + at[1] * HALF),
        st.sampled_from(["USD", "KRW"]),
    ),
    st.tuples(PAYMENTS, st.lists(st.integers(1, 10**6), max_size=2), st.integers(0, 2)),
    min_size=6,
    max_size=20,
)
EVERYTHING = frozenset(Group)
ALL = range(START, START + DAYS * DAY, WINDOW)


def composed(shelf: Shelf, asked: Range, home: str, through: int | None) -> Composed:
    return asyncio.run(Composer(shelf, None, 0).compose("m", asked.edges, EVERYTHING, zone=home, through_ms=through))


def check(found: Composed, asked: Range, facts: Facts) -> None:
    """The numbers of each window are those of its facts, one after another."""
    merge = Merge.of(found.rows, asked, "USD", sparse=False)
    for place, (start, end) in enumerate(zip(asked.starts.tolist(), asked.ends.tolist(), strict=True)):
        truth = oracle(facts, start, end, "USD", 1)
        assert {name: merge.metric(metric)[place] for metric in METRICS if (name := metric.name) in truth} == truth


def spans(grain: Grain, zone: str) -> list[tuple[int, int]]:
    return list(itertools.pairwise(boundaries(grain, zone, START, START + DAYS * DAY).tolist()))


@given(
    FACTS, st.sampled_from([*ODD, "UTC", "Asia/Tokyo"]), st.sampled_from(ODD),
    st.sampled_from([Grain.HOUR, Grain.DAY, Grain.WEEK, Grain.MONTH]), st.data(),
)  # fmt: skip
def test_every_window_holds_what_occurred_in_it(facts: Facts, zone: str, home: str, grain: Grain, data: st.DataObject) -> None:
    through = START + DAYS * DAY
    rolled = {
        stored: {span: through for span in windows if data.draw(st.booleans())}
        for stored, windows in ((Stored.DAY, spans(Grain.DAY, home)), (Stored.HOUR, spans(Grain.HOUR, "UTC")[:12]))
    }
    aligned = boundaries(Grain.HOUR if grain is Grain.HOUR else Grain.DAY, zone, START, START + DAYS * DAY).tolist()
    asked = Range(data.draw(st.sampled_from(aligned[:3])), data.draw(st.sampled_from(aligned[-3:])), grain, zone)
    found = composed(Shelf(facts, rolled, parted=ALL), asked, home, through)
    assert not len(found.torn)
    check(found, asked, facts)
    plain = composed(Shelf(facts, rolled, parted=ALL), asked, home, None)
    both = [Merge.of(each.rows, asked, "USD", sparse=False).sums("revision").tolist() for each in (found, plain)]
    assert both[0] == both[1]


@given(FACTS, st.sampled_from(ODD), st.sampled_from([Grain.HOUR, Grain.DAY]), st.data())
def test_a_report_without_parts_counts_where_it_starts_and_says_so(facts: Facts, zone: str, grain: Grain, data: st.DataObject) -> None:
    lacking = set(data.draw(st.lists(st.sampled_from(sorted({at - at % WINDOW for at, _ in facts})))))
    asked = Range(*(boundaries(grain, zone, START, START + DAYS * DAY)[[0, -1]].tolist()), grain, zone)
    found = composed(Shelf(facts, {}, parted=set(ALL) - lacking), asked, zone, None)
    moved: Facts = {}
    for (at, currency), (paid, refunds, failed) in facts.items():
        key = (at - at % WINDOW if at - at % WINDOW in lacking else at, currency)
        known = moved.get(key, ([], [], 0))
        moved[key] = (known[0] + paid, known[1] + refunds, known[2] + failed)
    check(found, asked, moved)
    happened = {at - at % WINDOW for (at, _), (paid, refunds, failed) in facts.items() if paid or refunds or failed}
    cut = {edge - edge % WINDOW for edge in asked.edges.tolist() if edge % WINDOW}
    assert set(found.torn.tolist()) == lacking & happened & cut
    series = Series("m", "USD", asked, False, found.rows, Freshness(Progress(0, None)), torn=found.torn)
    edges = asked.edges.tolist()
    torn = [edge % WINDOW != 0 and edge - edge % WINDOW in found.torn for edge in edges]
    assert series.split == [a or b for a, b in itertools.pairwise(torn)]


@given(FACTS, st.sampled_from(ODD), st.booleans())
def test_stored_days_that_begin_inside_a_report_count_nothing_twice_and_leave_nothing_out(facts: Facts, home: str, parts: bool) -> None:
    # The answer's windows begin with reports, and only the stored days do not.
    through = START + DAYS * DAY
    rolled: dict[Stored, dict[tuple[int, int], int]] = {Stored.DAY: dict.fromkeys(spans(Grain.DAY, home)[1:3], through), Stored.HOUR: {}}
    asked = Range(START, through, Grain.MONTH, "UTC")
    check(composed(Shelf(facts, rolled, parted=ALL if parts else ()), asked, home, through), asked, facts)


@pytest.mark.parametrize(
    ("zone", "midnight"), [("Asia/Kathmandu", 18 * HOUR), ("Pacific/Chatham", 10 * HOUR), ("Australia/Eucla", 15 * HOUR)]
)
def test_a_minute_before_and_after_midnight_are_of_two_days(zone: str, midnight: int) -> None:
    at = START + midnight + 3 * HALF
    facts: Facts = {(at - 60_000, "USD"): ([(1, 1)], [7], 1), (at, "USD"): ([(20, 2)], [], 0), (at + 60_000, "USD"): ([(300, 1)], [9], 0)}
    asked = Range(at - DAY, at + DAY, Grain.DAY, zone)
    shelf = Shelf(facts, {Stored.DAY: {}, Stored.HOUR: {}}, parted=ALL)
    found = composed(shelf, asked, zone, at + 2 * DAY)
    merge = Merge.of(found.rows, asked, "USD", sparse=False)
    assert [merge.sums(name).tolist() for name in ("payments", "gross", "refunds", "failed")] == [[1, 2], [1, 320], [1, 1], [1, 0]]
    assert merge.customers() == [1, 2]


def test_nobody_else_reads_parts() -> None:
    shelf = Shelf({(START, "USD"): ([(1, 1)], [], 0)}, {Stored.DAY: {}, Stored.HOUR: {}}, parted=ALL)
    for zone in ("UTC", "Asia/Kolkata", "Australia/Lord_Howe", "America/New_York"):
        for grain in (Grain.HOUR, Grain.DAY):
            low, high = boundaries(grain, zone, START, START + DAYS * DAY)[[0, -1]].tolist()
            composed(shelf, Range(low, high, grain, zone), zone, START + DAYS * DAY)
    assert shelf.part_spans == []


def test_closed_days_need_the_parts_of_the_open_end_only() -> None:
    days = spans(Grain.DAY, "Asia/Kathmandu")
    facts: Facts = {(days[0][0] + n * HOUR, "USD"): ([(1, 1)], [], 0) for n in range(4 * 24)}
    shelf = Shelf(facts, {Stored.DAY: dict.fromkeys(days[:3], days[2][1] + HALF), Stored.HOUR: {}}, parted=ALL)
    asked = Range(days[0][0], days[4][1], Grain.DAY, "Asia/Kathmandu")
    check(composed(shelf, asked, "Asia/Kathmandu", days[2][1] + HALF), asked, facts)
    assert np.diff(np.array(shelf.part_spans)).max() <= 2 * DAY + WINDOW
    assert min(low for low, _ in shelf.part_spans) >= days[2][1] - WINDOW
