"""Goes past one change that MongoDB can not send, on purpose, and past nothing else (I4)."""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from millrace_cdc.deadletters import dead_letter
from millrace_cdc.errors import Misconfigured
from millrace_cdc.mongo import Client, connect, now_ms
from millrace_cdc.portions import Portion
from millrace_cdc.probing import next_change
from millrace_cdc.progress import Position, position_key, read_records
from millrace_cdc.projection import Share
from millrace_cdc.reporting import answering
from millrace_cdc.running import COMMAND_SECONDS, Configuration
from millrace_cdc.tokens import BadToken, position
from millrace_cdc.topology import positions
from millrace_runtime.stopping import StopSignal


def skip(settings: Configuration, token: str, reason: str) -> str:
    """Put the position of the stream whose next change has this token behind it; a dead letter names it (I4).

    Only the very next change can be gone past, so that nothing else is: the other streams, and what came before or comes after, also in
    the same MongoDB transaction, stay as they are.

    Raises:
        Misconfigured: not a token, passed already, or not the next change of any stream.
    """
    try:
        position(token)
    except BadToken as error:
        raise Misconfigured(str(error)) from None
    capture = settings.quick().capture(Share())

    def saved() -> list[Position]:
        return positions(capture.namespace, read_records(settings.kafka, capture.topics.progress, COMMAND_SECONDS))

    before = saved()
    if not before or all(each.token is not None and each.token >= token for each in before):
        raise Misconfigured(
            f"{capture.namespace} is past {token} already, or was never captured; `millrace relay status` shows where it is"
        )
    with answering(), connect(settings.mongo.relay_uri) as client:
        chosen = _stopped_at(client, capture.database, capture.collection, before, token)
    sink = settings.sink(capture.topics, capture.max_message_bytes, chosen.stream, StopSignal())
    sink.fence()
    if chosen not in saved():
        raise Misconfigured(f"stream {chosen.stream} of {capture.namespace} has moved meanwhile: stop its relay first, then try again")
    behind = chosen.behind(token)
    letter = dead_letter(settings.relay.collection, token, f"skipped on purpose: {reason}", b"", None, now_ms())
    audit = {"kind": "skipped", "collection": capture.namespace, "token": token, "reason": reason, "recorded_ms": now_ms()}
    sink.begin()
    sink.produce(Portion(dead_letters=[letter], audits=[(capture.namespace.encode(), orjson.dumps(audit))]))
    sink.commit({position_key(capture.namespace, behind.stream): behind.encode(now_ms())}, None)
    return f"stream {behind.stream} of {capture.namespace} goes on behind {token}"


def _stopped_at(client: Client, database: str, collection: str, found: Sequence[Position], token: str) -> Position:
    """The stream whose next change has the token.

    Raises:
        Misconfigured: there is none; the message names the changes that come first.
    """
    first: list[str] = []
    for each in found:
        if each.token is not None and each.token >= token:
            continue
        following = next_change(client, database, collection, each, token)
        if following == token:
            return each
        if following is not None and following < token:
            first.append(f"{following} (stream {each.stream})")
    if first:
        raise Misconfigured(f"changes before {token} are not captured yet: {', '.join(first)}; let the relay run up to it first")
    raise Misconfigured(f"MongoDB has no change of {database}.{collection} with the token {token}; the relay's log names the right one")
