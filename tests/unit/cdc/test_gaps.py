"""Gaps: the record, and what is compared to close one."""

from __future__ import annotations

import json
from pathlib import Path

from millrace_cdc.gaps import Captured, Gap

GAP = Gap(1, (1795614311, 7), (1795614999, 1), 1795614319327, 30, 10)


def test_a_gap_is_written_as_the_golden_file_says_and_read_back() -> None:
    assert json.loads(GAP.encode()) == json.loads((Path(__file__).parent / "golden" / "gap.json").read_text())
    assert Gap.decode(json.loads(GAP.encode())) == GAP
    still_open = Gap(0, (1, 2), None, 3)
    assert Gap.decode(json.loads(still_open.encode())) == still_open


def event(op: str, after: dict[str, object] | None) -> bytes:
    return json.dumps({"op": op, "after": after}).encode()


def test_only_what_the_topic_lacks_or_has_otherwise_is_sent_again() -> None:
    with Captured() as captured:
        captured.add([(b"same", event("c", {"_id": "same", "amount": 1})), (b"changed", event("c", {"_id": "changed", "amount": 1}))])
        captured.add([(b"back", event("d", None)), (b"changed", event("u", {"_id": "changed", "amount": 2}))])
        assert not captured.differs(b"same", b'{"_id":"same","amount":1}')
        assert captured.differs(b"changed", b'{"_id":"changed","amount":3}')
        assert captured.differs(b"missing", b'{"_id":"missing"}')
        assert captured.differs(b"back", b'{"_id":"back"}')


def test_what_the_source_no_longer_has_is_found_once_and_what_is_deleted_already_is_not() -> None:
    with Captured() as captured:
        captured.add([(f"k{number}".encode(), event("c", {"n": number})) for number in range(5)])
        captured.add([(b"k3", event("d", None))])
        captured.differs(b"k1", b"{}")
        assert sorted(key for keys in captured.unseen(2) for key in keys) == [b"k0", b"k2", b"k4"]
