"""Questions of a dashboard over real Cassandra: calendars, rollups, comparisons, breakdowns, the grid, peers, exports."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from millrace_contracts.metrics import METRICS
from millrace_graphql.rest import openapi
from tests.integration.graphql_api.conftest import Api, run, until
from tests.integration.graphql_api.questions import SERIES, asked, day, fortnight
from tests.integration.graphql_api.store import Paid, Store, Written

pytestmark = pytest.mark.stack

NAMES = [metric.name for metric in METRICS]
ALL_TOTALS = " ".join(NAMES)


@pytest.fixture(autouse=True)
def no_rollups(store: Store) -> Iterator[None]:
    yield
    store.forget_progress("rollups")


def test_days_weeks_and_months_follow_the_merchants_own_calendar(environ: dict[str, str], store: Store) -> None:
    fortnight(store, "calendar")

    async def scenario(api: Api) -> None:
        span = {"s": day(0, 0).isoformat(), "e": day(14, 0).isoformat()}
        days = await asked(api, "calendar", SERIES, g="DAY", **span)
        assert days["timeZone"] == "Asia/Seoul"
        assert days["points"]["start"][:2] == ["2026-10-04T15:00:00Z", "2026-10-05T15:00:00Z"]
        assert days["points"]["gross"] == [str((n + 1) * 100 + 7) for n in range(14)]
        weeks = await asked(api, "calendar", SERIES, g="WEEK", **span)
        assert weeks["points"]["gross"] == [str(2800 + 49), str(7700 + 49)]
        assert weeks["points"]["customers"] == [6, 6]
        assert weeks["totals"] == {"gross": str(10500 + 98), "customers": 6}
        months = await asked(api, "calendar", SERIES, g="MONTH", **span)
        assert (months["points"]["partial"], months["points"]["gross"]) == ([True], ["10598"])
        # The payment of one o'clock belongs to the day before in UTC.
        utc = await asked(api, "calendar", SERIES, g="DAY", z="UTC", s="2026-10-04T00:00:00Z", e="2026-10-06T00:00:00Z")
        assert utc["points"]["gross"] == ["7", "107"]
        nepal = await asked(api, "calendar", SERIES, g="DAY", z="Asia/Kathmandu", s="2026-10-04T18:15:00Z", e="2026-10-05T18:15:00Z")
        assert (nepal["points"]["split"], nepal["points"]["gross"]) == ([True], ["107"])
        assert days["freshness"]["revision"] == str(14 * 3)

    run(environ, scenario)


def test_today_holds_what_has_just_happened(environ: dict[str, str], store: Store) -> None:
    store.merchant("today", "KRW")
    now = datetime.now(UTC)
    window = now - timedelta(minutes=now.minute % 10, seconds=now.second, microseconds=now.microsecond)
    store.report("today", window, "KRW", Written([Paid(11)]))

    async def scenario(api: Api) -> None:
        # Over two days, so that midnight in Seoul may pass in the middle of the test.
        week = await asked(api, "today", SERIES, g="DAY", p="LAST_7_DAYS")
        assert (len(week["points"]["gross"]), week["totals"]["gross"]) == (7, "11")
        body = (await api.get("/v1/merchants/today/series", ["today"], params={"preset": "LAST_7_DAYS", "grain": "DAY"})).json()
        assert body["totals"]["gross"] == "11"

    run(environ, scenario)


def test_stored_days_and_hours_are_taken_where_they_are_vouched_for(environ: dict[str, str], store: Store) -> None:
    # The rollups hold other amounts than the reports, so that the answer tells which were read.
    fortnight(store, "rolled")
    store.rollup("rolled", "1d", day(1, 0), "KRW", Written([Paid(1_000_000, "r")]), day(2, 0))
    store.rollup("rolled", "1d", day(2, 0), "KRW", Written([Paid(1_000_000, "r")]), day(2, 23))  # written before the day was over
    store.rollup("rolled", "1h", day(3, 12), "KRW", Written([Paid(2_000_000, "h")]), day(4))
    span = {"s": day(0, 0).isoformat(), "e": day(5, 0).isoformat()}

    async def scenario(api: Api) -> None:
        plain = await asked(api, "rolled", SERIES, g="DAY", **span)
        assert plain["points"]["gross"] == ["107", "207", "307", "407", "507"]
        store.progress(day(30) - timedelta(minutes=20), "rollups")

        async def rolled() -> bool:
            series = await asked(api, "rolled", SERIES, g="DAY", **span)
            if series["points"]["gross"] == plain["points"]["gross"]:
                return False  # progress is remembered for a second
            assert series["points"]["gross"] == ["107", "1000000", "307", "2000007", "507"]
            assert series["totals"]["gross"] == str(107 + 1_000_000 + 307 + 2_000_007 + 507)
            # The answer is no more complete than the rollups in it (I13).
            assert series["freshness"]["completeThrough"] == f"{day(30) - timedelta(minutes=20):%Y-%m-%dT%H:%M:%SZ}"
            return True

        await until(rolled)
        raw = await asked(api, "rolled", SERIES, g="TEN_MINUTES", **span)
        assert raw["totals"]["gross"] == "1535"

    run(environ, scenario)


COMPARISON = """query($m: ID!, $s: DateTime!, $e: DateTime!, $b: ComparisonBasis!) {
  series(merchantId: $m, start: $s, end: $e, grain: DAY) { comparison(basis: $b) {
    basis start end through points { start gross { value previous change changeKind } customers { previous } }
    totals { gross { value previous change changeKind } customers { value previous changeKind } refundRate { value } }
  } }
}"""


def test_a_week_beside_the_week_before(environ: dict[str, str], store: Store) -> None:
    fortnight(store, "compared")

    async def scenario(api: Api) -> None:
        span = {"s": day(7, 0).isoformat(), "e": day(14, 0).isoformat()}
        for basis in ("PREVIOUS_PERIOD", "SAME_WEEKDAYS"):
            found = (await asked(api, "compared", COMPARISON, b=basis, **span))["comparison"]
            assert (found["start"], found["end"], found["through"]) == (
                "2026-10-04T15:00:00Z", "2026-10-11T15:00:00Z", "2026-10-18T15:00:00Z",
            )  # fmt: skip
            gross = found["totals"]["gross"]
            assert (gross["value"], gross["previous"], gross["changeKind"]) == ("7749", "2849", "UP")
            assert gross["change"] == pytest.approx((7749 - 2849) / 2849)
            assert found["totals"]["customers"] == {"value": 6, "previous": 6, "changeKind": "FLAT"}
            assert found["points"]["gross"]["previous"] == [str((n + 1) * 100 + 7) for n in range(7)]
            assert found["points"]["gross"]["changeKind"] == ["UP"] * 7
        last = (await asked(api, "compared", COMPARISON, b="LAST_YEAR", **span))["comparison"]
        assert last["totals"]["gross"] == {"value": "7749", "previous": "0", "change": None, "changeKind": "NEW"}

    run(environ, scenario)


def test_the_largest_methods_the_grid_and_pages_of_windows(environ: dict[str, str], store: Store) -> None:
    fortnight(store, "sliced")
    query = """query($m: ID!, $s: DateTime!, $e: DateTime!, $after: String) {
      series(merchantId: $m, start: $s, end: $e, grain: DAY) {
        breakdown(by: METHOD, first: 2) { slices { value gross shareOfGross points { payments } } other { value gross } withheld }
        reportConnection(first: 5, after: $after) { totalCount pageInfo { hasNextPage endCursor } edges { node { start gross } } }
        reports(first: 14) { start gross }
      } }"""
    grid = """query($m: ID!, $s: DateTime!, $e: DateTime!) { weekGrid(merchantId: $m, start: $s, end: $e) {
      timeZone split cells { weekday hour occurrences gross customers } } }"""

    async def scenario(api: Api) -> None:
        span = {"s": day(0, 0).isoformat(), "e": day(14, 0).isoformat()}
        series = await asked(api, "sliced", query, **span)
        card = sum((n + 1) * 100 for n in range(1, 14, 2))
        slices = [(part["value"], part["gross"]) for part in series["breakdown"]["slices"]]
        assert slices == [("card", str(card)), ("cash", str(10500 - card))]
        assert series["breakdown"]["other"] == {"value": None, "gross": "98"}
        assert series["breakdown"]["slices"][0]["points"]["payments"] == [n % 2 for n in range(14)]
        walked, after = [], None
        while True:
            page = (await asked(api, "sliced", query, **span, after=after))["reportConnection"]
            walked += [edge["node"] for edge in page["edges"]]
            after = page["pageInfo"]["endCursor"]
            if not page["pageInfo"]["hasNextPage"]:
                break
        assert (walked, page["totalCount"]) == (series["reports"], 14)
        found = await asked(api, "sliced", grid, **span)
        columns = (found["cells"][name] for name in ("weekday", "hour", "gross", "customers"))
        cells = {(weekday, hour): (gross, customers) for weekday, hour, gross, customers in zip(*columns, strict=True)}
        assert cells[1, 12] == (str(100 + 800), 2)  # customers 0 and 2 on the two Mondays
        assert cells[7, 1] == ("14", 1)
        assert cells[7, 2] == ("0", 0)
        assert set(found["cells"]["occurrences"]) == {2}

    run(environ, scenario)


def test_peers_are_shown_from_ten_on_and_never_named(environ: dict[str, str], store: Store) -> None:
    question = """query($m: ID!, $s: DateTime!, $e: DateTime!) { peers(merchantId: $m, start: $s, end: $e) {
      measured businessType totals { gross { value median difference } customers { median } } } }"""
    span = {"s": day(0, 0).isoformat(), "e": day(1, 0).isoformat()}
    for number in range(11):
        # A group of ten others, and one of nine.
        for kind, count in (("cafe", 11), ("bakery", 10)):
            if number < count:
                merchant = f"{kind}{number}"
                store.merchant(merchant, "KRW", kind=kind, region="11")
                store.report(merchant, day(0), "KRW", Written([Paid(100 * number + 50, f"c{number}")]))

    async def scenario(api: Api) -> None:
        cafe = await asked(api, "cafe0", question, **span)
        assert (cafe["measured"], cafe["businessType"]) == (10, "cafe")
        assert cafe["totals"]["gross"] == {"value": "50", "median": "600", "difference": pytest.approx(-550 / 600)}
        assert cafe["totals"]["customers"] == {"median": 1}
        bakery = await asked(api, "bakery0", question, **span)
        assert (bakery["measured"], bakery["totals"]["gross"]["median"]) == (None, None)
        assert "cafe1" not in json.dumps(cafe)
        refused = await api.ask(question, ["cafe1"], {"m": "cafe0", **span})
        assert refused["errors"][0]["extensions"]["code"] == "FORBIDDEN"

    run(environ, scenario)


ANSWERS = {
    "/v1/freshness": {},
    "/v1/merchants": {"first": "1"},
    "/v1/merchants/{id}/report": {"start": "2026-10-05T03:00:00Z"},
    "/v1/merchants/{id}/series": {"start": "2026-10-04T15:00:00Z", "end": "2026-10-18T15:00:00Z", "grain": "WEEK"},
    "/v1/merchants/{id}/comparison": {"start": "2026-10-11T15:00:00Z", "end": "2026-10-18T15:00:00Z", "basis": "LAST_YEAR"},
    "/v1/merchants/{id}/breakdown": {"start": "2026-10-04T15:00:00Z", "end": "2026-10-18T15:00:00Z", "by": "METHOD", "first": "1"},
    "/v1/merchants/{id}/week-grid": {"start": "2026-10-04T15:00:00Z", "end": "2026-10-18T15:00:00Z"},
    "/v1/merchants/{id}/peers": {"start": "2026-10-04T15:00:00Z", "end": "2026-10-18T15:00:00Z"},
    "/v1/merchants/{id}/customers": {"start": "2026-10-04T15:00:00Z", "end": "2026-10-18T15:00:00Z"},
}


def test_every_json_answer_is_as_the_openapi_document_says_and_has_an_entity_tag(environ: dict[str, str], store: Store) -> None:
    fortnight(store, "documented")
    document = openapi.document()
    described = {path for path, item in document["paths"].items() if "application/json" in item["get"]["responses"]["200"]["content"]}
    assert described == set(ANSWERS)

    async def scenario(api: Api) -> None:
        for path, given in ANSWERS.items():
            schema = document["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
            validator = Draft202012Validator({**schema, "components": document["components"]})
            url = path.replace("{id}", "documented")
            answer = await api.get(url, ["documented", "other"], params=given)
            assert answer.status_code == 200, answer.text
            validator.validate(answer.json())
            told = document["paths"][path]["get"]["responses"]["200"]["headers"]
            assert {name: name.lower() in answer.headers for name in told} == dict.fromkeys(told, True)
            tag = answer.headers["etag"]
            again = await api.get(url, ["documented", "other"], params=given, headers={"If-None-Match": tag})
            assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
            stale = await api.get(url, ["documented", "other"], params=given, headers={"If-None-Match": 'W/"other"'})
            assert stale.status_code == 200
            refused = await api.get(url, ["documented"], params={**given, "misspelt": "1"})
            assert (refused.status_code, refused.headers["content-type"]) == (400, "application/problem+json")
            problem = {**document["components"]["schemas"]["Problem"], "components": document["components"]}
            Draft202012Validator(problem).validate(refused.json())
        page = await api.get("/v1/merchants", ["documented", "other"], params={"first": "1"})
        assert page.headers["link"] == '</v1/merchants?first=1&after=documented>; rel="next"'
        assert "link" not in (await api.get("/v1/merchants", ["documented"], params={"first": "1"})).headers

    run(environ, scenario)


def test_rest_and_graphql_give_the_same_comparison_breakdown_and_grid(environ: dict[str, str], store: Store) -> None:
    fortnight(store, "same")
    query = f"""query($m: ID!, $s: DateTime!, $e: DateTime!) {{
      series(merchantId: $m, start: $s, end: $e, grain: DAY) {{
        comparison {{ totals {{ {" ".join(name + " { value previous change changeKind }" for name in NAMES)} }} }}
        breakdown(by: METHOD) {{ slices {{ value payments gross shareOfPayments shareOfGross points {{ payments gross }} }} }}
      }}
      weekGrid(merchantId: $m, start: $s, end: $e) {{ cells {{ weekday hour occurrences {ALL_TOTALS} }} }}
      peers(merchantId: $m, start: $s, end: $e) {{ totals {{ {" ".join(name + " { value median difference }" for name in NAMES)} }} }}
    }}"""

    async def scenario(api: Api) -> None:
        start, end = day(7, 0), day(14, 0)
        data = (await api.ask(query, ["same"], {"m": "same", "s": start.isoformat(), "e": end.isoformat()}))["data"]
        given = {"start": f"{start:%Y-%m-%dT%H:%M:%SZ}", "end": f"{end:%Y-%m-%dT%H:%M:%SZ}"}

        async def rest(name: str, **more: str) -> Any:
            return (await api.get(f"/v1/merchants/same/{name}", ["same"], params={**given, **more})).json()

        assert (await rest("comparison"))["totals"] == data["series"]["comparison"]["totals"]
        assert (await rest("breakdown", by="METHOD"))["slices"] == data["series"]["breakdown"]["slices"]
        assert (await rest("week-grid"))["cells"] == data["weekGrid"]["cells"]
        assert (await rest("peers"))["totals"] == data["peers"]["totals"]

    run(environ, scenario)
