"""Counters, histograms and gauges of the API. Prometheus's own take a lock for each number, and seven of them are a tenth of a short
request; and each shows its own process alone.

These are counted on the event loop alone, where one addition needs no lock, in memory that all workers read (boards.py). They are shown
in the same format, summed over the workers.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from millrace_graphql.boards import FOLDER_VARIABLE, Board, Cells

_folder = os.environ.get(FOLDER_VARIABLE)
BOARD = Board(Path(_folder) if _folder else None)
"""This process's numbers."""


class Tally:
    """A number that grows, or that is set. ``cell[0]`` is the number itself, for those to whom a call is too much."""

    __slots__ = ("cell",)

    def __init__(self, cell: Cells) -> None:
        self.cell = cell

    def inc(self, amount: float = 1) -> None:
        """Add to it."""
        self.cell[0] += amount

    def dec(self, amount: float = 1) -> None:
        """Take from it."""
        self.cell[0] -= amount

    def set(self, value: float) -> None:
        """Make it another."""
        self.cell[0] = value

    @property
    def value(self) -> float:
        """The number of this process."""
        return float(self.cell[0])


class Clock:
    """How often values fell into each bucket, and their sum. A bucket ends with its bound."""

    __slots__ = ("_bounds", "_cells")

    def __init__(self, bounds: Sequence[float], cells: Cells) -> None:
        self._bounds = bounds
        self._cells = cells

    def observe(self, value: float) -> None:
        """Take a value."""
        self._cells[bisect_left(self._bounds, value)] += 1
        self._cells[-1] += value


class _Family(Collector):
    """A metric by labels."""

    def __init__(self, name: str, doc: str, labels: Sequence[str], registry: CollectorRegistry) -> None:
        self._name, self._doc = name, doc
        self._labelnames = tuple(labels)  # called as in Prometheus' own, where the tests of the dashboards look for it
        registry.register(self)

    def _rows(self) -> Iterator[tuple[tuple[str, ...], list[tuple[bool, list[float]]]]]:
        for (name, labels), found in BOARD.shown().items():
            if name == self._name:
                yield labels, found

    def _sums(self) -> Iterator[tuple[tuple[str, ...], list[float]]]:
        for labels, found in self._rows():
            yield labels, [sum(column) for column in zip(*(values for _, values in found), strict=True)]


class Tallies(_Family):
    """A counter by labels."""

    def __init__(self, name: str, doc: str, labels: Sequence[str], registry: CollectorRegistry) -> None:
        super().__init__(name, doc, labels, registry)
        self._found: dict[tuple[str, ...], Tally] = {}

    def labels(self, *values: str) -> Tally:
        """The number of these labels' values."""
        found = self._found.get(values)
        if found is None:
            found = self._found[values] = Tally(BOARD.cells(self._name, values))
        return found

    def describe(self) -> list[Metric]:
        """The metric without its numbers."""
        return [CounterMetricFamily(self._name, self._doc, labels=self._labelnames)]

    def collect(self) -> Iterator[Metric]:
        """The numbers, for Prometheus."""
        family = CounterMetricFamily(self._name, self._doc, labels=self._labelnames)
        for labels, values in self._sums():
            family.add_metric(labels, values[0])
        yield family


class Gauges(Tallies):
    """A gauge by labels; ``of`` the living workers' values, their sum unless another is given."""

    def __init__(
        self, name: str, doc: str, labels: Sequence[str], registry: CollectorRegistry, of: Callable[[Iterable[float]], float] = sum
    ) -> None:
        super().__init__(name, doc, labels, registry)
        self._of = of

    def describe(self) -> list[Metric]:
        """The metric without its numbers."""
        return [GaugeMetricFamily(self._name, self._doc, labels=self._labelnames)]

    def collect(self) -> Iterator[Metric]:
        """The numbers, for Prometheus."""
        family = GaugeMetricFamily(self._name, self._doc, labels=self._labelnames)
        for labels, found in self._rows():
            living = [values[0] for lives, values in found if lives]
            if living:
                family.add_metric(labels, self._of(living))
        yield family


class Clocks(_Family):
    """A histogram by labels."""

    def __init__(self, name: str, doc: str, labels: Sequence[str], bounds: Sequence[float], registry: CollectorRegistry) -> None:
        super().__init__(name, doc, labels, registry)
        self._bounds = bounds
        self._found: dict[tuple[str, ...], Clock] = {}

    def labels(self, *values: str) -> Clock:
        """The histogram of these labels' values."""
        found = self._found.get(values)
        if found is None:
            found = self._found[values] = Clock(self._bounds, BOARD.cells(self._name, values, len(self._bounds) + 2))
        return found

    def describe(self) -> list[Metric]:
        """The metric without its numbers."""
        return [HistogramMetricFamily(self._name, self._doc, labels=self._labelnames)]

    def collect(self) -> Iterator[Metric]:
        """The numbers, for Prometheus: each bucket with all before it."""
        family = HistogramMetricFamily(self._name, self._doc, labels=self._labelnames)
        ends = [*(str(float(bound)) for bound in self._bounds), "+Inf"]
        for labels, values in self._sums():
            family.add_metric(labels, list(zip(ends, accumulate(values[:-1]), strict=True)), values[-1])
        yield family
