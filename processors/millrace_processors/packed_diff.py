"""What packed days say otherwise than recomputed reports (I6). Runs in Spark's Python workers.

A day without a packed row is none that differs: the API reads its reports' rows then. So is one from a newer snapshot than was computed.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping, Sequence
from typing import Any

from cassandra.concurrent import execute_concurrent

from millrace_contracts import packed
from millrace_contracts.packed import DAY_MS
from millrace_contracts.reports import BREAKDOWNS, PACKED, PACKED_NUMBERS, PACKED_TABLE, SKETCHES
from millrace_contracts.windows import Grain, bucket, from_ms
from millrace_processors import packed_store, report_store
from millrace_processors.errors import ReportStoreError
from millrace_processors.report_diff import Key
from millrace_processors.report_store import FIRST_PAUSE, LONGEST_PAUSE, RETRIED, Target
from millrace_processors.reports import Reports
from millrace_processors.rollups import part

Content = dict[str, Any]
"""One report's values, by column of ``reports.CONTENT``."""


def differences(target: Target, reports: Reports) -> dict[Key, str]:
    """What differs in words, by key of the reports whose packed day holds something else; reports in order of merchant and start.

    Raises:
        ReportStoreError: Cassandra did not answer within the patience.
    """
    if not len(reports):
        return {}
    bounds = [*packed_store.starts_of_days(reports), len(reports)]
    days = [part(reports, low, high) for low, high in itertools.pairwise(bounds)]
    places = [(day.merchants[0], int(day.window_ms[0]) // DAY_MS * DAY_MS) for day in days]
    found: dict[Key, str] = {}
    for day, (merchant, day_ms), row in zip(days, places, _read(target, places), strict=True):
        if row is not None and row.version <= target.version:
            found |= _of_day(merchant, _computed(day), _packed(day_ms, {name: bytes(getattr(row, name)) for name in PACKED}))
    return found


def _of_day(merchant: str, ours: Mapping[tuple[int, str], Content], theirs: Mapping[tuple[int, str], Content]) -> dict[Key, str]:
    told = {}
    for (start_ms, currency), content in ours.items():
        there = theirs.get((start_ms, currency))
        if there != content:
            place = f"{merchant} {from_ms(start_ms):%Y-%m-%dT%H:%MZ} {currency}"
            told[merchant, start_ms, currency] = f"{place}, in its packed day: {_said(there, content)}"
    return told


def _said(there: Content | None, content: Content) -> str:
    if there is None:
        return "not there"
    other = [name for name, value in content.items() if there[name] != value]
    return ", ".join(f"{name} {there[name]} -> {content[name]}" if name in PACKED_NUMBERS else name for name in other)


def _computed(day: Reports) -> dict[tuple[int, str], Content]:
    columns = {name: [_plain(value) for value in column] for name, column in packed_store.columns(day).items()}
    return _by_key(day.window_ms.tolist(), day.currencies, columns)


def _packed(day_ms: int, data: Mapping[str, bytes]) -> dict[tuple[int, str], Content]:
    windows = packed.decode_windows(day_ms, data["windows"])
    numbers = packed.decode_numbers(data["numbers"])
    columns: dict[str, list[Any]] = {name: column.tolist() for name, column in zip(PACKED_NUMBERS, numbers, strict=True)}
    columns |= {name: [_plain(value) for value in packed.decode_maps(data[name])] for name in BREAKDOWNS}
    columns |= {name: list(packed.decode_blobs(data[name])) for name in SKETCHES}
    return _by_key(windows.starts.tolist(), windows.currencies.tolist(), columns)


def _by_key(starts: Sequence[int], currencies: Sequence[str], columns: Mapping[str, Sequence[Any]]) -> dict[tuple[int, str], Content]:
    contents = zip(*columns.values(), strict=True)
    keys = zip(starts, map(str, currencies), strict=True)
    return {key: dict(zip(columns, content, strict=True)) for key, content in zip(keys, contents, strict=True)}


def _plain(value: Any) -> Any:
    """A breakdown's pairs and a number as both sides write them."""
    if isinstance(value, dict):
        return {name: tuple(pair) for name, pair in value.items()}
    return value if isinstance(value, bytes) else int(value)


def _read(target: Target, places: list[tuple[str, int]]) -> list[Any]:
    """The packed row of each (merchant, day); None where there is none."""
    deadline, pause = time.monotonic() + target.patience_seconds, FIRST_PAUSE
    where = "merchant_id = ? AND bucket = ? AND day = ?"
    text = f"SELECT version, {', '.join(PACKED)} FROM {target.keyspace}.{PACKED_TABLE} WHERE {where}"  # noqa: S608 - names of our own
    arguments = [(merchant, bucket(Grain.TEN_MINUTES, from_ms(day)), from_ms(day)) for merchant, day in places]
    while True:
        try:
            session = report_store.session(target.cassandra)
            statement = report_store.prepared(session, text)
            answers = execute_concurrent(session, [(statement, each) for each in arguments], concurrency=target.inflight)
            return [answer.result_or_exc.one() for answer in answers]
        except RETRIED as error:
            if time.monotonic() > deadline:
                raise ReportStoreError(f"Cassandra did not answer within {target.patience_seconds:.0f} s: {error}") from error
        time.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE)
