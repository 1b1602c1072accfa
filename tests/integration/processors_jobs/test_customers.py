"""New and returning customers are counted exactly, whatever comes late, is taken back, moves, or dies half-way (I5, I8)."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest

from millrace_contracts.reports import CUSTOMERS_TABLE, REPORTS_TABLE
from millrace_processors import customers, first_seen
from millrace_processors.customers import Counted
from tests.integration.processors.events import T0, change, payment
from tests.integration.processors_jobs.history import Event, disturbed
from tests.integration.processors_jobs.pipeline import Pipeline
from tests.integration.processors_jobs.test_rolling import DAY, ZONES, day_of

pytestmark = pytest.mark.stack
Zones = dict[str, str | None]
Counts = dict[tuple[str, int], tuple[int, int, int]]


class History:
    """Changes of payments, and what is to be counted of them."""

    def __init__(self) -> None:
        self.images: dict[str, dict[str, Any] | None] = {}
        self.events: list[Event] = []

    def put(self, identifier: str, merchant: str, customer: str | None, day: float, **given: Any) -> None:
        """Create or change a payment; ``day``: days behind T0."""
        user = {"user": {"key": customer}} if customer else {"user": {"device": {"type": "pos"}}}
        image = payment(identifier, merchantId=merchant, paidAt=T0 + int(day * DAY), **user, **given)
        before = self.images.get(identifier)
        self.events.append(change("u" if before else "c", image, before, at=len(self.events) + 1))
        self.images[identifier] = image

    def delete(self, identifier: str) -> None:
        self.events.append(change("d", None, self.images[identifier], at=len(self.events) + 1))
        self.images[identifier] = None

    def expected(self, zones: Zones, through: int) -> Counts:
        """(customers, new, returning) by merchant and closed day, by hand; days with nobody left out."""
        days: dict[tuple[str, int], set[str]] = defaultdict(set)
        for image in self.images.values():
            key = image["user"].get("key") if image else None
            if image and key and image["status"] == "succeeded":
                start, end = day_of(zones.get(image["merchantId"]), image["paidAt"])
                if end <= through:
                    days[image["merchantId"], start].add(key)
        firsts: dict[tuple[str, str], int] = {}
        for (merchant, start), keys in sorted(days.items()):
            for key in keys:
                firsts.setdefault((merchant, key), start)
        new = {(merchant, start): sum(firsts[merchant, key] == start for key in keys) for (merchant, start), keys in days.items()}
        return {place: (len(keys), new[place], len(keys) - new[place]) for place, keys in days.items()}


def counted(pipeline: Pipeline) -> Counted:
    return customers.run(pipeline.config, pipeline.lake, pipeline.session)


def stored(pipeline: Pipeline) -> Counts:
    """What the store holds, without days with nobody."""
    columns = "merchant_id, to_unix_timestamp(window_start) AS start, customers, new_customers, returning_customers"
    rows = pipeline.session.execute(f"SELECT {columns} FROM {pipeline.config.names.keyspace}.{CUSTOMERS_TABLE}")
    found = {(row[0], row[1]): (row[2], row[3], row[4]) for row in rows}
    return {place: counts for place, counts in found.items() if counts[0]}


def revisions(pipeline: Pipeline) -> dict[tuple[str, int], int]:
    """The revision of each counted day."""
    columns = "merchant_id, to_unix_timestamp(window_start) AS start, revision"
    rows = pipeline.session.execute(f"SELECT {columns} FROM {pipeline.config.names.keyspace}.{CUSTOMERS_TABLE}")
    return {(row[0], row[1]): row[2] for row in rows}


def of_reports(pipeline: Pipeline, zones: Zones, through: int) -> dict[tuple[str, int], int]:
    """The revisions of the 10-minute reports of each closed day, added up."""
    columns = "merchant_id, to_unix_timestamp(window_start) AS start, revision, grain"
    rows = pipeline.session.execute(f"SELECT {columns} FROM {pipeline.config.names.keyspace}.{REPORTS_TABLE}")
    found: dict[tuple[str, int], int] = defaultdict(int)
    for merchant, window, revision, grain in rows:
        start, end = day_of(zones.get(merchant), window)
        if grain == "10m" and end <= through:
            found[merchant, start] += revision
    return found


def begin(history: History) -> None:
    """Customers come back, some are not known, and two payments count nowhere yet."""
    for number in range(60):
        history.put(f"p{number}", f"m{number % 3}", f"k{number % 11}" if number % 10 else None, number * 0.21)
    history.put("later", "m0", "k1", 30.0)  # its day is not closed
    history.put("pending", "m0", "knew", 3.0, status="pending")


def go_on(history: History) -> None:
    """First days move in both directions."""
    history.put("early", "m1", "k4", -2.0)  # moves the first day back
    history.put("pending", "m0", "knew", 3.0)  # a customer who was none before
    history.delete("p3")  # the first payment of one, who comes again later
    history.put("p6", "m0", "k7", 6 * 0.21)  # was another customer's
    history.put("p12", "m1", "k1", 12 * 0.21)  # of another merchant
    history.put("p15", "m0", "k4", 15 * 0.21, status="failed")
    history.put("p18", "m0", "k7", 9.0)  # another day


def test_counts_follow_whatever_happens_to_a_payment(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:  # I5 I8
    assert counted(pipeline) == Counted(), "nothing is complete yet"
    zones: Zones = dict(ZONES)
    for merchant in ("m0", "m1"):
        pipeline.merchant(merchant, zones[merchant])
    history, through = History(), T0 + 20 * DAY

    def follow(events: int = 0) -> None:
        """Let everything arrive twice and in disorder, and the job run."""
        pipeline.produce(disturbed(len(history.events), history.events[events:]), through)
        pipeline.live()

    begin(history)
    follow()
    first = counted(pipeline)
    assert (first.everything, first.days) == (True, len(revisions(pipeline)))
    assert stored(pipeline) == history.expected(zones, through)
    assert revisions(pipeline) == of_reports(pipeline, zones, through)
    assert counted(pipeline).days == 0, "nothing has changed"

    seen = len(history.events)
    go_on(history)
    follow(seen)
    # Dies between the counts and the table: the next run finds the same to do.
    with monkeypatch.context() as patch:
        patch.setattr(first_seen, "merge", _dies)
        with pytest.raises(KeyboardInterrupt):
            counted(pipeline)
    assert stored(pipeline) == history.expected(zones, through)
    second = counted(pipeline)
    assert not second.everything
    assert second.moved > 2
    assert stored(pipeline) == history.expected(zones, through)
    assert revisions(pipeline) == of_reports(pipeline, zones, through)

    # Days close; all payments of one customer go; and a zone changes.
    seen, through = len(history.events), T0 + 40 * DAY
    for identifier, image in list(history.images.items()):
        if image and image["user"].get("key") == "k9":
            history.delete(identifier)
    follow(seen)
    zones["m0"], zones["m2"] = "Pacific/Auckland", "Asia/Tokyo"
    pipeline.merchant("m0", zones["m0"], version=2)
    pipeline.merchant("m2", zones["m2"])
    counted(pipeline)
    assert stored(pipeline) == history.expected(zones, through)
    rows = pipeline.spark.table(first_seen.table(pipeline.lake)).collect()
    assert len(rows) == len({(row.merchant_id, row.customer_key) for row in rows})
    assert not [row for row in rows if row.customer_key == "k9"]

    incremental = sorted(map(tuple, rows))
    everything = customers.run(pipeline.config, pipeline.lake, pipeline.session, everything=True)
    assert everything.everything
    assert sorted(map(tuple, pipeline.spark.table(first_seen.table(pipeline.lake)).collect())) == incremental
    assert stored(pipeline) == history.expected(zones, through)
    assert revisions(pipeline) == of_reports(pipeline, zones, through)


def _dies(*_: object) -> None:
    raise KeyboardInterrupt
