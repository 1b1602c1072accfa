"""Lines of a stream, however it is cut."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator

from hypothesis import given
from hypothesis import strategies as st

from millrace_collection.lines import TOO_LONG, TooLong, lines

LIMIT = 10


def collect(chunks: list[bytes]) -> list[bytes | TooLong]:
    async def stream() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    async def run() -> list[bytes | TooLong]:
        return [line async for found in lines(stream(), LIMIT) for line in found]

    return asyncio.run(run())


def test_a_last_line_without_an_end_counts() -> None:
    assert collect([b"a\nb"]) == [b"a", b"b"]
    assert collect([b"a\nb\n"]) == [b"a", b"b"]
    assert collect([]) == []


def test_a_line_above_the_limit_is_dropped_and_the_next_one_kept() -> None:
    assert collect([b"x" * 11, b"x" * 500, b"x\nok\n"]) == [TOO_LONG, b"ok"]
    assert collect([b"x" * 11]) == [TOO_LONG]
    assert collect([b"x" * 11 + b"\n" + b"y" * 10 + b"\n"]) == [TOO_LONG, b"y" * 10]


@given(st.lists(st.binary(max_size=25).map(lambda data: data.replace(b"\n", b".")), max_size=8), st.lists(st.integers(0, 200), max_size=6))
def test_where_the_stream_is_cut_makes_no_difference(texts: list[bytes], cuts: list[int]) -> None:
    body = b"".join(text + b"\n" for text in texts)
    places = sorted({0, len(body), *(cut for cut in cuts if cut < len(body))})
    chunks = [body[start:end] for start, end in itertools.pairwise(places)]
    assert collect(chunks) == [text if len(text) <= LIMIT else TOO_LONG for text in texts]
