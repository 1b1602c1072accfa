"""Bad input against the process as it is run: each is refused in its own words and soon, and the next question is answered as before."""

import contextlib
import gzip
import json
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from millrace_graphql.token_cli import make_token
from tests.integration.graphql_api.conftest import environ, store
from tests.integration.graphql_api.store import Paid, Store, Written
from tests.integration.graphql_api.test_process import serving, wait_for

__all__ = ["environ", "store"]
pytestmark = pytest.mark.stack

START = datetime(2026, 11, 8, 8, tzinfo=UTC)
REPORT = f'{{ report(merchantId: "sound", start: "{START:%Y-%m-%dT%H:%M:%SZ}", currency: "USD") {{ gross }} }}'
SOON = 30.0
"""Seconds; a refusal takes some milliseconds, on a machine that does nothing else."""


class Server:
    """The process, asked as the merchant ``sound``."""

    def __init__(self, url: str, pid: int, token: str) -> None:
        self.url, self._pid = url, pid
        self.client = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=SOON)
        self._workers = self.workers()

    def workers(self) -> set[int]:
        return {child.pid for child in psutil.Process(self._pid).children(recursive=True)}

    def ask(self, query: str, **more: Any) -> httpx.Response:
        return self.client.post("/graphql", json={"query": query, **more}, headers={"Accept": "application/graphql-response+json"})

    def raw(self, request: bytes) -> int:
        """The status of the answer to these very bytes."""
        host, port = self.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=SOON) as client:
            with contextlib.suppress(ConnectionError):  # it may answer and close while we are still sending
                client.sendall(request)
            return int(client.makefile("rb").readline().split(b" ")[1])

    def is_sound(self) -> None:
        """The same workers answer the same as ever."""
        assert self.ask(REPORT).json() == {"data": {"report": {"gross": "5"}}}
        assert self.workers() == self._workers


@pytest.fixture(scope="module")
def server(environ: dict[str, str], store: Store) -> Iterator[Server]:
    store.merchant("sound", "USD")
    store.report("sound", START, "USD", Written([Paid(5)]))
    token = make_token(Path(environ["MILLRACE_HOME"]) / "keys", "merchant", ["sound"], 600)
    with serving(environ) as (url, process):
        wait_for(f"{url}/ready", 200)
        found = Server(url, process.pid, token)
        with found.client:
            yield found


def nested(depth: int, leaf: Any = 1) -> Any:
    for _ in range(depth):
        leaf = {"a": leaf}
    return leaf


CYCLE = "query { ...A } fragment A on Query { ...B } fragment B on Query { ...A }"
DOUBLING = (
    "{ viewer { ...F0 } } "
    + " ".join(f"fragment F{n} on Viewer {{ ...F{n + 1} ...F{n + 1} }}" for n in range(60))
    + " fragment F60 on Viewer { a: role }"
)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("{" + "x " * 20_000 + "}", "2000 tokens"),
        ("{" + "a {" * 200 + "b" + "}" * 200 + "}", "nested too deeply"),
        ("{" + " ".join(f"a{n}: __typename" for n in range(10_000)) + "}", "2000 tokens"),
        ("{" + " ".join(f"a{n}: __typename" for n in range(600)) + "}", "number of aliases is 600, and 30 is allowed"),
        (CYCLE, "Cannot spread fragment"),
        (DOUBLING, "number of aliases"),
        ("query($a: Int = " + "[" * 900 + "]" * 900 + ") { __typename }", "nested too deeply"),
        ("query($a: [[Int]] = [" + "[1] " * 1_000 + "]) { __typename }", "2000 tokens"),
        ('{ report(merchantId: "' + "\\u0000" * 100 + '", start: 5) { gross } }', "RFC 3339"),
        ("{ a(b: 1e999999999) }", "Cannot query field"),
        ("\ufeff{ nothing }", "Cannot query field"),
        ("{ __schema { types { fields { type { fields { type { fields { name } } } } } } } }", "introspection depth"),
    ],
)
def test_a_hostile_document_is_refused_in_its_words(server: Server, query: str, words: str) -> None:
    began = time.monotonic()
    answer = server.ask(query)
    assert time.monotonic() - began < SOON
    assert (answer.status_code, "data" in answer.json()) == (400, False)
    assert words.lower() in answer.json()["errors"][0]["message"].lower()
    assert answer.json()["errors"][0]["extensions"]["code"] in ("BAD_REQUEST", "LIMIT_EXCEEDED", "INVALID_ARGUMENT")
    server.is_sound()


QUERY = 'query($m: ID!, $s: DateTime!) { report(merchantId: $m, start: $s, currency: "USD") { gross } }'


@pytest.mark.parametrize(
    "variables",
    [
        {"m": "sound", "s": "yesterday"},
        {"m": "sound", "s": "2026-02-30T00:00:00Z"},
        {"m": "sound", "s": None},
        {"m": "sound"},
        {"m": ["sound"], "s": {"a": 1}},
        {"m": "sound", "s": 10**30},
        {"m": "sound", "s": nested(200)},
        {"m": "sound", "s": nested(900)},
    ],
)
def test_a_bad_variable_is_a_request_error(server: Server, variables: dict[str, Any]) -> None:
    for _ in range(3):  # by graphql-core, and by a plan
        answer = server.ask(QUERY, variables=variables)
        assert (answer.status_code, "data" in answer.json()) == (400, False)
        assert answer.json()["errors"][0]["extensions"]["code"] == "BAD_REQUEST"
    server.is_sound()


def test_variables_that_nothing_asks_for_may_be_as_deep_as_they_like(server: Server) -> None:
    for depth in (10, 250, 300, 900):
        answer = server.ask("{ viewer { role } }", variables=nested(depth))
        assert (answer.status_code, answer.json().get("data")) in ((200, {"viewer": {"role": "merchant"}}), (400, None)), depth
    server.is_sound()


def test_a_body_of_ten_megabytes_is_refused_whether_its_length_is_told_or_not(server: Server) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(1_000):
            yield b"x" * 10_000

    for content in (b"x" * 10_000_000, pieces()):
        with httpx.Client(base_url=server.url, headers=server.client.headers, timeout=SOON) as client:
            try:
                answer = client.post("/graphql", content=content, headers={"Content-Type": "application/json"})
                assert (answer.status_code, "262144 bytes" in answer.text) == (413, True)
            except (httpx.WriteError, httpx.ReadError):
                pass  # the server has closed while we were still sending, as it may
        server.is_sound()


def test_a_body_of_ten_megabytes_is_answered_before_it_was_sent(server: Server) -> None:
    head = b"POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 10000000\r\n\r\n{"
    assert server.raw(head) == 413
    server.is_sound()


NO_REQUESTS = [
    b"", b"{", b"\xff\xfe", b'{"query": "\xed\xa0\x80"}', b'{"query": "\\ud800"}', b"[" * 100_000, b'{"a":' * 40_000, b"null", b"[[]]",
    b'[{"query":"{a}"}, 5]',
]  # fmt: skip


@pytest.mark.parametrize("content", NO_REQUESTS, ids=[str(content[:12]) for content in NO_REQUESTS])
def test_what_is_no_request_is_refused(server: Server, content: bytes) -> None:
    answer = server.client.post("/graphql", content=content, headers={"Content-Type": "application/json"})
    assert (answer.status_code, "data" in answer.json()) == (400, False)
    server.is_sound()


def test_a_query_string_that_is_none_is_refused(server: Server) -> None:
    for given in ("", "query=", "query=%ff%fe", "query={a}&variables={", "query={a}&variables=[]", "a=1&" * 50, "query={a}&extensions=5"):
        answer = server.client.get(f"/graphql?{given}", headers={"Accept": "application/graphql-response+json"})
        assert (answer.status_code, "data" in answer.json()) == (400, False), given
    assert server.raw(f"GET /graphql?query={'x' * 100_000} HTTP/1.1\r\nHost: x\r\n\r\n".encode()) == 414
    server.is_sound()


BODY = json.dumps({"query": REPORT}).encode()
LENGTH = f"Content-Length: {len(BODY)}"


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        (["Content-Encoding: gzip"], gzip.compress(BODY), 415),
        (["Content-Encoding: x-unknown"], BODY, 415),
        (["Authorization: Bearer x"], BODY, 400),
        (["OWN"], BODY, 400),
        ([], b"\xef\xbb\xbf" + BODY, 200),
        ([], BODY.replace(b"{", b'{"query": "{ a }", ', 1), 400),
        ([], BODY.decode().encode("utf-16"), 400),
        (["Accept: text/event-stream"], BODY.replace(b"{", b'{"query": "{ a }", ', 1), 400),
    ],
)
def test_what_other_clients_send_gets_one_right_answer(server: Server, headers: list[str], body: bytes, status: int) -> None:
    own = f"Authorization: {server.client.headers['authorization']}"
    more = [own if header == "OWN" else header for header in headers]
    head = ["POST /graphql HTTP/1.1", "Host: x", "Content-Type: application/json", f"Content-Length: {len(body)}", own, *more]
    assert server.raw("\r\n".join([*head, "", ""]).encode() + body) == status
    if "Authorization" in str(headers) or "OWN" in headers:
        assert server.raw("\r\n".join(["GET /v1/merchants HTTP/1.1", "Host: x", own, *more, "", ""]).encode()) == 400
    server.is_sound()


def test_a_merchant_with_a_slash_is_reached_in_rest_and_by_its_own_token_only(
    server: Server, environ: dict[str, str], store: Store
) -> None:
    """I9: the id is the whole text, however it is escaped."""
    store.merchant("sl/ash", "USD")
    store.report("sl/ash", START, "USD", Written([Paid(7)]))
    start = f"start={START:%Y-%m-%dT%H:%M:%SZ}"
    path = f"/v1/merchants/sl%2Fash/report?{start}&currency=USD"
    keys = Path(environ["MILLRACE_HOME"]) / "keys"
    own, others = ({"Authorization": f"Bearer {make_token(keys, 'merchant', [name], 600)}"} for name in ("sl/ash", "sl"))
    answer = server.client.get(path, headers=own)
    assert (answer.status_code, answer.json()["merchantId"], str(answer.json()["gross"])) == (200, "sl/ash", "7")
    assert server.client.get(path, headers=others).status_code == 403
    series = server.client.get(f"/v1/merchants/sl%2Fash/series.csv?{start}&end=2026-11-08T08:10:00Z&currency=USD", headers=own)
    assert (series.status_code, "sl/ash" in series.text) == (200, True)


@pytest.mark.parametrize(
    ("headers", "statuses"),
    [
        (["Accept: " + "a/b;q=0.1," * 3_000, LENGTH], {406}),
        (["Accept: \xff", LENGTH], {406}),
        (["Accept: application/json;q=nan, */*;q=inf", LENGTH], {200}),
        (["If-None-Match: " + '"x",' * 3_000, LENGTH], {200}),
        (["Last-Event-ID: 99999999999999999999999999", LENGTH], {200}),
        (["Content-Length: -1"], {400}),
        (["Transfer-Encoding: chunked, chunked"], {400}),
        (["Transfer-Encoding: chunked"], {400}),
        (["Authorization: Bearer " + "x" * 20_000, LENGTH], {401}),
        (["Authorization: \xff\x01", LENGTH], {400, 401}),
        ([f"x{number}: y" for number in range(500)], {400, 431}),
    ],
    ids=lambda value: value[0][:40] if isinstance(value, list) else "",
)
def test_headers_that_fit_nothing_are_refused_or_passed_over(server: Server, headers: list[str], statuses: set[int]) -> None:
    head = ["POST /graphql HTTP/1.1", "Host: x", "Content-Type: application/json", *headers]
    if not any(header.startswith("Authorization") for header in headers):
        head.append(f"Authorization: {server.client.headers['authorization']}")
    assert server.raw("\r\n".join([*head, "", ""]).encode("latin-1") + BODY) in statuses
    server.is_sound()
