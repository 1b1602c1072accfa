"""Idempotency-Key: the same answer for 24 hours, whatever happens in between."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from millrace_collection.idempotency import Idempotency, Stored, body_hash
from millrace_collection.problems import Problem
from millrace_collection.services import Services
from millrace_collection.store import StoreUnavailable
from tests.unit.collection.conftest import Clock
from tests.unit.collection.fake_store import FakeStore

pytestmark = pytest.mark.anyio


class Command:
    """Counts its executions and answers with the id that was reserved for it."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.error: Exception | None = None
        self.started = asyncio.Event()
        self.gate: asyncio.Event | None = None

    async def __call__(self, reserved_id: str) -> Stored:
        self.ids.append(reserved_id)
        self.started.set()
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error
        return Stored(201, reserved_id.encode())


@pytest.fixture
def command() -> Command:
    return Command()


async def run(services: Services, command: Command, body: bytes = b"{}", caller: str = "c", key: str | None = "k") -> Stored:
    return await services.idempotency.run(caller, key, "POST payments", body, command)


def restarted(services: Services, store: FakeStore, clock: Clock) -> Idempotency:
    """Another process on the same store."""
    return Idempotency(store, clock, lambda: "another")


async def test_the_same_key_and_body_execute_once(services: Services, command: Command) -> None:
    assert [await run(services, command) for _ in range(3)] == [Stored(201, b"kgs-1")] * 3
    assert command.ids == ["kgs-1"]


async def test_without_a_key_every_request_executes(services: Services, command: Command) -> None:
    assert [(await run(services, command, key=None)).body for _ in range(2)] == [b"kgs-1", b"kgs-2"]


async def test_spaces_and_order_do_not_make_another_body(services: Services, command: Command) -> None:
    first = await run(services, command, b'{"a": 1, "b": [2]}')
    assert await run(services, command, b'{"b":[2],"a":1}') == first
    assert body_hash("x", b'{"a":1}') != body_hash("y", b'{"a":1}')


async def test_another_body_is_409_and_names_the_header(services: Services, command: Command) -> None:
    await run(services, command)
    with pytest.raises(Problem) as refused:
        await run(services, command, b'{"x":1}')
    assert (refused.value.status, refused.value.errors[0].field, refused.value.retry_after) == (409, "Idempotency-Key", None)


async def test_callers_do_not_share_keys(services: Services, command: Command) -> None:
    assert (await run(services, command, caller="a")).body != (await run(services, command, b"1", caller="b")).body


async def test_a_second_request_at_the_same_time_is_told_to_wait(services: Services, command: Command) -> None:
    command.gate = asyncio.Event()
    first = asyncio.create_task(run(services, command))
    await command.started.wait()
    with pytest.raises(Problem) as refused:
        await run(services, command)
    assert (refused.value.status, refused.value.retry_after) == (409, 1)
    command.gate.set()
    assert await first == await run(services, command)
    assert command.ids == ["kgs-1"]


async def test_after_a_day_the_key_is_free_again(services: Services, command: Command, clock: Clock) -> None:
    await run(services, command)
    clock.forward(hours=23, minutes=59)
    await run(services, command)
    assert len(command.ids) == 1
    clock.forward(minutes=1)
    await run(services, command, b'{"x":1}')
    assert len(command.ids) == 2


async def test_a_crash_before_the_answer_was_stored_repeats_under_the_same_id(
    services: Services, command: Command, store: FakeStore, clock: Clock
) -> None:
    """The process died between the write and `finish`: another one waits for the lock and reuses the reserved id."""
    command.error = StoreUnavailable("killed")
    with pytest.raises(StoreUnavailable):
        await run(services, command)
    command.error = None
    other = restarted(services, store, clock)
    with pytest.raises(Problem) as waiting:
        await other.run("c", "k", "POST payments", b"{}", command)
    assert (waiting.value.status, waiting.value.retry_after) == (409, 1)
    clock.forward(seconds=32)
    assert await other.run("c", "k", "POST payments", b"{}", command) == Stored(201, b"kgs-1")
    assert command.ids == ["kgs-1", "kgs-1"]


async def test_the_process_that_gave_up_may_repeat_at_once(services: Services, command: Command) -> None:
    command.error = StoreUnavailable("no majority")
    with pytest.raises(StoreUnavailable):
        await run(services, command)
    command.error = None
    assert (await run(services, command)).body == b"kgs-1"


async def test_a_refused_command_is_not_remembered(services: Services, command: Command, store: FakeStore) -> None:
    command.error = Problem(422, "merchantId: no such merchant")
    with pytest.raises(Problem):
        await run(services, command)
    assert store.reservations == {}
    command.error = None
    assert (await run(services, command)).status == 201


@pytest.mark.parametrize("key", ["", "x" * 256, "a\x00b"])
async def test_a_key_that_is_none_is_refused(services: Services, command: Command, key: str) -> None:
    with pytest.raises(Problem) as refused:
        await run(services, command, key=key)
    assert refused.value.status == 400


async def test_the_lock_outlives_every_operation_of_a_request(services: Services, store: FakeStore, command: Command, clock: Clock) -> None:
    """By default an operation takes at most 8 s: merchants, users, the insert and the comparison make 32 s."""
    command.error = StoreUnavailable("killed")
    with pytest.raises(StoreUnavailable):
        await run(services, command)
    (reservation,) = store.reservations.values()
    assert reservation.locked_until - clock() == timedelta(seconds=32)
