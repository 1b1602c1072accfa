"""Merging against a naive oracle, and the numbers of one case by hand."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace_contracts import sketches
from millrace_contracts.metrics import BY_NAME, METRICS
from millrace_graphql.ranges.calendar import Grain
from millrace_graphql.ranges.columns import Group, Table, decode, encode, joined
from millrace_graphql.ranges.histograms import Histograms
from millrace_graphql.ranges.merge import Merge
from millrace_graphql.ranges.plan import Range
from tests.unit.graphql_api.facts import DAY, FACTS, WINDOW, oracle, rows

STEPS = {Grain.TEN_MINUTES: WINDOW, Grain.HOUR: 3_600_000, Grain.DAY: DAY}


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


@given(st.lists(st.lists(st.integers(0, 10**12), max_size=9), max_size=9), st.sampled_from([0.0, 0.3, 0.5, 0.95, 1.0]))
def test_histograms_merge_as_the_contract_merges_them(windows: list[list[int]], q: float) -> None:
    blobs = [sketches.encode(Counter(sketches.bucket_index(amount) for amount in amounts)) for amounts in windows]
    found = Histograms.of([blobs, [], *([blob] for blob in blobs)]).quantiles(q)
    assert found == [sketches.quantile(sketches.merge(blobs), q), None, *(sketches.quantile(blob, q) for blob in blobs)]


@pytest.mark.parametrize("blob", [b"\x02", b"\x01\x00", b"\x01" + b"\x00" * 7])
def test_a_histogram_of_another_format_is_refused(blob: bytes) -> None:
    with pytest.raises(ValueError, match="not an amount histogram"):
        Histograms.of([[], [blob]])


@given(FACTS)
def test_breakdowns_add_up_to_payments_and_gross(facts: dict[tuple[int, str], Any]) -> None:
    merge = Merge.of(rows(facts), Range(0, 3 * DAY, Grain.DAY), "USD", sparse=False)
    for slices, payments, gross in zip(merge.breakdowns("by_method"), merge.sums("payments"), merge.sums("gross"), strict=True):
        assert sum(n for _, n, _ in slices) == payments
        assert sum(part for _, _, part in slices) == gross


@given(FACTS)
def test_a_chunk_gives_back_what_was_put_into_it(facts: dict[tuple[int, str], Any]) -> None:
    for group, whole in rows(facts).items():
        for day in range(0, 3 * DAY, DAY):
            data = whole.between(day, day + DAY)
            again = decode(group, day, encode(group, day, data))
            assert again.starts.tolist() == data.starts.tolist()
            assert again.currencies.tolist() == data.currencies.tolist()
            assert again.only == (data.currencies[0] if len(set(data.currencies.tolist())) == 1 else None)
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
    data = Table(np.array([DAY + 600_000] * 2, np.int64), np.array(["KRW", "USD"]), {"customers": [b"\x01\x02", b""]})
    windows = b"\x01\x02\x00" + b"\x02KRWUSD" + b"\x01\x01" + b"\x00\x01"
    blobs = b"\x01\x02\x00" + b"\x00\x02\x00" + b"\x01\x02"
    assert encode(Group.CUSTOMERS, DAY, data) == b"\x0e\0\0\0" + windows + b"\x08\0\0\0" + blobs


def test_a_chunk_of_another_format_is_refused() -> None:
    with pytest.raises(ValueError, match="of format 1"):
        decode(Group.COUNTERS, DAY, b"\x05\0\0\0\x02rest")
