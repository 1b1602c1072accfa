"""The key generation service."""

import base64
import re

from millrace_collection.keys import derived_key, new_key


def test_a_key_is_128_bits_in_base64url() -> None:
    keys = {new_key() for _ in range(1000)}
    assert len(keys) == 1000
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{22}", key) for key in keys)
    assert all(len(base64.urlsafe_b64decode(key + "==")) == 16 for key in keys)


def test_the_bits_of_keys_are_even() -> None:
    """Each of the 128 bits is set in about half of 2,000 keys: within 6 standard deviations (sigma = 22.4)."""
    numbers = [int.from_bytes(base64.urlsafe_b64decode(new_key() + "==")) for _ in range(2000)]
    counts = [sum(number >> bit & 1 for number in numbers) for bit in range(128)]
    assert max(abs(count - 1000) for count in counts) < 135


def test_a_derived_key_depends_on_each_part_and_where_it_ends() -> None:
    assert derived_key("a", "bc") == derived_key("a", "bc")
    assert len({derived_key("a", "bc"), derived_key("ab", "c"), derived_key("abc"), derived_key("a", "b", "c")}) == 4
    assert re.fullmatch(r"[A-Za-z0-9_-]{22}", derived_key("x"))
