"""A breakdown is the same bytes whether its payments are counted into slots or sorted."""

from __future__ import annotations

import random
import struct
from collections import defaultdict

import numpy as np
import pytest

from millrace_contracts.sketches import LARGEST
from millrace_processors.breakdowns import ROOMY, breakdown


@pytest.mark.parametrize("values", [3, 5_000])
def test_each_value_has_its_count_and_exact_sum(values: int) -> None:  # I10
    chance, n = random.Random(values), 4
    names = sorted(f"v{number}".encode() for number in range(values))
    payments = sorted((chance.randrange(n), chance.randrange(values), LARGEST - chance.randrange(3)) for _ in range(2_000))
    assert (n * values > ROOMY * len(payments)) == (values == 5_000), "both ways are taken"
    group, ranks, amounts = (np.array(column, dtype=np.int64) for column in zip(*payments, strict=True))
    sums: dict[tuple[int, int], list[int]] = defaultdict(lambda: [0, 0])
    for which, rank, amount in payments:
        sums[which, rank][0] += 1
        sums[which, rank][1] += amount
    expected = []
    for which in range(n):
        cells = sorted((names[rank], count, total) for (other, rank), (count, total) in sums.items() if other == which)
        entries = (struct.pack(">i", len(name)) + name + struct.pack(">iiqiq", 24, 8, count, 8, total) for name, count, total in cells)
        expected.append(struct.pack(">i", len(cells)) + b"".join(entries))
    assert breakdown(names, ranks, group, amounts, n) == expected
