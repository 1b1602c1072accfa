"""Commands and replies of one connection: matched by order, and one command shared by all who ask in one turn of the loop."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

import hiredis
import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from millrace_graphql.ranges.redis_wire import Command, Connection

EPOCH: Command = ("GET", "epoch")


class Transport:
    """Keeps what is written, as the commands that a server would read."""

    def __init__(self) -> None:
        self.writes: list[list[list[bytes]]] = []

    def write(self, data: bytes) -> None:
        reader = hiredis.Reader()
        reader.feed(data)
        commands: list[list[bytes]] = []
        while (command := reader.gets()) is not False:
            commands.append(cast(list[bytes], command))
        self.writes.append(commands)

    def abort(self) -> None:
        """Nothing to close."""


def scenario(body: Callable[[Connection, Transport], Awaitable[None]]) -> None:
    async def main() -> None:
        connection, transport = Connection(), Transport()
        connection.connection_made(cast(Any, transport))
        await body(connection, transport)

    asyncio.run(main())


async def a_turn() -> None:
    """One turn of the loop, and the write at its end."""
    await asyncio.sleep(0)
    await asyncio.sleep(0)


def test_who_asks_in_one_turn_shares_one_write_and_the_command_beside() -> None:
    async def body(connection: Connection, transport: Transport) -> None:
        one = connection.call([("HMGET", "a", "1"), ("HMGET", "b", "1")], EPOCH)
        alone = connection.call([("PING",)])
        two = connection.call([("HMGET", "c", "1")], EPOCH)
        await a_turn()
        assert transport.writes == [[[b"GET", b"epoch"], [b"HMGET", b"a", b"1"], [b"HMGET", b"b", b"1"], [b"PING"], [b"HMGET", b"c", b"1"]]]
        connection.data_received(b"$1\r\n7\r\n*1\r\n$1\r\nA\r\n*1\r\n$1\r\nB\r\n+PONG\r\n*1\r\n$1\r\nC\r\n")
        assert await one == [b"7", [b"A"], [b"B"]]
        assert await alone == [b"PONG"]
        assert await two == [b"7", [b"C"]]

    scenario(body)


def test_who_asks_later_asks_for_it_again() -> None:
    async def body(connection: Connection, transport: Transport) -> None:
        one = connection.call([("HMGET", "a", "1")], EPOCH)
        await a_turn()
        two = connection.call([("HMGET", "b", "1")], EPOCH)
        await a_turn()
        assert [write[0] for write in transport.writes] == [[b"GET", b"epoch"]] * 2, "else it might be from before the question"
        connection.data_received(b"$1\r\n1\r\n*1\r\n$-1\r\n$1\r\n2\r\n*1\r\n$-1\r\n")
        assert (await one)[0] == b"1"
        assert (await two)[0] == b"2"

    scenario(body)


def test_a_caller_who_goes_away_takes_nothing_from_the_others() -> None:
    async def body(connection: Connection, transport: Transport) -> None:
        one = connection.call([("HMGET", "a", "1")], EPOCH)
        two = connection.call([("HMGET", "b", "1")], EPOCH)
        one.cancel()
        await a_turn()
        connection.data_received(b"$1\r\n7\r\n*1\r\n$1\r\nA\r\n*1\r\n$1\r\nB\r\n")
        assert await two == [b"7", [b"B"]]

    scenario(body)


def test_an_error_of_the_command_beside_meets_all_and_one_of_a_call_only_its_own() -> None:
    async def body(connection: Connection, transport: Transport) -> None:
        one, two = connection.call([("HMGET", "a", "1")], EPOCH), connection.call([("HMGET", "b", "1")], EPOCH)
        await a_turn()
        connection.data_received(b"-WRONGTYPE\r\n*1\r\n$1\r\nA\r\n*1\r\n$1\r\nB\r\n")
        for each in (one, two):
            with pytest.raises(ResponseError, match="WRONGTYPE"):
                await each
        one, two = connection.call([("HMGET", "a", "1")], EPOCH), connection.call([("HMGET", "b", "1")], EPOCH)
        await a_turn()
        connection.data_received(b"$1\r\n7\r\n-OOM\r\n*1\r\n$1\r\nB\r\n")
        with pytest.raises(ResponseError, match="OOM"):
            await one
        assert await two == [b"7", [b"B"]]

    scenario(body)


def test_a_lost_connection_is_told_to_everyone_who_waits() -> None:
    async def body(connection: Connection, transport: Transport) -> None:
        calls = [connection.call([("HMGET", "a", "1")], EPOCH), connection.call([("PING",)])]
        await a_turn()
        connection.connection_lost(None)
        for call in calls:
            with pytest.raises(RedisConnectionError, match="end of file"):
                await call
        assert connection.closed.done()

    scenario(body)


def test_a_server_that_does_not_answer_is_given_up() -> None:
    async def body(connection: Connection, transport: Transport) -> None:
        connection.give_up_after(0.01)
        call = connection.call([("HMGET", "a", "1")], EPOCH)
        with pytest.raises(TimeoutError, match=r"within 0\.01 s"):
            await call

    scenario(body)
