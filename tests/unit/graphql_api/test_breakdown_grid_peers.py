"""The largest values of a breakdown, the grid of hours and weekdays, and the medians of peers, by hand."""

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace_contracts.metrics import BY_NAME, METRICS
from millrace_contracts.windows import from_ms, to_ms
from millrace_graphql.ranges.answers import Freshness, Series
from millrace_graphql.ranges.breakdown import Breakdown, Dimension, Order
from millrace_graphql.ranges.calendar import Grain
from millrace_graphql.ranges.directory import Merchant, Progress
from millrace_graphql.ranges.grid import Grid
from millrace_graphql.ranges.peers import PeerGroup, Peers, grouped, with_facts
from millrace_graphql.ranges.plan import Range
from tests.unit.graphql_api.facts import DAY, FACTS, PAYMENTS, WINDOW, oracle, reports, rows

Facts = dict[tuple[int, str], Any]
MONDAY = to_ms(datetime(2026, 5, 4, tzinfo=UTC))


def series(facts: Facts, asked: Range, raw: bool = False) -> Series:
    found = rows(facts) if raw else reports(facts)
    return Series("m", "USD", asked, False, found, Freshness(Progress(0, None), asked))


@given(FACTS, st.integers(0, 4), st.sampled_from(list(Order)))
def test_the_first_values_and_the_rest_make_the_whole(facts: Facts, first: int, order: Order) -> None:
    made = series(facts, Range(0, 3 * DAY, Grain.DAY), raw=True)
    found = Breakdown(made, Dimension["METHOD"], first, order)
    everything = [*found.slices, *([found.other] if found.other else [])]
    expected = oracle(facts, 0, 3 * DAY, "USD")
    assert sum(share.payments for share in everything) == expected["payments"]
    assert sum(share.gross for share in everything) == int(expected["gross"])
    assert len(found.slices) <= first
    sizes = [share.gross if order is Order.GROSS else share.payments for share in found.slices]
    assert sizes == sorted(sizes, reverse=True)
    for share in found.slices:
        windows = share.by_window()
        assert windows is not None
        assert (sum(n for _, n, _ in windows), sum(gross for _, _, gross in windows)) == (share.payments, share.gross)


def test_shares_are_of_the_whole_range_and_the_rest_has_no_name() -> None:
    # by_method of the test's facts: v0, v1, v2 by the customer's number modulo 3.
    facts: Facts = {(0, "USD"): ([(60, 0), (20, 1), (20, 2)], [], 0)}
    found = Breakdown(series(facts, Range(0, DAY, Grain.DAY)), Dimension["METHOD"], 1, Order.GROSS)
    assert [(share.value, share.gross, share.share_of_gross, share.share_of_payments) for share in found.slices] == [("v0", 60, 0.6, 1 / 3)]
    assert found.other is not None
    assert (found.other.value, found.other.gross, found.other.share_of_gross, found.other.by_window()) == (None, 40, 0.4, None)
    assert Breakdown(series({}, Range(0, DAY, Grain.DAY)), Dimension["METHOD"], 5, Order.GROSS).other is None


def test_demographics_of_few_customers_are_in_neither_part_and_never_by_window() -> None:
    facts: Facts = {(0, "USD"): ([(60, 0), (20, 1)], [], 0)}
    found = Breakdown(series(facts, Range(0, DAY, Grain.DAY)), Dimension["GENDER"], 5, Order.GROSS)
    assert (found.slices, found.other, found.withheld) == ([], None, True)
    many: Facts = {(0, "USD"): ([(60, n) for n in range(60)], [], 0)}
    found = Breakdown(series(many, Range(0, DAY, Grain.DAY)), Dimension["GENDER"], 5, Order.GROSS)
    assert [(share.value, share.payments, share.by_window()) for share in found.slices] == [
        ("v0", 20, None),
        ("v1", 20, None),
        ("v2", 20, None),
    ]


@given(
    st.dictionaries(
        st.tuples(st.integers(0, 14 * 144 - 1).map(lambda n: MONDAY + n * WINDOW), st.sampled_from(["USD", "KRW"])),
        st.tuples(PAYMENTS, st.lists(st.integers(1, 10**6), max_size=2), st.integers(0, 2)),
        max_size=12,
    ),
    st.sampled_from(["UTC", "Asia/Seoul", "America/New_York", "Asia/Kathmandu"]),
)
def test_every_cell_merges_the_reports_of_its_weekday_and_hour(facts: Facts, zone: str) -> None:
    asked = Range(MONDAY, MONDAY + 14 * DAY, Grain.HOUR, zone)
    found = Grid(series(facts, asked))
    place = ZoneInfo(zone)
    for cell in range(168):
        chosen_facts = {
            (index, "USD"): value
            for index, ((start, currency), value) in enumerate(sorted(facts.items()))
            if currency == "USD" and (local := from_ms(start).astimezone(place)).weekday() * 24 + local.hour == cell
        }
        if not chosen_facts and cell % 7:  # most cells are empty: look at some of these
            continue
        expected = oracle(chosen_facts, 0, len(facts), "USD", 1)
        for name, value in expected.items():
            assert found.cells.metric(BY_NAME[name])[cell] == value, (cell, name)
    assert len(found.cells.metric(METRICS[0])) == 168


def test_hours_of_the_range_are_counted_by_cell() -> None:
    # Two weeks of New York over the end of October: 1 a.m. of Sunday comes three times, as the clocks repeat it once.
    place = ZoneInfo("America/New_York")
    start, end = (to_ms(datetime(2026, 10, day, tzinfo=place)) for day in (19, 26))
    asked = Range(start, end + to_ms(datetime(2026, 11, 2, tzinfo=place)) - end, Grain.HOUR, "America/New_York")
    counts = Grid(series({}, asked)).occurrences
    assert counts[6 * 24 + 1] == 3
    assert counts.count(2) == 167
    assert sum(counts) == 14 * 24 + 1


def merchant(name: str, **more: Any) -> Merchant:
    return Merchant(name, **{"business_type": "cafe", "country": "KR", "region": "11", "currency": "USD", "status": "active", **more})


GROUP = PeerGroup("cafe", "KR", "11", "USD")


def test_peers_are_of_the_same_business_region_and_currency_and_not_closed() -> None:
    strangers: list[dict[str, Any]] = [
        {"business_type": "bakery"},
        {"region": "26"},
        {"country": "JP"},
        {"currency": "KRW"},
        {"status": "closed"},
        {"region": None},
    ]
    others = [merchant("a"), merchant("b", status=None), merchant("m"), *(merchant(f"x{n}", **more) for n, more in enumerate(strangers))]
    assert {peer.id for peer in grouped(others)[GROUP]} == {"a", "b", "m"}
    assert PeerGroup.of(merchant("m", region=None), "USD") is None


def test_a_group_has_an_order_that_neither_the_table_nor_the_names_make() -> None:
    many = [merchant(f"m{n:03}") for n in range(500)]
    first = grouped(many)[GROUP]
    assert grouped(many[::-1])[GROUP] == first
    assert [peer.id for peer in first] != sorted(peer.id for peer in many)


def peers(amounts: list[int], least: int = 10) -> Peers:
    asked = Range(0, DAY, Grain.DAY)
    totals = [series({(0, "USD"): ([(amount, 1)], [], 0)} if amount else {}, asked) for amount in amounts]
    own = series({(0, "USD"): ([(500, 1)], [], 0)}, asked)
    return Peers(own, GROUP, len(amounts), with_facts(totals), least)


@pytest.mark.parametrize(
    ("amounts", "median"),
    [
        ([100 * n for n in range(1, 11)], 550),
        ([100 * n for n in range(1, 12)], 600),
        ([100 * n for n in range(1, 10)], None),
        ([*[100] * 9, 0, 0, 0], None),
    ],
)
def test_a_median_stands_on_ten_peers_with_something_in_the_range(amounts: list[int], median: int | None) -> None:
    found = peers(amounts)
    assert (found.own(BY_NAME["gross"]), found.median(BY_NAME["gross"])) == (500, median)
    assert found.is_shown == (median is not None)


def test_a_metric_that_too_few_peers_have_shows_no_median() -> None:
    asked = Range(0, DAY, Grain.DAY)
    failing = [series({(0, "USD"): ([], [], 1)}, asked) for _ in range(9)]
    paying = [series({(0, "USD"): ([(100, 1)], [], 0)}, asked)]
    found = Peers(series({}, asked), GROUP, 10, with_facts(failing + paying), 10)
    assert found.median(BY_NAME["failed"]) == 1
    assert found.median(BY_NAME["averagePayment"]) is None
