"""Walking over raw BSON finds what decoding it finds."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import bson
import pytest
from bson import Binary, Code, Decimal128, Int64, MaxKey, MinKey, ObjectId, Timestamp
from hypothesis import given
from hypothesis import strategies as st

from millrace_cdc.bson_walk import cursor_of, document_of, elements, parts_of, token_of

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**31), 2**31 - 1),
    st.integers(-(2**63), 2**63 - 1).map(Int64),
    st.floats(allow_nan=False),
    st.text(),
    st.binary().map(Binary),
    st.sampled_from(
        [ObjectId(), Timestamp(1, 2), Decimal128("1.5"), datetime(2026, 3, 1, tzinfo=UTC), Code("x"), MinKey(), MaxKey()],
    ),
)
names = st.text(min_size=1).filter(lambda text: "\0" not in text)
documents = st.dictionaries(names, st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(names, inner), max_leaves=10))


@given(documents)
def test_every_element_is_met_once_and_in_order(document: dict[str, Any]) -> None:
    assert [name.decode() for _, name, _ in elements(bson.encode(document))] == list(document)


@given(st.integers(0, 2**63 - 1), st.sampled_from(["nextBatch", "firstBatch"]), st.lists(documents, max_size=5), st.text(), documents)
def test_cursor_and_token_are_those_that_decoding_finds(
    number: int, batch: str, changes: list[dict[str, Any]], token: str, rest: dict[str, Any]
) -> None:
    cursor = {batch: changes, "postBatchResumeToken": {"_data": token, "_typeBits": b"x"}, "id": Int64(number), "ns": "a.b"}
    others = {f"x{name}": value for name, value in rest.items()}
    assert cursor_of(bson.encode({**others, "cursor": cursor, "ok": 1.0})) == (number, token)


def test_a_find_has_no_token() -> None:
    assert cursor_of(bson.encode({"cursor": {"firstBatch": [], "id": 0, "ns": "a.b"}, "ok": 1.0})) == (0, "")


def test_what_is_no_cursors_reply_is_refused() -> None:
    with pytest.raises(ValueError, match="no cursor"):
        cursor_of(bson.encode({"ok": 1.0}))
    with pytest.raises(ValueError, match="0x0b"):
        list(elements(bson.encode({"pattern": re.compile("x"), "ok": 1.0})))


@given(st.sampled_from(["nextBatch", "firstBatch"]), st.lists(documents, max_size=25), st.integers(1, 200), documents)
def test_the_parts_are_the_documents_in_order(batch: str, changes: list[dict[str, Any]], size: int, rest: dict[str, Any]) -> None:
    others = {f"x{name}": value for name, value in rest.items()}
    raw = bson.encode({**others, "cursor": {"id": 1, batch: changes, "ns": "a.b"}, "ok": 1.0})
    parts = parts_of(raw, size)
    assert [value for part in parts for value in bson.decode(document_of(raw, part)).values()] == bson.decode(bson.encode({"a": changes}))[
        "a"
    ]
    assert [len(bson.decode(document_of(raw, part))) for part in parts] == [part.count for part in parts]
    assert all(part.end - part.start >= size for part in parts[:-1])


def test_a_change_with_a_broken_image_tells_its_token() -> None:
    change = {"operationType": "insert", "fullDocument": {"text": "USD?"}, "_id": {"_data": "82AB"}}
    raw = bson.encode({"cursor": {"nextBatch": [{"_id": {"_data": "82AA"}}, change], "id": 1}}).replace(b"USD?", b"US\xff\xfe")
    (part,) = parts_of(raw, 1000)
    assert token_of(raw, part.last) == "82AB"
