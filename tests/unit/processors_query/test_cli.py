"""The command against a service that is played."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result

from millrace_contracts import exit_codes
from millrace_processors.query import client as clients
from millrace_processors.query.cli import query

JOB = {
    "id": "job-1",
    "state": "done",
    "sql": "SELECT  1",
    "createdAt": "2026-11-25T12:00:00.000Z",
    "range": {"start": "2026-11-01T00:00:00.000Z", "end": "2026-11-02T00:00:00.000Z", "byDefault": True},
    "rows": 2,
    "truncated": True,
    "completeThrough": None,
}
REAL = httpx.Client
Answer = Callable[[httpx.Request], httpx.Response]


def run(monkeypatch: pytest.MonkeyPatch, answer: Answer, *arguments: str, token: str = "t", stdin: str | None = None) -> Result:
    def playing(**options: Any) -> httpx.Client:
        return REAL(**{**options, "transport": httpx.MockTransport(answer)})

    monkeypatch.setattr(clients.httpx, "Client", playing)
    return CliRunner().invoke(query, arguments, obj={"MILLRACE_QUERY_TOKEN": token}, input=stdin, standalone_mode=False)


def test_a_query_is_asked_waited_for_and_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, str, Any]] = []
    states = iter(["queued", "running", "done"])

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append((request.method, request.url.raw_path.decode(), json.loads(request.content) if request.content else None))
        assert request.headers["Authorization"] == "Bearer t"
        if request.method == "POST":
            return httpx.Response(202, json=JOB)
        if "/result" in request.url.path:
            last = "offset" in request.url.params
            link = {} if last else {"Link": '</v1/query/jobs/job-1/result?format=csv&offset=1&limit=1>; rel="next"'}
            return httpx.Response(200, content=b"2\r\n" if last else b"n\r\n1\r\n", headers=link)
        return httpx.Response(200, json={**JOB, "state": next(states)})

    done = run(monkeypatch, answer, "run", "-", "--format", "csv", "--merchant", "m1", "--start", "2026-11-01", stdin="SELECT 1")
    assert done.return_value == exit_codes.OK, done.exception
    assert done.stdout_bytes == b"n\r\n1\r\n2\r\n"
    assert "2 rows, cut off at the limit, windows from 2026-11-01T00:00Z to 2026-11-02T00:00Z (the default range" in done.stderr
    assert seen[0] == ("POST", "/v1/query/jobs", {"sql": "SELECT 1", "start": "2026-11-01", "merchants": ["m1"]})
    assert seen[-1][1].endswith("offset=1&limit=1")


def test_a_service_that_replaces_its_engine_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("millrace_processors.query.client.time.sleep", lambda _: None)
    states = iter(["running", None, None, "queued", "done"])

    def answer(request: httpx.Request) -> httpx.Response:
        if "/result" in request.url.path:
            return httpx.Response(200, content=b"n\r\n1\r\n")
        state = next(states)
        if state is None:
            raise httpx.RemoteProtocolError("Server disconnected without sending a response.")
        return httpx.Response(200, json={**JOB, "state": state})

    assert run(monkeypatch, answer, "result", "job-1", "--format", "csv").stdout_bytes == b"n\r\n1\r\n"


def test_a_full_line_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([httpx.Response(429, headers={"Retry-After": "0"}), httpx.Response(202, json=JOB)])
    done = run(monkeypatch, lambda request: next(answers), "run", "SELECT 1", "--no-wait")
    assert done.stdout == "job-1\n"


def test_the_services_words_and_kinds_of_failure_become_exit_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        return httpx.Response(400, json={"code": "SQL_REFUSED", "detail": "uuid() at line 1 …"})

    def fail(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={**JOB, "state": "lost", "error": {"code": "LOST", "detail": "ask again"}})

    def break_down(request: httpx.Request) -> httpx.Response:
        return httpx.Response(500, json={"code": "INTERNAL", "detail": "internal error; tell us the reference 1"})

    def vanish(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    def stranger(request: httpx.Request) -> httpx.Response:
        return httpx.Response(502, text="<html>")

    expected = {
        refuse: (exit_codes.USAGE, "uuid() at line 1"),
        fail: (exit_codes.FATAL, "lost: ask again"),
        break_down: (exit_codes.FATAL, "internal error"),
        vanish: (exit_codes.UNAVAILABLE, "millrace query serve"),
        stranger: (exit_codes.UNAVAILABLE, "502"),
    }
    for answer, (code, words) in expected.items():
        done = run(monkeypatch, answer, "result", "job-1")
        assert done.exception is not None
        assert getattr(done.exception, "exit_code", None) == code
        assert words in str(getattr(done.exception, "message", ""))


def test_a_missing_token_is_told_with_the_way_to_one(monkeypatch: pytest.MonkeyPatch) -> None:
    done = run(monkeypatch, lambda request: httpx.Response(500), "views", token="")
    assert "millrace token --merchant" in str(getattr(done.exception, "message", ""))


def test_status_tells_one_job_or_all(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = {**JOB, "id": "job-2", "state": "failed", "error": {"code": "TIMEOUT", "detail": "the query ran for 120 s"}}

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=JOB if "job-1" in request.url.path else {"jobs": [JOB, failed]})

    every = run(monkeypatch, answer, "status").stdout
    assert "job-1  done      2026-11-25T12:00:00.000Z  SELECT 1\n" in every
    assert "  the query ran for 120 s\n" in every
    assert json.loads(run(monkeypatch, answer, "status", "job-1", "--json").stdout)["state"] == "done"


def test_views_are_listed_with_types_words_and_functions(monkeypatch: pytest.MonkeyPatch) -> None:
    body = {"views": [{"name": "v", "doc": "Words.", "columns": [{"name": "c", "type": "bigint", "doc": "More."}]}], "functions": ["sum"]}
    text = run(monkeypatch, lambda request: httpx.Response(200, json=body), "views").stdout
    assert "v: Words." in text
    assert "c                bigint     More." in text
    assert "Functions: sum" in text
