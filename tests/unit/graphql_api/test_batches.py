"""Several operations in one request: answered in their order, each for itself, and no more than are allowed."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.unit.graphql_api.test_http import GRAPHQL_JSON, Client, Questions, client, client_for

__all__ = ["client"]
ROLE = {"query": "{ viewer { role } }"}


@pytest.fixture
def answers() -> Questions:
    return Questions()


def send(client: Client, body: Any, accept: str = "application/json") -> httpx.Response:
    return client.post("/graphql", json=body, headers={"Accept": accept})


@pytest.mark.parametrize("accept", ["application/json", GRAPHQL_JSON])
def test_each_operation_of_a_batch_is_answered_in_its_place(client: Client, accept: str) -> None:
    merchants = {"query": "query A { viewer { role } } query B($n: Int!) { viewer { merchants(first: $n) { id } } }", "operationName": "B"}
    batch = [ROLE, {"query": "{ nonsense }"}, {**merchants, "variables": {"n": 1}}, {**merchants, "variables": {}}]
    answer = send(client, batch, accept)
    assert (answer.status_code, answer.headers["content-type"].split(";")[0]) == (200, accept)
    first, second, third, fourth = answer.json()
    assert first == {"data": {"viewer": {"role": "merchant"}}}
    assert ("data" in second, second["errors"][0]["extensions"]["code"]) == (False, "BAD_REQUEST")
    assert third == {"data": {"viewer": {"merchants": [{"id": "m1"}]}}}
    assert "was not provided" in fourth["errors"][0]["message"]
    assert answer.headers["cache-control"] == "private, no-store"
    assert "etag" not in answer.headers


def test_an_operation_of_a_batch_that_wants_its_cost_gets_it(client: Client) -> None:
    with_cost, plain = send(client, [{**ROLE, "extensions": {"cost": True}}, ROLE]).json()
    assert with_cost["extensions"]["cost"]["requestedQueryCost"] == 1
    assert "extensions" not in plain


@pytest.mark.parametrize(
    ("batch", "words"),
    [
        ([], "the batch holds 0 operations; send 1 to 10"),
        ([ROLE] * 11, "the batch holds 11 operations; send 1 to 10"),
        ([ROLE, {"query": 5}], "operation 1 of the batch: query: missing"),
        ([ROLE, [ROLE]], "operation 1 of the batch: the request is not a JSON object"),
        ([None], "operation 0 of the batch: the request is not a JSON object"),
    ],
)
def test_a_batch_that_does_not_fit_is_refused_whole(client: Client, batch: list[Any], words: str) -> None:
    answer = send(client, batch)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["message"].startswith(words)


def test_batches_can_be_bounded_otherwise_or_closed(tmp_path: Path, answers: Questions) -> None:
    two = client_for(tmp_path, answers, max_batch=2)
    assert [send(two, [ROLE] * count).status_code for count in (1, 2, 3)] == [200, 200, 400]
    none = client_for(tmp_path, answers, max_batch=0)
    refused = send(none, [ROLE])
    assert (refused.status_code, refused.json()["errors"][0]["message"]) == (400, "batches are not taken; send one request at a time")


def test_who_asks_is_settled_for_all_of_a_batch(tmp_path: Path, answers: Questions) -> None:
    stranger = client_for(tmp_path, answers, token=False)
    opened, closed = send(stranger, [{"query": "{ __typename }"}, ROLE]).json()
    assert opened == {"data": {"__typename": "Query"}}
    assert closed["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"


def test_each_operation_of_a_batch_is_charged(tmp_path: Path, answers: Questions) -> None:
    dear = {"query": "{ " + " ".join(f"v{n}: viewer {{ merchants {{ id }} }}" for n in range(20)) + " }"}
    cheap_only = client_for(tmp_path, answers, max_cost=50)
    served, refused = send(cheap_only, [ROLE, dear]).json()
    assert served == {"data": {"viewer": {"role": "merchant"}}}
    assert refused["errors"][0]["extensions"]["code"] == "LIMIT_EXCEEDED"
