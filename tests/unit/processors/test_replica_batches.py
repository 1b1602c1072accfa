"""Rows grouped by the replicas that hold them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cassandra.query import SimpleStatement

from millrace_processors.replica_batches import BYTES, PARTITION, PARTITIONS, ROWS, by_replicas, routing_key


@dataclass
class Host:
    host_id: int


class Ring:
    """Merchants of odd length live on host 1, the others on host 2."""

    def get_replicas(self, keyspace: str, key: bytes) -> list[Host]:
        return [Host(1 if key[1] % 2 else 2)]


def row(merchant: str, window: int = 0, size: int = 10) -> list[Any]:
    return [merchant.encode(), b"10m", b"2026-11", window.to_bytes(8, "big"), b"x" * size]


def test_a_batch_holds_rows_of_one_set_of_replicas_and_every_row_is_in_one() -> None:
    rows = [row("m" * (number % 4 + 1), number) for number in range(50)]
    batches = list(by_replicas(Ring(), "ks", rows))
    assert sorted(each[3] for batch in batches for each in batch) == sorted(each[3] for each in rows)
    assert all(len({len(each[0]) % 2 for each in batch}) == 1 for batch in batches)
    assert all(len(batch) <= ROWS for batch in batches)


def test_a_batch_is_bounded_in_bytes_and_partitions() -> None:
    heavy = list(by_replicas(Ring(), "ks", [row("m", number, BYTES // 3) for number in range(7)]))
    assert [len(batch) for batch in heavy] == [2, 2, 2, 1]
    wide = list(by_replicas(Ring(), "ks", [row(f"m{number:02d}") for number in range(25)]))
    assert [len({each[0] for each in batch}) for batch in wide] == [PARTITIONS, PARTITIONS, 5]


def test_a_row_larger_than_the_bound_travels_alone() -> None:
    assert [len(batch) for batch in by_replicas(Ring(), "ks", [row("m", 0, BYTES * 2), row("m", 1)])] == [1, 1]


def test_the_routing_key_is_the_one_that_the_driver_makes() -> None:
    key = routing_key(row("m1")[PARTITION])
    assert key == b"\x00\x02m1\x00\x00\x0310m\x00\x00\x072026-11\x00"
    assert key == b"".join(SimpleStatement("")._key_parts_packed([b"m1", b"10m", b"2026-11"]))
