"""The endpoint without a server behind it: statuses, media types, limits, masking, and what a caller without a token may ask."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from millrace_contracts.identity import TokenSettings
from millrace_graphql.http.answers import Answers
from millrace_graphql.http.endpoint import GraphQLEndpoint
from millrace_graphql.http.persisted import PersistedQueries, load_manifest
from millrace_graphql.http.rate_limit import RateLimit
from millrace_graphql.http.response_cache import ResponseCache
from millrace_graphql.identity import Authenticator, Identity
from millrace_graphql.ranges.answers import Freshness
from millrace_graphql.ranges.changes import Changes
from millrace_graphql.ranges.directory import Merchant, Progress
from millrace_graphql.schema.query import build_schema
from millrace_graphql.settings import ApiSettings
from millrace_graphql.token_cli import make_token
from millrace_runtime.access_tokens import Door

GRAPHQL_JSON = "application/graphql-response+json"


class Questions:
    """Stands in for the questions about reports."""

    failure: Exception | None = None

    async def merchants(self, caller: Identity, first: int, after: str | None = None) -> list[Merchant]:
        if self.failure:
            raise self.failure
        return [Merchant(merchant) for merchant in sorted(caller.merchants)][:first]

    async def freshness(self) -> Freshness:
        return Freshness(Progress(1_000, None))


@pytest.fixture
def answers() -> Questions:
    return Questions()


class Client:
    """Asks an application without a socket."""

    def __init__(self, app: Starlette, headers: dict[str, str]) -> None:
        self._app = app
        self._headers = headers

    def __call__(self, method: str, path: str, headers: dict[str, str] | None = None, **more: Any) -> httpx.Response:
        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(self._app)
            async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
                return await client.request(method, path, headers={**self._headers, **(headers or {})}, **more)

        return asyncio.run(send())

    def get(self, path: str, **more: Any) -> httpx.Response:
        return self("GET", path, **more)

    def post(self, path: str, **more: Any) -> httpx.Response:
        return self("POST", path, **more)


def endpoint_for(
    queries: Any, authenticator: Authenticator, settings: ApiSettings, changes: Changes | None = None, rate_limit: RateLimit | None = None
) -> GraphQLEndpoint:
    """The endpoint without Redis; nothing is kept unless ``changes`` can be trusted."""
    cache = ResponseCache(changes or Changes(), settings.response_cache_bytes)
    trusted = load_manifest(settings.trusted_documents, "t") if settings.trusted_documents else None
    answers = Answers(build_schema(), queries, settings, cache, PersistedQueries(None, "t", trusted), rate_limit)
    return GraphQLEndpoint(answers, cache, authenticator, settings)


def client_for(folder: Path, answers: Any, token: bool = True, **settings: Any) -> Client:
    made = make_token(folder, "merchant", ["m1"], 60)
    authenticator = Authenticator(Door(TokenSettings(jwks=str(folder / "jwks.json"))))
    endpoint = endpoint_for(answers, authenticator, ApiSettings(**settings))
    headers = {"Authorization": f"Bearer {made}"} if token else {}
    return Client(Starlette(routes=[Route("/graphql", endpoint)]), headers)


@pytest.fixture
def client(tmp_path: Path, answers: Questions) -> Client:
    return client_for(tmp_path, answers)


def ask(client: Client, query: str, accept: str = GRAPHQL_JSON, **more: Any) -> Any:
    return client.post("/graphql", json={"query": query, **more}, headers={"Accept": accept})


def test_a_query_is_answered_by_post_and_by_get(client: Client) -> None:
    expected = {"data": {"viewer": {"role": "merchant", "merchants": [{"id": "m1"}]}}}
    query = "{ viewer { role merchants { id } } }"
    assert ask(client, query).json() == expected
    assert client.get("/graphql", params={"query": query}).json() == expected


@pytest.mark.parametrize(
    ("query", "code"),
    [("{", "BAD_REQUEST"), ("{ nothing }", "BAD_REQUEST"), ("{ series { currency } }", "BAD_REQUEST")],
)
def test_a_refused_document_has_no_data_and_the_status_of_its_media_type(client: Client, query: str, code: str) -> None:
    for accept, status in ((GRAPHQL_JSON, 400), ("application/json", 200)):
        answer = ask(client, query, accept)
        assert (answer.status_code, answer.headers["content-type"]) == (status, f"{accept}; charset=utf-8")
        assert "data" not in answer.json()
        assert answer.json()["errors"][0]["extensions"]["code"] == code


def test_a_bad_variable_is_a_request_error(client: Client) -> None:
    query = 'query($start: DateTime!) { report(merchantId: "m1", start: $start) { payments } }'
    for value in ("2026-11-24T09:30:00", "yesterday", 5, None, "2026-02-30T00:00:00Z"):
        answer = ask(client, query, variables={"start": value})
        assert answer.status_code == 400
        assert "data" not in answer.json()


@pytest.mark.parametrize(
    ("query", "limit"),
    [
        ("{ a: __typename " * 40 + "}" * 40, "depth is 40, and 15 is allowed"),
        ("{" + " ".join(f"a{n}: __typename" for n in range(10_000)) + "}", "2000 tokens"),
        ("{" + " ".join(f"a{n}: __typename" for n in range(31)) + "}", "number of aliases is 31, and 30 is allowed"),
        ("{" + "__typename " * 21 + "}", "number of root fields is 21, and 20 is allowed"),
        ("{" + "a {" * 200 + "b" + "}" * 200 + "}", "too deep"),
        ("{" + "a {" * 15 + "b" + "}" * 15 + "}", "depth is 16, and 15 is allowed"),
        ("{" + "x " * 20_000 + "}", "2000 tokens"),
        ("query { ...A } fragment A on Query { ...B } fragment B on Query { ...A }", "Cannot spread fragment"),
        (
            "query { viewer { " + "...A " * 4 + "} } fragment A on Viewer { ...B ...B ...B } fragment B on Viewer { a:role b:role c:role }",
            "is 36",
        ),
        ("{ __schema { types { fields { type { fields { type { fields { name } } } } } } } }", "introspection depth"),
    ],
)
def test_a_hostile_document_is_refused_with_its_limit_named(client: Client, query: str, limit: str) -> None:
    answer = ask(client, query)
    assert answer.status_code == 400
    message = answer.json()["errors"][0]["message"]
    assert limit.lower() in message.lower()


def test_doubling_fragments_are_refused_without_being_walked(client: Client) -> None:
    # 2**60 fields if they were spread out one by one.
    chain = " ".join(f"fragment F{n} on Viewer {{ ...F{n + 1} ...F{n + 1} }}" for n in range(60))
    answer = ask(client, "{ viewer { ...F0 } } " + chain + " fragment F60 on Viewer { a: role }")
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["extensions"]["code"] == "LIMIT_EXCEEDED"


def test_a_body_of_ten_megabytes_is_refused_before_it_is_parsed(client: Client) -> None:
    answer = ask(client, "{ viewer { role } } #" + "x" * 10_000_000)
    assert (answer.status_code, "262144 bytes" in answer.text) == (413, True)


def test_a_body_without_a_length_is_cut_off_at_the_limit(client: Client) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(1_000):
            sent += 1
            yield b"x" * 10_000

    answer = client.post("/graphql", content=endless(), headers={"Content-Type": "application/json"})
    assert answer.status_code == 413
    assert sent < 40, "read no further than the limit"


@pytest.mark.parametrize(
    ("content", "content_type", "status"),
    [
        (b"{", "application/json", 400),
        (b"[]", "application/json", 400),
        (b"5", "application/json", 400),
        (b"{}", "application/json", 400),
        (b'{"query": 5}', "application/json", 400),
        (b'{"query": "{ viewer { role } }", "variables": []}', "application/json", 400),
        (b'{"query": "{ viewer { role } }", "operationName": 5}', "application/json", 400),
        (b'{"query": "{ viewer { role } }", "extensions": "x"}', "application/json", 400),
        (b"query={viewer{role}}", "application/x-www-form-urlencoded", 415),
        (b'{"query": "{ viewer { role } }"}', "text/plain", 415),
        (b'{"query": "{ viewer { role } }"}', "application/json; charset=utf-16", 415),
    ],
)
def test_a_request_that_is_none_gets_its_status(client: Client, content: bytes, content_type: str, status: int) -> None:
    answer = client.post("/graphql", content=content, headers={"Content-Type": content_type})
    assert answer.status_code == status
    assert "data" not in answer.json()


def test_methods_media_types_and_mutations_by_get(client: Client) -> None:
    assert client("PUT", "/graphql").status_code == 405
    assert client.get("/graphql", params={"query": "mutation { x }"}).status_code == 405
    assert ask(client, "{ viewer { role } }", accept="text/html").status_code == 406
    assert ask(client, "{ viewer { role } }", accept="text/html, */*;q=0.1").headers["content-type"].startswith("application/json")


def test_without_a_token_the_schema_is_open_and_nothing_else(tmp_path: Path, answers: Questions) -> None:
    # I9
    client = client_for(tmp_path, answers, token=False)
    assert ask(client, "{ __schema { queryType { name } } }").json()["data"]["__schema"]["queryType"]["name"] == "Query"
    for query in (
        "{ viewer { role } }",
        "{ __typename ...F } fragment F on Query { freshness { asOf } }",
        "{ ... { freshness { asOf } } }",
    ):
        answer = ask(client, query)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, 'Bearer realm="millrace"')
        assert "data" not in answer.json()


def test_a_bad_token_is_refused_even_for_the_schema(client: Client) -> None:
    answer = client.get("/graphql", params={"query": "{ __typename }"}, headers={"Authorization": "Bearer x.y.z"})
    assert answer.status_code == 401


def test_introspection_can_be_closed(tmp_path: Path, answers: Questions) -> None:
    answer = ask(client_for(tmp_path, answers, introspection=False), "{ __schema { queryType { name } } }")
    assert answer.status_code == 400
    assert "introspection" in answer.text


def test_an_unforeseen_error_is_masked_and_logged_under_its_reference(
    client: Client, answers: Questions, capsys: pytest.CaptureFixture[str]
) -> None:
    answers.failure = RuntimeError("the password is 1234")
    answer = ask(client, "{ viewer { merchants { id } } }")
    [error] = answer.json()["errors"]
    assert "1234" not in answer.text
    assert error["extensions"]["code"] == "INTERNAL"
    logged = capsys.readouterr()
    assert error["extensions"]["reference"] in logged.out + logged.err


def test_what_breaks_outside_of_a_resolver_is_masked_too(
    client: Client, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("the password is 1234")

    for place in ("millrace_graphql.http.answers.Costs", "millrace_graphql.http.endpoint.from_body"):
        with monkeypatch.context() as patched:
            patched.setattr(place, broken)
            answer = ask(client, "query Broken { viewer { role } }")
        [error] = answer.json()["errors"]
        assert (answer.status_code, error["extensions"]["code"], "1234" in answer.text) == (500, "INTERNAL", False)
        logged = capsys.readouterr()
        assert error["extensions"]["reference"] in logged.out + logged.err


def test_variables_that_nest_too_deep_are_refused_and_not_an_internal_error(client: Client) -> None:
    variables: Any = 1
    for _ in range(300):
        variables = {"a": variables}
    answer = ask(client, "{ viewer { role } }", variables=variables)
    assert (answer.status_code, answer.json()["errors"][0]["extensions"]["code"]) == (400, "BAD_REQUEST")
    assert answer.json()["errors"][0]["message"].startswith("the body nests deeper than 254 levels")


def test_a_document_is_validated_once_and_then_known(client: Client) -> None:
    from millrace_graphql.observability import REGISTRY

    def count(result: str) -> float:
        return REGISTRY.get_sample_value("millrace_api_documents_total", {"result": result}) or 0.0

    validated, cached = count("validated"), count("cached")
    for _ in range(5):
        ask(client, "query KnownOnce { viewer { role } }")
    assert (count("validated") - validated, count("cached") - cached) == (1, 4)


def test_the_document_cache_is_bounded(tmp_path: Path, answers: Questions) -> None:
    from millrace_graphql.http.documents import Documents

    documents = Documents(build_schema(), ApiSettings(document_cache=10))
    for number in range(100):
        documents.get(f"query Q{number} {{ viewer {{ role }} }}")
    assert len(documents._known) == 10


def test_an_operation_is_counted_by_its_name_whether_the_request_says_it_or_not(client: Client) -> None:
    from millrace_graphql.observability import REGISTRY

    def count(outcome: str) -> float:
        labels = {"kind": "graphql", "operation": "CountedByName", "outcome": outcome}
        return REGISTRY.get_sample_value("millrace_api_requests_total", labels) or 0.0

    before = count("ok"), count("error")
    ask(client, "query CountedByName { viewer { role } }")
    ask(client, "query CountedByName { viewer { role } } query Another { viewer { role } }", operationName="CountedByName")
    ask(client, "query CountedByName($n: Int!) { viewer { merchants(first: $n) { id } } }")
    assert (count("ok") - before[0], count("error") - before[1]) == (2, 1)
