"""Post the year of baskets through the collection API; what is in already is not sent again."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from millrace_contracts.values.instants import parse_instant
from millrace_runtime.waiting import reason_of
from millrace_stack.demo.baskets import Commands, utc_now
from millrace_stack.demo.screen import Screen
from millrace_stack.errors import StackError
from millrace_stack.home import Home, read_json, write_json
from millrace_stack.load.client import CollectionClient, Line
from millrace_stack.load.lanes import Lanes

LANES = 3
BATCH = 1000


@dataclass
class Present:
    """What MongoDB holds already, by the ids of the commands."""

    merchants: set[str] = field(default_factory=set)
    users: set[str] = field(default_factory=set)
    payments: set[str] = field(default_factory=set)
    refunds: set[tuple[str, str]] = field(default_factory=set)


def anchor(home: Home) -> datetime:
    """The instant at which the year ends in this home: that of its first start, since the times of payments must not move later."""
    path = home.path / "demo.json"
    kept = read_json(path)
    if kept and "now" in kept:
        try:
            return parse_instant(kept["now"])
        except ValueError as error:
            raise StackError(f"{path}: now: {kept['now']!r} is {error}; remove the file, or set it right") from None
    now = utc_now()
    write_json(path, {"now": now.isoformat()})
    return now


def present(uri: str, database: str) -> Present:
    """Ask MongoDB what an earlier start has left: a second start, or one after a crash, goes on from there.

    Raises:
        StackError: MongoDB does not answer.
    """
    client: MongoClient[dict[str, Any]] = MongoClient(uri, serverSelectionTimeoutMS=30_000)
    try:
        source = client.get_database(database)
        found = Present(
            merchants={row["_id"] for row in source["merchants"].find({}, {"_id": 1})},
            users={row["userId"] for row in source["users"].find({}, {"_id": 0, "userId": 1})},
        )
        for row in source["payments"].find({}, {"refunds.id": 1}, batch_size=20_000):
            found.payments.add(row["_id"])
            found.refunds.update((row["_id"], refund["id"]) for refund in row["refunds"])
        return found
    except PyMongoError as error:
        raise StackError(f"MongoDB does not answer ({reason_of(error)}); is the stack up?") from None
    finally:
        client.close()


def missing(commands: Commands, there: Present) -> list[Line]:
    """The bulk lines that are not in yet, as they happened."""
    return [
        line
        for _, line in commands.lines()
        if (line["id"] not in there.payments if line["op"] == "payment" else (line["paymentId"], line["id"]) not in there.refunds)
    ]


def replay(commands: Commands, there: Present, client: Callable[[], CollectionClient], screen: Screen, stopped: threading.Event) -> int:
    """Post everything that is missing and return the number of lines posted.

    Raises:
        StackError: lines were refused, or the API stayed away.
    """
    profiles = [(f"/v1/merchants/{name}", body) for name, body in commands.merchants.items() if name not in there.merchants]
    profiles += [(f"/v1/users/{name}", body) for name, body in commands.users.items() if name not in there.users]
    if profiles:
        _put(profiles, client, screen)
    lines = missing(commands, there)
    if not lines:
        screen.say("The year is in already.")
        return 0
    refused: Counter[str] = Counter()
    clients = [client() for _ in range(LANES)]
    with screen.progress("Replaying baskets and refunds", len(lines)) as advance:

        def send(lane: int, batch: list[Line]) -> None:
            outcome = clients[lane].bulk(batch)
            refused.update(f"{answer.status} {answer.error}" for answer in outcome.answers if answer.status not in (200, 201))
            advance(len(batch))

        lanes = Lanes(send, LANES, BATCH, stopped)
        for line in lines:
            if not lanes.put(line):
                break
        lanes.drain()
    for each in clients:
        each.close()
    if refused:
        kind, count = refused.most_common(1)[0]
        raise StackError(f"the collection API refused {sum(refused.values())} lines of the replay, {count} of them with: {kind}")
    return len(lines)


def _put(profiles: list[tuple[str, Line]], client: Callable[[], CollectionClient], screen: Screen) -> None:
    local = threading.local()
    made: list[CollectionClient] = []

    def put(entry: tuple[str, Line]) -> None:
        if not hasattr(local, "client"):
            local.client = client()
            made.append(local.client)
        local.client.put(*entry)

    with screen.progress("Declaring merchants and users", len(profiles)) as advance, ThreadPoolExecutor(LANES) as pool:
        for _ in pool.map(put, profiles):
            advance(1)
    for each in made:
        each.close()
