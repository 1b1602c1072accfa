"""Snapshots: records, ranges and throttling."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import bson
from bson import ObjectId, Timestamp

from millrace_cdc.events import EventForm
from millrace_cdc.snapshot import Chunk, Snapshot, decode_snapshot, encode_snapshot, find_command, id_text
from millrace_cdc.snapshot_source import ReadEncoder, Throttle

GOLDEN = Path(__file__).parent / "golden"
AT = (1795614311, 7)
SNAPSHOT = Snapshot(
    "initial", AT, None, (Chunk(0, None, '{"_id": "m"}', AT, '{"_id": "c"}', False, 12), Chunk(1, '{"_id": "m"}', None, AT))
)


def records() -> dict[str, dict[str, Any]]:
    return {key: json.loads(value) for key, value in encode_snapshot("d.c", SNAPSHOT, 1795614319327).items()}


def test_a_snapshot_is_written_as_the_golden_file_says() -> None:
    assert records() == json.loads((GOLDEN / "snapshot.json").read_text())


def test_a_snapshot_is_read_back() -> None:
    assert decode_snapshot("d.c", "initial", records()) == SNAPSHOT
    assert decode_snapshot("d.c", "other", records()) is None


def test_a_chunk_is_a_range_of_the_index_and_goes_on_at_the_last_id() -> None:
    """Index bounds, not a filter: `{_id: {$gt: x}}` would be limited to the type of x."""
    first, second = (find_command("c", chunk, ("_id", "amount"), None, 100) for chunk in SNAPSHOT.chunks)
    assert (first["min"], first["max"], first["hint"], first["filter"]) == ({"_id": "c"}, {"_id": "m"}, {"_id": 1}, {})
    assert (second["min"], "max" in second) == ({"_id": "m"}, False)
    assert first["readConcern"] == {"level": "snapshot", "atClusterTime": Timestamp(*AT)}
    assert first["projection"] == {"_id": 1, "amount": 1}


def test_the_filter_is_in_every_chunk() -> None:
    """Complaint 6: an incremental snapshot's filter was ignored on its first chunk."""
    for chunk in SNAPSHOT.chunks:
        assert find_command("c", chunk, ("_id",), '{"merchantId": {"$oid": "0123456789abcdef01234567"}}', 100)["filter"] == {
            "merchantId": ObjectId("0123456789abcdef01234567")
        }


def reply(*ids: Any) -> bytes:
    return bson.encode({"cursor": {"firstBatch": [{"_id": document_id} for document_id in ids], "id": 0, "ns": "d.c"}, "ok": 1.0})


def test_the_document_at_which_a_chunk_goes_on_is_not_sent_twice() -> None:
    encoder = ReadEncoder("d.c", "c", EventForm("d", "c"), 10_000)
    portion, last = encoder.portion(reply("c", "d"), AT, '{"_id": "c"}')
    assert ([key for key, _ in portion.events], last) == ([b"d"], '{"_id": "d"}')
    portion, last = encoder.portion(reply("d", "e"), AT, '{"_id": "c"}')
    assert [key for key, _ in portion.events] == [b"d", b"e"]


def test_an_empty_reply_has_no_last_id() -> None:
    portion, last = ReadEncoder("d.c", "c", EventForm("d", "c"), 10_000).portion(reply(), AT, None)
    assert (portion.events, last) == ([], None)


def test_ids_keep_their_type_in_the_record() -> None:
    assert [id_text(document_id) for document_id in ("7", 7, 7.0)] == [
        '{"_id": "7"}',
        '{"_id": {"$numberInt": "7"}}',
        '{"_id": {"$numberDouble": "7.0"}}',
    ]


def test_the_rate_spreads_documents_over_time() -> None:
    throttle = Throttle(100)
    assert [throttle.pause(50, 10.0), throttle.pause(50, 10.0), throttle.pause(50, 20.0)] == [0.5, 1.0, 0.5]
    assert Throttle(0).pause(10**9, 1.0) == 0.0
