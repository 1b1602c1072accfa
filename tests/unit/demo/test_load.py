"""The load's commands, lanes and client."""

from __future__ import annotations

import json
import threading
from collections import Counter, defaultdict
from itertools import islice
from typing import Any

import httpx
import pytest

from millrace_stack.errors import StackError
from millrace_stack.load.client import Answer, CollectionClient, Line
from millrace_stack.load.lanes import Lanes
from millrace_stack.load.run import Tally
from millrace_stack.load.traffic import Traffic

START = 1_790_000_000_000


def test_the_same_seed_gives_the_same_commands_and_another_seed_others() -> None:
    one, same, other = (list(islice(Traffic(seed=seed, start_ms=START).commands(), 500)) for seed in (7, 7, 8))
    assert one == same
    assert one != other


def test_shares_of_refunds_duplicates_and_late_payments_are_as_asked() -> None:
    traffic = Traffic(seed=1, start_ms=START, refunds=0.1, duplicates=0.05, late=0.2, every_ms=0)
    commands = list(islice(traffic.commands(), 20_000))
    payments = [line for line in commands if line["op"] == "payment"]
    times = Counter(line["id"] for line in payments)
    assert 0.04 < sum(count - 1 for count in times.values()) / len(times) < 0.06
    assert 0.08 < sum(line["op"] == "refund" for line in commands) / len(times) < 0.11
    assert 0.18 < sum(line["paidAt"] < START for line in payments) / len(payments) < 0.22


def test_a_refund_follows_its_payment_and_is_not_larger() -> None:
    amounts: dict[str, int] = {}
    for line in islice(Traffic(seed=3, start_ms=START, refunds=0.5).commands(), 5_000):
        if line["op"] == "payment":
            amounts[line["id"]] = line["amount"]
        else:
            assert 1 <= line["amount"] <= amounts[line["paymentId"]]


def test_a_skew_of_zero_is_even_and_of_one_is_not() -> None:
    even, skewed = (
        Counter(line["merchantId"] for line in islice(Traffic(merchants=10, skew=skew, refunds=0).commands(), 10_000))
        for skew in (0.0, 1.0)
    )
    assert max(even.values()) < 1_200
    # Zipf's law over ten merchants gives the first 1 / (1 + 1/2 + … + 1/10) = 34 % of all.
    assert 3_200 < skewed["load-0"] < 3_700


def test_lanes_keep_the_order_of_what_belongs_to_one_payment() -> None:
    seen: dict[str, list[int]] = defaultdict(list)
    lock = threading.Lock()

    def send(lane: int, lines: list[Line]) -> None:
        with lock:
            for line in lines:
                seen[line["paymentId"]].append(line["n"])

    lanes = Lanes(send, 3, 7, threading.Event())
    for number in range(1_000):
        lanes.put({"id": "r", "paymentId": f"p{number % 10}", "n": number})
    lanes.drain()
    assert sum(map(len, seen.values())) == 1_000
    assert all(numbers == sorted(numbers) for numbers in seen.values())


def test_the_error_of_a_lane_reaches_the_one_who_fills_them() -> None:
    def send(lane: int, lines: list[Line]) -> None:
        raise StackError("gone")

    lanes = Lanes(send, 1, 1, threading.Event())
    lanes.put({"id": "a"})
    with pytest.raises(StackError, match="gone"):
        lanes.drain()


def _client(handler: Any) -> CollectionClient:
    client = CollectionClient("http://test", "key", patience=5.0)
    client._http = httpx.Client(base_url="http://test", transport=httpx.MockTransport(handler))
    return client


def test_lines_that_answer_503_are_sent_again_in_their_order_and_no_others() -> None:
    bodies: list[list[str]] = []

    def handler(request: httpx.Request) -> httpx.Response:
        ids = [json.loads(line)["id"] for line in request.content.splitlines()]
        bodies.append(ids)
        statuses = [201, 503, 422, 503] if len(bodies) == 1 else [201] * len(ids)
        return httpx.Response(200, text="".join(json.dumps({"line": n, "status": s}) + "\n" for n, s in enumerate(statuses, 1)))

    outcome = _client(handler).bulk([{"op": "payment", "id": name} for name in "abcd"])
    assert bodies == [["a", "b", "c", "d"], ["b", "d"]]
    assert [answer.status for answer in outcome.answers] == [201, 201, 422, 201]
    assert outcome.retries == 1


def test_a_lost_connection_is_tried_again_and_a_refusal_is_not() -> None:
    calls = 0

    def handler(request: httpx.Request) -> httpx.Response:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise httpx.ConnectError("refused")
        return httpx.Response(422, json={"detail": "merchantId: no such merchant"})

    outcome = _client(handler).single({"op": "payment", "id": "a"})
    assert (calls, outcome.answers) == (2, [Answer(422, "merchantId: no such merchant")])


def test_a_stop_ends_the_wait_for_an_api_that_is_away() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        return httpx.Response(503)

    client = _client(handler)
    client.stopped.set()
    with pytest.raises(StackError, match="stopped"):
        client.bulk([{"op": "payment", "id": "a"}])


def test_a_tally_counts_by_kind() -> None:
    tally = Tally()
    tally.add([Answer(201), Answer(200), Answer(409, "other content"), Answer(409, "other content")], 2, 0.010)
    summary = tally.summary()
    assert (summary["written"], summary["repeated"], summary["refused"], summary["retries"]) == (1, 1, 2, 2)
    assert summary["errors"] == {"409 other content": 2}
    assert summary["latencyMs"]["p50"] == 10.0
