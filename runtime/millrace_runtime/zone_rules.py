"""The metric that tells which release of the IANA time zone database a process takes its rules from."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Gauge

from millrace_contracts.values import zones


def gauge(registry: CollectorRegistry) -> Gauge:
    """The metric, with this process's own table; ``labels(table, release).set(1)`` adds another that it uses."""
    text = "1 for each table of time zones that the process uses; tables of one installation are of one release."
    made = Gauge("millrace_zone_rules", text, ["table", "release"], registry=registry, multiprocess_mode="max")
    made.labels("python", zones.VERSION).set(1)
    return made
