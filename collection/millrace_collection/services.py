"""The wiring of the services, in one place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from millrace_collection.directory import Directory
from millrace_collection.idempotency import Idempotency
from millrace_collection.identity import Identity
from millrace_collection.keys import KeyGenerator, new_key
from millrace_collection.payments import Payments
from millrace_collection.request_log import RequestLog, writer
from millrace_collection.settings import CollectionSettings
from millrace_collection.store import Store
from millrace_contracts.settings import RuntimeSettings

OPERATIONS_OF_A_REQUEST = 4
"""On the store, after its Idempotency-Key was reserved: two lookups, the write, the comparison; each is bounded by retry_seconds."""


def utc_now() -> datetime:
    """Now, cut to the milliseconds that a BSON date holds."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


@dataclass(frozen=True)
class Services:
    """Everything that the endpoints use."""

    settings: CollectionSettings
    store: Store
    directory: Directory
    payments: Payments
    identity: Identity
    idempotency: Idempotency
    request_log: RequestLog
    now: Callable[[], datetime]
    new_key: KeyGenerator
    body_seconds: float
    """Total time of a body that is no bulk body."""
    bulk_open: Counter[str] = field(default_factory=Counter)
    """Bulk requests in hand, by the id of their API key."""

    @property
    def allowance(self) -> timedelta:
        """How far ahead of the clock an instant may lie."""
        return timedelta(seconds=self.settings.future_seconds)

    @property
    def latest(self) -> datetime:
        """The latest instant that is taken now."""
        return self.now() + self.allowance


def build(
    settings: CollectionSettings,
    store: Store,
    *,
    now: Callable[[], datetime] = utc_now,
    keys: KeyGenerator = new_key,
    body_seconds: float = RuntimeSettings().body_seconds,
) -> Services:
    """Services on a store."""
    directory = Directory(
        store,
        settings.secret,
        merchant_seconds=settings.merchant_cache_seconds,
        user_seconds=settings.user_cache_seconds,
        entries=settings.cache_entries,
    )
    return Services(
        settings=settings,
        store=store,
        directory=directory,
        payments=Payments(store, directory),
        identity=Identity(store, settings.key_cache_seconds, now),
        idempotency=Idempotency(store, now, keys, timedelta(seconds=OPERATIONS_OF_A_REQUEST * settings.retry_seconds)),
        request_log=RequestLog(writer(settings.request_log), directory.key_of),
        now=now,
        new_key=keys,
        body_seconds=body_seconds,
    )
