"""Who takes gzip, by RFC 9110, and the same bytes each time."""

import gzip

import pytest

from millrace_graphql.http.compression import compressed, takes_gzip


@pytest.mark.parametrize(
    ("given", "takes"),
    [
        (b"", False),
        (b"gzip", True),
        (b"gzip, deflate, br, zstd", True),
        (b"br;q=1.0, GZIP;q=0.5", True),
        (b"x-gzip", True),
        (b"identity", False),
        (b"deflate, br", False),
        (b"gzip;q=0", False),
        (b"gzip; q=0.000, *", False),
        (b"*", True),
        (b"*;q=0", False),
        (b"identity;q=1, *;q=0", False),
        (b"gzip;q=none", False),
        (b"gzipped", False),
        (b"\xff,;;==,gzip ;q=1", True),
    ],
)
def test_who_takes_gzip(given: bytes, takes: bool) -> None:
    assert takes_gzip(given) is takes


def test_equal_content_gives_equal_bytes() -> None:
    content = b'{"data":{"gross":["1","2"]}}' * 100
    assert compressed(content) == compressed(bytes(bytearray(content)))
    assert gzip.decompress(compressed(content)) == content
