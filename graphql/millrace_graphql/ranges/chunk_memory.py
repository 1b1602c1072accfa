"""Decoded chunks in this process, in front of Redis: good while no notice tells of their day."""

from __future__ import annotations

import numpy as np

from millrace_graphql.bounded import Bounded, text_bytes
from millrace_graphql.ranges.changes import Changes
from millrace_graphql.ranges.columns import Group, Table

Key = tuple[str, int, Group]
"""Merchant, UTC day (days since 1970), column group."""


class ChunkMemory:
    """A bounded LRU of tables. Nothing is taken from it, or put into it, while notices cannot be trusted."""

    def __init__(self, changes: Changes, capacity: int) -> None:
        self.changes = changes
        self._tables: Bounded[Key, tuple[int, Table]] = Bounded(capacity)

    @property
    def size(self) -> int:
        """Bytes kept, about."""
        return self._tables.size

    def get(self, key: Key, now: float) -> Table | None:
        """A table that is still what the store holds."""
        found = self._tables.get(key)
        if found is None or now >= self.changes.trusted_until:
            return None
        seq, table = found
        if not self.changes.unchanged(key[0], key[1], key[1], seq):
            self._tables.drop(key)
            return None
        return table

    def put(self, key: Key, table: Table, seq: int, now: float) -> None:
        """Keep a table that was read after ``seq``."""
        if now < self.changes.trusted_until:
            self._tables.put(key, (seq, table), _size(table) + text_bytes(key[0]))


def _size(table: Table) -> int:
    total = 500 + int(table.starts.nbytes) + int(table.currencies.nbytes)
    for column in table.values.values():
        if isinstance(column, np.ndarray):
            total += int(column.nbytes)
        else:
            total += sum(100 + (len(value) if isinstance(value, bytes) else 150 * len(value)) for value in column)
    return total
