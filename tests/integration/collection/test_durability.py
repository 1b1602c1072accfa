"""I1: what was acknowledged is in MongoDB, whoever is killed in the middle."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import orjson
import pytest
from pymongo import MongoClient

from tests.integration.collection.processes import CollectionProcess, OwnMongod, until

MERCHANT = {"name": "Shop", "currency": "EUR", "timeZone": "Europe/Berlin"}


def payment(identifier: str) -> dict[str, object]:
    return {
        "op": "payment",
        "id": identifier,
        "merchantId": "m1",
        "userId": "u1",
        "amount": 1250,
        "currency": "EUR",
        "method": "card",
        "paidAt": "2026-03-01T09:30:00Z",
    }


def bulk(api: CollectionProcess, body: bytes, last: int = 0, until_set: threading.Event | None = None) -> dict[str, int]:
    """Post and return the status of each id; so many bytes at its end are sent only once the event is set."""

    def parts() -> Iterator[bytes]:
        yield body[: len(body) - last]
        if until_set is not None:
            until_set.wait()
        yield body[len(body) - last :]

    answer = httpx.post(f"{api.url}/v1/payments/bulk", content=parts(), headers=api.headers, timeout=120)
    assert answer.status_code == 200
    rows = [orjson.loads(line) for line in answer.content.splitlines()]
    assert [row["line"] for row in rows] == list(range(1, body.count(b"\n") + 1))
    ids = [orjson.loads(line)["id"] for line in body.splitlines()]
    return {identifier: row["status"] for identifier, row in zip(ids, rows, strict=True)}


def test_no_acknowledged_payment_is_lost_when_mongod_is_killed_in_a_bulk_load(own_mongod: OwnMongod, tmp_path: Path) -> None:
    environ = {**own_mongod.environ, "MILLRACE_COLLECTION_RETRY_SECONDS": "2", "MILLRACE_COLLECTION_BULK_BATCH": "200"}
    body = b"".join(orjson.dumps(payment(f"p{number}")) + b"\n" for number in range(15_000))
    with CollectionProcess(environ, tmp_path) as api, MongoClient(own_mongod.environ["MILLRACE_MONGO_ADMIN_URI"]) as admin:
        httpx.put(f"{api.url}/v1/merchants/m1", json=MERCHANT, headers=api.headers).raise_for_status()
        payments = admin["own"].payments
        statuses: dict[str, int] = {}
        # The end of the body waits for the kill: however late that comes, the load has not ended.
        killed = threading.Event()
        load = threading.Thread(target=lambda: statuses.update(bulk(api, body, 1_000, killed)))
        load.start()
        until(lambda: payments.estimated_document_count() > 2000, "the load is under way")
        own_mongod.kill()
        killed.set()
        load.join()
        acknowledged = {identifier for identifier, status in statuses.items() if status in (200, 201)}
        refused = {identifier for identifier, status in statuses.items() if status == 503}
        assert len(acknowledged) + len(refused) == 15_000
        assert len(acknowledged) >= 1000
        assert refused, "what was sent after the kill"
        own_mongod.start()
        until(api.ready, "ready again")
        stored = {row["_id"] for row in payments.find({}, {"_id": 1})}
        assert acknowledged - stored == set()
        again = bulk(api, body)
        assert set(again.values()) <= {200, 201}
        assert {again[identifier] for identifier in acknowledged} == {200}
        assert payments.count_documents({}) == 15_000


def test_a_request_rides_over_a_restart_of_mongod(own_mongod: OwnMongod, tmp_path: Path) -> None:
    wal = tmp_path / "wal"
    cached = {"MILLRACE_COLLECTION_KEY_CACHE_SECONDS": "600", "MILLRACE_COLLECTION_MERCHANT_CACHE_SECONDS": "600"}
    environ = {**own_mongod.environ, **cached, "MILLRACE_COLLECTION_RETRY_SECONDS": "120", "MILLRACE_COLLECTION_REQUEST_LOG": str(wal)}
    with CollectionProcess(environ, tmp_path) as api:
        httpx.put(f"{api.url}/v1/merchants/m1", json=MERCHANT, headers=api.headers).raise_for_status()
        own_mongod.kill()
        single = {name: value for name, value in payment("p1").items() if name != "op"}
        answers: list[httpx.Response] = []
        post = threading.Thread(
            target=lambda: answers.append(httpx.post(f"{api.url}/v1/payments", json=single, headers=api.headers, timeout=180))
        )
        post.start()
        until(lambda: wal.exists() and '"p1"' in wal.read_text(), "the request is at work")
        own_mongod.start()
        post.join()
        assert [answer.status_code for answer in answers] == [201]
        with MongoClient(own_mongod.environ["MILLRACE_MONGO_ADMIN_URI"]) as admin:
            assert admin["own"].payments.count_documents({"_id": "p1"}) == 1


def test_without_mongod_a_request_is_answered_503_with_retry_after(own_mongod: OwnMongod, tmp_path: Path) -> None:
    cached = {"MILLRACE_COLLECTION_KEY_CACHE_SECONDS": "600", "MILLRACE_COLLECTION_REQUEST_LOG": str(tmp_path / "wal")}
    environ = {**own_mongod.environ, **cached, "MILLRACE_COLLECTION_RETRY_SECONDS": "1"}
    with CollectionProcess(environ, tmp_path) as api:
        httpx.put(f"{api.url}/v1/merchants/m1", json=MERCHANT, headers=api.headers).raise_for_status()
        own_mongod.kill()
        single = {name: value for name, value in payment("p1").items() if name != "op"}
        answer = httpx.post(f"{api.url}/v1/payments", json=single, headers={**api.headers, "X-Request-Id": "lost-1"}, timeout=60)
        assert answer.status_code == 503
        assert answer.headers["content-type"] == "application/problem+json"
        assert int(answer.headers["retry-after"]) >= 1
        assert httpx.get(f"{api.url}/ready", timeout=60).status_code == 503
        assert httpx.get(f"{api.url}/health", timeout=60).status_code == 200
        entries = [json.loads(line) for line in (tmp_path / "wal").read_text().splitlines()]
        assert [(entry["event"], entry["request_id"], entry["commands"][0]["id"]) for entry in entries] == [("accepted", "lost-1", "p1")]
        assert "u1" not in json.dumps(entries)


def test_a_mongod_that_hangs_is_answered_503_within_the_bound(own_mongod: OwnMongod, tmp_path: Path) -> None:
    environ = {**own_mongod.environ, "MILLRACE_COLLECTION_RETRY_SECONDS": "1", "MILLRACE_COLLECTION_KEY_CACHE_SECONDS": "600"}
    single = {name: value for name, value in payment("p1").items() if name not in ("op", "userId")}
    with CollectionProcess(environ, tmp_path) as api:
        httpx.put(f"{api.url}/v1/merchants/m1", json=MERCHANT, headers=api.headers).raise_for_status()
        httpx.post(f"{api.url}/v1/payments", json={**single, "id": "p0"}, headers=api.headers).raise_for_status()
        own_mongod.freeze()
        # Without a bound there is no answer at all while mongod is frozen.
        answer = httpx.post(f"{api.url}/v1/payments", json=single, headers=api.headers, timeout=60)
        assert answer.status_code == 503
        own_mongod.thaw()
        until(api.ready, "ready again")
        again = httpx.post(f"{api.url}/v1/payments", json=single, headers=api.headers, timeout=60)
        assert again.status_code in (200, 201)
        with MongoClient(own_mongod.environ["MILLRACE_MONGO_ADMIN_URI"]) as admin:
            assert admin["own"].payments.count_documents({}) == 2


def test_a_killed_command_doubles_no_payment_of_an_idempotency_key(declared: dict[str, str], tmp_path: Path) -> None:
    """Killed between reservation, write and answer; the same requests are sent again until each is answered."""
    environ = {**declared, "MILLRACE_COLLECTION_RETRY_SECONDS": "1", "MILLRACE_COLLECTION_REQUEST_LOG": "off"}
    single = {name: value for name, value in payment("").items() if name not in ("op", "id")}

    def post(client: httpx.Client, number: int) -> dict[str, str] | None:
        answer = client.post("/v1/payments", json={**single, "amount": number}, headers={"Idempotency-Key": f"order-{number}"})
        # 409 while another attempt holds the key, 503 where MongoDB took longer than the bound of a second.
        assert answer.status_code in (201, 200, 409, 503), answer.text
        return answer.json() if answer.status_code in (201, 200) else None

    with MongoClient(declared["MILLRACE_MONGO_ADMIN_URI"]) as admin, ThreadPoolExecutor(8) as pool:
        payments = admin[declared["MILLRACE_NAMES_DATABASE"]].payments
        payments.delete_many({})
        with CollectionProcess(environ, tmp_path) as api, httpx.Client(base_url=api.url, headers=api.headers, timeout=60) as client:
            client.put("/v1/merchants/m1", json=MERCHANT).raise_for_status()
            # Each thread posts until nobody answers it any more: however late the kill comes, it comes in the middle.
            numbers, sent, answered = itertools.count(), set[int](), dict[int, dict[str, str]]()

            def post_until_killed() -> None:
                for number in numbers:
                    sent.add(number)
                    try:
                        while (answer := post(client, number)) is None:
                            pass
                    except httpx.TransportError:
                        return
                    answered[number] = answer

            posting = [pool.submit(post_until_killed) for _ in range(8)]
            until(lambda: payments.count_documents({}) > 100, "the requests are under way")
            for worker in api.workers():
                worker.kill()
            api.kill()
            for each in posting:
                each.result()
        assert 0 < len(answered) == len(sent) - 8
        with CollectionProcess(environ, tmp_path) as again, httpx.Client(base_url=again.url, headers=api.headers, timeout=60) as client:
            final: dict[int, dict[str, str]] = {}

            def all_answered() -> bool:
                missing = [number for number in sorted(sent) if number not in final]
                found = zip(missing, pool.map(lambda number: post(client, number), missing), strict=True)
                final.update({number: answer for number, answer in found if answer is not None})
                return len(final) == len(sent)

            until(all_answered, "every request is answered")
        assert {number: final[number] for number in answered} == answered
        assert sorted(row["amount"] for row in payments.find({}, {"amount": 1})) == sorted(sent)


def test_a_killed_command_leaves_no_worker_behind(declared: dict[str, str], tmp_path: Path) -> None:
    with CollectionProcess(declared, tmp_path, "--workers", "2") as api:
        until(lambda: len(api.workers()) == 2, "both workers are started")
        workers = api.workers()
        api.kill()
        until(lambda: not [worker for worker in workers if worker.is_running()], "the workers are gone")


@pytest.mark.parametrize("workers", [1, 4])
def test_the_command_stays_up_when_a_worker_is_killed(declared: dict[str, str], tmp_path: Path, workers: int) -> None:
    single = {name: value for name, value in payment("").items() if name not in ("op", "id", "userId")}
    with CollectionProcess(declared, tmp_path, "--workers", str(workers)) as api:
        httpx.put(f"{api.url}/v1/merchants/m1", json=MERCHANT, headers=api.headers).raise_for_status()
        until(lambda: len(api.workers()) == workers, "all workers are started")
        before = {worker.pid for worker in api.workers()}
        api.workers()[0].kill()
        until(lambda: len({worker.pid for worker in api.workers()} - before) == 1, "another worker is started")

        def answered() -> bool:
            try:
                headers = {**api.headers, "Idempotency-Key": f"after-{workers}"}
                return httpx.post(f"{api.url}/v1/payments", json=single, headers=headers, timeout=60).status_code == 201
            except httpx.TransportError:  # taken by the worker that was killed
                return False

        until(answered, "payments are taken")
        assert api.stop() == 0
        assert "Traceback" not in api.log_path.read_text()
