"""New and returning customers over real Cassandra: GraphQL, REST and CSV give the same days, and each says which are not counted yet."""

import csv
import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from millrace_graphql.ranges.plan import iso
from tests.integration.graphql_api.conftest import Api, run, until
from tests.integration.graphql_api.questions import SEOUL, asked, day, fortnight
from tests.integration.graphql_api.store import Paid, Store, Written

pytestmark = pytest.mark.stack

NAMES = ("customers", "newCustomers", "returningCustomers")
QUESTION = f"""query($m: ID!, $s: DateTime, $e: DateTime, $p: Preset) {{
  customersByDay(merchantId: $m, start: $s, end: $e, preset: $p) {{
    merchantId timeZone start end points {{ start end {" ".join(NAMES)} }} totals {{ {" ".join(NAMES)} }}
    freshness {{ completeThrough missing revision }}
  }}
}}"""


def counted(store: Store, merchant: str, days: int) -> None:
    """The fortnight of ``questions``, and its first days as the customers' job counts them."""
    fortnight(store, merchant)
    store.report(merchant, day(3), "USD", Written([Paid(5, "abroad")]))  # another currency, the same shop
    seen: set[str] = set()
    for number in range(days):
        came = {"always", f"c{number % 5}"} | ({"abroad"} if number == 3 else set())
        store.customers(merchant, day(number, 0), len(came - seen), len(came & seen))
        seen |= came
    store.progress(day(days, 0), "customers")


def test_days_are_those_of_the_merchants_calendar_and_the_open_ones_are_missing(environ: dict[str, str], store: Store) -> None:
    counted(store, "counted", 10)
    span = {"start": day(0, 0).isoformat(), "end": day(12, 0).isoformat()}

    async def scenario(api: Api) -> None:
        found = await asked(api, "counted", QUESTION, s=span["start"], e=span["end"])
        assert (found["merchantId"], found["timeZone"]) == ("counted", "Asia/Seoul")
        assert found["points"]["start"] == [iso(int(day(n, 0).timestamp() * 1000)) for n in range(12)]
        # Day 0 brings "always" and c0, days 1 to 4 one each, day 3 also the one from abroad; then all are known.
        assert found["points"]["newCustomers"] == [2, 1, 1, 2, 1, 0, 0, 0, 0, 0, None, None]
        assert found["points"]["customers"] == [2, 2, 2, 3, 2, 2, 2, 2, 2, 2, None, None]
        assert found["points"]["returningCustomers"] == [0, 1, 1, 1, 1, 2, 2, 2, 2, 2, None, None]
        assert found["totals"] == {"customers": 7, "newCustomers": 7, "returningCustomers": 0}
        fresh = found["freshness"]
        assert fresh["completeThrough"] == iso(int(day(10, 0).timestamp() * 1000))
        assert fresh["missing"] == found["points"]["start"][10:]
        later = await asked(api, "counted", QUESTION, s=day(2, 0).isoformat(), e=day(5, 0).isoformat())
        # "always" and c2, c3, c4 and the one from abroad come, and of these only "always" was there before.
        assert later["totals"] == {"customers": 5, "newCustomers": 4, "returningCustomers": 1}
        rest = (await api.get("/v1/merchants/counted/customers", ["counted"], params=span)).json()
        assert {name: rest[name] for name in ("merchantId", "timeZone", "start", "end", "points", "totals")} == {
            name: value for name, value in found.items() if name != "freshness"
        }
        assert rest["freshness"]["missing"] == fresh["missing"]
        # Rows as of the store's fixture: twice the new ones and once the returning ones of each day.
        assert (fresh["revision"], rest["freshness"]["revision"]) == ("28", "28")
        table = await api.get("/v1/merchants/counted/customers.csv", ["counted"], params=span)
        rows = list(csv.DictReader(io.StringIO(table.text)))
        for name in NAMES:
            assert [int(row[name]) if row[name] else None for row in rows] == found["points"][name]
        assert (table.headers["millrace-missing-windows"], table.headers["millrace-complete-through"]) == ("2", fresh["completeThrough"])

    run(environ, scenario)


def test_a_total_of_days_that_are_rolled_up_is_the_same(environ: dict[str, str], store: Store) -> None:
    counted(store, "rolled", 10)
    question = {"s": day(2, 0).isoformat(), "e": day(5, 0).isoformat()}

    async def scenario(api: Api) -> None:
        plain = await asked(api, "rolled", QUESTION, **question)
        for number in range(10):
            paid = [Paid((number + 1) * 100, f"c{number % 5}"), Paid(7, "always")]
            store.rollup("rolled", "1d", day(number, 0), "KRW", Written(paid), day(30))
        store.rollup("rolled", "1d", day(3, 0), "USD", Written([Paid(5, "abroad")]), day(30))
        store.progress(day(30), "rollups")

        async def same() -> bool:
            found: Any = await asked(api, "rolled", QUESTION, **question)
            return bool(found["totals"] == plain["totals"] == {"customers": 5, "newCustomers": 4, "returningCustomers": 1})

        await until(same)

    try:
        run(environ, scenario)
    finally:
        store.forget_progress("rollups")


def test_a_preset_ends_with_the_day_that_is_running_which_is_never_counted(environ: dict[str, str], store: Store) -> None:
    store.merchant("preset", "KRW")
    today = datetime.now(SEOUL).replace(hour=0, minute=0, second=0, microsecond=0)
    yesterday = (today - timedelta(days=1)).astimezone(UTC)
    store.customers("preset", yesterday, 4, 2)
    store.progress(datetime.now(UTC), "customers")

    async def scenario(api: Api) -> None:
        found = await asked(api, "preset", QUESTION, p="LAST_7_DAYS")
        starts = [datetime.fromisoformat(start) for start in found["points"]["start"]]
        assert len(starts) == 7
        assert starts[-1] >= today, "it may be tomorrow by now"
        assert found["points"]["newCustomers"] == [None if start >= today else 4 * (start == yesterday) for start in starts]
        assert found["freshness"]["missing"] == found["points"]["start"][-sum(start >= today for start in starts) :]

    run(environ, scenario)


def test_before_the_first_count_every_day_is_missing_and_another_merchants_are_refused(environ: dict[str, str], store: Store) -> None:
    fortnight(store, "uncounted")
    store.forget_progress("customers")
    span = {"s": day(0, 0).isoformat(), "e": day(3, 0).isoformat()}

    async def scenario(api: Api) -> None:
        found = await asked(api, "uncounted", QUESTION, **span)
        assert found["points"]["customers"] == [None] * 3
        assert found["totals"] == dict.fromkeys(NAMES)
        assert (found["freshness"]["completeThrough"], len(found["freshness"]["missing"])) == (None, 3)
        refused = await api.ask(QUESTION, ["someone"], {"m": "uncounted", **span})
        assert refused["errors"][0]["extensions"]["code"] == "FORBIDDEN"
        rest = await api.get("/v1/merchants/uncounted/customers", ["someone"], params={"preset": "TODAY"})
        assert (rest.status_code, rest.json()["code"]) == (403, "FORBIDDEN")
        noon = await api.ask(QUESTION, ["uncounted"], {"m": "uncounted", "s": day(0).isoformat(), "e": day(3, 0).isoformat()})
        assert noon["errors"][0]["extensions"]["argument"] == "start"
        zone = await api.get("/v1/merchants/uncounted/customers", ["uncounted"], params={"preset": "TODAY", "timeZone": "UTC"})
        assert (zone.status_code, "timeZone" in zone.json()["detail"]) == (400, True)

    run(environ, scenario)
