"""What resume tokens say by themselves; every token here was given out by a real mongod 6.0.5 for the id beside it."""

from __future__ import annotations

import uuid

import pytest

from millrace_cdc.replay.keystrings import decode
from millrace_cdc.tokens import BadToken

COLLECTION = uuid.UUID("33bee8ea-4ea7-4c1c-9465-3aea991586c7")
HEAD = "2B022C0100296E5A100433BEE8EA4EA74C1C94653AEA991586C746"


@pytest.mark.parametrize(
    ("token", "ordinal", "key"),
    [
        (f"826B06EDD900000003{HEAD}3C5F6964003C616263000004", 3, "abc"),
        (f"826B06EDD900000005{HEAD}645F696400646B06EDD96CAD8FF3716425420004", 5, "6b06edd96cad8ff371642542"),
        (f"826B06EDD900000006{HEAD}1E5F6964002B0A0004", 6, "5"),
        (f"826B06EDD900000008{HEAD}1E5F6964002C02580004", 8, "300"),
        (f"826B06EDD900000009{HEAD}1E5F6964002D0222E00004", 9, "70000"),
        (f"826B06EDD90000000A{HEAD}1E5F696400300200000000000004", 10, "1099511627776"),
        (f"826B06EDD90000000E{HEAD}1E5F69640027F90004", 14, "-3"),
        (f"826B06EDD90000000C{HEAD}5A5F6964005A1004926EDF920804487781D14A78A28061030004", 12, "926edf92-0804-4877-81d1-4a78a2806103"),
        (f"826B06EDD900000010{HEAD}3C5F6964003C6100FF62000004", 16, "a\x00b"),
        # The second and third change of one transaction: the same cluster time, another place in it.
        ("826B06EDD9000000132B022C01002B026E5A100433BEE8EA4EA74C1C94653AEA991586C7463C5F6964003C7432000004", 19, "t2"),
        # Types that are not read: told as such, not guessed.
        (f"826B06EDD90000000B{HEAD}1E5F6964002B03800000000000000004", 11, ""),
        (f"826B06EDD90000000D{HEAD}465F696400463C61003C62001E63002B02000004", 13, ""),
        (f"826B06EDD900000012{HEAD}145F696400140004", 18, ""),
    ],
)
def test_a_changes_token_gives_its_time_collection_and_document(token: str, ordinal: int, key: str) -> None:
    found = decode(token)
    assert (found.seconds, found.ordinal, found.collection, found.key) == (1_795_616_217, ordinal, COLLECTION, key)
    assert found.is_event
    assert decode(token.lower()) == found


def test_a_token_between_changes_gives_its_time_only() -> None:
    found = decode("826B06EDD9000000032B0229296E04")
    assert (found.seconds, found.ordinal, found.is_event) == (1_795_616_217, 3, False)
    # `date --utc --date=@1795616217`
    assert found.words() == "2026-11-25 14:16:57 UTC (cluster time 1795616217.3)"


def test_a_token_is_told_in_a_persons_words() -> None:
    token = f"826B06EDD900000003{HEAD}3C5F6964003C616263000004"
    assert decode(token).words("commerce.payments") == (
        "the change of commerce.payments abc at 2026-11-25 14:16:57 UTC (cluster time 1795616217.3)"
    )
    assert f"collection {COLLECTION} abc" in decode(token).words()


@pytest.mark.parametrize(
    "token", ["", "82", "hello", "81" + "0" * 20, "826B06EDD90000000", "826B06EDD9000000032B0229296E0", "82" + "G" * 20]
)
def test_what_is_no_token_is_refused_with_what_one_looks_like(token: str) -> None:
    with pytest.raises(BadToken, match="is not a resume token: it is hexadecimal and starts with 82"):
        decode(token)
