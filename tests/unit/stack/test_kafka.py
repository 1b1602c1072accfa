"""The id of a new Kafka cluster."""

from __future__ import annotations

from base64 import urlsafe_b64decode

import pytest

from millrace_stack.servers.kafka import cluster_id


@pytest.mark.parametrize("first", [0x00, 0x7F, 0x80, 0xF8, 0xFB, 0xFC, 0xFF])
def test_a_cluster_id_never_begins_with_what_looks_like_an_option(first: int) -> None:
    random = bytes([first]) + b"\xfb" * 15
    made = cluster_id(random)
    assert made[0].isalpha()
    assert (len(made), urlsafe_b64decode(f"{made}==")[1:]) == (22, random[1:])
