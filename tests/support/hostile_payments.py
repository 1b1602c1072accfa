"""Payments as old data and other languages leave them, and what they count for, by hand: an oracle for every tier that decides it."""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import bson
from bson import Code, DBRef, Int64, ObjectId
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.datetime_ms import DatetimeMS
from hypothesis import strategies as st

from millrace_contracts.documents import PAYMENT_CAPTURED_FIELDS
from tests.support.bson_values import VALUES

T0 = 1_763_999_400_000
WINDOW = 600_000
_LAST = 4_102_444_800_000
_FIELDS = [
    "merchantId", "amount", "currency", "status", "paidAt", "refunds", "refunds.0", "refunds.0.id", "refunds.0.amount",
    "refunds.1.refundedAt", "method", "points", "points.used", "points.earned", "user", "user.key", "user.birthYear", "user.gender",
    "user.country", "user.grade", "user.device", "user.device.type", "user.other", "schemaVersion",
]  # fmt: skip
_DATES = [-1, 0, _LAST, _LAST + 1, 5_680_281_600_000, 253_402_300_799_999, 253_402_300_800_000, -62_135_596_800_001, 2**63 - 1, -(2**63)]
_SPECIAL: list[Any] = [
    *map(DatetimeMS, _DATES), 0, 1, -1, 1.0, 100.0, 1990, T0, Int64(T0), Int64(_LAST + 1), 2**31 - 1, 2**31, 10**12, 10**12 + 1,
    True, False, float("nan"), float("inf"), ObjectId("0123456789abcdef01234567"), "", "42", "-1.5", "true", "null", "NaN", "{", "[]",
    "usd", "USD", "US", "USDT", "840", "US\n", "USD\n", "ÄÖÜ", "pending", "canceled", {"id": "x"}, {"$oid": "x"}, {},
    ["m"], ["USD"], [1], [DatetimeMS(T0)], [], [[]], [{}], [None], [[{"id": "r", "amount": 1, "refundedAt": DatetimeMS(T0)}]],
]  # fmt: skip
HOSTILE = st.one_of(st.sampled_from(_SPECIAL), VALUES)


def _good(number: int) -> dict[str, Any]:
    refunds = [{"id": f"r{at}", "amount": 7 + at, "refundedAt": DatetimeMS(T0 + (number + at) * WINDOW)} for at in range(number % 3)]
    return {
        "_id": f"p{number}", "merchantId": "m", "amount": 100 + number, "currency": "USD", "method": "card",
        "points": {"used": 0, "earned": Int64(1)}, "status": "failed" if number % 7 == 0 else "succeeded",
        "paidAt": DatetimeMS(T0 + number * 90_000), "refunds": refunds, "schemaVersion": 1,
        "user": {"key": "k", "birthYear": 1990, "gender": "female", "country": "US", "grade": "gold", "device": {"type": "pos", "os": "x"}},
    }  # fmt: skip


def _put(into: Any, path: list[str], value: Any, missing: bool) -> None:
    """Set or drop a field where its parent is there."""
    name: Any = int(path[0]) if isinstance(into, list) and path[0].isdigit() else path[0]
    if (isinstance(into, list) and not (isinstance(name, int) and name < len(into))) or not isinstance(into, list | dict):
        return
    if len(path) > 1:
        if isinstance(into, list) or name in into:
            _put(into[name], path[1:], value, missing)
    elif missing and isinstance(into, dict):
        into.pop(name, None)
    else:
        into[name] = value


_CHANGES = st.lists(st.tuples(st.sampled_from(_FIELDS), HOSTILE, st.integers(0, 9).map(lambda number: number == 0)), max_size=2)
_IDS = st.one_of(st.none(), st.sampled_from([42, 1.5, True, ObjectId("0" * 24), {"a": 1}, DatetimeMS(2**60), Code("x")]))


class Documents(list[bytes]):
    """Shown by their number: the failing assertion shows the one that matters."""

    def __repr__(self) -> str:
        return f"{len(self)} documents"


@st.composite
def payments(draw: Callable[..., Any], count: int) -> Documents:
    """So many documents as BSON, with ids that differ by type at least."""
    made: dict[bytes, bytes] = {}
    for number in range(count):
        document = _good(number)
        for path, value, missing in draw(_CHANGES):
            _put(document, path.split("."), value, missing)
        if number % 20 == 0 and (identifier := draw(_IDS)) is not None:
            document["_id"] = identifier
        made[bson.encode({"": document["_id"]})] = bson.encode(document)
    return Documents(made.values())


def captured(raw: bytes) -> dict[str, Any]:
    """A document as the server's projection sends it."""
    codec: CodecOptions[dict[str, Any]] = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_MS)
    tree: dict[str, Any] = {}
    for path in PAYMENT_CAPTURED_FIELDS:
        functools.reduce(lambda node, name: node.setdefault(name, {}), path.split("."), tree)
    found: dict[str, Any] = _projected(bson.decode(raw, codec), tree)
    return found


def _projected(value: Any, tree: dict[str, Any]) -> Any:
    value = value.as_doc() if isinstance(value, DBRef) else value
    if not tree:
        return value
    if isinstance(value, list):
        return [_projected(each, tree) for each in value if isinstance(each, list | dict | DBRef)]
    kept = {name: item for name, item in value.items() if name in tree}
    return {name: _projected(item, tree[name]) for name, item in kept.items() if not tree[name] or isinstance(item, list | dict | DBRef)}


def refused(document: dict[str, Any]) -> str | None:
    """The field for which a captured document has no facts."""
    points, user = document.get("points"), document.get("user")
    device = user.get("device") if isinstance(user, dict) else None
    checks: list[tuple[str, bool]] = [
        ("_id", _text(document.get("_id"))),
        ("merchantId", _text(document.get("merchantId"))),
        ("amount", _integer(document.get("amount"), 0, 10**12)),
        ("currency", _text(document.get("currency")) and re.fullmatch("[A-Za-z]{3}", document["currency"]) is not None),
        ("status", document.get("status") in ("pending", "succeeded", "failed", "canceled")),
        ("paidAt", _instant(document.get("paidAt"))),
        ("refunds", _refunds(document.get("refunds"))),
        ("method", _or_none(_text, document.get("method"))),
        ("points", points is None or isinstance(points, dict)),
        *((f"points.{name}", _or_none(_integer, _of(points, name))) for name in ("used", "earned")),
        ("user", user is None or isinstance(user, dict)),
        ("user.key", _or_none(_text, _of(user, "key"))),
        ("user.birthYear", _or_none(lambda value: _integer(value, -(2**31), 2**31 - 1), _of(user, "birthYear"))),
        *((f"user.{name}", _or_none(_text, _of(user, name))) for name in ("gender", "country", "grade")),
        ("user.device", device is None or isinstance(device, dict)),
        ("user.device.type", _or_none(_text, _of(device, "type"))),
    ]
    return next((field for field, fine in checks if not fine), None)


def counted(documents: list[dict[str, Any]]) -> tuple[Counter[int], Counter[int]]:
    """(facts, amounts) of captured documents by the start of their window in epoch milliseconds."""
    facts, amounts = Counter[int](), Counter[int]()
    for each in documents:
        if refused(each) is not None or each["status"] not in ("succeeded", "failed"):
            continue
        given_back = (each.get("refunds") or []) if each["status"] == "succeeded" else []
        for at, amount in [(each["paidAt"], each["amount"]), *((one["refundedAt"], one["amount"]) for one in given_back)]:
            facts[int(at) // WINDOW * WINDOW] += 1
            amounts[int(at) // WINDOW * WINDOW] += int(amount)
    return facts, amounts


def _of(parent: Any, name: str) -> Any:
    return parent.get(name) if isinstance(parent, dict) else None


def _or_none(check: Callable[[Any], bool], value: Any) -> bool:
    return value is None or check(value)


def _text(value: Any) -> bool:
    return isinstance(value, str) and not isinstance(value, Code)


def _integer(value: Any, least: int = -(2**63), most: int = 2**63 - 1) -> bool:
    # A change event has a date as epoch milliseconds, which nobody can tell from an integer.
    return isinstance(value, int | DatetimeMS) and not isinstance(value, bool) and least <= int(value) <= most


def _instant(value: Any) -> bool:
    return _integer(value, 0, _LAST)


def _refunds(value: Any) -> bool:
    def fine(each: Any) -> bool:
        amount, instant = _of(each, "amount"), _of(each, "refundedAt")
        return _text(_of(each, "id")) and _integer(amount, 0, 10**12) and _instant(instant)

    return value is None or (isinstance(value, list) and all(map(fine, value)))
