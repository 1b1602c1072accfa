"""Change events as bytes: pure functions from what MongoDB sends to what Kafka gets. The form is that of ``contracts.changes``.

The images are written by ``contracts.values.bson_json``, as reprocessing writes them too.
"""

from __future__ import annotations

import orjson

from millrace_cdc.tokens import position
from millrace_contracts import changes

OPS = {"insert": changes.OP_CREATE, "update": changes.OP_UPDATE, "replace": changes.OP_UPDATE, "delete": changes.OP_DELETE}


class EventForm:
    """Builds events of one collection; ``database`` and ``collection`` are written into each."""

    def __init__(self, database: str, collection: str) -> None:
        names = b'"db":%b,"collection":%b' % (orjson.dumps(database), orjson.dumps(collection))
        source = b'"source":{"connector":"millrace",%b,"ts_ms":%%d,"ord":%%d,' % names.replace(b"%", b"%%")
        self._change = b'{"op":"%b","before":%b,"after":%b,' + source + b'"token":"%b","snapshot":"false"},"ts_ms":%d}'
        self._read = b'{"op":"%b","before":%b,"after":%b,' + source + b'"token":null,"snapshot":"true"},"ts_ms":%d}'

    def change(self, op: str, before: bytes, after: bytes, token: str, read_ms: int) -> bytes:
        """A change from the stream; its version is in the token (I5)."""
        seconds, ordinal = position(token)
        return self._change % (op.encode(), before, after, seconds * 1000, ordinal, token.encode(), read_ms)

    def read(self, op: str, after: bytes, at: tuple[int, int], read_ms: int) -> bytes:
        """A document as a snapshot saw it at cluster time ``at`` (op r)."""
        return self._read % (op.encode(), b"null", after, at[0] * 1000, at[1], read_ms)

    def gone(self, other_id: bytes, at: tuple[int, int], read_ms: int) -> bytes:
        """A document's absence at cluster time ``at`` (op d); ``other_id`` is JSON of an id that is no text, else empty."""
        before = b'{"_id":%b}' % other_id if other_id else b"null"
        return self._read % (changes.OP_DELETE.encode(), before, b"null", at[0] * 1000, at[1], read_ms)


def marker(stream: int, streams: int, through_ms: int, now_ms: int) -> bytes:
    """A low-water marker: all changes up to ``through_ms`` stand before it in its partition."""
    return orjson.dumps({"stream": stream, "streams": streams, "through_ms": through_ms, "ts_ms": now_ms})
