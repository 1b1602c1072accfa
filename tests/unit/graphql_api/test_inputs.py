"""What clients send to the API: names given twice, coded bodies, byte order marks, second headers, merchants with a slash."""

import gzip
import json
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.routing import Match

from millrace_graphql.rest.routes import PATHS, Rest
from tests.unit.graphql_api.test_http import GRAPHQL_JSON, Client, Questions, client_for

QUERY = "{ viewer { role } }"
GOOD = {"data": {"viewer": {"role": "merchant"}}}
HEADERS = {"Content-Type": "application/json", "Accept": GRAPHQL_JSON}


@pytest.fixture
def client(tmp_path: Path) -> Client:
    return client_for(tmp_path, Questions(), max_batch=2)


def post(client: Client, body: str | bytes, **headers: str) -> tuple[int, Any]:
    answer = client.post("/graphql", content=body, headers={**HEADERS, **headers})
    return answer.status_code, answer.json()["errors"][0]["message"] if "errors" in answer.json() else answer.json()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ('{"query":"{ viewer { role } }","query":"{ viewer { role } }"}', "query"),
        ('{"query":"{ a }","variables":{"a":1,"b":{"c":1,"c":2}}}', "variables.b.c"),
        ('{"query":"{ a }","operationName":"A","operationName":null}', "operationName"),
        ('{"query":"{ a }","extensions":{"persistedQuery":{"version":1,"version":2}}}', "extensions.persistedQuery.version"),
        ('[{"query":"{ a }"},{"query":"{ a }","query":"{ b }"}]', "1.query"),
    ],
)
def test_a_name_that_is_given_twice_is_refused(client: Client, body: str, field: str) -> None:
    assert post(client, body) == (400, f"{field} is given twice")


def test_a_parameter_of_a_url_is_given_once(client: Client) -> None:
    for given_parameters, words in (
        ([("query", QUERY), ("query", "{ a }")], "query is given twice"),
        ([("query", QUERY), ("variables", '{"a":1,"a":2}')], "variables.a is given twice"),
        ([("query", QUERY), ("variables", "{")], "variables is not JSON: "),
        ([("query", QUERY), ("extensions", '{"a":{"b":1,"b":1}}')], "extensions.a.b is given twice"),
    ):
        answer = client.get("/graphql", params=given_parameters, headers={"Accept": GRAPHQL_JSON})
        assert answer.status_code == 400
        assert answer.json()["errors"][0]["message"].startswith(words)


@pytest.mark.parametrize("kind", ["application/json; charset=UTF-8", "Application/JSON", 'application/json;  charset="utf-8"'])
def test_a_media_type_may_be_spelt_otherwise(client: Client, kind: str) -> None:
    assert post(client, json.dumps({"query": QUERY}), **{"Content-Type": kind}) == (200, GOOD)


def test_a_byte_order_mark_is_skipped_and_utf_16_is_named(client: Client) -> None:
    body = json.dumps({"query": QUERY})
    assert post(client, b"\xef\xbb\xbf" + body.encode()) == (200, GOOD)
    assert post(client, body.encode("utf-16")) == (400, "the body is UTF-16; send UTF-8")
    assert post(client, json.dumps({"query": "\ufeff" + QUERY})) == (200, GOOD)


@pytest.mark.parametrize("coding", ["gzip", "br", "x-unknown"])
def test_a_coded_body_is_415_with_the_coding_that_is_taken(client: Client, coding: str) -> None:
    body = json.dumps({"query": QUERY}).encode()
    for accept in (GRAPHQL_JSON, "application/json", "text/event-stream", "image/png"):
        headers = {**HEADERS, "Accept": accept, "Content-Encoding": coding}
        answer = client.post("/graphql", content=gzip.compress(body) if coding == "gzip" else body, headers=headers)
        assert (answer.status_code, answer.headers["accept-encoding"]) == (415, "identity")
    assert post(client, body, **{"Content-Encoding": "identity"}) == (200, GOOD)


def test_two_authorization_headers_are_400_also_where_the_answer_is_kept(client: Client) -> None:
    own = client._headers["Authorization"]
    for _ in range(3):
        assert client.get("/graphql", params={"query": QUERY}).json() == GOOD
        answer = client.get("/graphql", params={"query": QUERY}, headers=cast("Any", _Twice(own)))
        assert answer.status_code == 400
        assert answer.json()["errors"][0]["message"] == "Authorization is given twice; send one such header"


class _Twice(dict[str, str]):
    """Headers that httpx sends after the client's own, with another spelling of the name."""

    def __init__(self, value: str) -> None:
        super().__init__({"authorization": value})


IDS = st.text(st.sampled_from("/a.%seri?&") | st.characters(codec="utf-8", exclude_categories=("Cc", "Zl", "Zp")), min_size=1, max_size=8)


@given(
    IDS | st.sampled_from(["a/series", "a/report/series", "series", "/", "a//b", "export.csv/x"]),
    st.sampled_from([p for p in PATHS if "{id}" in p]),
)
def test_every_merchant_is_reached_on_every_path(merchant: str, path: str) -> None:
    target = path.replace("{id}", quote(merchant, safe=""))
    scope = {"type": "http", "method": "GET", "path": unquote(target), "root_path": ""}
    found = []
    for route in Rest(cast("Any", None), cast("Any", None), 1.0, cast("Any", None)).routes():
        match, child = route.matches(scope)
        if match is Match.FULL:
            found.append((route.path.replace(":path", ""), child["path_params"]))
    assert found[0] == (path, {"id": merchant})
