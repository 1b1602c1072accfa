"""Bodies that are long, slow or many: each ends within a bound, and the answer says what was written of it."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import orjson
from pymongo import MongoClient

from millrace_stack import nginx as local_nginx
from millrace_stack.home import Home
from millrace_stack.processes import Processes
from tests.integration.collection.processes import DEADLINE_SECONDS, CollectionProcess, until
from tests.integration.collection.test_durability import MERCHANT, payment

Settings = dict[str, str]
SPOOL_BYTES = 2 << 20
LINES = 300
BOUNDS = {
    "MILLRACE_COLLECTION_BULK_SPOOL_BYTES": str(SPOOL_BYTES),
    "MILLRACE_COLLECTION_REQUEST_LOG": "off",
}


@contextmanager
def serving(declared: Settings, folder: Path, **bounds: str) -> Iterator[CollectionProcess]:
    spool = folder / "spool"
    spool.mkdir()
    given = {f"MILLRACE_COLLECTION_{name}": value for name, value in bounds.items()}
    with CollectionProcess({**declared, **BOUNDS, **given, "TMPDIR": str(spool)}, folder) as api:
        httpx.put(f"{api.url}/v1/merchants/m1", json=MERCHANT, headers=api.headers).raise_for_status()
        yield api


def spooled(api: CollectionProcess, folder: Path) -> list[int]:
    """Bytes of each unnamed file that the workers hold open in their TMPDIR."""
    sizes = []
    for worker in api.workers():
        for descriptor in Path(f"/proc/{worker.pid}/fd").iterdir():
            try:
                if str(descriptor.readlink()).startswith(str(folder / "spool")):
                    sizes.append(descriptor.stat().st_size)
            except OSError:
                continue
    return sizes


def opened(url: str, api: CollectionProcess, request: str, **headers: str) -> socket.socket:
    """A connection that has sent the head of a request with a chunked body."""
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    connection = socket.create_connection((parts.hostname, parts.port), timeout=DEADLINE_SECONDS)
    given = {"Host": parts.netloc, **api.headers, "Transfer-Encoding": "chunked", **headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in given.items())
    connection.sendall(f"{request} HTTP/1.1\r\n{head}\r\n".encode())
    return connection


def chunk(content: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(content), content)


def answer_of(connection: socket.socket) -> bytes:
    """What comes until its end, or until the other side closes."""
    found = b""
    with connection:
        while not found.endswith(b"\r\n0\r\n\r\n") and (part := connection.recv(65_536)):
            found += part
    return found


def content_of(answer: bytes) -> bytes:
    """The body of an answer in chunks."""
    content, rest = b"", answer.partition(b"\r\n\r\n")[2]
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        content, rest = content + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
    return content


def rows_of(answer: bytes) -> list[dict[str, object]]:
    return [orjson.loads(line) for line in content_of(answer).splitlines()]


def test_refused_lines_are_answered_up_to_the_bound_of_the_spool(declared: Settings, tmp_path: Path) -> None:
    with serving(declared, tmp_path) as api:
        connection = opened(api.url, api, "POST /v1/payments/bulk")
        connection.sendall(chunk(b"0\n" * 10_000))
        until(lambda: bool(spooled(api, tmp_path)), "answers are kept on disk")
        sending = threading.Thread(target=send_all, args=(connection, chunk(b"0\n" * 30_000), 100))
        sending.start()
        head = connection.recv(12)
        largest = max(spooled(api, tmp_path), default=0)
        answer = answer_of(connection)
        sending.join()
        assert head == b"HTTP/1.1 413"
        assert b"content-type: application/x-ndjson" in answer
        assert largest <= SPOOL_BYTES
        assert SPOOL_BYTES // 2 < len(content_of(answer)) <= SPOOL_BYTES
        *told, last = rows_of(answer)
        assert [row["line"] for row in told] == list(range(1, len(told) + 1))
        assert {row["status"] for row in told} == {422}
        assert (last["line"], last["status"]) == (len(told) + 1, 413)
        assert "MILLRACE_COLLECTION_BULK_SPOOL_BYTES" in str(last["error"])
        until(lambda: not spooled(api, tmp_path), "the spool is given back")


def test_lines_beyond_the_bound_are_not_written_and_not_waited_for(declared: Settings, tmp_path: Path) -> None:
    body = b"".join(orjson.dumps(payment(f"many{number}")) + b"\n" for number in range(LINES + 50))
    with serving(declared, tmp_path, BULK_LINES=str(LINES), BULK_BATCH="100") as api:
        connection = opened(api.url, api, "POST /v1/payments/bulk")
        connection.sendall(chunk(body))  # and never its end
        *told, last = rows_of(answer_of(connection))
        assert [(row["line"], row["status"], row["id"]) for row in told] == [(n + 1, 201, f"many{n}") for n in range(LINES)]
        assert (last["line"], last["status"]) == (LINES + 1, 413)
        with MongoClient(declared["MILLRACE_MONGO_ADMIN_URI"]) as admin:
            stored = admin[declared["MILLRACE_NAMES_DATABASE"]].payments
            assert stored.count_documents({"_id": {"$regex": "^many"}}) == LINES


def test_a_key_has_so_many_bulk_bodies_at_once_and_another_key_has_its_own(declared: Settings, tmp_path: Path) -> None:
    with serving(declared, tmp_path, BULK_PER_KEY="2") as api:
        held = [opened(api.url, api, "POST /v1/payments/bulk") for _ in range(2)]
        for connection in held:
            connection.sendall(chunk(b"\n"))
        refused = []

        def third() -> bool:
            answer = httpx.post(f"{api.url}/v1/payments/bulk", content=b"", headers=api.headers, timeout=DEADLINE_SECONDS)
            refused.append(answer)
            return answer.status_code == 429

        until(third, "both bodies are being read")
        assert int(refused[-1].headers["retry-after"]) >= 1
        assert "2" in refused[-1].json()["detail"]
        others = {**api.headers, "Authorization": f"Bearer {api.make_key('payments:write')}"}
        assert httpx.post(f"{api.url}/v1/payments/bulk", content=b"", headers=others, timeout=DEADLINE_SECONDS).status_code == 200
        for connection in held:
            connection.sendall(b"0\r\n\r\n")
            assert connection.recv(12) == b"HTTP/1.1 200"
            connection.close()
        until(lambda: not third(), "the places are free again")


def test_slow_bodies_are_ended_within_their_time_in_every_service_path(declared: Settings, tmp_path: Path) -> None:
    one = orjson.dumps(payment("slow1")) + b"\n"
    with serving({**declared, "MILLRACE_RUNTIME_BODY_SECONDS": "2"}, tmp_path, BULK_SECONDS="2") as api:
        requests = [
            "POST /v1/payments",
            "POST /v1/payments/slow1/refunds",
            "PATCH /v1/payments/slow1",
            "PUT /v1/merchants/m1",
            "PUT /v1/users/u1",
            "POST /v1/payments/bulk",
        ]
        connections = [opened(api.url, api, request) for request in requests]
        for connection in connections:
            connection.sendall(chunk(one + b" "))
        answers = [answer_of(connection) for connection in connections]
    assert [answer.split(b" ", 2)[1] for answer in answers] == [b"408"] * len(requests)
    told, last = rows_of(answers[-1])
    assert (told["line"], told["status"], told["id"]) == (1, 201, "slow1")
    assert (last["line"], last["status"]) == (2, 408)


def test_fifty_slow_uploads_through_the_deployed_nginx_are_ended(declared: Settings, tmp_path: Path) -> None:
    """Half of them bulk bodies, half single payments; each sends a byte now and then until it is answered."""
    bounds = {"BULK_SECONDS": "4", "BULK_PER_KEY": "50"}
    with serving({**declared, "MILLRACE_RUNTIME_BODY_SECONDS": "4"}, tmp_path, **bounds) as api, ExitStack() as stack:
        home = Home(tmp_path / "nginx")
        owned = local_nginx.start(home, {"collection": [local_nginx.address(api.url)]}, {})
        stack.callback(Processes(home).stop, local_nginx.NAME)
        url = f"http://127.0.0.1:{owned.port}"
        paths = ["/v1/payments/bulk", "/v1/payments"]
        slow = [stack.enter_context(opened(url, api, f"POST {paths[number % 2]}")) for number in range(50)]
        statuses: dict[socket.socket, bytes] = {}
        deadline = time.monotonic() + DEADLINE_SECONDS
        while len(statuses) < len(slow):
            assert time.monotonic() < deadline, f"{len(slow) - len(statuses)} are still held"
            waiting = [each for each in slow if each not in statuses]
            for each in waiting:
                with contextlib.suppress(OSError):  # it has been answered
                    each.sendall(chunk(b" "))
            for each in select.select(waiting, [], [], 0.5)[0]:
                statuses[each] = each.recv(12)
        assert set(statuses.values()) == {b"HTTP/1.1 408"}
        assert httpx.put(f"{url}/v1/merchants/m1", json=MERCHANT, headers=api.headers).status_code == 200


def send_all(connection: socket.socket, content: bytes, times: int) -> None:
    with contextlib.suppress(OSError):  # it has been answered and closed
        for _ in range(times):
            connection.sendall(content)
