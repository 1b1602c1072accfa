"""Every currency that was counted can be asked for; a typing error is refused."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from millrace_contracts.windows import Grain as Stored
from millrace_contracts.windows import from_ms, to_ms
from millrace_graphql.errors import InvalidArgumentError
from millrace_graphql.identity import Identity
from millrace_graphql.ranges.answers import Asked, Series
from millrace_graphql.ranges.columns import Group
from millrace_graphql.ranges.directory import Merchant, Progress
from millrace_graphql.ranges.query import ReportQueries
from millrace_graphql.settings import ApiSettings
from tests.unit.graphql_api.shelf import Shelf

START = to_ms(datetime(2026, 11, 3, 1, tzinfo=UTC))
HOUR = 3_600_000
# XOF and IQD are listed; XTS is not, and came by a document that was written directly.
PAID = {"XOF": 100, "IQD": 2_000, "XTS": 30_000}
SHELF = Shelf({(START, name): ([(amount, 1)], [], 0) for name, amount in PAID.items()}, {Stored.HOUR: {}, Stored.DAY: {}})
CALLER = Identity("s", "merchant", frozenset({"m"}))


class Directory:
    """One merchant whose own currency is on no list."""

    async def merchant(self, merchant_id: str) -> Merchant:
        return Merchant(merchant_id, currency="XTS")

    async def progress(self) -> Progress:
        return Progress(START + HOUR, START + HOUR)


def queries() -> Any:
    return ReportQueries(SHELF, Directory(), None, ApiSettings())  # type: ignore[arg-type]


def series(currency: str | None, start: int = START) -> Series:
    asked = Asked(from_ms(start), from_ms(start + HOUR), currency=currency)
    found: Series = asyncio.run(queries().series(CALLER, "m", asked, frozenset({Group.COUNTERS})))
    return found


@pytest.mark.parametrize(("currency", "gross"), [*PAID.items(), (None, 30_000), ("EUR", 0)])
def test_a_listed_currency_or_one_of_the_range_is_answered(currency: str | None, gross: int) -> None:
    found = series(currency)
    assert (found.currency, found.currencies) == (currency or "XTS", ["IQD", "XOF", "XTS"])
    assert sum(found.rows[Group.COUNTERS].of(found.currency).values["gross"].tolist()) == gross


def test_a_merchants_own_currency_is_answered_without_a_report_of_it() -> None:
    assert series(None, START + HOUR).currency == "XTS"


@pytest.mark.parametrize("currency", ["EUT", "EURO", "xof", ""])
def test_a_typing_error_is_refused(currency: str) -> None:
    with pytest.raises(InvalidArgumentError, match=rf"^currency: {currency} is not a currency.*; give an ISO 4217 code such as USD$"):
        series(currency)
    with pytest.raises(InvalidArgumentError, match=r"^currency: "):
        asyncio.run(queries().report(CALLER, "m", from_ms(START), currency=currency, groups=frozenset({Group.COUNTERS})))


def test_a_currency_that_only_another_range_has_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="no report of the range has it"):
        series("XTS", START + HOUR)
