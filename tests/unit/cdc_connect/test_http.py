"""The operators' endpoint: who comes in, what it answers, and its errors as problems."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import httpx
import jwt
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm
from openapi_spec_validator import validate as validate_openapi
from starlette.applications import Starlette

from millrace_cdc.connect import apply as applying
from millrace_cdc.connect.client import ConnectClient
from millrace_cdc.connect.declarations import Declared
from millrace_cdc.connect.http.app import create_app
from millrace_cdc.connect.http.handlers import OPERATIONS, openapi
from millrace_cdc.connect.redaction import Redactor
from millrace_cdc.connect.session import Session
from millrace_contracts.identity import TokenSettings
from millrace_contracts.settings import NamesSettings, SettingsError
from millrace_runtime.access_tokens import Door, Proof
from tests.unit.cdc_connect.fake_connect import CLASS, FakeConnect

KEY = ec.generate_private_key(ec.SECP256R1())
OTHER = ec.generate_private_key(ec.SECP256R1())
CONFIG = {"connector.class": CLASS, "topic.prefix": "millrace"}


def token(role: str = "operator", key: Any = KEY, algorithm: str = "ES256", kid: str = "k1", **claims: Any) -> str:
    now = int(time.time())
    made = {"iss": "millrace-local", "aud": "millrace", "sub": "olga", "iat": now, "exp": now + 3600, "role": role, **claims}
    return jwt.encode(made, key, algorithm=algorithm, headers={"kid": kid})


class Client:
    """Requests to an application whose lifespan is running."""

    def __init__(self, portal: BlockingPortal, app: Starlette, headers: dict[str, str]) -> None:
        self._portal, self._app, self.headers = portal, app, headers

    def request(self, method: str, path: str, **more: Any) -> httpx.Response:
        return self._portal.call(partial(self._request, method, path, **more))

    async def _request(self, method: str, path: str, **more: Any) -> httpx.Response:
        transport = httpx.ASGITransport(self._app)
        async with httpx.AsyncClient(transport=transport, base_url="http://operators", headers=self.headers) as client:
            return await client.request(method, path, **more)

    def __getattr__(self, method: str) -> Any:
        return partial(self.request, method.upper())


@pytest.fixture
def fake() -> FakeConnect:
    return FakeConnect()


@pytest.fixture
def client(fake: FakeConnect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    monkeypatch.setattr(applying, "STEADY_SECONDS", 0.0)  # the fake's states do not lag behind
    (tmp_path / "keys").mkdir()
    public = {**ECAlgorithm.to_jwk(KEY.public_key(), as_dict=True), "kid": "k1", "alg": "ES256"}
    (tmp_path / "keys" / "jwks.json").write_text(json.dumps({"keys": [public]}))

    @contextmanager
    def session() -> Iterator[Session]:
        with ConnectClient("http://connect", transport=fake.transport(), patience=0.2) as made:
            declared = [Declared("merchants", "millrace.commerce.merchants", "running", CONFIG, "M.")]
            yield Session(made, NamesSettings(), declared, Redactor({}))

    app = create_app({"MILLRACE_HOME": str(tmp_path), "MILLRACE_RUNTIME_BODY_SECONDS": "2"}, session)
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(app.router.lifespan_context(app)):
        yield Client(portal, app, {"Authorization": f"Bearer {token()}"})


@pytest.mark.parametrize(
    ("authorization", "status", "words"),
    [
        ("", 401, "Bearer <access token>"),
        ("Basic abc", 401, "Bearer <access token>"),
        ("Bearer abc", 401, "token: "),
        (f"Bearer {token('merchant')}", 403, "role 'merchant'"),
        (f"Bearer {token('service')}", 403, "role 'service'"),
        (f"Bearer {token(aud='other')}", 401, "token: "),
        (f"Bearer {token(iss='other')}", 401, "token: "),
        (f"Bearer {token(exp=1)}", 401, "token: "),
        (f"Bearer {token(key=OTHER)}", 401, "token: "),
        (f"Bearer {token(kid='k2')}", 401, "no published key"),
        (f"Bearer {token(key='x' * 32, algorithm='HS256')}", 401, "algorithm 'HS256'"),
        (f"Bearer {jwt.encode({'role': 'operator'}, None, algorithm='none')}", 401, "algorithm 'none'"),
    ],
)
def test_only_an_operator_comes_in(client: Client, authorization: str, status: int, words: str) -> None:
    client.headers["Authorization"] = authorization
    for method, path in (("GET", "/v1/connect/connectors"), ("POST", "/v1/connect/apply"), ("DELETE", "/v1/connect/connectors/a/offsets")):
        answer = client.request(method, path)
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"
        assert words in answer.json()["detail"]
    assert answer.headers.get("www-authenticate") == ("Bearer" if status == 401 else None)


@pytest.mark.parametrize("operation", OPERATIONS, ids=[each.name for each in OPERATIONS])
def test_every_operation_wants_a_token(client: Client, operation: Any, fake: FakeConnect) -> None:
    del client.headers["Authorization"]
    path = operation.path.replace("{task:int}", "0").replace("{", "").replace("}", "")
    assert client.request(operation.method, path).status_code == 401
    assert fake.log == []


def test_plan_apply_and_status_are_those_of_the_command(client: Client, fake: FakeConnect) -> None:
    assert client.get("/v1/connect/plan").json()["changes"] == [
        {"sign": "+", "kind": "create", "name": "millrace.commerce.merchants", "detail": "running; M."}
    ]
    assert len(client.post("/v1/connect/apply").json()["applied"]) == 1
    assert client.get("/v1/connect/plan").json() == {"changes": [], "notes": []}
    assert client.get("/v1/connect/connectors").json()["good"] is True


def test_a_connector_is_operated_by_its_short_name(client: Client, fake: FakeConnect) -> None:
    client.post("/v1/connect/apply")
    name = "millrace.commerce.merchants"
    for action, state in (("pause", "PAUSED"), ("stop", "STOPPED"), ("resume", "RUNNING"), ("restart", "RUNNING")):
        assert client.post(f"/v1/connect/connectors/merchants/{action}").status_code == 200
        assert fake.connectors[name]["state"] == state
    fake.fail(name, "x.y.Bad: no")
    assert client.get("/v1/connect/connectors").json()["troubles"] == [f"{name} task 0: FAILED: Bad: no"]
    assert client.post("/v1/connect/restart-failed").json()["restarted"] == [name]
    fake.fail(name, "x.y.Bad: no")
    assert client.post("/v1/connect/connectors/merchants/restart?failed=true").json()["restarted"] == [name]
    fake.fail(name, "x.y.Bad: no")
    assert client.post("/v1/connect/connectors/merchants/tasks/0/restart").json()["good"] is True
    assert client.get("/v1/connect/connectors/merchants").json()["config"]["topic.prefix"] == "millrace"
    assert client.post("/v1/connect/connectors/merchants/explode").status_code == 404


def test_offsets_are_guarded_here_too(client: Client, fake: FakeConnect) -> None:
    client.post("/v1/connect/apply")
    path = "/v1/connect/connectors/merchants/offsets"
    refused = client.patch(path, json={"clusterTime": {"seconds": 100}})
    assert (refused.status_code, "is RUNNING" in refused.json()["detail"]) == (409, True)
    client.post("/v1/connect/connectors/merchants/stop")
    moved = client.patch(path, json={"clusterTime": {"seconds": 100, "ordinal": 2}}).json()
    assert (moved["before"], moved["after"][0]["offset"]) == ([], {"resume_token": "8200000064000000022B0229296E04"})
    assert client.get(path).json()[0]["words"] == "at 1970-01-01 00:01:40 UTC (ordinal 2)"
    assert client.patch(path, json={"resumeToken": "nonsense"}).status_code == 409
    assert client.patch(path, json={}).status_code == 422
    for body in ({"offset": 3}, {"clusterTime": {"seconds": "x"}}, {"resumeToken": "a", "offset": {}}, {"offset": {}, "partition": "m"}):
        assert client.patch(path, json=body).status_code == 422
    assert client.delete(path).json()["after"] == []


def test_loggers_plugins_and_topics(client: Client) -> None:
    client.post("/v1/connect/apply")
    assert client.get("/v1/connect").json()["health"] == "healthy"
    assert client.put("/v1/connect/loggers/io.debezium", json={"level": "debug"}).json() == {"changed": ["io.debezium"]}
    assert client.get("/v1/connect/loggers").json()["io.debezium"]["level"] == "DEBUG"
    assert client.put("/v1/connect/loggers/io.debezium", json={}).status_code == 422
    assert client.get("/v1/connect/plugins").json()[0]["class"] == CLASS
    assert client.get("/v1/connect/connectors/merchants/topics").json() == []
    assert client.delete("/v1/connect/connectors/merchants/topics").json() == []


def test_what_every_service_refuses_is_refused_here(client: Client) -> None:
    path = "/v1/connect/connectors/payments/offsets"
    doubled = client.patch(path, content=b'{"offset": {"a": 1, "a": 2}}')
    assert (doubled.status_code, doubled.json()["detail"]) == (400, "offset.a is given twice")
    coded = client.patch(path, content=b"{}", headers={"Content-Encoding": "gzip"})
    assert (coded.status_code, coded.headers["accept-encoding"]) == (415, "identity")
    assert client.patch(path, content="{}".encode("utf-16")).json()["detail"] == "the body is UTF-16; send UTF-8"
    marked = client.patch(path, content=b"\xef\xbb\xbf{}")
    assert (marked.status_code, marked.json()["detail"][:28]) == (422, "the body needs exactly one o")
    own = [*client.headers.items()] * 2
    for method in ("GET", "PATCH", "DELETE"):
        answer = Client(client._portal, client._app, {}).request(method, path, headers=own)
        assert (answer.status_code, answer.json()["detail"][:28]) == (400, "Authorization is given twice")


@pytest.mark.parametrize(
    ("body", "status"), [(b"{", 400), (b"[]", 400), (b'{"a": "' + b"x" * 70_000 + b'"}', 413)], ids=["torn", "no object", "large"]
)
def test_a_bad_body_is_a_problem(client: Client, body: bytes, status: int) -> None:
    answer = client.put("/v1/connect/loggers/a", content=body)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")


def test_a_body_that_does_not_arrive_is_told_408(client: Client) -> None:
    async def begun() -> AsyncIterator[bytes]:
        yield b"{"
        await anyio.Event().wait()

    answer = client.put("/v1/connect/loggers/a", content=begun())
    assert (answer.status_code, answer.headers["connection"]) == (408, "close")
    assert "within 2 s" in answer.json()["detail"]


def test_what_is_not_there_or_busy_is_a_problem(client: Client, fake: FakeConnect) -> None:
    assert client.get("/v1/connect/connectors/nope").status_code == 404
    assert client.get("/nope").status_code == 404
    assert client.delete("/v1/connect/plan").status_code == 405
    fake.busy = 10_000
    busy = client.get("/v1/connect/connectors")
    assert (busy.status_code, busy.headers["retry-after"]) == (503, "5")
    assert client.get("/ready").status_code == 503
    fake.busy = 0
    assert client.get("/ready").json()["ready"] is True


def test_health_and_metrics_need_no_token(client: Client) -> None:
    client.get("/v1/connect/connectors")
    del client.headers["Authorization"]
    assert client.get("/health").json() == {"status": "alive"}
    assert 'millrace_operators_requests_total{operation="status",status="200"} 1.0' in client.get("/metrics").text


def test_the_openapi_document_is_valid_and_names_every_operation(client: Client) -> None:
    validate_openapi(openapi())
    assert {item["operationId"] for path in client.get("/openapi.json").json()["paths"].values() for item in path.values()} == {
        each.name for each in OPERATIONS
    }


def test_a_key_that_is_withdrawn_closes_after_five_minutes(tmp_path: Path) -> None:
    clock, path = [0.0], tmp_path / "jwks.json"
    path.write_text(json.dumps({"keys": [{**ECAlgorithm.to_jwk(KEY.public_key(), as_dict=True), "kid": "k1"}]}))
    door, proof = Door(TokenSettings(jwks=str(path)), clock=lambda: clock[0]), Proof("k1", "s", None, 0)
    door.read("k1")
    assert door.holds(proof)
    path.write_text(json.dumps({"keys": []}))
    clock[0] = 299.0
    door.read("k1")
    assert door.holds(proof)
    clock[0] = 300.0
    door.read("k1")
    assert not door.holds(proof)


def test_the_local_issuer_is_refused_in_production() -> None:
    with pytest.raises(SettingsError, match="MILLRACE_API_ISSUER"):
        TokenSettings.checked({"MILLRACE_RUNTIME_ENVIRONMENT": "production"})
