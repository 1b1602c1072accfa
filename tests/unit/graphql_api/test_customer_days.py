"""New and returning customers: a day that is not counted is never a zero, and only what adds up is added."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from millrace_contracts.metrics import CUSTOMER_METRICS
from millrace_contracts.reports import PROGRESS_CUSTOMERS
from millrace_contracts.values.zones import digest
from millrace_contracts.windows import to_ms
from millrace_graphql.ranges.calendar import Grain
from millrace_graphql.ranges.cassandra import Cassandra
from millrace_graphql.ranges.customer_days import READ, CustomerDays
from millrace_graphql.ranges.directory import Directory, Progress
from millrace_graphql.ranges.plan import Range, iso
from millrace_graphql.rest import openapi
from millrace_graphql.rest.bodies import customers_json
from millrace_graphql.rest.export import CUSTOMERS_HEADER, customers_csv

FIRST = to_ms(datetime(2026, 10, 4, 15, tzinfo=UTC))  # 5 October in Seoul
DAY = 86_400_000
BY_NAME = {metric.name: metric for metric in CUSTOMER_METRICS}
NAMES = list(BY_NAME)


def days(rows: dict[int, tuple[int, int]], through: int | None, count: int = 4, shift: int = 0) -> CustomerDays:
    """``rows``: number of a day -> (new, returning)."""
    starts = np.array([FIRST + number * DAY + shift for number in sorted(rows)], np.int64)
    new, returning = (np.array([rows[number][place] for number in sorted(rows)], np.int64) for place in (0, 1))
    columns = dict(zip(READ, (new + returning, new, returning, 10 * new + returning), strict=True))
    asked = Range(FIRST, FIRST + count * DAY, Grain.DAY, "Asia/Seoul")
    return CustomerDays.of("m1", asked, (starts, columns), Progress(5, through))


def columns(found: CustomerDays) -> dict[str, list[int | None]]:
    return {name: found.column(metric) for name, metric in BY_NAME.items()}


def test_a_counted_day_without_a_row_is_zero_and_one_that_is_not_counted_is_null() -> None:
    found = days({0: (3, 0), 2: (1, 2)}, FIRST + 3 * DAY)
    assert columns(found) == {"customers": [3, 0, 3, None], "newCustomers": [3, 0, 1, None], "returningCustomers": [0, 0, 2, None]}
    assert found.freshness.missing() == [FIRST + 3 * DAY]
    assert found.freshness.complete_through_ms == FIRST + 3 * DAY
    assert found.counted.tolist() == [FIRST + n * DAY for n in range(4)]


def test_a_row_of_a_day_that_is_not_wholly_read_is_not_shown() -> None:
    found = days({0: (1, 0), 1: (2, 0)}, FIRST + 2 * DAY - 1)
    assert columns(found)["newCustomers"] == [1, None, None, None]
    assert found.freshness.revision == 10


def test_the_revision_is_that_of_the_days_that_are_counted() -> None:
    assert days({0: (3, 0), 2: (1, 2)}, FIRST + 4 * DAY).freshness.revision == 30 + 12
    assert days({}, FIRST + 4 * DAY).freshness.revision == 0


@pytest.mark.parametrize("through", [None, FIRST])
def test_where_nothing_is_counted_there_are_neither_days_nor_totals(through: int | None) -> None:
    found = days({}, through)
    assert columns(found) == dict.fromkeys(NAMES, [None] * 4)
    assert len(found.freshness.missing()) == 4
    assert found.totals(7) == dict.fromkeys(NAMES)


class Counted:
    """Cassandra's progress rows."""

    def __init__(self, rules: dict[str, str]) -> None:
        self.details = {PROGRESS_CUSTOMERS: json.dumps({"zones": rules})}

    async def read(self, statement: str, values: list[str]) -> dict[str, list[Any]]:
        through = {"through": [FIRST + 9 * DAY]}
        return through if "detail" not in statement else {**through, "detail": [self.details[values[0]]]}


@pytest.mark.parametrize(
    ("rules", "counted"),
    [({}, True), ({"Asia/Seoul": digest("Asia/Seoul")}, True), ({"Asia/Seoul": "of 1988"}, False), ({"Asia/Tokyo": "of 1951"}, True)],
)
def test_days_that_follow_other_rules_of_their_zone_stand_for_none(rules: dict[str, str], counted: bool) -> None:
    progress = asyncio.run(Directory(cast("Cassandra", Counted(rules))).customers_progress())
    none = (np.array([], np.int64), dict.fromkeys(READ, np.array([], np.int64)))
    found = CustomerDays.of("m1", Range(FIRST, FIRST + 4 * DAY, Grain.DAY, "Asia/Seoul"), none, progress)
    assert columns(found)["customers"] == [0 if counted else None] * 4
    assert len(found.freshness.missing()) == (0 if counted else 4)


def test_days_of_a_calendar_that_the_merchant_had_before_stand_for_no_day_of_the_new_one() -> None:
    found = days({0: (3, 0), 1: (1, 0)}, FIRST + 9 * DAY, shift=3_600_000)
    assert columns(found)["customers"] == [None] * 4
    assert found.freshness.complete_through_ms is None
    assert len(found.freshness.missing()) == 4


def test_new_customers_add_up_and_returning_ones_do_not() -> None:
    # Two come on each of three days; they are new on the first, and a third one, who knows the shop, comes once.
    found = days({0: (2, 0), 1: (0, 2), 2: (0, 3)}, FIRST + 4 * DAY)
    assert found.totals(3) == {"customers": 3, "newCustomers": 2, "returningCustomers": 1}


@given(st.lists(st.lists(st.integers(0, 9), max_size=6), min_size=1, max_size=12), st.sets(st.integers(0, 9)))
def test_totals_are_what_the_visits_say(visits: list[list[int]], regulars: set[int]) -> None:
    known, rows = set(regulars), {}
    for number, visitors in enumerate(visits):
        new = set(visitors) - known
        known |= new
        rows[number] = (len(new), len(set(visitors)) - len(new))
    came = {visitor for visitors in visits for visitor in visitors}
    found = days(rows, FIRST + len(visits) * DAY, len(visits))
    expected = {"customers": len(came), "newCustomers": len(came - regulars), "returningCustomers": len(came & regulars)}
    assert found.totals(len(came)) == expected


def test_an_estimate_below_what_is_known_exactly_makes_no_negative_number() -> None:
    assert days({0: (5_000, 0)}, FIRST + DAY, 1).totals(4_930) == {"customers": 5_000, "newCustomers": 5_000, "returningCustomers": 0}


def test_rest_and_csv_hold_every_metric_of_the_definitions() -> None:
    found = days({0: (3, 1)}, FIRST + 2 * DAY, 3)
    body: dict[str, Any] = customers_json(found, found.totals(4))
    document = openapi.document()
    schema = {"$ref": "#/components/schemas/CustomerDays", "components": document["components"]}
    Draft202012Validator(schema).validate(body)
    assert list(body["totals"]) == NAMES
    assert [name for name in body["points"] if name in BY_NAME] == NAMES
    assert ("start", "merchantId", *NAMES) == CUSTOMERS_HEADER
    first, second, third = (iso(FIRST + n * DAY) for n in range(3))
    lines = customers_csv(found).split("\r\n")
    assert lines == [
        "start,merchantId,customers,newCustomers,returningCustomers",
        f"{first},m1,4,3,1",
        f"{second},m1,0,0,0",
        f"{third},m1,,,",
        "",
    ]
