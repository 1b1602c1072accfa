"""Exports of years, and ranges at and beyond the bounds of the calendar, over real Cassandra."""

import csv
import json
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from jsonschema import Draft202012Validator

from millrace_graphql.rest import openapi
from tests.integration.graphql_api.conftest import Api, run
from tests.integration.graphql_api.questions import SERIES, asked
from tests.integration.graphql_api.store import Paid, Store, Written

pytestmark = pytest.mark.stack


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
    store.progress(datetime(2026, 12, 1, tzinfo=UTC))
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
        # The year before had no such day: there is nothing to compare with, and nothing is read.
        given = {"start": "2024-02-29T05:00:00Z", "end": "2024-03-01T05:00:00Z", "grain": "DAY", "basis": "LAST_YEAR"}
        body = (await api.get("/v1/merchants/leap/comparison", ["leap"], params=given)).json()
        assert body["totals"]["gross"] == {"value": "29", "previous": None, "change": None, "changeKind": None}
        assert (body["previousStart"], body["previousEnd"]) == ("2023-03-01T05:00:00Z", "2023-03-01T05:00:00Z")
        assert body["points"]["previousStart"] == [None]

    run(environ, scenario)
