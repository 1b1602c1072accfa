"""Rows grouped by the replicas that hold them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from cassandra import murmur3
from cassandra.metadata import Murmur3Token
from cassandra.query import SimpleStatement

from millrace_processors.replica_batches import BYTES, PARTITION, PARTITIONS, ROWS, by_replicas, routing_key


@dataclass
class Host:
    host_id: int


class TokenMap:
    """Even tokens live on host 1, odd ones on host 2."""

    token_class = Murmur3Token

    def get_replicas(self, keyspace: str, token: Murmur3Token) -> list[Host]:
        return [Host(1 + token.value % 2)]


@dataclass
class Ring:
    token_map: TokenMap | None = field(default_factory=TokenMap)


def replica(each: list[Any]) -> int:
    return 1 + token(each) % 2


def token(each: list[Any]) -> int:
    """By the driver's slow hash, which is another piece of code than the one that is used."""
    key = routing_key(each[PARTITION])
    return int(murmur3.murmur3(key))


def row(merchant: str, window: int = 0, size: int = 10) -> list[Any]:
    return [merchant.encode(), b"10m", b"2026-11", window.to_bytes(8, "big"), b"x" * size]


def test_a_batch_holds_rows_of_one_set_of_replicas_and_every_row_is_in_one() -> None:
    rows = [row("m" * (number % 4 + 1), number) for number in range(50)]
    batches = list(by_replicas(Ring(), "ks", rows))
    assert sorted(each[3] for batch in batches for each in batch) == sorted(each[3] for each in rows)
    assert all(len({replica(each) for each in batch}) == 1 for batch in batches)
    assert {replica(batch[0]) for batch in batches} == {1, 2}
    assert all(len(batch) <= ROWS for batch in batches)


def test_a_batch_is_bounded_in_bytes_and_partitions() -> None:
    heavy = list(by_replicas(Ring(), "ks", [row("m", number, BYTES // 3) for number in range(7)]))
    assert [len(batch) for batch in heavy] == [2, 2, 2, 1]
    everywhere = Ring(None)
    wide = list(by_replicas(everywhere, "ks", [row(f"m{number:02d}") for number in range(25)]))
    assert [len({each[0] for each in batch}) for batch in wide] == [PARTITIONS, PARTITIONS, 5]


def test_a_row_larger_than_the_bound_travels_alone() -> None:
    assert [len(batch) for batch in by_replicas(Ring(), "ks", [row("m", 0, BYTES * 2), row("m", 1)])] == [1, 1]


def test_the_routing_key_is_the_one_that_the_driver_makes() -> None:
    key = routing_key(row("m1")[PARTITION])
    assert key == b"\x00\x02m1\x00\x00\x0310m\x00\x00\x072026-11\x00"
    assert key == b"".join(SimpleStatement("")._key_parts_packed([b"m1", b"10m", b"2026-11"]))


def test_rows_of_one_set_of_replicas_come_in_the_order_of_their_tokens() -> None:
    rows = [row(f"m{number:03d}", window) for number in range(60) for window in (2, 1)]
    sent: dict[int, list[list[Any]]] = {1: [], 2: []}
    for batch in by_replicas(Ring(), "ks", rows):
        sent[replica(batch[0])] += batch
    for each in sent.values():
        assert [token(one) for one in each] == sorted(map(token, each))
    assert [one[3] for one in sent[1] + sent[2]] == [window.to_bytes(8, "big") for window in (2, 1)] * 60, (
        "a partition's rows stay in order"
    )


def test_rows_are_sent_without_an_order_where_the_driver_does_not_know_the_ring() -> None:
    rows = [row(f"m{number}") for number in range(3)]
    assert list(by_replicas(Ring(None), "ks", rows)) == [rows]
