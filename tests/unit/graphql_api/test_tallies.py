"""The hot path's counters say what Prometheus's own would say."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from millrace_graphql.tallies import Clocks, Tallies

BOUNDS = (0.5, 1, 10)
VALUES = (0.1, 0.5, 0.7, 1, 1.5, 10, 11.25)


def _samples(registry: CollectorRegistry) -> list[str]:
    """The lines of a scrape but for those that tell when a metric was made."""
    return [line for line in generate_latest(registry).decode().splitlines() if "_created" not in line]


def test_a_counter_reads_as_prometheus_own() -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    tallies = Tallies("x_things", "Things.", ["kind", "result"], ours)
    counter = Counter("x_things", "Things.", ["kind", "result"], registry=theirs)
    for found in (tallies, counter):
        found.labels("a", "ok").inc()
        found.labels("a", 'not "ok"').inc(3)
        found.labels("a", "ok").inc(2)
    assert _samples(ours) == _samples(theirs)
    assert ours.get_sample_value("x_things_total", {"kind": "a", "result": "ok"}) == 3.0


def test_a_histogram_reads_as_prometheus_own() -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    clocks = Clocks("x_seconds", "Time.", ["kind"], BOUNDS, ours)
    histogram = Histogram("x_seconds", "Time.", ["kind"], buckets=BOUNDS, registry=theirs)
    for value in VALUES:
        clocks.labels("a").observe(value)
        histogram.labels("a").observe(value)
    assert _samples(ours) == _samples(theirs)


def test_one_without_labels_is_one_number() -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    clock = Clocks("x_points", "Points.", [], BOUNDS, ours).labels()
    histogram = Histogram("x_points", "Points.", buckets=BOUNDS, registry=theirs)
    for value in VALUES:
        clock.observe(value)
        histogram.observe(value)
    assert _samples(ours) == _samples(theirs)
