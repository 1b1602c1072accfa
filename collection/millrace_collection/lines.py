"""A stream of bytes as lines, with bounded memory."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator


class TooLong:
    """Stands for a line above the limit, whose bytes were dropped."""


TOO_LONG = TooLong()


async def lines(chunks: AsyncIterable[bytes], limit: int) -> AsyncIterator[list[bytes | TooLong]]:
    """The complete lines of each chunk, without their ends; at most ``limit`` bytes of an unfinished line are held."""
    rest = b""
    dropping = False
    async for chunk in chunks:
        found: list[bytes | TooLong] = []
        *complete, rest = (rest + chunk).split(b"\n")
        for line in complete:
            found.append(TOO_LONG if dropping or len(line) > limit else line)
            dropping = False
        if len(rest) > limit:
            dropping, rest = True, b""
        elif dropping:
            rest = b""
        if found:
            yield found
    if dropping:
        yield [TOO_LONG]
    elif rest:
        yield [rest]
