"""Counters and histograms of the hot path. Prometheus's own take a lock for each number, and seven of them are a tenth of a short request.

These are counted on the event loop alone, where one addition needs no lock, and shown in the same format.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector


class Tally:
    """A number that grows."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def inc(self, amount: int = 1) -> None:
        """Add to it."""
        self.value += amount


class Tallies(Collector):
    """A counter by labels."""

    def __init__(self, name: str, doc: str, labels: Sequence[str], registry: CollectorRegistry) -> None:
        self._name, self._doc = name, doc
        self._labelnames = tuple(labels)  # called as in Prometheus' own, where the tests of the dashboards look for it
        self._found: dict[tuple[str, ...], Tally] = {}
        registry.register(self)

    def labels(self, *values: str) -> Tally:
        """The number of these labels' values."""
        return self._found.setdefault(values, Tally())

    def describe(self) -> list[Metric]:
        """The metric without its numbers."""
        return [CounterMetricFamily(self._name, self._doc, labels=self._labelnames)]

    def collect(self) -> Iterator[Metric]:
        """The numbers, for Prometheus."""
        family = CounterMetricFamily(self._name, self._doc, labels=self._labelnames)
        for values, tally in self._found.items():
            family.add_metric(values, tally.value)
        yield family


class Clock:
    """How often values fell into each bucket, and their sum. A bucket ends with its bound."""

    __slots__ = ("_bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Take a value."""
        self.counts[bisect_left(self._bounds, value)] += 1
        self.sum += value


class Clocks(Collector):
    """A histogram by labels."""

    def __init__(self, name: str, doc: str, labels: Sequence[str], bounds: Sequence[float], registry: CollectorRegistry) -> None:
        self._name, self._doc = name, doc
        self._labelnames = tuple(labels)  # called as in Prometheus' own, where the tests of the dashboards look for it
        self._bounds = bounds
        self._found: dict[tuple[str, ...], Clock] = {}
        registry.register(self)

    def labels(self, *values: str) -> Clock:
        """The histogram of these labels' values."""
        return self._found.setdefault(values, Clock(self._bounds))

    def describe(self) -> list[Metric]:
        """The metric without its numbers."""
        return [HistogramMetricFamily(self._name, self._doc, labels=self._labelnames)]

    def collect(self) -> Iterator[Metric]:
        """The numbers, for Prometheus: each bucket with all before it."""
        family = HistogramMetricFamily(self._name, self._doc, labels=self._labelnames)
        ends = [*(str(float(bound)) for bound in self._bounds), "+Inf"]
        for values, clock in self._found.items():
            family.add_metric(values, list(zip(ends, accumulate(clock.counts), strict=True)), clock.sum)
        yield family
