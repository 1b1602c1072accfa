"""Numbers by hand, through GraphQL and REST, and who may see them."""

import csv
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.graphql_api.conftest import Api, run
from tests.integration.graphql_api.store import Paid, Store, Written
from tests.support.examples import examples

pytestmark = pytest.mark.stack

DAY = datetime(2026, 11, 3, tzinfo=UTC)
SERIES = """
query($merchant: ID!, $start: DateTime!, $end: DateTime!, $grain: Grain = TEN_MINUTES, $currency: String, $sparse: Boolean = false,
      $zone: String) {
  series(merchantId: $merchant, start: $start, end: $end, grain: $grain, currency: $currency, sparse: $sparse, timeZone: $zone) {
    currency currencies
    points { start payments gross refunds refundedAmount net failed smallest largest customers }
    totals { payments gross net customers smallest byMethod { value payments gross } }
    freshness { completeThrough missing }
  }
}
"""


def at(hour: int, minute: int = 0) -> datetime:
    return DAY + timedelta(hours=hour, minutes=minute)


def shop(store: Store, merchant: str) -> None:
    """01:00 two payments of a and b; 01:20 one more of a, a refund, a failure; 03:00 one in another currency; 25:00 next day."""
    store.merchant(merchant, "USD")
    store.report(merchant, at(1), "USD", Written([Paid(100, "a"), Paid(250, "b", "cash")]))
    store.report(merchant, at(1, 20), "USD", Written([Paid(150, "a")], refunded=[40], failed=1))
    store.report(merchant, at(3), "KRW", Written([Paid(99_000, "c")]))
    store.report(merchant, at(25), "USD", Written([Paid(7, "d")]))
    store.progress(at(2))


def variables(merchant: str, start: datetime, end: datetime, **more: Any) -> dict[str, Any]:
    return {"merchant": merchant, "start": start.isoformat(), "end": end.isoformat(), **more}


def test_a_range_by_hand_dense_sparse_by_hour_and_by_another_currency(environ: dict[str, str], store: Store) -> None:
    shop(store, "hand")

    async def scenario(api: Api) -> None:
        dense = (await api.ask(SERIES, ["hand"], variables("hand", at(1), at(1, 30))))["data"]["series"]
        assert dense["points"] == {
            "start": ["2026-11-03T01:00:00Z", "2026-11-03T01:10:00Z", "2026-11-03T01:20:00Z"],
            "payments": [2, 0, 1], "gross": ["350", "0", "150"], "refunds": [0, 0, 1], "refundedAmount": ["0", "0", "40"],
            "net": ["350", "0", "110"], "failed": [0, 0, 1], "smallest": ["100", None, "150"], "largest": ["250", None, "150"],
            "customers": [2, 0, 1],
        }  # fmt: skip
        assert dense["totals"] == {
            "payments": 3, "gross": "500", "net": "460", "customers": 2, "smallest": "100",
            "byMethod": [{"value": "card", "payments": 2, "gross": "250"}, {"value": "cash", "payments": 1, "gross": "250"}],
        }  # fmt: skip
        assert dense["currencies"] == ["USD"]
        sparse = (await api.ask(SERIES, ["hand"], variables("hand", at(0), at(24), sparse=True)))["data"]["series"]
        assert sparse["points"]["start"] == ["2026-11-03T01:00:00Z", "2026-11-03T01:20:00Z"]
        assert sparse["currencies"] == ["KRW", "USD"]
        hours = (await api.ask(SERIES, ["hand"], variables("hand", at(0), at(4), grain="HOUR")))["data"]["series"]
        assert (hours["points"]["gross"], hours["points"]["customers"]) == (["0", "500", "0", "0"], [0, 2, 0, 0])
        days = (await api.ask(SERIES, ["hand"], variables("hand", at(0), at(48), grain="DAY", zone="UTC")))["data"]["series"]
        assert days["points"]["payments"] == [3, 1]
        won = (await api.ask(SERIES, ["hand"], variables("hand", at(0), at(24), currency="KRW", sparse=True)))["data"]["series"]
        assert (won["currency"], won["totals"]["gross"]) == ("KRW", "99000")

    run(environ, scenario)


def test_a_year_read_by_months_gives_what_its_days_give(environ: dict[str, str], store: Store) -> None:
    store.merchant("year", "USD")
    start = datetime(2025, 11, 1, tzinfo=UTC)
    moments = [start + timedelta(days=day, minutes=10 * (day % 144)) for day in range(0, 400, 9)]
    store.reports([store.row("year", moment, "USD", Written([Paid(n + 1, f"c{n % 5}")]), 1) for n, moment in enumerate(moments)])

    async def scenario(api: Api) -> None:
        whole = (await api.ask(SERIES, ["year"], variables("year", start, start + timedelta(days=400), sparse=True)))["data"]["series"]
        assert whole["points"]["gross"] == [str(n + 1) for n in range(45)]
        assert whole["totals"]["gross"] == str(45 * 46 // 2)
        assert whole["totals"]["customers"] == 5
        parts: list[str] = []
        for first in range(0, 400, 25):
            low = start + timedelta(days=first)
            part = await api.ask(SERIES, ["year"], variables("year", low, low + timedelta(days=25), sparse=True))
            parts += part["data"]["series"]["points"]["gross"]
        assert parts == whole["points"]["gross"]

    run(environ, scenario)


def test_an_answer_says_how_complete_it_is(environ: dict[str, str], store: Store) -> None:
    # I13: the analysis has come to 02:00, so the window at 01:50 is complete and that at 02:00 is not.
    shop(store, "fresh")

    async def scenario(api: Api) -> None:
        series = (await api.ask(SERIES, ["fresh"], variables("fresh", at(1, 50), at(2, 20))))["data"]["series"]
        assert series["freshness"]["completeThrough"] == "2026-11-03T02:00:00Z"
        assert series["freshness"]["missing"] == ["2026-11-03T02:00:00Z", "2026-11-03T02:10:00Z"]

    run(environ, scenario)


def test_rest_gives_the_same_numbers_as_graphql(environ: dict[str, str], store: Store) -> None:
    shop(store, "rest")

    async def scenario(api: Api) -> None:
        series = (await api.ask(SERIES, ["rest"], variables("rest", at(0), at(24))))["data"]["series"]
        given = {"start": "2026-11-03T00:00:00Z", "end": "2026-11-04T00:00:00Z"}
        body = (await api.get("/v1/merchants/rest/series", ["rest"], params=given)).json()
        assert {name: body["points"][name] for name in series["points"]} == series["points"]
        assert {name: body["totals"][name] for name in series["totals"]} == series["totals"]
        table = await api.get("/v1/merchants/rest/series", ["rest"], params=given, headers={"Accept": "text/csv"})
        lines = list(csv.DictReader(table.text.splitlines()))
        assert [line["gross"] for line in lines] == body["points"]["gross"]
        assert [line["largest"] or None for line in lines] == body["points"]["largest"]
        report = (await api.get("/v1/merchants/rest/report", ["rest"], params={"start": "2026-11-03T01:20:00Z"})).json()
        assert (report["payments"], report["net"], report["revision"]) == (1, "110", 3)
        absent = await api.get("/v1/merchants/rest/report", ["rest"], params={"start": "2026-11-03T05:00:00Z"})
        assert (absent.status_code, absent.headers["content-type"]) == (404, "application/problem+json")

    run(environ, scenario)


def test_an_unknown_merchant_without_a_currency_is_named(environ: dict[str, str], store: Store) -> None:
    async def scenario(api: Api) -> None:
        query = 'query($s: DateTime!) { report(merchantId: "nobody", start: $s) { payments } }'
        answer = await api.ask(query, None, {"s": at(1).isoformat()})
        assert answer["errors"][0]["extensions"]["code"] == "NOT_FOUND"
        assert "'nobody' is not known" in answer["errors"][0]["message"]

    run(environ, scenario)


def test_two_tenants_at_random_never_see_each_others_rows(environ: dict[str, str], store: Store) -> None:
    # I9: each merchant's amounts are of its own kind (A: even, B: odd); every answer, cached or not, holds its owner's only.
    for merchant, amount in (("tenantA", 2), ("tenantB", 3)):
        store.merchant(merchant, "USD")
        store.reports([store.row(merchant, at(0, 10 * n), "USD", Written([Paid(amount * (n + 1), merchant)]), 1) for n in range(12)])
    steps = st.lists(st.tuples(st.sampled_from("AB"), st.sampled_from("AB"), st.integers(0, 11), st.booleans()), min_size=1, max_size=12)

    @settings(max_examples=examples(12), deadline=None, suppress_health_check=list(HealthCheck))
    @given(steps)
    def check(walk: list[tuple[str, str, int, bool]]) -> None:
        async def scenario(api: Api) -> None:
            for caller, asked, window, by_rest in walk:
                merchant = f"tenant{asked}"
                if by_rest:
                    answer = await api.get(
                        f"/v1/merchants/{merchant}/report",
                        [f"tenant{caller}"],
                        params={"start": f"{at(0, 10 * window):%Y-%m-%dT%H:%M:%SZ}"},
                    )
                    gross, code = answer.json().get("gross"), answer.json().get("code")
                else:
                    query = "query($m: ID!, $s: DateTime!) { report(merchantId: $m, start: $s) { gross } }"
                    body = await api.ask(query, [f"tenant{caller}"], {"m": merchant, "s": at(0, 10 * window).isoformat()})
                    gross = (body["data"]["report"] or {}).get("gross")
                    code = body["errors"][0]["extensions"]["code"] if "errors" in body else None
                if caller == asked:
                    assert gross == str((2 if asked == "A" else 3) * (window + 1))
                else:
                    assert (gross, code) == (None, "FORBIDDEN")

        run(environ, scenario)

    check()
