"""The amount histogram against exact integer arithmetic, and its merging."""

import random
import statistics
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace_contracts import sketches

AMOUNTS = st.lists(st.integers(0, 10**12), max_size=60)


def histogram(amounts: list[int]) -> bytes:
    counts: dict[int, int] = {}
    for amount in amounts:
        index = sketches.bucket_index(amount)
        counts[index] = counts.get(index, 0) + 1
    return sketches.encode(counts)


def test_every_bucket_boundary_up_to_10_to_the_12_agrees_with_exact_arithmetic() -> None:
    boundary, index = Fraction(1), 0
    while boundary < 10**12:
        last_inside = boundary.numerator // boundary.denominator
        next_boundary = boundary * 101 / 99
        assert sketches.bucket_index(last_inside) <= index
        if last_inside + 1 <= next_boundary:
            assert sketches.bucket_index(last_inside + 1) == index + 1
        boundary, index = next_boundary, index + 1
    assert index == 1382


def test_golden_bytes_of_the_histogram_format() -> None:
    # 0, 1, 1, 100: 1 = gamma^0 is in bucket 0; 100 lies between gamma^230 = 99.48 and gamma^231 = 101.49.
    assert histogram([100, 1, 0, 1]).hex() == "01" + "8000" + "00000001" + "0000" + "00000002" + "00e7" + "00000001"


@given(AMOUNTS, AMOUNTS)
def test_merging_equals_the_histogram_of_all_amounts_in_any_order(left: list[int], right: list[int]) -> None:
    together = [*left, *right]
    random.Random(1).shuffle(together)
    assert sketches.merge([histogram(left), histogram(right)]) == histogram(together)
    assert sketches.merge([histogram(right), histogram(left)]) == histogram(together)


@given(st.lists(st.integers(1, 10**12), min_size=1, max_size=99).filter(lambda values: len(values) % 2 == 1))
def test_the_median_is_within_one_percent(amounts: list[int]) -> None:
    median = sketches.quantile(histogram(amounts), 0.5)
    assert median is not None
    assert abs(median - statistics.median(amounts)) <= statistics.median(amounts) * 0.0100001


def test_an_empty_histogram_has_no_quantile() -> None:
    assert sketches.quantile(b"", 0.5) is None


@pytest.mark.parametrize("data", [b"\x02", b"\x01\x00", b"\x01" + b"\x00" * 7])
def test_bytes_of_another_format_or_a_torn_length_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="not an amount histogram"):
        sketches.decode(data)


def test_a_negative_amount_is_refused() -> None:
    with pytest.raises(ValueError, match="-5"):
        sketches.bucket_index(-5)
