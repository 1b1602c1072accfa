"""Resume tokens."""

from __future__ import annotations

import pytest

from millrace_cdc import tokens

TOKEN = "826B06E671000000012B0229296E04"
"""A post-batch token of a real mongod: 0x6B06E671 seconds, ordinal 1."""


def test_a_token_starts_with_its_cluster_time() -> None:
    assert tokens.position(TOKEN) == (1795614321, 1)
    assert tokens.packed_time(TOKEN) == (1795614321 << 32) + 1


def test_everything_before_the_second_of_a_token_is_in() -> None:
    assert tokens.through_ms(TOKEN) == 1795614320_999


@pytest.mark.parametrize("text", ["", "82", "83" + "0" * 16, "82" + "G" * 16, "latest"])
def test_what_is_no_token_is_named(text: str) -> None:
    with pytest.raises(tokens.BadToken, match="not a resume token"):
        tokens.position(text)
