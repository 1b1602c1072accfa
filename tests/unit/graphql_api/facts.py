"""Facts of a test, the reports that hold them, and what any metric of them is, computed one fact after another."""

from collections import Counter
from typing import Any

import numpy as np
from datasketches import theta_union, update_theta_sketch
from hypothesis import strategies as st

from millrace_contracts import sketches
from millrace_contracts.reports import BREAKDOWNS, COUNTERS
from millrace_graphql.ranges.columns import Group, Rows, table

WINDOW = 600_000
DAY = 86_400_000
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
    """10-minute reports of (window number, currency) -> (payments, refunds, failures)."""
    return reports({(window * WINDOW, currency): value for (window, currency), value in facts.items()})


def reports(facts: dict[tuple[int, str], Any]) -> Rows:
    """Reports of (start in ms, currency) -> (payments, refunds, failures), whatever their length."""
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
        columns["revision"].append(len(paid) + len(refunded) + failed)
    arrays = {name: np.array(column, np.int64) if name in (*COUNTERS, "revision") else column for name, column in columns.items()}
    starts = np.array([start for start, _ in keys], np.int64)
    return {group: table(group, (starts, [currency for _, currency in keys]), arrays) for group in Group}


def oracle(facts: dict[tuple[int, str], Any], low: int, high: int, currency: str, step: int = WINDOW) -> dict[str, Any]:
    """Every exact metric of [low, high) ms, one fact after another."""
    chosen = [value for (window, of), value in facts.items() if of == currency and low <= window * step < high]
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
