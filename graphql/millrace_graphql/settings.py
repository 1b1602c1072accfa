"""The API's own settings, MILLRACE_API_*; each default serves a local run."""

from __future__ import annotations

from typing import Literal

from millrace_contracts.identity import TokenSettings


class ApiSettings(TokenSettings, group="API"):
    """Limits and switches of the data access tier."""

    introspection: bool = True
    graphiql: bool = True
    chunk_cache: bool = True
    """Whether raw reports are kept in Redis; off only to measure."""
    max_body_bytes: int = 262_144
    max_tokens: int = 2_000
    max_depth: int = 15
    max_aliases: int = 30
    max_root_fields: int = 20
    trusted_documents: str = ""
    """Path of a manifest, SHA-256 -> document: where it is set, no other document runs."""
    cost_mode: Literal["measure", "enforce"] = "enforce"
    """Whether a document above ``max_cost`` is refused or only measured."""
    max_cost: int = 20_000
    """Points of one document; see http/cost.py."""
    rate_points: int = 200_000
    """Points that a tenant's bucket holds; 0 turns the rate limit off."""
    rate_per_second: int = 5_000
    """Points that come back each second."""
    response_cache_bytes: int = 67_108_864
    """Whole answers kept per worker; 0 keeps none."""
    chunk_memory_bytes: int = 134_217_728
    """Days of reports kept decoded per worker, in front of Redis; 0 keeps none."""
    max_connections: int = 16_384
    """Open connections per worker; more wait until one is closed."""
    max_subscriptions: int = 10_000
    """Open subscriptions per worker."""
    max_socket_operations: int = 25
    """Operations that run at once on one WebSocket."""
    document_cache: int = 1_000
    """Documents whose parse and validation are kept; 0 turns the cache off."""
    document_cache_bytes: int = 33_554_432
    """Bytes of those documents with their plans, per worker."""
    plans: bool = True
    """Whether an operation that is asked for again runs by a plan; off, graphql-core runs each, with the same answers."""
    max_points: int = 5_000
    """Windows of a dense series."""
    max_sparse_days: int = 400
    """Days of a sparse series."""
    max_export_days: int = 1_900
    """Days of a streamed export: five years and some."""
    min_customers: int = 10
    """Customers that must stand behind a demographic cell that is shown."""
    min_peers: int = 10
    """Other merchants that must stand behind a median of peers."""
    max_peers: int = 50
    """Peers that are read for a median: of a larger group, always the same so many."""
    timeout_seconds: float = 20.0
    """Time budget of one request; what is left of its work is cancelled."""
    max_batch: int = 10
    """Operations of one request whose body is an array; 0 takes no arrays."""
    traces: str = ""
    """URL of an OpenTelemetry collector's OTLP/HTTP traces, such as http://localhost:4318/v1/traces; empty records none."""
    cassandra_reads: int = 64
    """Reads in flight to Cassandra per worker."""
