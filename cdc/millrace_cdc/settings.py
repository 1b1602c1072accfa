"""Settings of the relay."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from millrace_contracts.settings import Settings


class MongoSettings(Settings, group="MONGO"):
    """The source database, as the relay's own user. Behind several mongos name one of them: a cursor lives on one."""

    relay_uri: str


class RelaySettings(Settings, group="RELAY"):
    """How the relay reads and writes. Sizes in bytes, times in milliseconds unless the name says otherwise."""

    collection: str = "payments"
    streams: int = Field(1, ge=1, le=64)
    """Parallel streams of the collection, each the documents of one remainder of the hashed key."""
    lease_ms: int = Field(6000, ge=1000, le=60_000)
    """How long a machine of ``--shared`` may be silent before its streams go to another one."""
    fetch_events: int = Field(4000, ge=1, le=100_000)
    """Events asked for in one getMore."""
    queue_bytes: int = Field(32 * 1024 * 1024, ge=1024 * 1024)
    """Raw replies that wait to be encoded; the fetch stops when they are more (back-pressure)."""
    transaction_events: int = Field(32_000, ge=1)
    """A transaction is committed at this many events …"""
    transaction_ms: int = Field(500, ge=1)
    """… or at this age while a backlog lasts …"""
    linger_ms: int = Field(5, ge=0)
    """… or at this age once nothing waits: lower is a shorter delay, higher fewer and cheaper transactions."""
    idle_ms: int = Field(1000, ge=100)
    """How often an idle stream records its position."""
    transaction_timeout_ms: int = Field(60_000, ge=10_000, le=900_000)
    """After this the broker aborts the transaction of a relay that died; read_committed consumers wait no longer."""
    retry_seconds: float = Field(300, gt=0)
    """How long MongoDB or Kafka may stay away before the process exits with code 3."""
    snapshot_chunk_documents: int = Field(50_000, ge=100)
    """Documents of one chunk of a snapshot, about."""
    snapshot_rate: int = Field(0, ge=0)
    """Documents a second that a snapshot reads at most; 0 for no bound."""
    on_drop: Literal["stop", "record"] = "stop"
    """When the collection is dropped, renamed or invalidated: stop before it, or record it in the audit topic and go on behind it."""
    on_history_lost: Literal["reconcile", "stop"] = "reconcile"
    """When the oplog no longer reaches back: compare the source with the topic and close the gap, or exit with code 5."""
    snapshot_threads: int = Field(2, ge=1, le=64)
    """Chunks that are read at the same time."""
