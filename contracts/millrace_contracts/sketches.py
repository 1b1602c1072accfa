"""The amount histogram: logarithmic buckets of 1 % relative error (DDSketch, Masson et al., VLDB 2019), exact to merge.

Bucket i holds the amounts a with gamma^(i-1) < a <= gamma^i, gamma = 101/99, so that the bucket's value
2 * gamma^i / (gamma + 1) is within 1 % of each of them. Bucket ``ZERO`` holds amounts of 0.
Bytes: 0x01, then for each non-empty bucket in ascending order a big-endian int16 index and a big-endian uint32 count.
Equal facts give equal bytes in any order and any merging (I6).

The customer sketch is a theta sketch of Apache DataSketches, compact and ordered, lg_k = 12, default seed, fed with
customer keys as UTF-8 strings, and normalised through a union; exact up to 4,096 customers, then 1.6 % standard error.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Mapping

RELATIVE_ERROR = 0.01
GAMMA = 101 / 99
LARGEST = 10**12
"""The largest amount that a payment may have (the source's validator)."""
ZERO = -32768


def _upper_bounds() -> tuple[int, ...]:
    """floor(gamma^i) for i = 0, 1, ... up to beyond ``LARGEST``, in integers: a logarithm differs by machine in its last bit."""
    bounds, above, below = [1], 101, 99
    while bounds[-1] < LARGEST:
        bounds.append(above // below)
        above, below = above * 101, below * 99
    return tuple(bounds)


UPPER_BOUNDS = _upper_bounds()
"""The largest whole amount of bucket i, by i; several small buckets hold none."""
FORMAT = 1
THETA_LG_K = 12
THETA_STANDARD_ERROR = 0.0163
"""Relative standard error above 4,096 customers (1/sqrt(k) with k = 4096, and a margin for the union)."""

_PAIR = struct.Struct(">hI")


def bucket_index(amount: int) -> int:
    """Index of an amount (minor units, 0 to ``LARGEST``).

    Raises:
        ValueError: for an amount outside.
    """
    if not 0 <= amount <= LARGEST:
        raise ValueError(f"amount {amount} is not from 0 to {LARGEST}")
    return ZERO if amount == 0 else bisect_left(UPPER_BOUNDS, amount)


def bucket_value(index: int) -> float:
    """The amount that stands for a bucket, in minor units."""
    return 0.0 if index == ZERO else 2 * GAMMA**index / (GAMMA + 1)


def encode(counts: Mapping[int, int]) -> bytes:
    """Bytes of a histogram given as bucket index -> count; empty buckets leave no trace."""
    return bytes([FORMAT]) + b"".join(_PAIR.pack(index, count) for index, count in sorted(counts.items()) if count)


def decode(data: bytes) -> dict[int, int]:
    """Bucket index -> count; empty bytes are an empty histogram.

    Raises:
        ValueError: for another format or a torn length.
    """
    if not data:
        return {}
    if data[0] != FORMAT or (len(data) - 1) % _PAIR.size:
        raise ValueError(f"not an amount histogram: format {data[0]}, {len(data)} bytes")
    return dict(_PAIR.iter_unpack(data[1:]))


def merge(histograms: list[bytes]) -> bytes:
    """The histogram of all amounts of several histograms."""
    total: dict[int, int] = {}
    for data in histograms:
        for index, count in decode(data).items():
            total[index] = total.get(index, 0) + count
    return encode(total)


def quantile(data: bytes, q: float) -> float | None:
    """The q-quantile (0 <= q <= 1) in minor units within 1 %, or None of an empty histogram."""
    counts = decode(data)
    total = sum(counts.values())
    if not total:
        return None
    rank, seen = q * (total - 1), 0
    for index, count in sorted(counts.items()):
        seen += count
        if seen > rank:
            return bucket_value(index)
    raise AssertionError("ranks end below the total")
