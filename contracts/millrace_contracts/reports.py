"""The root report and the Cassandra tables that hold it.

A report is a pure function of the newest facts of its (merchant, window, currency) (I6):

- ``payments``, ``gross``: count and amount sum of payment facts; ``refunds``, ``refunded_amount``: of refund facts;
  ``failed``: count of failure facts; net = gross - refunded_amount is derived where it is read.
- ``smallest``, ``largest``: of payment amounts; 0 when there is no payment (never null: a null would be a tombstone and an
  unset column would keep the old value). ``points_used``, ``points_earned``: sums over payment facts.
- ``by_<dimension>``: value -> (payments, gross) over payment facts.
- ``customers``: theta sketch of the customer keys of payment facts; ``amounts``: histogram of payment amounts (sketches.py).
- ``revision``: the number of distinct (fact id, version) rows of the window in the lake; it grows with every change that
  touches the window and is the same whether the report was built live or rebuilt.

``version`` is the write timestamp in microseconds and the I7 guard: the lake's epoch (microseconds when the table was
created) + the Iceberg sequence number of the snapshot that the report was computed from. A rebuilt lake has a later epoch,
so its reports win over those of the lake before it. ``complete_through`` is the low-water mark when it was written.
Retracting the last fact of a window leaves a report of zeros.

Hours and days (grain ``1h`` and ``1d`` in the same table) are merges of the 10-minute reports whose starts they hold: sums, extremes,
maps and sketches merged, ``revision`` the sum of the parts'. An hour is an hour of UTC. A day is a day of the merchant's calendar:
``window_start`` is the first instant of the date in the merchant's zone, and its end the first instant of the next date; where the
merchant's zone changes, its days are deleted and made again. A row is written only once its window has closed, for every currency
of the window, and again when a late fact touches it. A reader takes a row whose ``complete_through`` is not before the window's end
and which ends no later than the ``complete_through`` of ``PROGRESS_ROLLUPS``; where there is no row it reads the finer grain.

Parts (grain ``part``) are of merchants that stand, or once stood, in a zone whose hours begin inside a 10-minute report: +05:45 has them
at 18:15Z. Such a report is stored whole, as everybody's is, and once more as its parts: ``window_start`` is the report's own start or
the instant at which the hour begins. A part holds the facts whose newest version occurred in it, as a report does; ``revision`` counts the
fact versions that occurred in it. So the parts' revisions add up to that of the whole report they come from. A reader takes
the parts of a report if their revisions add up to that of the whole or to more, and the whole report otherwise: parts that are absent,
or older than the report, change no number. Whoever writes a report writes its parts first. Days of such zones hold what occurred in them.
"""

from __future__ import annotations

from typing import Final

from millrace_contracts.facts import DIMENSIONS

COUNTERS: Final = (
    "payments", "gross", "refunds", "refunded_amount", "failed", "smallest", "largest", "points_used", "points_earned",
)  # fmt: skip
BREAKDOWNS: Final = tuple(f"by_{dimension}" for dimension in DIMENSIONS)
SKETCHES: Final = ("customers", "amounts")
KEY: Final = ("merchant_id", "grain", "bucket", "window_start", "currency")
CONTENT: Final = (*COUNTERS, *BREAKDOWNS, *SKETCHES, "revision")
"""The columns that are equal byte for byte however a report came to be (I6)."""

REPORTS_TABLE: Final = "reports"
PROGRESS_TABLE: Final = "progress"
MERCHANTS_TABLE: Final = "merchants"
CUSTOMERS_TABLE: Final = "customer_days"
"""New and returning customers by closed day of the merchant's calendar, over all currencies, as exact counts.

A customer is new on the first day on which they have a succeeded payment at the merchant, and returning on every later one;
``customers`` = ``new_customers`` + ``returning_customers``; ``revision`` is that of the day's reports, over all currencies.
``window_start`` is the first instant of the day, as of the reports of grain ``1d``. Written by ``process customers``: a row is there
once its day is closed and holds a fact, and all of them are as of the ``complete_through`` of ``PROGRESS_CUSTOMERS``; ``version`` is
the guard of I7 as in ``reports``.
"""
PACKED_TABLE: Final = "packed_days"
"""The 10-minute reports of one merchant and closed UTC day, of all currencies, as one row of columns (packed.py) beside their own rows.

A copy for readers, which may be absent at any time and is never wrong: it is written for days that have closed (``complete_through``
is not before the day's end) with the ``version`` of the snapshot that it comes from as its write timestamp; and whoever writes 10-minute
reports of a snapshot of version v first deletes, at the timestamp v - 1, the rows of the days that they stand in, if those days ended
before the writer's clock + ``PACKED_CLOCK_MS`` or before the ``complete_through`` that it knows. What comes from an older snapshot is
thus shadowed in whatever order it arrives, and what comes from v or later holds what v has. ``bucket`` is the UTC month. A reader asks
for the row and, where there is none, for the reports (docs/decisions/0016).
"""
PACKED: Final = ("windows", "numbers", *BREAKDOWNS, *SKETCHES)
"""The columns of packed bytes; ``numbers`` are ``PACKED_NUMBERS``."""
PACKED_NUMBERS: Final = (*COUNTERS, "revision")
PACKED_CLOCK_MS: Final = 3_600_000
"""How far the clocks of two machines, or a machine's and the source's, may be apart: days that end later are not packed yet."""


def statements(keyspace: str, replication: str) -> list[str]:
    """CQL that declares the keyspace and tables, each idempotent."""
    breakdowns = ", ".join(f"{name} frozen<map<text, frozen<tuple<bigint, bigint>>>>" for name in BREAKDOWNS)
    counters = ", ".join(f"{name} bigint" for name in COUNTERS)
    compaction = "{'class': 'UnifiedCompactionStrategy', 'scaling_parameters': 'T4'}"
    return [
        f"CREATE KEYSPACE IF NOT EXISTS {keyspace} WITH replication = {replication}",
        f"CREATE TABLE IF NOT EXISTS {keyspace}.{REPORTS_TABLE} ("
        f"merchant_id text, grain text, bucket text, window_start timestamp, currency text, {counters}, {breakdowns}, "
        "customers blob, amounts blob, revision bigint, version bigint, complete_through timestamp, "
        "PRIMARY KEY ((merchant_id, grain, bucket), window_start, currency)) "
        f"WITH compaction = {compaction}",
        # One row a stream partition of the analysis: `name` is the query's name, `complete_through` what every answer states (I13).
        f"CREATE TABLE IF NOT EXISTS {keyspace}.{PROGRESS_TABLE} ("
        "name text PRIMARY KEY, complete_through timestamp, updated_at timestamp, batch_id bigint, version bigint, detail text)",
        f"CREATE TABLE IF NOT EXISTS {keyspace}.{MERCHANTS_TABLE} ("
        "merchant_id text PRIMARY KEY, name text, grade text, country text, region text, city text, business_type text, "
        "time_zone text, currency text, status text, version bigint)",
        f"CREATE TABLE IF NOT EXISTS {keyspace}.{CUSTOMERS_TABLE} ("
        "merchant_id text, window_start timestamp, customers bigint, new_customers bigint, returning_customers bigint, revision bigint, "
        f"version bigint, complete_through timestamp, PRIMARY KEY (merchant_id, window_start)) WITH compaction = {compaction}",
        f"ALTER TABLE {keyspace}.{CUSTOMERS_TABLE} ADD IF NOT EXISTS revision bigint",  # of a table that was made before it had one
        f"CREATE TABLE IF NOT EXISTS {keyspace}.{PACKED_TABLE} ("
        f"merchant_id text, bucket text, day timestamp, {', '.join(f'{name} blob' for name in PACKED)}, version bigint, "
        f"complete_through timestamp, PRIMARY KEY ((merchant_id, bucket), day)) WITH compaction = {compaction}",
    ]


PROGRESS_PAYMENTS: Final = "payments"
"""The ``name`` of the payments stream in the progress table."""
PROGRESS_ROLLUPS: Final = "rollups"
"""The ``name`` of the hours' and days' progress; its ``complete_through`` says that every change committed up to then is in them too."""
PROGRESS_CUSTOMERS: Final = "customers"
"""The ``name`` of the progress of the customers' counts; its ``complete_through`` says the same of them."""
PROGRESS_REPROCESS: Final = "reprocess-"
"""What the ``name`` of the last reprocess from lake, kafka, token or mongo starts with; its ``detail`` says how much it did in how long."""
