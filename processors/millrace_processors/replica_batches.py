"""Rows of Cassandra grouped into batches that one set of replicas holds whole."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from operator import itemgetter
from typing import Any

Row = list[Any]
"""Cells in the protocol's bytes, some of them the partition key."""
Partition = tuple[bytes, ...]
PARTITION = slice(0, 3)
"""Where the partition key of a report stands."""
ROWS, BYTES, PARTITIONS = 20, 48 * 1024, 10
"""At most so much in one batch: Cassandra warns of batches beyond 64 KiB or ten partitions."""
_PART = struct.Struct(">H")


def routing_key(key: Iterable[bytes]) -> bytes:
    """The bytes that Cassandra hashes for a partition key of several parts: each with its length before and a zero behind."""
    return b"".join(_PART.pack(len(part)) + part + b"\0" for part in key)


def by_replicas(metadata: Any, keyspace: str, rows: Iterable[Row], key: slice = PARTITION) -> Iterator[list[Row]]:
    """Batches of rows; ``metadata`` is the driver's, which knows the ring, and ``key`` the place of the partition key in a row.

    Those of one set of replicas come in the order of their tokens, in which Cassandra keeps its partitions: a batch then lies in as
    small a range of the ring as can be.
    """
    open_batches: dict[tuple[Any, ...], _Batch] = {}
    for _, replicas, partition, members in sorted(_placed(metadata, keyspace, rows, key), key=itemgetter(0)):
        for row in members:
            batch = open_batches.setdefault(replicas, _Batch())
            if batch.full(row, partition):
                yield batch.rows
                batch = open_batches[replicas] = _Batch()
            batch.add(row, partition)
    for batch in open_batches.values():
        if batch.rows:
            yield batch.rows


def _placed(metadata: Any, keyspace: str, rows: Iterable[Row], key: slice) -> Iterator[tuple[Any, tuple[Any, ...], Partition, list[Row]]]:
    """(token, replicas, partition, its rows) of each partition; all tokens are alike where the driver does not know the ring."""
    partitions: dict[Partition, list[Row]] = {}
    for row in rows:
        partitions.setdefault(tuple(row[key]), []).append(row)
    ring = metadata.token_map
    for partition, members in partitions.items():
        if ring is None:
            yield 0, (), partition, members
            continue
        token = ring.token_class.from_key(routing_key(partition))
        yield token.value, tuple(host.host_id for host in ring.get_replicas(keyspace, token)), partition, members


class _Batch:
    def __init__(self) -> None:
        self.rows: list[Row] = []
        self._bytes = 0
        self._partitions: set[Partition] = set()

    def full(self, row: Row, partition: Partition) -> bool:
        """Whether a row would be too much for it."""
        if not self.rows:
            return False
        over = len(self._partitions) >= PARTITIONS and partition not in self._partitions
        return over or len(self.rows) >= ROWS or self._bytes + _size(row) > BYTES

    def add(self, row: Row, partition: Partition) -> None:
        """Take a row in."""
        self.rows.append(row)
        self._bytes += _size(row)
        self._partitions.add(partition)


def _size(row: Row) -> int:
    return sum(len(cell) for cell in row if isinstance(cell, bytes))
