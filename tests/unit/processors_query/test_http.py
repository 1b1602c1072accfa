"""The REST paths with real tokens, on a fake engine."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import Route

from millrace_contracts.identity import TokenSettings
from millrace_graphql.token_cli import make_token
from millrace_processors.query.http import Rest, not_found_or_method
from millrace_processors.query.identity import Gate
from tests.support.waiting import wait_until
from tests.unit.processors_query.conftest import Place

JOBS = "/v1/query/jobs"
SQL = {"sql": "SELECT count(*) AS n FROM payments"}


class Web:
    """Requests to an application, one at a time."""

    def __init__(self, app: Starlette) -> None:
        self._app = app

    def request(self, method: str, path: str, **more: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self._app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://query") as client:
                return await client.request(method, path, **more)

        return asyncio.run(ask())

    def get(self, path: str, **more: Any) -> httpx.Response:
        return self.request("GET", path, **more)

    def post(self, path: str, **more: Any) -> httpx.Response:
        return self.request("POST", path, **more)

    def routes(self) -> list[Route]:
        return [route for route in self._app.routes if isinstance(route, Route)]

    def put(self, path: str, **more: Any) -> httpx.Response:
        return self.request("PUT", path, **more)

    def delete(self, path: str, **more: Any) -> httpx.Response:
        return self.request("DELETE", path, **more)


@pytest.fixture
def web(place: Place, tmp_path: Path) -> Web:
    gate = Gate(TokenSettings(jwks=str(tmp_path / "keys" / "jwks.json")))
    app = Starlette(routes=Rest(place.service, gate, place.settings).routes(), exception_handlers={HTTPException: not_found_or_method})
    return Web(app)


@pytest.fixture
def token(tmp_path: Path) -> Callable[..., dict[str, str]]:
    def make(*merchants: str, role: Any = "merchant", ttl: int = 600, now: float | None = None) -> dict[str, str]:
        return {"Authorization": "Bearer " + make_token(tmp_path / "keys", role, list(merchants), ttl, now)}

    return make


@pytest.fixture
def anne(token: Callable[..., dict[str, str]]) -> dict[str, str]:
    return token("m1", "m2")


@pytest.fixture
def zoe(token: Callable[..., dict[str, str]]) -> dict[str, str]:
    return token(role="operator")


def done(web: Web, headers: dict[str, str], body: dict[str, Any] = SQL) -> dict[str, Any]:
    answer = web.post(JOBS, json=body, headers=headers)
    assert answer.status_code == 202, answer.text
    status: httpx.Response = web.get(answer.headers["Location"], params={"wait": 10}, headers=headers)
    assert status.json()["state"] == "done", status.text
    return dict(status.json())


def test_a_query_is_taken_with_202_and_the_place_of_its_status(web: Web, anne: dict[str, str]) -> None:
    answer = web.post(JOBS, json=SQL, headers=anne)
    assert answer.status_code == 202
    body = answer.json()
    assert answer.headers["Location"] == f"{JOBS}/{body['id']}" == body["status"]
    assert answer.headers["Cache-Control"] == "private, no-store"
    assert body["merchants"] == ["m1", "m2"]
    assert body["range"]["byDefault"] is True


def test_a_finished_query_says_how_fresh_and_complete_it_is(web: Web, anne: dict[str, str]) -> None:
    job = done(web, anne)
    assert (job["asOf"], job["completeThrough"]) == ("2023-11-14T22:13:20.000Z", "2020-09-13T12:26:40.000Z")
    assert (job["rows"], job["truncated"]) == (3, False)


def test_what_is_read_of_others_in_the_same_files_is_told_to_operators_only(web: Web, anne: dict[str, str], zoe: dict[str, str]) -> None:
    assert "rowsRead" not in done(web, anne)
    assert done(web, zoe)["rowsRead"] == 42


def test_json_pages_hold_whole_numbers_as_text_and_lead_to_the_next(web: Web, anne: dict[str, str]) -> None:
    path = done(web, anne)["result"]
    first = web.get(path, params={"limit": 2}, headers=anne)
    assert first.json()["columns"] == [{"name": "n", "type": "bigint"}, {"name": "text", "type": "string"}]
    assert first.json()["rows"] == [["0", 'row 0, "0"'], ["1", 'row 1, "1"']]
    assert first.links["next"]["url"] == first.json()["next"]
    second = web.get(first.json()["next"], headers=anne)
    assert second.json()["rows"] == [["2", 'row 2, "2"']]
    assert second.json()["next"] is None
    assert "next" not in second.links


def test_csv_pages_join_to_one_file(web: Web, anne: dict[str, str]) -> None:
    path = done(web, anne)["result"]
    first = web.get(path, params={"limit": 2}, headers={**anne, "Accept": "text/csv"})
    assert first.headers["Content-Type"] == "text/csv; charset=utf-8"
    rest = web.get(first.links["next"]["url"], headers=anne)
    assert first.text + rest.text == 'n,text\r\n0,"row 0, ""0"""\r\n1,"row 1, ""1"""\r\n2,"row 2, ""2"""\r\n'


def test_arrow_pages_are_streams_of_their_own(web: Web, anne: dict[str, str]) -> None:
    path = done(web, anne)["result"]
    page = web.get(path, params={"format": "arrow", "offset": 1, "limit": 1}, headers=anne)
    assert page.headers["Content-Type"] == "application/vnd.apache.arrow.stream"
    with pa.ipc.open_stream(io.BytesIO(page.content)) as stream:
        assert stream.read_all().to_pylist() == [{"n": 1, "text": 'row 1, "1"'}]
    assert page.headers["Millrace-Rows"] == "3"


def test_a_refusal_is_a_problem_with_its_place(web: Web, anne: dict[str, str]) -> None:
    answer = web.post(JOBS, json={"sql": "SELECT reflect('a') FROM payments"}, headers=anne)
    assert answer.status_code == 400
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert {"code": "SQL_REFUSED", "what": "reflect()", "line": 1, "column": 8, "status": 400}.items() <= answer.json().items()


def test_a_full_line_is_answered_429_with_the_time_to_wait(web: Web, anne: dict[str, str], place: Place) -> None:
    place.engine.gate.clear()
    web.post(JOBS, json=SQL, headers=anne)
    wait_until(lambda: place.engine.started, 10, "the first query runs")
    answers = [web.post(JOBS, json=SQL, headers=anne) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [202, 202, 429]
    assert int(answers[2].headers["Retry-After"]) > 0
    assert answers[2].json()["code"] == "BUSY"


def test_a_result_that_is_not_there_yet_is_a_conflict(web: Web, anne: dict[str, str], place: Place) -> None:
    place.engine.gate.clear()
    job = web.post(JOBS, json=SQL, headers=anne).json()
    assert web.get(f"{JOBS}/{job['id']}/result", headers=anne).status_code == 409
    status = web.get(f"{JOBS}/{job['id']}", headers=anne)
    assert status.headers["Retry-After"] == "1"
    assert web.delete(f"{JOBS}/{job['id']}", headers=anne).json()["state"] == "canceled"


def test_an_expired_result_is_gone(web: Web, anne: dict[str, str]) -> None:
    job = done(web, anne)
    assert web.delete(f"{JOBS}/{job['id']}", headers=anne).json()["state"] == "expired"
    assert web.get(f"{JOBS}/{job['id']}/result", headers=anne).status_code == 410


def test_another_caller_gets_the_same_404_as_for_nothing(web: Web, anne: dict[str, str], token: Callable[..., dict[str, str]]) -> None:
    job = done(web, anne)
    for other in (token("m3"), token("m1"), token(role="operator")):
        for path in (job["status"], job["result"]):
            answer = web.get(path, headers=other)
            nothing = web.get(path.replace(job["id"], "x"), headers=other)
            assert answer.status_code == nothing.status_code == 404
            assert answer.json()["detail"].replace(job["id"], "x") == nothing.json()["detail"]
        assert web.delete(job["status"], headers=other).status_code == 404
        assert web.get(JOBS, headers=other).json() == {"jobs": []}


def test_no_path_opens_without_a_token_that_holds(web: Web, token: Callable[..., dict[str, str]]) -> None:
    strangers: list[dict[str, str]] = [
        {},
        {"Authorization": "Basic x"},
        {"Authorization": "Bearer x.y.z"},
        token("m1", ttl=60, now=1_000_000_000),
        {"Authorization": token("m1")["Authorization"][:-4] + "AAAA"},
    ]
    for headers in strangers:
        for method, path in (("POST", JOBS), ("GET", JOBS), ("GET", f"{JOBS}/x"), ("GET", f"{JOBS}/x/result"), ("GET", "/v1/query/views")):
            answer = web.request(method, path, headers=headers)
            assert answer.status_code == 401, (path, headers)
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_another_merchant_is_forbidden(web: Web, anne: dict[str, str]) -> None:
    answer = web.post(JOBS, json={**SQL, "merchants": ["m3"]}, headers=anne)
    assert (answer.status_code, answer.json()["code"]) == (403, "FORBIDDEN")


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({}, "sql"),
        ({"sql": ""}, "sql"),
        ({"sql": 5}, "sql"),
        ({"sql": "SELECT 1", "limit": 3}, "limit"),
        ({"sql": "SELECT 1", "start": "yesterday"}, "start"),
        ({"sql": "SELECT 1", "start": 5}, "start"),
        ({"sql": "SELECT 1", "start": "9999-12-31"}, "start"),
        ({"sql": "SELECT 1", "start": "2026-11-02", "end": "2026-11-01"}, "start"),
        ({"sql": "SELECT 1", "merchants": "m1"}, "merchants"),
        ({"sql": "SELECT 1", "merchants": []}, "merchants"),
        ({"sql": "SELECT 1", "merchants": [1]}, "merchants"),
        ({"sql": "SELECT 1" + " " * 30_000}, "sql"),
        ([], "JSON object"),
    ],
)
def test_a_body_that_does_not_fit_is_told_by_its_field(web: Web, anne: dict[str, str], body: Any, word: str) -> None:
    answer = web.post(JOBS, json=body, headers=anne)
    assert answer.status_code == 400
    assert word in answer.json()["detail"]


def test_what_is_no_json_and_what_is_too_large_is_refused(web: Web, anne: dict[str, str]) -> None:
    assert web.post(JOBS, content=b"{", headers=anne).json()["detail"].startswith("the body is not JSON")
    assert web.post(JOBS, content=b" " * 1_000_000, headers=anne).json()["code"] == "LIMIT_EXCEEDED"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"sql":"SELECT 1","sql":"SELECT 2"}', "sql is given twice"),
        (b'{"sql":"SELECT 1","start":"2026-11-01","start":"2026-11-02"}', "start is given twice"),
        ('{"sql":"SELECT 1"}'.encode("utf-16"), "the body is UTF-16; send UTF-8"),
    ],
)
def test_a_body_is_read_as_every_tier_reads_one(web: Web, anne: dict[str, str], body: bytes, words: str) -> None:
    answer = web.post(JOBS, content=body, headers=anne)
    assert (answer.status_code, answer.json()["detail"]) == (400, words)


def test_a_byte_order_mark_is_skipped_before_the_body_and_before_the_sql(web: Web, anne: dict[str, str]) -> None:
    marked = b"\xef\xbb\xbf" + json.dumps({"sql": "\ufeff" + SQL["sql"]}).encode()
    answer = web.post(JOBS, content=marked, headers=anne)
    assert (answer.status_code, answer.json()["sql"]) == (202, SQL["sql"])


def test_a_coded_body_and_two_authorization_headers_are_refused(web: Web, anne: dict[str, str]) -> None:
    coded = web.post(JOBS, content=gzip.compress(b"{}"), headers={**anne, "Content-Encoding": "gzip"})
    assert (coded.status_code, coded.headers["accept-encoding"], coded.json()["code"]) == (415, "identity", "BAD_REQUEST")
    twice = [("Authorization", anne["Authorization"])] * 2
    for method, path in (("GET", JOBS), ("POST", JOBS), ("GET", "/v1/query/views"), ("DELETE", JOBS + "/x")):
        answer = web.request(method, path, headers=twice)
        assert (answer.status_code, answer.json()["detail"][:28]) == (400, "Authorization is given twice")


@pytest.mark.parametrize(
    "parameters", [{"limit": 0}, {"limit": "many"}, {"limit": 10**7}, {"offset": -1}, {"format": "parquet"}, {"offset": "nan"}]
)
def test_a_page_that_does_not_fit_is_refused_by_its_parameter(web: Web, anne: dict[str, str], parameters: dict[str, Any]) -> None:
    answer = web.get(done(web, anne)["result"], params=parameters, headers=anne)
    assert answer.status_code == 400
    assert next(iter(parameters)) in answer.json()["detail"]


def test_the_views_are_those_of_the_caller(web: Web, anne: dict[str, str], token: Callable[..., dict[str, str]]) -> None:
    def columns(headers: dict[str, str]) -> set[str]:
        views = web.get("/v1/query/views", headers=headers).json()["views"]
        return {column["name"] for view in views if view["name"] == "payments" for column in view["columns"]}

    assert columns(token(role="operator")) - columns(anne) == {"gender", "age_band", "country"}


def test_an_unknown_path_or_method_is_a_problem(web: Web, anne: dict[str, str]) -> None:
    assert web.get("/v1/query/else", headers=anne).json()["code"] == "NOT_FOUND"
    assert web.put(JOBS, headers=anne).json()["code"] == "METHOD_NOT_ALLOWED"


def test_the_paths_are_described_as_openapi_and_answers_are_as_described(web: Web, anne: dict[str, str]) -> None:
    document = web.get("/v1/query/openapi.json").json()
    validate(document)

    def check(name: str, body: object) -> None:
        Draft202012Validator({"$ref": f"#/components/schemas/{name}", "components": document["components"]}).validate(body)

    job = done(web, anne)
    check("Question", SQL)
    check("Job", job)
    check("Page", web.get(job["result"], headers=anne).json())
    check("Problem", web.post(JOBS, json={"sql": "SELECT uuid()"}, headers=anne).json())
    described = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    served = {(method, route.path) for route in web.routes() for method in (route.methods or set()) - {"HEAD"}}
    assert served - described == {("GET", "/v1/query/openapi.json")}
    assert described <= served


def test_a_body_that_does_not_arrive_is_told_408(place: Place, tmp_path: Path, anne: dict[str, str]) -> None:
    async def begun() -> AsyncIterator[bytes]:
        yield b'{"sql":'
        await asyncio.Event().wait()

    gate = Gate(TokenSettings(jwks=str(tmp_path / "keys" / "jwks.json")))
    answer = Web(Starlette(routes=Rest(place.service, gate, place.settings, 0.05).routes())).post(JOBS, content=begun(), headers=anne)
    assert (answer.status_code, answer.json()["code"], answer.headers["connection"]) == (408, "BODY_TIMEOUT", "close")
