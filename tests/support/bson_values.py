"""Values of every BSON type, and documents of them, as a server may send them (bsonspec.org)."""

from __future__ import annotations

from typing import Any

import bson
from bson import Binary, Code, DBRef, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson.datetime_ms import DatetimeMS
from hypothesis import strategies as st

_UNSIGNED = st.integers(0, 2**32 - 1)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0$."), max_size=8)
SCALARS: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**31), 2**31 - 1),
    st.integers(-(2**63), 2**63 - 1).map(Int64),
    st.floats(),
    TEXTS,
    st.integers(-(2**63), 2**63 - 1).map(DatetimeMS),
    st.integers(0, 4_102_444_800_000).map(DatetimeMS),
    st.binary(min_size=12, max_size=12).map(ObjectId),
    st.sampled_from(["1.50", "NaN", "-Infinity", "1E+6144", "-0", "42"]).map(Decimal128),
    st.tuples(st.binary(max_size=20), st.sampled_from([0, 1, 3, 5, 6, 128])).map(lambda parts: Binary(*parts)),
    st.binary(min_size=16, max_size=16).map(lambda raw: Binary(raw, 4)),
    st.tuples(_UNSIGNED, _UNSIGNED).map(lambda parts: Timestamp(*parts)),
    st.tuples(NAMES, st.sampled_from(["", "i", "mx"])).map(lambda parts: Regex(*parts)),
    TEXTS.map(Code),
    TEXTS.map(lambda text: Code(text, {"n": 1, "at": DatetimeMS(2**60)})),
    st.just(MinKey()),
    st.just(MaxKey()),
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=3), inner.map(lambda value: DBRef("c", value, "d"))
    ),
    max_leaves=6,
)
"""Any value, nested too."""
OLD_TYPES = (
    # Types that drivers no longer write: undefined, symbol, DBPointer; as documents {"field": …}.
    bson.encode({"field": None}).replace(b"\x0afield", b"\x06field"),
    bson.encode({"field": "text"}).replace(b"\x02field", b"\x0efield"),
    b"\x26\x00\x00\x00\x0cfield\x00\x0b\x00\x00\x00collection\x00" + bytes(range(12)) + b"\x00",
)
