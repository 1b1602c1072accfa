"""Settings of the relay."""

from __future__ import annotations

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
    transaction_events: int = Field(8000, ge=1)
    """A transaction is committed at this many events …"""
    transaction_ms: int = Field(150, ge=1)
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
    snapshot_threads: int = Field(2, ge=1, le=64)
    """Chunks that are read at the same time."""
