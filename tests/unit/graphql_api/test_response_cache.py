"""Whole answers: reused while good, made once for many, bounded, and never another tenant's."""

import asyncio
import zlib
from collections.abc import Awaitable, Callable

import pytest

from millrace_graphql.http.response_cache import Entry, ResponseCache, entry_of
from millrace_graphql.ranges.changes import Changes, Reads, note_clock, note_directory, note_reports

DAY_MS = 86_400_000
HEADERS = [(b"content-type", b"application/json"), (b"cache-control", b"private, no-cache")]


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Made:
    """Makes numbered answers that read merchant ``m`` on days 5 to 6."""

    def __init__(self, size: int = 10, note: Callable[[], None] = lambda: None) -> None:
        self.count = 0
        self.size = size
        self.note = note
        self.go = asyncio.Event()
        self.go.set()

    async def __call__(self, reads: Reads, seq: int) -> Entry:
        self.count += 1
        number = self.count
        note_reports("m", 5 * DAY_MS, 7 * DAY_MS)
        self.note()
        await self.go.wait()
        return entry_of(200, str(number).encode() * self.size, HEADERS, reads, seq)


async def turns() -> None:
    """Let every task come to where it waits: a number of turns of the loop and no time, in which a slow machine makes fewer."""
    for _ in range(20):
        await asyncio.sleep(0)


def body(entry: Entry) -> bytes:
    return bytes(entry.body["body"])


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def changes(clock: Clock) -> Changes:
    found = Changes()
    found.trusted_until = float("inf")
    return found


@pytest.fixture
def cache(changes: Changes, clock: Clock) -> ResponseCache:
    return ResponseCache(changes, 200_000, clock, clock)


def change(changes: Changes, day: int) -> None:
    changes.heard({"merchantId": "m", "grain": "10m", "windows": [(day * DAY_MS, "USD")], "version": 1, "completeThrough": None})


def run(scenario: Awaitable[None]) -> None:
    async def main() -> None:
        await scenario

    asyncio.run(main())


def test_an_answer_is_reused_until_one_of_its_days_changes(cache: ResponseCache, changes: Changes) -> None:
    async def scenario() -> None:
        made = Made()
        first = await cache.get("k", made)
        change(changes, 8)
        assert await cache.get("k", made) is first
        change(changes, 6)
        assert body(await cache.get("k", made)) == b"2" * 10
        assert made.count == 2

    run(scenario())


def test_nothing_is_kept_or_found_while_notices_cannot_be_trusted(cache: ResponseCache, changes: Changes) -> None:
    async def scenario() -> None:
        made = Made()
        await cache.get("k", made)
        changes.trusted_until = float("-inf")
        assert cache.find("k") is None
        await cache.get("other", made)
        changes.trusted_until = float("inf")
        assert cache.find("other") is None
        assert cache.find("k") is not None, "trusted again, and nothing was missed"
        changes.forget()
        assert cache.find("k") is None

    run(scenario())


def test_a_hundred_callers_of_one_question_make_it_once(cache: ResponseCache) -> None:
    async def scenario() -> None:
        made = Made()
        made.go.clear()
        callers = [asyncio.create_task(cache.get("k", made)) for _ in range(100)]
        await asyncio.sleep(0)
        callers[0].cancel()  # who goes away takes nobody along
        await asyncio.sleep(0)
        made.go.set()
        assert {body(entry) for entry in await asyncio.gather(*callers[1:])} == {b"1" * 10}
        assert made.count == 1

    run(scenario())


def test_who_comes_after_a_change_never_gets_the_answer_from_before_it(cache: ResponseCache, changes: Changes) -> None:
    async def scenario() -> None:
        made = Made()
        made.go.clear()
        before = asyncio.create_task(cache.get("k", made))
        await turns()
        assert made.count == 1
        change(changes, 5)
        after = asyncio.create_task(cache.get("k", made))
        await turns()
        made.go.set()
        assert body(await before) == b"1" * 10
        assert body(await after) == b"2" * 10
        kept = cache.find("k")
        assert kept is not None
        assert body(kept) == b"2" * 10

    run(scenario())


def test_an_error_is_not_kept(cache: ResponseCache) -> None:
    async def scenario() -> None:
        async def failing(reads: Reads, seq: int) -> Entry:
            entry = entry_of(200, b"{}", HEADERS, reads, seq)
            entry.cacheable = False
            return entry

        await cache.get("k", failing)
        assert cache.find("k") is None

    run(scenario())


def test_a_failure_reaches_every_caller_and_is_forgotten(cache: ResponseCache) -> None:
    async def scenario() -> None:
        async def failing(reads: Reads, seq: int) -> Entry:
            await asyncio.sleep(0)
            raise RuntimeError("x")

        results = await asyncio.gather(*(cache.get("k", failing) for _ in range(3)), return_exceptions=True)
        assert [type(result) for result in results] == [RuntimeError] * 3
        assert body(await cache.get("k", Made())) == b"1" * 10

    run(scenario())


def test_the_cache_is_bounded_and_the_least_used_goes_first(changes: Changes, clock: Clock) -> None:
    cache = ResponseCache(changes, 64_000, clock, clock)

    async def scenario() -> None:
        made = Made(size=500)
        for key in range(50):
            await cache.get(key, made)
            cache.find(0)
        assert cache.size <= 64_000
        assert cache.find(0) is not None
        assert cache.find(1) is None
        await cache.get("large", Made(size=10_000))
        assert cache.find("large") is None, "one answer must not push all others out"

    run(scenario())


def test_an_answer_that_is_kept_under_two_keys_takes_its_room_once(cache: ResponseCache, changes: Changes) -> None:
    async def scenario() -> None:
        entry = await cache.get("by meaning", Made(size=2_000))
        alone = cache.size
        cache.keep("by bytes", entry)
        assert 2_000 < alone < cache.size < alone + 2_000
        cache.keep("by bytes", entry)  # again: it is the same key
        assert cache.size < alone + 2_000
        assert (cache.find("by bytes"), cache.find("by meaning")) == (entry, entry)
        change(changes, 5)
        assert (cache.find("by meaning"), cache.size) == (None, alone), "whichever goes first, the last takes the room back"
        assert (cache.find("by bytes"), cache.size) == (None, 0)

    run(scenario())


@pytest.mark.parametrize(
    ("note", "seconds"),
    # 1,000 s of the wall clock: the next five minutes end at 1,200.
    [(note_directory, 5), (note_clock, 200), (lambda: None, 600)],
)
def test_what_no_notice_tells_of_ends_with_time(cache: ResponseCache, clock: Clock, note: Callable[[], None], seconds: int) -> None:
    async def scenario() -> None:
        await cache.get("k", Made(note=note))
        clock.now += seconds - 1
        assert cache.find("k") is not None
        clock.now += 2
        assert cache.find("k") is None

    run(scenario())


def test_equal_answers_have_equal_etags_and_others_have_others() -> None:
    one, same, other = (entry_of(200, content, HEADERS, Reads(), 1) for content in (b"a", b"a", b"b"))
    assert one.etag == same.etag != other.etag
    assert dict(one.not_modified["headers"])[b"etag"] == one.etag
    assert b"content-length" not in dict(one.not_modified["headers"])


def test_an_answer_is_compressed_once_takes_its_room_and_says_the_same(cache: ResponseCache, changes: Changes) -> None:
    async def scenario() -> None:
        small = await cache.get("small", Made(size=100))
        cache.keep("small too", small)
        assert cache.find("small too", packed=True) is small
        entry = await cache.get("k", Made(size=5_000))
        cache.keep("k packed", entry)
        alone = cache.size
        packed = cache.find("k packed", packed=True)
        assert packed is not None
        assert packed is cache.find("k packed", packed=True)
        assert cache.find("k") is entry
        assert zlib.decompress(body(packed), 31) == body(entry)
        assert len(body(packed)) < 100
        headers, before = dict(packed.start["headers"]), dict(entry.start["headers"])
        assert headers[b"content-encoding"] == b"gzip"
        assert headers[b"content-length"] == str(len(body(packed))).encode()
        assert headers[b"etag"] == b"W/" + before[b"etag"], "equal in what it says, not in its bytes"
        assert {name: headers[name] for name in (b"content-type", b"cache-control")} == dict(HEADERS)
        assert dict(packed.not_modified["headers"])[b"etag"] == headers[b"etag"]
        assert b"content-encoding" not in before
        assert alone + len(body(packed)) < cache.size < alone + 3_000
        change(changes, 5)
        assert [cache.find(key) for key in ("k", "k packed", "small", "small too")] == [None] * 4
        assert cache.size == 0

    run(scenario())


def test_a_key_that_holds_for_some_seconds_ends_with_them_and_the_answer_lives_on(cache: ResponseCache, clock: Clock) -> None:
    async def scenario() -> None:
        entry = await cache.get("by meaning", Made())
        cache.keep("token", entry, 30.0)
        clock.now += 29.9
        assert cache.find("token") is entry
        clock.now += 0.2
        assert cache.find("token") is None
        assert cache.find("by meaning") is entry

    run(scenario())


def test_what_compressing_adds_pushes_out_the_least_used(changes: Changes, clock: Clock) -> None:
    cache = ResponseCache(changes, 96_000, clock, clock)

    async def scenario() -> None:
        for key in range(20):
            await cache.get(key, Made(size=1_300))  # 20 of 3,400 to 4,700 bytes
        for key in (0, *range(2, 20)):
            if cache.find(key, packed=True) is None:
                assert key > 2, "until there is no more room, nothing goes"
            assert cache.find(0) is not None, "what is asked for all the time stays"
        assert cache.size <= 96_000
        assert cache.find(1) is None

    run(scenario())
