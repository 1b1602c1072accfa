"""The maintenance job: small files joined, old snapshots and orphaned files removed, facts dropped after their retention.

Safe beside the stream, which only appends. Superseded versions stay: revisions count them. Of the snapshots these stay: the recent
ones, which something may be reading; the newest of each query, by which a batch that runs again finds what it has appended; and those
since the last rollup and the last count of customers, which tell them what has been touched.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pyspark.sql import Row

from millrace_processors import first_seen
from millrace_processors.lake import Lake, Retained
from millrace_processors.rollup_state import RollupState
from millrace_processors.session import CATALOG

REMEMBERED = timedelta(days=7)
"""How long a query that does not run is waited for: Kafka keeps its changes no longer (contracts/topics.py)."""
ORPHANED = timedelta(days=3)
"""A file younger than this may belong to a commit that is still under way."""
_SORTED = {"facts": "merchant_id ASC NULLS LAST, window_start ASC NULLS LAST"}
"""Facts of a merchant stand together, so that the files' statistics leave most of a partition out of its reads."""


@dataclass(frozen=True)
class Plan:
    """What is kept. ``retention``: how long facts stay, by the start of their window, to whole months of UTC."""

    keep: timedelta = timedelta(hours=24)
    retention: timedelta = timedelta(days=5 * 365 + 1)
    small_files: int = 5
    """A partition with so many small files is rewritten."""


@dataclass(frozen=True)
class Maintained:
    """What was done to one table."""

    table: str
    joined_files: int
    new_files: int
    expired_snapshots: int
    kept_snapshots: int
    orphans: int
    dropped_facts: int = 0


def run(lake: Lake, plan: Plan, jobs: Sequence[RollupState], tell: Callable[[str], None]) -> list[Maintained]:
    """Maintain every table of the lake. ``jobs``: what the last rollup, and the other jobs over closed days, have come to."""
    now = datetime.now(UTC)
    dropped = _drop(lake, now - plan.retention)
    done = []
    tables: list[tuple[str, list[int | None]]] = [
        (lake.facts, [each.facts for each in jobs]),
        (lake.merchants, [each.merchants for each in jobs]),
        (lake.users, []),
        *((name, []) for name in (first_seen.table(lake), lake.certificates) if lake.session.catalog.tableExists(name)),
    ]
    for table, since in tables:
        tell(f"{table}: joining small files")
        joined = _join(lake, table, plan.small_files)
        tell(f"{table}: expiring snapshots")
        snapshots = lake.snapshots(table)
        kept = set().union(*(needed(snapshots, now, plan.keep, each) for each in since or [None]))
        expired = [each.id for each in snapshots if each.id not in kept]
        _expire(lake, table, expired)
        tell(f"{table}: looking for orphaned files")
        orphans = _call(lake, "remove_orphan_files", f"table => '{table}', older_than => {_timestamp(now - ORPHANED)}")
        done.append(
            Maintained(
                table,
                joined["rewritten_data_files_count"],
                joined["added_data_files_count"],
                len(expired),
                len(kept),
                len(orphans),
                dropped if table == lake.facts else 0,
            )
        )
    return done


def needed(snapshots: list[Retained], now: datetime, keep: timedelta, rolled: int | None) -> set[int]:
    """Ids of the snapshots that stay, of a table's (oldest first). ``rolled``: the one that the last rollup came to."""
    kept: set[int] = set()
    newest_of: dict[str, Retained] = {each.batch.rpartition(":")[0]: each for each in snapshots if each.batch}
    kept.update(each.id for each in newest_of.values() if now - each.at <= REMEMBERED)
    kept.update(each.id for each in snapshots if now - each.at <= keep)
    kept.update(each.id for each in snapshots[-1:])
    places = [place for place, each in enumerate(snapshots) if each.id == rolled or (rolled is not None and each.parent == rolled)]
    if places and now - snapshots[places[0]].at <= REMEMBERED:
        kept.update(each.id for each in snapshots[places[0] :])
    return kept


def _drop(lake: Lake, before: datetime) -> int:
    """Drop facts of windows before a month; whole partitions, so that no file is rewritten."""
    month = f"TIMESTAMP '{before:%Y-%m}-01 00:00:00'"
    found = lake.session.sql(f"SELECT count(*) FROM {lake.facts} WHERE window_start < {month}").first()  # noqa: S608 - names of our own
    assert found is not None
    if found[0]:
        lake.session.sql(f"DELETE FROM {lake.facts} WHERE window_start < {month}")  # noqa: S608
    return int(found[0])


def join_facts(lake: Lake, small_files: int = Plan.small_files) -> tuple[int, int]:
    """Join the small files of the facts only; how many there were of them, and how many they have become."""
    joined = _join(lake, lake.facts, small_files)
    return joined["rewritten_data_files_count"], joined["added_data_files_count"]


def _join(lake: Lake, table: str, small_files: int) -> Row:
    order = _SORTED.get(table.rpartition(".")[2])
    strategy = f", strategy => 'sort', sort_order => '{order}'" if order else ""
    options = f"map('min-input-files', '{small_files}', 'partial-progress.enabled', 'true', 'max-concurrent-file-group-rewrites', '1')"
    (row,) = _call(lake, "rewrite_data_files", f"table => '{table}'{strategy}, options => {options}")
    return row


def _expire(lake: Lake, table: str, ids: list[int]) -> None:
    if ids:
        # Nothing by age: the ids say it all.
        listed = ", ".join(f"{each}L" for each in ids)
        _call(
            lake, "expire_snapshots", f"table => '{table}', older_than => TIMESTAMP '1970-01-01 00:00:00', snapshot_ids => ARRAY({listed})"
        )


def _call(lake: Lake, procedure: str, arguments: str) -> list[Row]:
    return lake.session.sql(f"CALL {CATALOG}.system.{procedure}({arguments})").collect()


def _timestamp(instant: datetime) -> str:
    return f"TIMESTAMP '{instant:%Y-%m-%d %H:%M:%S}'"
