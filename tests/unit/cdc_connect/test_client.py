"""The client against the fake, and what it does when the cluster is busy, away or not a Connect at all."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import httpx
import pytest

from millrace_cdc.connect import errors
from millrace_cdc.connect.client import ConnectClient
from tests.unit.cdc_connect.client_contract import ClientContract
from tests.unit.cdc_connect.fake_connect import CLASS, FakeConnect, error

CONFIG = {"connector.class": CLASS, "tasks.max": "1", "topic.prefix": "contract"}


class Clock:
    """Time that passes by sleeping only."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept.append(seconds)


class TestFake(ClientContract):
    @pytest.fixture
    def client(self) -> Iterator[ConnectClient]:
        with ConnectClient("http://connect", transport=FakeConnect().transport()) as client:
            yield client

    @pytest.fixture
    def config(self) -> dict[str, str]:
        return CONFIG


def client_of(handler: Callable[[httpx.Request], httpx.Response], clock: Clock, **more: object) -> ConnectClient:
    transport = httpx.MockTransport(handler)
    return ConnectClient("http://connect", transport=transport, sleep=clock.sleep, clock=lambda: clock.now, **more)  # type: ignore[arg-type]


def test_a_rebalance_is_waited_for_with_growing_pauses() -> None:
    fake, clock = FakeConnect(), Clock()
    fake.busy = 4
    assert client_of(fake, clock).put_config("c", CONFIG).name == "c"
    assert clock.slept == [0.1, 0.2, 0.4, 0.8]


def test_a_rebalance_that_does_not_end_is_an_error_after_the_patience() -> None:
    clock = Clock()
    with pytest.raises(errors.RebalancingError, match="rebalance"):
        client_of(lambda request: error(409, "rebalance expected"), clock, patience=20.0).names()
    assert 15 < clock.now <= 20


def test_a_request_that_may_have_arrived_is_sent_twice_only_where_that_changes_nothing() -> None:
    asked: list[str] = []

    def broken(request: httpx.Request) -> httpx.Response:
        asked.append(request.method)
        raise httpx.ReadTimeout("no answer", request=request)

    clock = Clock()
    client = client_of(broken, clock)
    with pytest.raises(errors.UnreachableError):
        client.create("c", CONFIG)
    assert asked == ["POST"]
    asked.clear()
    with pytest.raises(errors.UnreachableError):
        client.put_config("c", CONFIG)
    assert len(asked) > 2
    assert set(asked) == {"PUT"}
    assert clock.now <= 10, "a worker that is away is told within seconds"


def test_a_worker_that_comes_up_meanwhile_is_used() -> None:
    fake, refused = FakeConnect(), [1, 2]

    def starting(request: httpx.Request) -> httpx.Response:
        if refused:
            refused.pop()
            raise httpx.ConnectError("Connection refused", request=request)
        return fake(request)

    assert client_of(starting, Clock()).create("c", CONFIG).name == "c"


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (error(400, "Bad thing"), errors.RefusedError, "Bad thing"),
        (error(500, "Request timed out"), errors.WorkerError, "500 to /connectors: Request timed out"),
        (httpx.Response(200, text="<html>"), errors.WorkerError, "not JSON"),
        (httpx.Response(200, json={"a": 1}), errors.WorkerError, "is this address Kafka Connect's"),
        (httpx.Response(502, text="<html>Bad Gateway"), errors.WorkerError, "502"),
    ],
)
def test_every_other_answer_is_a_typed_error(answer: httpx.Response, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        client_of(lambda request: answer, Clock()).names()


def test_an_unhealthy_worker_is_an_answer() -> None:
    body = {"status": "unhealthy", "message": "Worker was unable to handle this request"}
    assert client_of(lambda request: httpx.Response(503, json=body), Clock()).health().status == "unhealthy"


def test_secrets_are_hidden_in_what_connect_says() -> None:
    said = error(400, "can not connect to mongodb://u:s3cretpass@h/")
    client = client_of(lambda request: said, Clock(), hide=lambda text: text.replace("s3cretpass", "***"))
    with pytest.raises(errors.RefusedError) as caught:
        client.names()
    assert "s3cretpass" not in caught.value.message


def test_restart_asks_for_what_it_is_told() -> None:
    fake = FakeConnect()
    client = client_of(fake, Clock())
    client.create("c", CONFIG)
    fake.log.clear()
    client.restart("c")
    client.restart("c", tasks=True)
    client.restart("c", tasks=True, only_failed=True)
    client.restart_task("c", 0)
    assert fake.log == [
        "POST /connectors/c/restart",
        "POST /connectors/c/restart?includeTasks=true&onlyFailed=false",
        "POST /connectors/c/restart?includeTasks=true&onlyFailed=true",
        "POST /connectors/c/tasks/0/restart",
    ]


def test_validation_keeps_no_value_since_connect_resolves_references_in_its_answer() -> None:
    def resolving(request: httpx.Request) -> httpx.Response:
        value = {"name": "mongodb.connection.string", "value": "mongodb://u:s3cretpass@h/", "errors": []}
        return httpx.Response(
            200, json={"name": CLASS, "error_count": 0, "configs": [{"definition": {"name": value["name"]}, "value": value}]}
        )

    answer = client_of(resolving, Clock()).validate("v", CONFIG)
    assert "s3cretpass" not in json.dumps(answer.model_dump())
