"""Reports out of sorted facts, against sums done by hand and a slow reading of the definitions."""

from __future__ import annotations

import random
import struct
from collections import defaultdict
from typing import Any

import pyarrow as pa
import pytest
from datasketches import compact_theta_sketch
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace_contracts import sketches
from millrace_contracts.facts import DIMENSIONS
from millrace_processors import traits
from millrace_processors.arrow_batches import whole_facts, whole_reports
from millrace_processors.reports import Reports, compute
from tests.support.examples import examples

WINDOW = 1_764_000_000_000_000
TYPES = {"window_start": pa.timestamp("us", tz="UTC"), traits.NAME: pa.binary()} | dict.fromkeys(
    ("amount", "points_used", "points_earned", "version"), pa.int64()
)
COLUMNS = (
    "merchant_id", "window_start", "currency", "fact_id", "amount", "points_used", "points_earned", "customer_key",
    traits.NAME, "version", "version_order",
)  # fmt: skip


def fact(**given: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "merchant_id": "m", "window_start": WINDOW, "currency": "USD", "fact_id": "p1", "kind": "payment", "amount": 100,
        "points_used": 0, "points_earned": 0, "customer_key": "k1", **dict.fromkeys(DIMENSIONS, "unknown"), "version": 1,
        "version_order": "", "retracted": False,
    }  # fmt: skip
    return {**made, **given}


def arranged(facts: list[dict[str, Any]]) -> pa.RecordBatch:
    """In the order that the engine sorts into."""
    ordered = sorted(facts, key=lambda f: (f["version"], f["version_order"]), reverse=True)
    ordered = [{**f, traits.NAME: traits.packed(f)} for f in ordered]
    ordered.sort(key=lambda f: (f["merchant_id"], f["window_start"], f["currency"], f["fact_id"]))
    return pa.record_batch({name: pa.array([f[name] for f in ordered], TYPES.get(name, pa.string())) for name in COLUMNS})


def report(facts: list[dict[str, Any]]) -> dict[str, Any]:
    """The only report of some facts."""
    found = compute(arranged(facts))
    assert len(found) == 1
    return row(found, 0)


def row(found: Reports, index: int) -> dict[str, Any]:
    counters = {name: int(values[index]) for name, values in found.counters.items()}
    maps = {name: unpacked(values[index]) for name, values in found.breakdowns.items()}
    return {
        **counters,
        **maps,
        "revision": int(found.revision[index]),
        "customers": found.customers[index],
        "amounts": found.amounts[index],
    }


def unpacked(data: bytes) -> dict[str, tuple[int, int]]:
    """A map<text, tuple<bigint, bigint>> of the native protocol, read by hand."""
    (count,), at, found = struct.unpack_from(">i", data), 4, {}
    for _ in range(count):
        (length,) = struct.unpack_from(">i", data, at)
        name, at = data[at + 4 : at + 4 + length].decode(), at + 4 + length
        size, first, n, second, total = struct.unpack_from(">iiqiq", data, at)
        assert (size, first, second) == (24, 8, 8)
        found[name], at = (n, total), at + 28
    assert at == len(data)
    return found


def test_a_window_of_payments_refunds_and_failures_adds_up() -> None:
    found = report(
        [
            fact(amount=500, method="card", points_used=3, points_earned=5, customer_key="a"),
            fact(fact_id="p2", amount=250, method="cash", points_earned=2, customer_key="b"),
            fact(fact_id="p3", amount=0, method="cash", customer_key=None),
            fact(fact_id="p1/r1", kind="refund", amount=120, customer_key=None),
            fact(fact_id="p4", kind="failure", amount=900, customer_key=None),
        ]
    )
    assert {name: found[name] for name in ("payments", "gross", "refunds", "refunded_amount", "failed", "smallest", "largest")} == {
        "payments": 3, "gross": 750, "refunds": 1, "refunded_amount": 120, "failed": 1, "smallest": 0, "largest": 500,
    }  # fmt: skip
    assert (found["points_used"], found["points_earned"], found["revision"]) == (3, 7, 5)
    assert found["by_method"] == {"card": (1, 500), "cash": (2, 250)}
    assert compact_theta_sketch.deserialize(found["customers"]).get_estimate() == 2
    assert sketches.decode(found["amounts"]) == {sketches.ZERO: 1, sketches.bucket_index(250): 1, sketches.bucket_index(500): 1}


def test_the_newest_version_of_a_fact_wins_and_each_version_counts_in_the_revision() -> None:  # I5
    found = report([fact(amount=100, version=1), fact(amount=70, version=3), fact(amount=90, version=2), fact(amount=90, version=2)])
    assert (found["payments"], found["gross"], found["revision"]) == (1, 70, 3)


def test_changes_of_one_cluster_time_are_ordered_by_the_token() -> None:
    found = report([fact(amount=1, version_order="2B04"), fact(amount=2, version_order="2B02")])
    assert (found["gross"], found["revision"]) == (1, 2)


def test_retracting_the_last_fact_leaves_a_report_of_zeros() -> None:
    found = report([fact(version=1), fact(version=2, retracted=True)])
    assert found["revision"] == 2
    assert all(found[name] == 0 for name in ("payments", "gross", "smallest", "largest", "points_earned"))
    assert all(found[f"by_{name}"] == {} for name in DIMENSIONS)
    assert compact_theta_sketch.deserialize(found["customers"]).get_estimate() == 0
    assert found["amounts"] == bytes([sketches.FORMAT])


def test_golden_bytes_of_a_breakdown() -> None:
    found = compute(arranged([fact(method="card", amount=258), fact(fact_id="p2", method="b", amount=1)]))
    b = "00000001" + "62" + "00000018" + "00000008" + "0000000000000001" + "00000008" + "0000000000000001"
    card = "00000004" + "63617264" + "00000018" + "00000008" + "0000000000000001" + "00000008" + "0000000000000102"
    assert found.breakdowns["by_method"][0].hex() == "00000002" + b + card


def test_sums_beyond_the_precision_of_a_float_are_exact() -> None:  # I10
    facts = [fact(fact_id=f"p{number}", amount=10**12 - number) for number in range(10_001)]
    assert report(facts)["gross"] == sum(10**12 - number for number in range(10_001)) > 2**53


def test_many_customers_give_the_same_bytes_in_any_order_and_an_estimate_within_the_stated_error() -> None:
    facts = [fact(fact_id=f"p{number}", customer_key=f"k{number}") for number in range(20_000)]
    names = [each["customer_key"] for each in facts]
    random.Random(3).shuffle(names)
    shuffled = [{**each, "customer_key": name} for each, name in zip(facts, names, strict=True)]
    first, second = report(facts)["customers"], report(shuffled)["customers"]
    assert first == second
    assert abs(compact_theta_sketch.deserialize(first).get_estimate() / 20_000 - 1) < 3 * sketches.THETA_STANDARD_ERROR


FACTS = st.lists(
    st.builds(
        fact,
        merchant_id=st.sampled_from(["m1", "m2"]),
        window_start=st.sampled_from([WINDOW, WINDOW + 600_000_000]),
        currency=st.sampled_from(["EUR", "USD"]),
        fact_id=st.sampled_from([f"p{number}" for number in range(6)]),
        kind=st.sampled_from(["payment", "refund", "failure"]),
        amount=st.integers(0, 10**12),
        points_used=st.integers(0, 99),
        customer_key=st.sampled_from(["a", "b", "c", None]),
        gender=st.sampled_from(["female", "male", "ü"]),
        version=st.integers(1, 4),
        retracted=st.booleans(),
    ),
    min_size=1,
    max_size=40,
    unique_by=lambda f: (f["merchant_id"], f["window_start"], f["currency"], f["fact_id"], f["version"]),
)


@given(FACTS, st.lists(st.integers(1, 7), min_size=40, max_size=40))
@settings(max_examples=examples(50), deadline=None)
def test_every_report_follows_its_definition_however_the_facts_are_cut_into_batches(facts: list[dict[str, Any]], cuts: list[int]) -> None:
    assert in_pieces(arranged(facts), cuts) == by_definition(facts)


def in_pieces(whole: pa.RecordBatch, cuts: list[int]) -> dict[tuple[str, int, str], dict[str, Any]]:
    """The reports of facts that come in batches of these sizes, each of them once."""
    pieces, at = [], 0
    for cut in cuts:
        pieces.append(whole.slice(at, cut))
        at += cut
    got: dict[tuple[str, int, str], dict[str, Any]] = {}
    for found, _ in whole_reports(iter(pieces)):
        for index, key in enumerate(zip(found.merchants, found.window_ms.tolist(), found.currencies, strict=True)):
            assert key not in got
            got[key] = row(found, index)
    return got


def by_definition(facts: list[dict[str, Any]]) -> dict[tuple[str, int, str], dict[str, Any]]:
    windows: dict[tuple[str, int, str], list[dict[str, Any]]] = defaultdict(list)
    for each in facts:
        windows[each["merchant_id"], each["window_start"] // 1000, each["currency"]].append(each)
    return {key: _expected(rows) for key, rows in windows.items()}


def _expected(rows: list[dict[str, Any]]) -> dict[str, Any]:
    newest = {f["fact_id"]: f for f in sorted(rows, key=lambda f: f["version"])}
    live = [f for f in newest.values() if not f["retracted"]]
    paid = [f for f in live if f["kind"] == "payment"]
    refunds = [f["amount"] for f in live if f["kind"] == "refund"]
    amounts = [f["amount"] for f in paid]
    maps: dict[str, dict[str, tuple[int, int]]] = {f"by_{name}": {} for name in DIMENSIONS}
    for each in paid:
        for name in DIMENSIONS:
            n, total = maps[f"by_{name}"].get(each[name], (0, 0))
            maps[f"by_{name}"][each[name]] = (n + 1, total + each["amount"])
    buckets: dict[int, int] = defaultdict(int)
    for amount in amounts:
        buckets[sketches.bucket_index(amount)] += 1
    alone = report([fact(fact_id=str(n), customer_key=key) for n, key in enumerate({f["customer_key"] for f in paid})]) if paid else None
    return {
        "payments": len(paid), "gross": sum(amounts), "refunds": len(refunds), "refunded_amount": sum(refunds),
        "failed": sum(f["kind"] == "failure" for f in live), "smallest": min(amounts, default=0), "largest": max(amounts, default=0),
        "points_used": sum(f["points_used"] for f in paid), "points_earned": 0, **maps, "revision": len(rows),
        "customers": alone["customers"] if alone else report([fact(retracted=True)])["customers"], "amounts": sketches.encode(buckets),
    }  # fmt: skip


@pytest.mark.parametrize("rows", [0, 1])
def test_no_rows_give_no_reports(rows: int) -> None:
    batches = list(whole_facts(iter([arranged([fact()]).slice(0, 0)] * rows)))
    assert batches == []
