"""WebSocket frames: whatever a client cuts its messages into, the same messages come out, and no more of one is read than it may have."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace_graphql.http.frames import FrameError, Frames, unmasked


class Writer:
    """Keeps what is written."""

    def __init__(self) -> None:
        self.content = b""

    def write(self, content: bytes) -> None:
        self.content += content

    async def drain(self) -> None:
        """Nothing waits."""


def frame(code: int, content: bytes, *, last: bool = True, mask: bytes = b"abcd") -> bytes:
    """A client's frame, by RFC 6455, section 5.2."""
    size = len(content)
    length = bytes([0x80 | size]) if size < 126 else bytes([0x80 | 126]) + size.to_bytes(2, "big")
    if size >= 65_536:
        length = bytes([0x80 | 127]) + size.to_bytes(8, "big")
    return bytes([(0x80 if last else 0) | code]) + length + mask + bytes(byte ^ mask[n % 4] for n, byte in enumerate(content))


def read(content: bytes, limit: int = 1_000, count: int = 1) -> tuple[list[Any], bytes, int]:
    """The messages in some bytes, what was answered meanwhile, and how many bytes were left."""

    async def main() -> tuple[list[Any], bytes, int]:
        reader, writer = asyncio.StreamReader(), Writer()
        reader.feed_data(content)
        reader.feed_eof()
        frames = Frames(None, reader, writer, limit)  # type: ignore[arg-type]
        return [await frames.receive() for _ in range(count)], writer.content, len(await reader.read())

    return asyncio.run(main())


PIECES = st.lists(st.tuples(st.binary(max_size=200), st.booleans(), st.binary(min_size=4, max_size=4)), min_size=1, max_size=5)


@given(st.lists(PIECES, max_size=4))
def test_messages_come_out_as_they_went_in(messages: list[list[tuple[bytes, bool, bytes]]]) -> None:
    sent, pings = b"", b""
    for pieces in messages:
        for number, (content, pinged, mask) in enumerate(pieces):
            if pinged:
                sent += frame(9, content[:125], mask=mask)
                pings += bytes([0x8A, len(content[:125])]) + content[:125]
            sent += frame(0 if number else 2, content, last=number == len(pieces) - 1, mask=mask)
    found, answered, _ = read(sent, count=len(messages) + 1)
    assert [each.get("bytes") for each in found] == [*(b"".join(content for content, _, _ in pieces) for pieces in messages), None]
    assert found[-1] == {"type": "websocket.disconnect", "code": 1006}
    assert answered == pings


@given(st.binary(max_size=300), st.binary(min_size=4, max_size=4))
def test_a_mask_is_taken_off_byte_by_byte(content: bytes, mask: bytes) -> None:
    assert unmasked(content, mask) == bytes(byte ^ mask[n % 4] for n, byte in enumerate(content))


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (frame(1, bytes(1_001)), 1009),
        (frame(1, bytes(600), last=False) + frame(0, bytes(401)), 1009),
        (b"\x81\xff" + (2**63 - 1).to_bytes(8, "big"), 1009),
        (frame(0, b"x"), 1002),
        (frame(1, b"x", last=False) + frame(1, b"y"), 1002),
        (b"\x81\x01x", 1002),
        (b"\xc1\x80abcd", 1002),
        (frame(3, b""), 1002),
        (frame(9, bytes(126)), 1002),
        (frame(9, b"", last=False), 1002),
        (frame(1, b"\xff"), 1007),
    ],
)
def test_what_is_no_message_ends_the_connection_with_its_code(content: bytes, code: int) -> None:
    with pytest.raises(FrameError) as refused:
        read(content)
    assert refused.value.code == code


@pytest.mark.parametrize(("content", "code"), [(frame(8, b""), 1005), (frame(8, b"\x03\xe8bye"), 1000), (b"\x81", 1006)])
def test_a_client_that_goes_is_a_disconnect(content: bytes, code: int) -> None:
    assert read(content)[0] == [{"type": "websocket.disconnect", "code": code}]


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536])
def test_what_is_sent_has_its_length_before_it(size: int) -> None:
    async def main() -> bytes:
        writer = Writer()
        await Frames(None, asyncio.StreamReader(), writer, 1).send({"type": "websocket.send", "text": "x" * size})  # type: ignore[arg-type]
        return writer.content

    head, body = (found := asyncio.run(main()))[: len(found) - size], found[len(found) - size :]
    lengths = {2: head[1], 4: int.from_bytes(head[2:4], "big"), 10: int.from_bytes(head[2:], "big")}
    assert (head[0], lengths[len(head)], body) == (0x81, size, b"x" * size)
