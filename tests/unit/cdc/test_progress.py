"""The progress record, pinned by a golden file: a relay of tomorrow must read the one of today."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from millrace_cdc.errors import Misconfigured
from millrace_cdc.progress import Position, position_key

GOLDEN = Path(__file__).parent / "golden"
POSITION = Position(1, 4, "c6f68fbe41b8a83d", 8, "826B06E671000000012B0229296E04")


def test_a_position_is_written_as_the_golden_file_says() -> None:
    assert POSITION.encode(1795614321560) + b"\n" == (GOLDEN / "position.json").read_bytes()


def test_a_position_is_read_back() -> None:
    assert Position.decode(json.loads((GOLDEN / "position.json").read_bytes())) == POSITION
    at_a_time = Position(0, 1, "f", 4, None, (1795614311, 2), start_after=True)
    assert Position.decode(json.loads(at_a_time.encode(1))) == at_a_time


def test_another_format_is_refused() -> None:
    record = json.loads((GOLDEN / "position.json").read_bytes())
    with pytest.raises(Misconfigured, match="another version of the relay"):
        Position.decode({**record, "format": 2})


def test_a_key_names_collection_and_stream() -> None:
    assert position_key("commerce.payments", 3) == "commerce.payments/stream/3"
