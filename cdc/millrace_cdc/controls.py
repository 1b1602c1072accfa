"""What happens to the whole collection (drop, rename, dropDatabase, invalidate): a named policy, and always a record (I4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import orjson

from millrace_cdc.errors import CollectionGone, RelayError, Reopen
from millrace_cdc.mongo import now_ms
from millrace_cdc.portions import Portion
from millrace_cdc.replies import Change
from millrace_cdc.tokens import position

Policy = Literal["stop", "record"]


def collection_event(namespace: str, change: Change, policy: Policy) -> bytes:
    """The audit record of such a change."""
    token = change["_id"]["_data"]
    seconds, ordinal = position(token)
    target = change.get("to")
    record = {
        "kind": "collection-event",
        "collection": namespace,
        "operation": change["operationType"],
        "to": f"{target['db']}.{target['coll']}" if target else None,
        "token": token,
        "at": [seconds, ordinal],
        "policy": policy,
        "recorded_ms": now_ms(),
    }
    return orjson.dumps(record)


def decide(
    namespace: str, change: Change, policy: Policy, record: Callable[[str, bool], tuple[str, bytes]]
) -> tuple[Portion, RelayError | Reopen]:
    """The audit record with, by policy ``record``, the position behind the change; and how the stream ends here."""
    what, token = change["operationType"], change["_id"]["_data"]
    portion = Portion(audits=[(namespace.encode(), collection_event(namespace, change, policy))])
    if policy == "stop":
        return portion, CollectionGone(
            f"{namespace} saw a {what} (token {token}); the relay stops before it. MILLRACE_RELAY_ON_DROP=record goes past it"
        )
    # Nothing resumes after an invalidate; startAfter does, and waits for the collection to come back.
    key, value = record(token, what == "invalidate")
    portion.progress[key] = value
    return portion, Reopen(f"{namespace} saw a {what}")
