"""Gaps: the record, and what is compared to close one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from millrace_cdc.events import EventForm
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
        captured.add([(f"k{number}".encode(), event("c", {"_id": f"k{number}", "n": number})) for number in range(5)])
        captured.add([(b"k3", event("d", None))])
        captured.differs(b"k1", b'{"_id":"k1"}')
        assert sorted(gone for some in captured.unseen(2) for gone in some) == [(b"k0", b""), (b"k2", b""), (b"k4", b"")]


IDS: list[Any] = ["42", 42, {"$oid": "0123456789abcdef01234567"}, "0123456789abcdef01234567", '{"a":1}', {"a": 1}, "true", True]


@given(st.lists(st.tuples(st.sampled_from(IDS), st.sampled_from([1, 2, None])), max_size=12), st.sets(st.sampled_from(range(len(IDS)))))
def test_documents_whose_ids_have_one_text_are_two(history: list[tuple[Any, int | None]], there: set[int]) -> None:
    """What is sent again and deleted is what a dictionary by id and type says."""
    newest: dict[str, dict[str, Any] | None] = {}
    with Captured() as captured:
        for name, amount in history:
            image = None if amount is None else {"_id": name, "amount": amount}
            before = None if isinstance(name, str) else {"_id": name}
            text = json.dumps({"op": "d" if image is None else "u", "before": before, "after": image})
            captured.add([(key_of(name), text.encode())])
            newest[json.dumps(name)] = image
        for place in there:
            image = {"_id": IDS[place], "amount": 1}
            sent = captured.differs(key_of(IDS[place]), json.dumps(image, separators=(",", ":")).encode())
            assert sent == (newest.get(json.dumps(IDS[place])) != image)
        expected = {name for name, image in newest.items() if image} - {json.dumps(IDS[place]) for place in there}
        found = [(key, other) for some in captured.unseen(3) for key, other in some]
        assert sorted(other.decode().replace(":", ": ") or json.dumps(key.decode()) for key, other in found) == sorted(expected)


def key_of(name: Any) -> bytes:
    """As the relay writes it."""
    if isinstance(name, str):
        return name.encode()
    found = json.dumps(name, separators=(",", ":"))
    return (name["$oid"] if isinstance(name, dict) and "$oid" in name else found).encode()


def test_an_absence_tells_an_id_that_is_no_text() -> None:
    form = EventForm("db", "payments")
    assert json.loads(form.gone(b"", (5, 6), 7))["before"] is None
    told = json.loads(form.gone(b"42", (5, 6), 7))
    assert (told["op"], told["before"], told["after"], told["source"]["ts_ms"]) == ("d", {"_id": 42}, None, 5000)
