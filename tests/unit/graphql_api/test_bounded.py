"""What a worker keeps of its callers: each cache holds no more bytes than it says, whatever the size of what a caller sends."""

import asyncio
import gc
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace_graphql import identity
from millrace_graphql.bounded import ENTRY_BYTES, LARGEST_SHARE, Bounded, short_texts
from millrace_graphql.http.documents import Documents
from millrace_graphql.http.persisted import KNOWN_BYTES, PersistedQueries
from millrace_graphql.http.request import GraphQLRequest
from millrace_graphql.http.response_cache import Entry, ResponseCache, entry_of, short
from millrace_graphql.identity import Identity
from millrace_graphql.ranges.changes import Changes, Reads
from millrace_graphql.ranges.chunk_memory import ChunkMemory
from millrace_graphql.ranges.columns import Group, Table
from millrace_graphql.schema.query import build_schema
from millrace_graphql.settings import ApiSettings
from tests.support.examples import examples

SCHEMA = build_schema()
WIDE = "\U0001f600"  # four bytes a character


class Measured:
    bytes = 0


@contextmanager
def measured() -> Iterator[Measured]:
    """The bytes that are held at the end and were not at the beginning."""
    found = Measured()
    gc.collect()
    tracemalloc.start()
    try:
        yield found
        gc.collect()
        found.bytes = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


@settings(max_examples=examples(12))
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3_000)), max_size=60), st.integers(1, 20))
def test_a_bounded_cache_keeps_the_last_used_that_fit(puts: list[tuple[int, int]], most: int) -> None:
    capacity = 20_000
    cache: Bounded[int, int] = Bounded(capacity, most)
    expected: dict[int, int] = {}
    for key, size in puts:
        cache.put(key, size, size)
        expected.pop(key, None)
        if size + ENTRY_BYTES <= capacity // LARGEST_SHARE:
            expected[key] = size
        while sum(expected.values()) + ENTRY_BYTES * len(expected) > capacity or len(expected) > most:
            del expected[next(iter(expected))]
        assert cache.size == sum(expected.values()) + ENTRY_BYTES * len(expected)
    assert {key: cache.peek(key) for key in range(10) if cache.peek(key) is not None} == expected


def test_a_value_that_grows_takes_its_room_and_a_forgotten_one_none() -> None:
    cache: Bounded[str, list[int]] = Bounded(100_000)
    first, other = [1], [1]
    cache.put("a", first, 1_000)
    cache.grew("a", first, 500)
    cache.grew("a", other, 500)
    assert cache.size == 1_500 + ENTRY_BYTES
    cache.grew("a", first, 100_000)
    assert (cache.get("a"), cache.size) == (None, 0)


DOCUMENTS: dict[str, Callable[[int], str]] = {
    "a comment": lambda n: f"#{n}{WIDE * 8_000}\n{{__typename}}",
    "a comment that is too long": lambda n: f"#{n}{WIDE * 17_000}\n{{__typename}}",
    "fields": lambda n: f"query q{n} {{" + "__typename " * 100 + "}",
    "operations": lambda n: " ".join(f"query q{n}_{each} {{ __typename }}" for each in range(12)),
    "conditions": lambda n: f"query q{n}($a: Int, $b: Boolean!) {{" + "__typename @include(if: $b) " * 10 + "}",
    "a syntax error": lambda n: f"#{n}{WIDE * 8_000}\n{{",
    "an unknown field": lambda n: f"#{n}{WIDE * 8_000}\n{{ nothing }}",
}


@pytest.mark.parametrize("form", DOCUMENTS)
def test_documents_with_plans_and_operations_take_no_more_than_their_bound(form: str) -> None:
    bound = 1_000_000
    documents = Documents(SCHEMA, ApiSettings(document_cache_bytes=bound))
    with measured() as found:
        for number in range(16 if "q" not in DOCUMENTS[form](0) else 40):
            document = documents.get(DOCUMENTS[form](number))
            for name in [f"q{number}_{each}" for each in range(12)] if form == "operations" else [None]:
                for _ in range(3):
                    plan = documents.plan(document, name)
                for given_ in (True, False):
                    if plan is not None:
                        plan.steps({"b": given_})
            assert documents.size <= bound
    assert found.bytes < 1.2 * bound + 2_000_000  # and what has been read of late


def test_no_document_is_kept_of_a_caller_without_a_token_and_none_that_is_refused() -> None:
    documents = Documents(SCHEMA, ApiSettings())
    documents.get("{ __typename }", keep=False)
    documents.get("{ nothing }")
    documents.get("{")
    assert documents.size == 0
    kept = documents.get("{ __typename }")
    assert documents.get("{ __typename }", keep=False) is kept, "what another has brought serves all"


def test_persisted_texts_take_no_more_than_their_bound() -> None:
    persisted = PersistedQueries(None, "p")

    async def main() -> None:
        for number in range(100):
            text = f"#{number}{WIDE * 15_000}"
            named = {"persistedQuery": {"version": 1, "sha256Hash": f"{number:064x}"}}
            await persisted.register(GraphQLRequest(text, {}, None, False, named), text, "payer")

    with measured() as found:
        asyncio.run(main())
    assert found.bytes < 1.2 * KNOWN_BYTES


def test_verified_tokens_take_no_more_than_their_bound() -> None:
    bound = 1_000_000
    tokens: Bounded[bytes, tuple[Identity, float]] = Bounded(bound)
    with measured() as found:
        for number in range(1_000):
            caller = Identity(f"s{number}", "merchant", frozenset(f"{number}-{each}" for each in range(number % 100)), 1e9)
            tokens.put(number.to_bytes(32, "big"), (caller, 1e9), identity._size(caller))
            assert caller.tenant, "which is kept with it"
    assert found.bytes < 1.2 * bound


@pytest.mark.parametrize("size", [10, 3_000])
def test_whole_answers_take_no_more_than_their_bound_whatever_they_are_found_by(size: int) -> None:
    bound = 300_000
    changes = Changes()
    changes.trusted_until = float("inf")
    cache = ResponseCache(changes, bound)

    async def main() -> None:
        for number in range(300):

            async def make(reads: Reads, seq: int, number: int = number) -> Entry:
                reads.days = {f"{number}-{each}": (20_000 + number, 20_000 + number) for each in range(number % 5)}
                return entry_of(200, b"%d" % number * (size // 4), [(b"content-type", b"application/json")], reads, seq)

            long = f"{number}{WIDE * 5_000}"
            key = ("m", "application/json", number.to_bytes(32, "big"), short(long), short(long.encode()))
            entry = await cache.get(key, make)
            cache.keep(number.to_bytes(32, "little"), entry, 100.0)

    with measured() as found:
        asyncio.run(main())
    assert 0 < cache.size <= bound
    assert found.bytes < 1.2 * bound


def test_a_text_and_the_bytes_of_it_are_different_parts_of_a_key() -> None:
    long = "x" * 1_000
    assert len({short(part) for part in ("a", b"a", long, long.encode(), long + "y", None)}) == 6


def test_decoded_chunks_take_no_more_than_their_bound() -> None:
    bound = 300_000
    changes = Changes()
    changes.trusted_until = float("inf")
    memory = ChunkMemory(changes, bound)
    with measured() as found:
        for number in range(500):
            starts = np.arange(number % 144, dtype=np.int64)
            values: dict[str, Any] = {"payments": starts.copy(), "customers": [b"x" * 40 for _ in starts]}
            table = Table(starts, np.array(["USD"] * len(starts), "U3"), values)
            memory.put((f"{number}" + "m" * 100, number, Group.COUNTERS), table, 1, 0.0)
    assert 0 < memory.size <= bound
    assert found.bytes < 1.2 * bound


def test_results_for_long_texts_are_not_remembered() -> None:
    asked: list[str] = []

    @short_texts(4)
    def length(text: str) -> int:
        asked.append(text)
        return len(text)

    for text in ("a", "a", "x" * 1_000, "x" * 1_000):
        assert length(text) == len(text)
    assert asked == ["a", "x" * 1_000, "x" * 1_000]
