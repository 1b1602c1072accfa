"""A change of the number of streams, of what is captured or of the topic's partitions: pure, from old positions to new ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from millrace_cdc.errors import Misconfigured
from millrace_cdc.progress import Position, Records, position_key
from millrace_cdc.tokens import position as time_of


def positions(namespace: str, records: Records) -> list[Position]:
    """The positions of all streams of a collection, in order; empty before the first start.

    Raises:
        Misconfigured: a stream has none, as while the first snapshot lasts.
    """
    found = known(namespace, records)
    if found and len(found) != found[0].streams:
        raise Misconfigured(f"{namespace}: {len(found)} of {found[0].streams} streams have a position; let the snapshot finish first")
    return found


def known(namespace: str, records: Records) -> list[Position]:
    """The positions that there are, in order of their streams."""
    prefix = position_key(namespace, 0).removesuffix("0")
    return sorted((Position.decode(record) for key, record in records.items() if key.startswith(prefix)), key=lambda each: each.stream)


def cluster_time(each: Position) -> tuple[int, int]:
    """Seconds and ordinal of a position."""
    return time_of(each.token) if each.token is not None else each.at or (0, 0)


def migrated(old: Sequence[Position], streams: int, fingerprint: str, partitions: int) -> list[Position]:
    """The positions after the change: every new stream starts at the lowest old one and knows what the old ones had written.

    A document may change its stream, its order does not change: what its old stream had written is not written again, and no new
    stream begins before every old one is fenced.

    The new start is a cluster time and not the lowest token: MongoDB resumes only after an event that the new pipeline lets
    through (error 280 otherwise), and the token's event may belong to another stream now.

    Raises:
        Misconfigured: an earlier change has not been caught up with yet.
    """
    if len(old) == streams and all(each.fingerprint == fingerprint for each in old):
        return [replace(each, partitions=partitions) for each in old]
    if any(each.already for each in old):
        raise Misconfigured("the streams have not caught up with the last change of their number yet; let them run and try again")
    lowest = min(old, key=_order)
    already = tuple(each.token or "" for each in old)
    seconds, ordinal, _ = _order(lowest)
    start = (seconds, ordinal + 1 if lowest.start_after else ordinal)
    return [Position(stream, streams, fingerprint, partitions, None, start, already=already) for stream in range(streams)]


def _order(each: Position) -> tuple[int, int, str]:
    if each.token is not None:
        return (*time_of(each.token), each.token)
    return (*(each.at or (0, 0)), "")
