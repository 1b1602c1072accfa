"""What the tests of a dashboard's questions share: a merchant of two weeks, and how it is asked."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from tests.integration.graphql_api.conftest import Api
from tests.integration.graphql_api.store import Paid, Store, Written

SEOUL = ZoneInfo("Asia/Seoul")
FIRST = datetime(2026, 10, 5, tzinfo=SEOUL)  # a Monday


def day(number: int, hour: int = 12, minute: int = 0) -> datetime:
    """An instant of the test's days on the wall clock of Seoul."""
    return (FIRST + timedelta(days=number, hours=hour, minutes=minute)).astimezone(UTC)


def fortnight(store: Store, merchant: str) -> None:
    """Two weeks: on day n at noon one payment of (n + 1) * 100 by customer n modulo 5, and one at one o'clock of 7 by "always"."""
    store.merchant(merchant, "KRW")
    for number in range(14):
        paid = Written([Paid((number + 1) * 100, f"c{number % 5}", "card" if number % 2 else "cash")], refunded=[5])
        store.report(merchant, day(number), "KRW", paid)
        store.report(merchant, day(number, 1), "KRW", Written([Paid(7, "always", "wallet")]))
    store.progress(day(30))


async def asked(api: Api, merchant: str, question: str, **variables: Any) -> Any:
    """Data of a root field."""
    body = await api.ask(question, [merchant], {"m": merchant, **variables})
    assert "errors" not in body, body
    return next(iter(body["data"].values()))


SERIES = """query($m: ID!, $s: DateTime, $e: DateTime, $g: Grain!, $z: String, $p: Preset) {
  series(merchantId: $m, start: $s, end: $e, grain: $g, timeZone: $z, preset: $p) {
    timeZone points { start end partial split gross customers } totals { gross customers } freshness { completeThrough revision missing }
  }
}"""
