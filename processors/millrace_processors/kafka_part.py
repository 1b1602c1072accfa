"""Which part of the payments topic is taken: from an offset, an instant of its records, or a position of the change stream."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pyspark.sql import Column
from pyspark.sql import functions as F

from millrace_contracts.changes import cluster_time, cluster_time_ms
from millrace_contracts.windows import from_ms, to_ms
from millrace_processors import decoding
from millrace_processors.errors import CommandError

SLACK = timedelta(minutes=5)
"""A record's time is the relay's clock, a change's is MongoDB's: so far apart may they be."""
_NUMBER = re.compile("[0-9]{1,18}")
_TOKEN = re.compile("82([0-9A-F]{8})([0-9A-F]{8})[0-9A-F]*")
"""A resume token: the type byte of a timestamp, the seconds and the ordinal of its cluster time, and what orders changes of one time."""
_IMAGE = "STRUCT<merchantId: STRING>"
_HEAD = (
    f"op STRING, after {_IMAGE}, before {_IMAGE}, source STRUCT<ts_ms: BIGINT, ord: BIGINT, token: STRING>, "
    "merchantId STRING, __op STRING, __source_ts_ms BIGINT, __source_ord BIGINT"
)
"""What tells where a change stands, in the relay's form and in Debezium's."""


@dataclass(frozen=True)
class Part:
    """A part of the topic. ``starting``: Spark's options for where to begin to read, the rest leaves records out of what is read.

    ``token``, ``since``: changes from there on, in the order of the change stream; ``before``: records or, with ``since`` or ``token``,
    changes from before then; ``merchants``: changes that touch one of them, or may.
    """

    starting: tuple[tuple[str, str], ...] = ()
    token: str | None = None
    since: datetime | None = None
    before: datetime | None = None
    merchants: tuple[str, ...] = ()

    @property
    def options(self) -> dict[str, str]:
        """Spark's options for where to begin."""
        return dict(self.starting)

    @property
    def name(self) -> str:
        """Twelve digits that name this very part."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:12]

    def condition(self) -> Column:
        """The changes of Kafka's records that are meant; one that tells nothing of itself is, and becomes a dead letter (I4)."""
        found = decoding.is_change()
        by_change = self.token is not None or self.since is not None
        if self.before is not None and not by_change:
            found = found & (F.col("timestamp") < F.lit(self.before))
        if by_change or self.merchants:
            head = F.from_json(F.col("value").cast("string"), _HEAD)
            # Inside of a lambda it is parsed once; a filter would parse it again for each field that it names.
            found = found & F.exists(F.array(head), self._meant)
        return found

    def _meant(self, head: Column) -> Column:
        version = decoding.packed(
            F.coalesce(head["source"]["ts_ms"], head["__source_ts_ms"]), F.coalesce(head["source"]["ord"], head["__source_ord"])
        )
        found = F.lit(True)
        if self.token is not None:
            at = packed_time(self.token)
            same = (version == at) & F.coalesce(head["source"]["token"] >= self.token, F.lit(True))
            found = found & ((version > at) | same)
        if self.since is not None:
            found = found & (version >= _packed(self.since))
        if self.before is not None and (self.token is not None or self.since is not None):
            found = found & (version < _packed(self.before))
        found = F.coalesce(found, F.lit(True))
        return found & _touches(head, self.merchants) if self.merchants else found


def of_records(start: datetime | None, offsets: str | None, topic: str, end: datetime | None = None, merchants: Sequence[str] = ()) -> Part:
    """Records from an instant, from offsets such as ``0:15,1:20``, or from the beginning.

    Raises:
        CommandError: the offsets are not understood.
    """
    starting = {}
    if offsets is not None:
        pairs = [pair.partition(":") for pair in offsets.split(",")]
        if not all(_NUMBER.fullmatch(partition) and _NUMBER.fullmatch(offset) for partition, _, offset in pairs):
            raise CommandError(f"--offsets {offsets!r} is not partition:offset, such as 0:1500,1:1320")
        starting = {"startingOffsets": json.dumps({topic: {partition: int(offset) for partition, _, offset in pairs}})}
    elif start is not None:
        starting = _records_since(start)
    return Part(tuple(starting.items()), before=end, merchants=tuple(merchants))


def of_changes(token: str | None, start: datetime | None, end: datetime | None = None, merchants: Sequence[str] = ()) -> Part:
    """Changes from a position of the change stream, or from a cluster time; what is older is read over, wherever it stands.

    Raises:
        CommandError: the token is none of MongoDB's.
    """
    at = start if token is None else from_ms(cluster_time_ms(packed_time(token)))
    assert at is not None, "one of the two is given"
    return Part(tuple(_records_since(at - SLACK).items()), token, None if token else start, end, tuple(merchants))


def packed_time(token: str) -> int:
    """The cluster time of a resume token.

    Raises:
        CommandError: it is none.
    """
    found = _TOKEN.fullmatch(token)
    if found is None:
        raise CommandError(f"--token {token[:40]!r} is not a resume token: it starts with 82 and 16 hexadecimal digits of cluster time")
    return cluster_time(int(found[1], 16), int(found[2], 16))


def _records_since(instant: datetime) -> dict[str, str]:
    return {"startingTimestamp": str(max(0, to_ms(instant))), "startingOffsetsByTimestampStrategy": "latest"}


def _packed(instant: datetime) -> int:
    """The first cluster time of an instant's second; later ones for a part of a second."""
    return cluster_time(-(-to_ms(instant) // 1000), 0)


def _touches(head: Column, merchants: Sequence[str]) -> Column:
    """Whether a change is of one of the merchants, or of a payment that may have been theirs before: nothing tells that it was not."""

    def theirs(merchant: Column) -> Column:
        return F.coalesce(merchant.isin(*merchants), F.lit(False))

    op = F.coalesce(head["op"], head["__op"])
    unknown = head["before"]["merchantId"].isNull() & F.coalesce(op != "c", F.lit(True))
    return theirs(head["after"]["merchantId"]) | theirs(head["before"]["merchantId"]) | theirs(head["merchantId"]) | unknown
