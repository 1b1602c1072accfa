"""Questions of a dashboard over real Cassandra: calendars, rollups, comparisons, breakdowns, the grid, peers, exports."""

import csv
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from jsonschema import Draft202012Validator

from millrace_contracts.metrics import METRICS
from millrace_graphql.rest import openapi
from tests.integration.graphql_api.conftest import Api, run, until
from tests.integration.graphql_api.store import Paid, Store, Written

SEOUL = ZoneInfo("Asia/Seoul")
FIRST = datetime(2026, 10, 5, tzinfo=SEOUL)  # a Monday
NAMES = [metric.name for metric in METRICS]
ALL_TOTALS = " ".join(NAMES)


def day(number: int, hour: int = 12, minute: int = 0) -> datetime:
    """An instant of the test's days on the wall clock of Seoul."""
    return (FIRST + timedelta(days=number, hours=hour, minutes=minute)).astimezone(UTC)


@pytest.fixture(autouse=True)
def no_rollups(store: Store) -> Iterator[None]:
    yield
    store.forget_progress("rollups")


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


def test_years_are_exported_as_csv_and_ndjson(environ: dict[str, str], store: Store) -> None:
    store.merchant("export", "USD", zone="America/New_York")
    place = ZoneInfo("America/New_York")
    first = datetime(2024, 1, 1, tzinfo=place)
    rows = [(first + timedelta(days=n)).astimezone(UTC) for n in range(0, 900, 10)]
    store.reports([store.row("export", moment, "USD", Written([Paid(n + 1, f"c{n % 7}")]), 1) for n, moment in enumerate(rows)])
    given = {"start": "2024-01-01T05:00:00Z", "end": "2026-07-01T04:00:00Z"}

    async def scenario(api: Api) -> None:
        table = await api.get("/v1/merchants/export/export.csv", ["export"], params=given)
        assert table.headers["content-type"] == "text/csv; charset=utf-8; header=present"
        assert table.headers["content-disposition"] == 'attachment; filename="export.csv"'
        lines = list(csv.DictReader(table.text.splitlines()))
        assert len(lines) == 912
        assert [line["gross"] for line in lines if line["gross"] != "0"] == [str(n + 1) for n in range(90)]
        assert {"millrace-as-of", "millrace-missing-windows"} <= set(table.headers)
        ndjson = await api.get("/v1/merchants/export/export.ndjson", ["export"], params={**given, "sparse": "true"})
        objects = [json.loads(line) for line in ndjson.text.splitlines()]
        assert [item["gross"] for item in objects] == [str(n + 1) for n in range(90)]
        schema = {**openapi.document()["components"]["schemas"]["ExportLine"], "components": openapi.document()["components"]}
        for item in objects:
            Draft202012Validator(schema).validate(item)
        # Every tenth day is a day of New York, whatever its clocks do.
        assert [item["start"] for item in objects] == [f"{moment:%Y-%m-%dT%H:%M:%SZ}" for moment in rows]
        months = await api.get("/v1/merchants/export/export.ndjson", ["export"], params={**given, "grain": "MONTH"})
        totals = [json.loads(line) for line in months.text.splitlines()]
        assert (len(totals), sum(int(item["gross"]) for item in totals)) == (30, 90 * 91 // 2)
        for wrong in ({"start": "2020-01-01T05:00:00Z"}, {"grain": "YEAR"}):
            refused = await api.get("/v1/merchants/export/export.csv", ["export"], params={**given, **wrong})
            assert (refused.status_code, refused.json()["code"]) == (400, "INVALID_ARGUMENT")
        stranger = await api.get("/v1/merchants/export/export.csv", ["other"], params=given)
        assert (stranger.status_code, stranger.json()["code"]) == (403, "FORBIDDEN")

    run(environ, scenario)


@pytest.mark.parametrize(
    ("given", "argument", "words"),
    [
        ({"s": "1970-01-01T00:00:00Z", "e": "1970-01-02T00:00:00Z", "g": "TEN_MINUTES"}, "start", "give an instant from 2000 to 2100"),
        ({"s": "2025-01-01T00:00:00Z", "e": "2026-05-01T00:00:00Z", "g": "TEN_MINUTES"}, "end", "ask for at most 400 days"),
        ({"s": "2026-05-02T00:00:00Z", "e": "2026-05-01T00:00:00Z", "g": "TEN_MINUTES"}, "end", "swap them"),
        ({"s": "2026-05-01T00:00:00Z", "e": "2026-05-01T00:00:00Z", "g": "TEN_MINUTES"}, "end", "give a later end"),
        ({"s": "2026-05-01T00:00:00Z", "e": "2026-05-02T00:00:00Z", "g": "DAY", "z": "Mars/Olympus"}, "timeZone", "IANA"),
        (
            {"s": "2026-05-01T00:00:00Z", "e": "2026-05-02T00:00:00Z", "g": "DAY"},
            "start",
            "take 2026-04-30T15:00:00Z or",
        ),
        (
            {"s": "2026-03-08T05:00:00Z", "e": "2026-03-09T05:00:00Z", "g": "DAY", "z": "America/New_York"},
            "end",
            "2026-03-09T04:00:00Z",
        ),
        ({"s": "2026-05-01T00:00:00Z", "g": "DAY"}, "end", "is missing"),
        ({"g": "DAY"}, "start", "or a preset"),
        ({"s": "2026-05-01T00:00:00Z", "p": "TODAY", "g": "DAY"}, "preset", "give one or the other"),
        ({"p": "LAST_90_DAYS", "g": "TEN_MINUTES"}, "end", "a dense series holds at most 5000"),
    ],
)
def test_a_range_that_does_not_fit_is_refused_alike_by_graphql_and_rest(
    environ: dict[str, str], store: Store, given: dict[str, str], argument: str, words: str
) -> None:
    store.merchant("bad", "USD")
    names = {"s": "start", "e": "end", "g": "grain", "z": "timeZone", "p": "preset"}

    async def scenario(api: Api) -> None:
        error = (await api.ask(SERIES, ["bad"], {"m": "bad", **given}))["errors"][0]
        assert (error["extensions"]["code"], error["extensions"]["argument"]) == ("INVALID_ARGUMENT", argument)
        assert words in error["message"]
        answer = await api.get("/v1/merchants/bad/series", ["bad"], params={names[name]: value for name, value in given.items()})
        assert (answer.status_code, answer.json()["argument"], answer.json()["detail"]) == (400, argument, error["message"])

    run(environ, scenario)


def test_a_range_from_1970_to_2100_is_refused_before_anything_is_read(environ: dict[str, str], store: Store) -> None:
    given = {"s": "1970-01-01T00:00:00Z", "e": "2100-01-01T00:00:00Z", "g": "TEN_MINUTES"}

    async def scenario(api: Api) -> None:
        error = (await api.ask(SERIES, ["bad"], {"m": "bad", **given}))["errors"][0]
        assert error["extensions"]["code"] == "LIMIT_EXCEEDED"  # its cost is known before the range is looked at
        for name in ("series", "export.csv"):
            answer = await api.get(f"/v1/merchants/bad/{name}", ["bad"], params={"start": given["s"], "end": given["e"], "currency": "USD"})
            assert (answer.status_code, answer.json()["argument"]) == (400, "start")
            century = {"start": "2000-01-01T00:00:00Z", "end": given["e"], "timeZone": "UTC"}
            long = await api.get(f"/v1/merchants/bad/{name}", ["bad"], params=century)
            assert (long.status_code, long.json()["argument"]) == (400, "end")

    run(environ, scenario)


def test_a_leap_day_and_days_of_23_and_25_hours(environ: dict[str, str], store: Store) -> None:
    store.merchant("leap", "USD", zone="America/New_York")
    store.report("leap", datetime(2024, 2, 29, 5, tzinfo=UTC), "USD", Written([Paid(29)]))
    store.report("leap", datetime(2026, 3, 8, 5, tzinfo=UTC), "USD", Written([Paid(23)]))
    store.report("leap", datetime(2026, 3, 9, 3, 50, tzinfo=UTC), "USD", Written([Paid(1)]))  # the last window of the short day
    store.report("leap", datetime(2026, 3, 9, 4, tzinfo=UTC), "USD", Written([Paid(1000)]))  # the next day
    store.report("leap", datetime(2026, 11, 2, 4, 50, tzinfo=UTC), "USD", Written([Paid(25)]))  # the 25th hour

    async def scenario(api: Api) -> None:
        for start, end, gross in (
            ("2024-02-29T05:00:00Z", "2024-03-01T05:00:00Z", "29"),
            ("2026-03-08T05:00:00Z", "2026-03-09T04:00:00Z", "24"),
            ("2026-11-01T04:00:00Z", "2026-11-02T05:00:00Z", "25"),
        ):
            found = await asked(api, "leap", SERIES, g="DAY", s=start, e=end)
            assert (found["points"]["start"], found["points"]["end"]) == ([start], [end])
            assert (found["points"]["gross"], found["totals"]["gross"]) == ([gross], gross)

    run(environ, scenario)
