"""Change events as they travel through Kafka, in Debezium's envelope vocabulary.

Topic ``<prefix>.<database>.<collection>``; key = the document's id as UTF-8 text; value = JSON::

    {"op": "c" | "u" | "d" | "r",
     "before": {...} | null, "after": {...} | null,
     "source": {"connector": "millrace", "db": "commerce", "collection": "payments",
                "ts_ms": <cluster time, seconds * 1000>, "ord": <ordinal inside the second>,
                "token": "<resume token _data>" | null, "snapshot": "true" | "false"},
     "ts_ms": <when the relay read it>}

Dates inside documents are epoch milliseconds, integers stay integers, and each other BSON type has the form that ``values.bson_json``
says. ``before`` and ``after`` hold the captured fields only. The relay's delete without a before-image has null there or, of an id
that is no text, the ``_id`` alone: the key does not tell its type.
Headers: ``content-type`` = application/json, ``schema-version``, and ``millrace-kind`` = ``change`` | ``low-water``.
The connectors of Debezium (ExtractNewDocumentState) write the flattened document instead, with ``__op``, ``__source_ts_ms``,
``__source_ord``, ``__source_order`` and ``__deleted`` beside the document's fields; the processors' decoder of payments accepts both.
``__source_order`` is the part of the resume token that orders the changes of one transaction: the 32 digits behind its first 18.

A low-water marker has a null key, header ``millrace-kind`` = ``low-water`` and is written to EVERY partition of the topic::

    {"stream": 0, "streams": 1, "through_ms": <cluster time in ms>, "ts_ms": <when written>}

It says: all changes of this stream up to and including cluster time ``through_ms`` stand before it in this partition.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

OP_CREATE: Final = "c"
OP_UPDATE: Final = "u"
OP_DELETE: Final = "d"
OP_READ: Final = "r"
Op = Literal["c", "u", "d", "r"]

HEADER_KIND = "millrace-kind"
HEADER_SCHEMA_VERSION = "schema-version"
HEADER_CONTENT_TYPE = "content-type"
HEADER_REPLAY = "millrace-replay"
"""Present on events that a replay sent again; the value is the replay's id."""
KIND_CHANGE = "change"
KIND_LOW_WATER = "low-water"
CONTENT_TYPE_JSON = "application/json"
EVENT_SCHEMA_VERSION = "1"


@dataclass(frozen=True, order=True)
class Version:
    """Version of a change: cluster time, ties inside one transaction broken by the resume token's own order.

    ``cluster_time`` = seconds << 32 | ordinal (a positive int64 until 2038); ``token`` = the token's ``_data``, which
    grows strictly from event to event within a cluster and compares as a string; "" for snapshot reads, which sorts
    before every token of the same cluster time.
    """

    cluster_time: int
    token: str = ""


def cluster_time(seconds: int, ordinal: int) -> int:
    """Pack a BSON timestamp into an integer that sorts as the timestamp does."""
    return seconds << 32 | ordinal


def cluster_time_ms(packed: int) -> int:
    """Epoch milliseconds (whole seconds) of a packed cluster time."""
    return (packed >> 32) * 1000
