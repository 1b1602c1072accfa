"""Demographics: a cell is shown only where enough customers are known to stand behind it, and none can be had by subtraction."""

from collections import Counter

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from millrace_graphql.ranges.columns import Group, Rows, Table
from millrace_graphql.ranges.merge import Merge
from millrace_graphql.ranges.privacy import Part, shown_slices, withheld
from tests.unit.graphql_api.facts import DAY, WINDOW, theta

LEAST = 10
Paid = tuple[int, int, str]
"""Window, customer, value."""


def merge_of(payments: list[Paid], column: str = "by_gender") -> Merge:
    """One window of several days over reports that hold these payments of 1 each."""
    windows = sorted({window for window, _, _ in payments})
    starts = np.array([window * WINDOW for window in windows], np.int64)
    currencies = np.array(["USD"] * len(windows))
    maps, blobs = [], []
    for window in windows:
        counts = Counter(value for at, _, value in payments if at == window)
        maps.append({value: [n, n] for value, n in counts.items()})
        blobs.append(theta([str(customer) for at, customer, _ in payments if at == window]))
    rows: Rows = {
        Group.BREAKDOWNS: Table(starts, currencies, {column: maps}),
        Group.CUSTOMERS: Table(starts, currencies, {"customers": blobs}),
    }
    return Merge(rows, np.array([0], np.int64), np.array([30 * DAY], np.int64))


def shown(payments: list[Paid], column: str = "by_gender") -> tuple[set[str], bool]:
    slices, is_withheld = shown_slices(merge_of(payments, column), 0, column, LEAST)
    return {value for value, _, _ in slices}, is_withheld


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 60), st.sampled_from("abcd")), max_size=120))
def test_no_cell_of_fewer_customers_is_shown_nor_can_be_subtracted(payments: list[Paid]) -> None:
    cells = {value: {customer for _, customer, at in payments if at == value} for _, _, value in payments}
    visible, is_withheld = shown(payments)
    hidden = set(cells) - visible
    assert is_withheld == bool(hidden)
    assert all(len(cells[value]) >= LEAST for value in visible)
    if visible and hidden:  # the hidden cells' sum is the total less what is shown
        assert len(hidden) >= 2
        assert len(set().union(*(cells[value] for value in hidden))) >= LEAST


@given(st.integers(LEAST, 60), st.integers(LEAST, 60))
def test_cells_of_customers_who_paid_once_are_all_shown(first: int, second: int) -> None:
    payments = [(n % 50, n, "female" if n < first else "male") for n in range(first + second)]
    assert shown(payments) == ({"female", "male"}, False)


def test_one_small_cell_takes_the_next_one_with_it() -> None:
    payments = [(0, n, "female") for n in range(40)] + [(0, 100 + n, "male") for n in range(15)] + [(0, 200, "other")]
    assert shown(payments) == ({"female"}, True)


def test_of_two_cells_one_small_one_hides_both() -> None:
    payments = [(0, n, "female") for n in range(40)] + [(0, 100, "male")]
    assert shown(payments) == (set(), True)


def test_small_cells_that_are_small_together_take_one_more() -> None:
    payments = [(0, n, "a") for n in range(40)] + [(0, 100 + n, "b") for n in range(30)] + [(0, 200, "c"), (0, 201, "d")]
    assert shown(payments) == ({"a"}, True)


def test_customers_who_come_every_day_are_counted_by_the_best_day() -> None:
    # 20 women and 20 men come each of ten days: over the range 200 payments of 20 customers bound nothing, each day does.
    payments = [(144 * day, n, "female" if n < 20 else "male") for day in range(10) for n in range(40)]
    assert shown(payments) == ({"female", "male"}, False)


def test_many_payments_of_one_customer_are_one_customer() -> None:
    payments = [(0, 1, "male")] * 50 + [(0, 2, "female")] * 50
    assert shown(payments) == (set(), True)


def test_what_tells_nothing_of_people_is_always_shown() -> None:
    assert shown([(0, 1, "card"), (0, 2, "cash")], "by_method") == ({"card", "cash"}, False)


@given(st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 40), min_size=1), st.integers(0, 150))
def test_the_bound_never_exceeds_payments_nor_customers(payments: dict[str, int], customers: int) -> None:
    assume(customers <= sum(payments.values()))
    part = Part(customers, payments)
    for value, count in payments.items():
        assert 0 <= part.least_in([value]) <= min(count, customers)
    assert part.least_in(payments) == customers


def test_an_estimate_is_taken_with_a_margin() -> None:
    # Above 4,096 customers the sketch estimates: 4 standard errors of 1.63 % are taken off.
    assert Part(100_000, {"a": 60_000, "b": 40_000}).least_in(["a"]) == 100_000 - 6_520 - 40_000


def test_nothing_is_withheld_of_nothing() -> None:
    assert withheld([], [], LEAST) == frozenset()
