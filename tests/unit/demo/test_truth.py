"""The comparison with the truth, against stand-ins for MongoDB and the API whose numbers are written by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from millrace_stack.truth.answers import bounds
from millrace_stack.truth.compare import Comparison, compare, differences, sample
from millrace_stack.truth.mongo import Figures

AT = datetime(2026, 11, 1, 10, 10, tzinfo=UTC)
NOW = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)


class Mongo:
    """One merchant with two windows."""

    def last_write(self) -> datetime:
        return NOW

    def merchants(self) -> list[str]:
        return ["m"]

    def span(self) -> tuple[datetime, datetime]:
        return AT + timedelta(minutes=1), AT + timedelta(minutes=15)

    def totals(self, merchants: Any = None) -> dict[Any, Figures]:
        return {("m", "USD"): Figures(3, 300, 1, 50, 2)}

    def windows(self, merchants: Any) -> dict[Any, Figures]:
        return {("m", "USD", AT): Figures(2, 200, 0, 0, 2), ("m", "USD", AT + timedelta(minutes=10)): Figures(1, 100, 1, 50, 1)}


class Api:
    """Answers as MongoDB has it, but for what a test changes."""

    def __init__(self) -> None:
        self.total = Figures(3, 300, 1, 50, 2)
        self.second = Figures(1, 100, 1, 50, 1)
        self.extra: set[str] = set()
        self.through = NOW + timedelta(seconds=1)

    def complete_through(self) -> datetime:
        return self.through

    def currencies(self, merchant: str, start: datetime, end: datetime) -> set[str]:
        assert (start, end) == (AT, AT + timedelta(minutes=20))
        return {"USD", *self.extra}

    def totals(self, merchant: str, currency: str, start: datetime, end: datetime) -> Figures:
        return self.total if currency == "USD" else Figures(1, 1, 0, 0, 1)

    def windows(self, merchant: str, currency: str, start: datetime, end: datetime) -> dict[datetime, Figures]:
        return {AT: Figures(2, 200, 0, 0, 2), AT + timedelta(minutes=10): self.second} if currency == "USD" else {}


def _compare(api: Api) -> Comparison:
    return compare(Mongo(), api, 5, 0.0, lambda _: None)  # type: ignore[arg-type]


def test_equal_answers_are_equal() -> None:
    result = _compare(Api())
    assert result.equal
    assert (result.totals, result.windows, result.sums.gross) == (1, 2, 300)


def test_one_minor_unit_in_one_window_is_named() -> None:
    api = Api()
    api.second = Figures(1, 101, 1, 50, 1)
    result = _compare(api)
    assert [str(each) for each in result.differences] == ["m USD window 2026-11-01T10:20:00+00:00: gross is 101, MongoDB has 100"]


def test_what_payments_move_while_it_is_read_is_read_again_until_both_sides_agree() -> None:
    class Moving(Api):
        """The merchant has a payment more in MongoDB than in the answers, each time it is asked up to the sixth."""

        asked = 0

        def totals(self, merchant: str, currency: str, start: datetime, end: datetime) -> Figures:
            self.asked += 1
            return Figures(3, 300 - max(0, 6 - self.asked), 1, 50, 2)

    moving = Moving()
    assert _compare(moving).equal
    assert moving.asked == 6


def test_a_difference_that_stays_is_told_after_three_rounds() -> None:
    class Counted(Api):
        asked = 0

        def complete_through(self) -> datetime:
            self.asked += 1
            return self.through

    api = Counted()
    api.second = Figures(2, 100, 1, 50, 1)
    assert [each.figure for each in _compare(api).differences] == ["payments"]
    assert api.asked == 3


def test_a_currency_that_only_the_api_has_is_a_difference() -> None:
    api = Api()
    api.extra = {"EUR"}
    assert {(each.currency, each.figure) for each in _compare(api).differences} == {
        ("EUR", "payments"),
        ("EUR", "gross"),
        ("EUR", "customers"),
    }


def test_a_total_that_lacks_a_refund_is_a_difference() -> None:
    api = Api()
    api.total = Figures(3, 300, 0, 0, 2)
    assert [(each.figure, each.truth, each.answer) for each in _compare(api).differences] == [("refunds", 1, 0), ("refunded", 50, 0)]


def test_distinct_customers_are_exact_up_to_4096_and_within_the_stated_error_above() -> None:
    assert differences(Figures(customers=4096), Figures(customers=4095), "m", "USD")
    assert not differences(Figures(customers=10_000), Figures(customers=10_500), "m", "USD")
    assert differences(Figures(customers=10_000), Figures(customers=11_000), "m", "USD")


def test_a_sample_is_the_same_on_every_machine_and_part_of_a_larger_one() -> None:
    names = [f"store-{number}" for number in range(100)]
    assert sample(names, 5) == sample(reversed_set := list(reversed(names)), 5)
    assert set(sample(reversed_set, 5)) < set(sample(names, 10))


def test_bounds_are_the_windows_that_hold_both_ends() -> None:
    assert bounds(AT, AT) == (AT, AT + timedelta(minutes=10))
    assert bounds(AT - timedelta(seconds=1), AT + timedelta(minutes=10)) == (AT - timedelta(minutes=10), AT + timedelta(minutes=20))
