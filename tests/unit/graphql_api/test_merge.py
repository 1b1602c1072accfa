"""Merging against a naive oracle, and the numbers of one case by hand."""

from collections import Counter
from typing import Any

import numpy as np
from datasketches import theta_union, update_theta_sketch
from hypothesis import given
from hypothesis import strategies as st

from millrace_contracts import sketches
from millrace_contracts.metrics import BY_NAME, METRICS
from millrace_contracts.reports import BREAKDOWNS, COUNTERS
from millrace_graphql.ranges.calendar import Grain
from millrace_graphql.ranges.columns import Group, Rows, Table, decode, encode, joined, table
from millrace_graphql.ranges.merge import Merge
from millrace_graphql.ranges.plan import Range

WINDOW = 600_000
DAY = 86_400_000
STEPS = {Grain.TEN_MINUTES: WINDOW, Grain.HOUR: 3_600_000, Grain.DAY: DAY}
# (window number, currency) -> payments as (amount, customer), refunds, failures
PAYMENTS = st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 12)), max_size=4)
FACTS = st.dictionaries(
    st.tuples(st.integers(0, 300), st.sampled_from(["USD", "KRW"])),
    st.tuples(PAYMENTS, st.lists(st.integers(1, 10**6), max_size=2), st.integers(0, 2)),
    max_size=12,
)


def theta(customers: list[str]) -> bytes:
    sketch, union = update_theta_sketch(12), theta_union(12)
    for customer in customers:
        sketch.update(customer)
    union.update(sketch)
    return bytes(union.get_result().serialize())


def rows(facts: dict[tuple[int, str], Any]) -> Rows:
    columns: dict[str, list[Any]] = {name: [] for name in (*COUNTERS, *BREAKDOWNS, "customers", "amounts", "revision")}
    keys = sorted(facts)
    for key in keys:
        paid, refunded, failed = facts[key]
        amounts = [amount for amount, _ in paid]
        counters = (len(paid), sum(amounts), len(refunded), sum(refunded), failed, min(amounts, default=0), max(amounts, default=0), 0, 0)
        for name, value in zip(COUNTERS, counters, strict=True):
            columns[name].append(value)
        for name in BREAKDOWNS:
            by = Counter[str]()
            sums = Counter[str]()
            for amount, customer in paid:
                by[f"v{customer % 3}"] += 1
                sums[f"v{customer % 3}"] += amount
            columns[name].append({value: [by[value], sums[value]] for value in by})
        columns["customers"].append(theta([str(customer) for _, customer in paid]))
        columns["amounts"].append(sketches.encode(Counter(sketches.bucket_index(amount) for amount in amounts)))
        columns["revision"].append(1)
    arrays = {name: np.array(column, np.int64) if name in (*COUNTERS, "revision") else column for name, column in columns.items()}
    starts = np.array([window * WINDOW for window, _ in keys], np.int64)
    return {group: table(group, (starts, [currency for _, currency in keys]), arrays) for group in Group}


def oracle(facts: dict[tuple[int, str], Any], low: int, high: int, currency: str) -> dict[str, Any]:
    """Every exact metric of [low, high) ms, one fact after another."""
    chosen = [value for (window, of), value in facts.items() if of == currency and low <= window * WINDOW < high]
    paid = [payment for payments, _, _ in chosen for payment in payments]
    amounts = [amount for amount, _ in paid]
    refunds = [refund for _, refunded, _ in chosen for refund in refunded]
    gross, refunded = sum(amounts), sum(refunds)
    return {
        "payments": len(paid),
        "gross": str(gross),
        "refunds": len(refunds),
        "refundedAmount": str(refunded),
        "net": str(gross - refunded),
        "averagePayment": str(int(gross / len(paid) + 0.5)) if paid else None,
        "refundRate": refunded / gross if gross else None,
        "failed": sum(failed for _, _, failed in chosen),
        "smallest": str(min(amounts)) if paid else None,
        "largest": str(max(amounts)) if paid else None,
        "customers": len({customer for _, customer in paid}),
    }


@given(FACTS, st.sampled_from(list(STEPS)), st.booleans(), st.sampled_from(["USD", "KRW"]))
def test_every_window_and_the_total_equal_the_naive_oracle(
    facts: dict[tuple[int, str], Any], grain: Grain, sparse: bool, currency: str
) -> None:
    asked = Range(0, 2 * DAY, grain)
    merge = Merge.of(rows(facts), asked, currency, sparse=sparse)
    step = STEPS[grain]
    expected = {start: oracle(facts, start, start + step, currency) for start in range(0, 2 * DAY, step)}
    if sparse:
        expected = {start: values for start, values in expected.items() if values["payments"] or values["refunds"] or values["failed"]}
    assert merge.starts.tolist() == list(expected)
    for name in oracle(facts, 0, 0, currency):
        assert merge.metric(BY_NAME[name]) == [values[name] for values in expected.values()], name
    total = merge.total(asked)
    assert {name: total.metric(BY_NAME[name])[0] for name in oracle(facts, 0, 0, currency)} == oracle(facts, 0, 2 * DAY, currency)


@given(FACTS)
def test_quantiles_of_a_range_are_within_one_percent_of_the_sorted_amounts(facts: dict[tuple[int, str], Any]) -> None:
    amounts = sorted(amount for (_, of), (paid, _, _) in facts.items() if of == "USD" for amount, _ in paid)
    total = Merge.of(rows(facts), Range(0, 3 * DAY, Grain.DAY), "USD", sparse=False).total(Range(0, 3 * DAY, Grain.DAY))
    value = total.metric(BY_NAME["medianAmount"])[0]
    if not amounts:
        assert value is None
    else:
        exact = amounts[int((len(amounts) - 1) / 2)]
        assert abs(int(str(value)) - exact) <= exact * 0.0101 + 0.5


@given(FACTS)
def test_breakdowns_add_up_to_payments_and_gross(facts: dict[tuple[int, str], Any]) -> None:
    merge = Merge.of(rows(facts), Range(0, 3 * DAY, Grain.DAY), "USD", sparse=False)
    for slices, payments, gross in zip(merge.breakdowns("by_method"), merge.sums("payments"), merge.sums("gross"), strict=True):
        assert sum(n for _, n, _ in slices) == payments
        assert sum(part for _, _, part in slices) == gross


@given(FACTS)
def test_a_chunk_gives_back_what_was_put_into_it(facts: dict[tuple[int, str], Any]) -> None:
    for group, data in rows(facts).items():
        again = decode(group, encode(group, data))
        assert again.starts.tolist() == data.starts.tolist()
        assert again.currencies.tolist() == data.currencies.tolist()
        for name, column in data.values.items():
            assert list(again.values[name]) == list(column)


@given(FACTS, st.integers(0, 301))
def test_a_range_read_in_two_parts_gives_the_same_numbers(facts: dict[tuple[int, str], Any], cut: int) -> None:
    whole = rows(facts)
    parts = {g: joined(g, [t.between(0, cut * WINDOW), t.between(cut * WINDOW, 3 * DAY)]) for g, t in whole.items()}
    asked = Range(0, 3 * DAY, Grain.HOUR)
    one, two = (Merge.of(data, asked, "USD", sparse=False) for data in (whole, parts))
    for metric in METRICS:
        assert one.metric(metric) == two.metric(metric)


def test_an_hour_by_hand() -> None:
    # 01:00 paid 100 and 250 by a and b; 01:20 paid 150 by a, refunded 50; 01:40 one failure. Customers: a, b.
    facts = {(6, "USD"): ([(100, 1), (250, 2)], [], 0), (8, "USD"): ([(150, 1)], [50], 0), (10, "USD"): ([], [], 1)}
    merge = Merge.of(rows(facts), Range(6 * WINDOW, 12 * WINDOW, Grain.HOUR), "USD", sparse=False)
    expected = {
        "payments": 3, "gross": "500", "refunds": 1, "refundedAmount": "50", "net": "450", "averagePayment": "167", "refundRate": 0.1,
        "failed": 1, "smallest": "100", "largest": "250", "customers": 2,
    }  # fmt: skip
    assert {name: merge.metric(BY_NAME[name]) for name in expected} == {name: [value] for name, value in expected.items()}


def test_a_sum_beyond_53_bits_keeps_every_digit() -> None:
    # I10: 2**53 + 1 is the first integer that a float can not hold; single amounts end at 10**12.
    facts = {(n, "USD"): ([(10**12, 1)] * 128, [], 0) for n in range(71)} | {(71, "USD"): ([(1, 1)], [], 0)}
    merge = Merge.of(rows(facts), Range(0, DAY, Grain.DAY), "USD", sparse=False)
    assert merge.metric(BY_NAME["gross"]) == ["9088000000000001"]
    assert 9_088_000_000_000_001 > 2**53


def test_golden_bytes_of_a_chunk() -> None:
    data = Table(np.array([600_000, 600_000], np.int64), np.array(["KRW", "USD"]), {"customers": [b"\x01\x02", b""]})
    header = b'{"n":2,"currencies":["KRW","USD"]}'
    start = (600_000).to_bytes(8, "little")
    expected = (
        b"\x01" + len(header).to_bytes(4, "little") + header + start + start + b"\x00\x01" + b"\x02\0\0\0" + b"\0\0\0\0" + b"\x01\x02"
    )
    assert encode(Group.CUSTOMERS, data) == expected


def test_a_chunk_of_another_format_is_refused() -> None:
    import pytest

    with pytest.raises(ValueError, match="not a chunk of format 1"):
        decode(Group.COUNTERS, b"\x02rest")
