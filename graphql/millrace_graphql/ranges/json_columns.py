"""Columns as the JSON that an answer shows: written in one go instead of value by value. Pure."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import orjson
from numpy.typing import NDArray

from millrace_graphql.ranges.columns import Ints

TEXTS = 512
"""Sets of window starts that are remembered: the same ranges are asked for of many merchants."""
LONGEST = 8 * 144
"""Starts of a set that is remembered: eight days of ten minutes, 36 KB as key and text."""


def integers(column: Ints) -> bytes:
    """[1,2,3]."""
    return orjson.dumps(np.ascontiguousarray(column), option=orjson.OPT_SERIALIZE_NUMPY)


def digits(column: Ints, known: NDArray[np.bool_] | None = None) -> bytes:
    """["1","2",null]: amounts of money as strings of digits (I10); null where the value is not known."""
    plain = integers(column)
    if len(plain) == 2:
        return plain
    if known is not None and b"\0" in known.tobytes():  # a tenth of what known.all() takes
        pairs = zip(plain[1:-1].split(b","), known.tolist(), strict=True)
        return b"[" + b",".join([b'"' + value + b'"' if there else b"null" for value, there in pairs]) + b"]"
    return b'["' + plain[1:-1].replace(b",", b'","') + b'"]'


def instants(column: Ints) -> bytes:
    """["2026-11-24T00:00:00Z", ...] of epoch ms."""
    content = np.ascontiguousarray(column, np.int64).tobytes()
    return _instants(content) if len(column) <= LONGEST else _written(content)


def _written(content: bytes) -> bytes:
    moments = np.frombuffer(content, np.int64).astype("datetime64[ms]")
    texts = np.char.add(np.datetime_as_string(moments, unit="s"), "Z")
    return orjson.dumps(texts.tolist())


_instants = lru_cache(TEXTS)(_written)
