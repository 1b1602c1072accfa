"""Quantiles of many windows at once, equal to those that millrace_contracts.sketches finds one by one. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from millrace_contracts import sketches
from millrace_graphql.ranges.columns import Ints

_BUCKET = np.dtype([("index", ">i2"), ("count", ">u4")])
"""A bucket of an amount histogram; see millrace_contracts.sketches."""
_INDEXES = 1 << 16
_LOWEST = -(1 << 15)


@dataclass(frozen=True)
class Histograms:
    """The merged histograms of n windows, one after another: ``ends[w]`` is the place after the last bucket of window w."""

    indexes: Ints
    running: Ints
    """Amounts in all buckets up to and including each."""
    ends: Ints

    @classmethod
    def of(cls, windows: list[list[bytes]]) -> Histograms:
        """Of the histograms of each window.

        Raises:
            ValueError: for another format or a torn length.
        """
        blobs = [blob for window in windows for blob in window]
        for blob in blobs:
            if blob[0] != sketches.FORMAT or (len(blob) - 1) % _BUCKET.itemsize:
                raise ValueError(f"not an amount histogram: format {blob[0]}, {len(blob)} bytes")
        pairs = np.frombuffer(b"".join(blob[1:] for blob in blobs), _BUCKET)
        sizes = np.array([len(blob) // _BUCKET.itemsize for blob in blobs], np.int64)
        window = np.repeat(np.repeat(np.arange(len(windows)), [len(window) for window in windows]), sizes)
        # Window and index in one number, which sorts as the pair does.
        keys, places = np.unique(window * _INDEXES + (pairs["index"].astype(np.int64) - _LOWEST), return_inverse=True)
        counts = np.zeros(len(keys), np.int64)
        np.add.at(counts, places, pairs["count"])
        ends = np.searchsorted(keys, (np.arange(len(windows)) + 1) * _INDEXES)
        return cls(keys % _INDEXES + _LOWEST, np.cumsum(counts), ends)

    def quantiles(self, q: float) -> list[float | None]:
        """The q-quantile of each window in minor units; None of an empty one."""
        through = np.append(0, self.running)[self.ends]
        before = np.append(0, through[:-1])
        totals = through - before
        # As a count is whole, "seen > rank" is "seen > the whole part of the rank".
        ranks = before + np.floor(q * np.maximum(totals - 1, 0)).astype(np.int64)
        places = np.searchsorted(self.running, ranks, side="right").tolist()
        values = self.indexes.tolist()
        return [sketches.bucket_value(values[place]) if total else None for place, total in zip(places, totals.tolist(), strict=True)]
