"""What recomputed reports change: their cells beside those that Cassandra holds, byte by byte (I6). Runs in Spark's Python workers."""

from __future__ import annotations

import itertools
import struct
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, ClassVar

from cassandra.cluster import Session
from cassandra.concurrent import execute_concurrent
from cassandra.cqltypes import BytesType
from cassandra.protocol import ProtocolHandler, ResultMessage
from cassandra.query import PreparedStatement

from millrace_contracts.reports import BREAKDOWNS, CONTENT, COUNTERS, REPORTS_TABLE
from millrace_contracts.windows import bucket, from_ms
from millrace_processors import report_store
from millrace_processors.errors import ReportStoreError
from millrace_processors.report_store import FIRST_PAUSE, LONGEST_PAUSE, RETRIED, Target
from millrace_processors.reports import Reports

EXAMPLES = 20
ABSENT = "not in the store"
_BIGINT = struct.Struct(">q")
_NUMBERS = frozenset((*COUNTERS, "revision"))
Cells = tuple[bytes | None, ...]
"""The CONTENT of one report in the protocol's bytes."""
Stored = tuple[int, Cells]
"""Version and cells of a stored report."""
Key = tuple[str, int, str]
"""Merchant, window start in ms, currency."""


@dataclass(frozen=True)
class Differences:
    """How many reports are equal, changed, or not in the store yet, and some of those that are not equal, in words.

    ``newer``: the store holds another one, of a version that is newer than the computed one; the store is right (I7).
    """

    equal: int = 0
    changed: int = 0
    added: int = 0
    newer: int = 0
    examples: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Verdict:
    """One report beside the store's: ``kind`` names the count of ``Differences``, ``text`` says what differs."""

    window_ms: int
    kind: str
    text: str = ""


def compare(target: Target, reports: Reports) -> Differences:
    """Compare reports with what the store holds for their keys.

    Raises:
        ReportStoreError: Cassandra did not answer within the patience.
    """
    found = verdicts(target, reports)
    kinds = Counter(each.kind for each in found)
    examples = [each.text for each in found if each.text][:EXAMPLES]
    return Differences(kinds["equal"], kinds["changed"], kinds["added"], kinds["newer"], examples)


def verdicts(target: Target, reports: Reports) -> list[Verdict]:
    """A verdict on each report. Raises as ``compare`` does."""
    ours = contents(reports)
    stored = _stored(target, list(ours))
    return [_verdict(key, stored.get(key), cells, target.version) for key, cells in ours.items()]


def _verdict(key: Key, found: Stored | None, cells: Cells, version: int) -> Verdict:
    if found is None:
        return Verdict(key[1], "added", told(key, None, cells))
    if found[1] == cells:
        return Verdict(key[1], "equal")
    if found[0] > version:
        return Verdict(key[1], "newer")
    return Verdict(key[1], "changed", told(key, found[1], cells))


def contents(reports: Reports) -> dict[Key, Cells]:
    """The CONTENT of each report, by key."""
    pack = _BIGINT.pack
    columns: list[Any] = [map(pack, reports.counters[name].tolist()) for name in COUNTERS]
    columns += [reports.breakdowns[name] for name in BREAKDOWNS]
    columns += [reports.customers, reports.amounts, map(pack, reports.revision.tolist())]
    keys = zip(reports.merchants, reports.window_ms.tolist(), reports.currencies, strict=True)
    return dict(zip(keys, zip(*columns, strict=True), strict=True))


def told(key: Key, found: Cells | None, cells: Cells) -> str:
    """One difference in words: numbers with both values, maps and sketches by name."""
    merchant, start_ms, currency = key
    place = f"{merchant} {from_ms(start_ms):%Y-%m-%dT%H:%MZ} {currency}"
    if found is None:
        return f"{place}: {ABSENT}; computed {_shown('payments', cells[0])} payments, gross {_shown('gross', cells[1])}"
    parts = (
        f"{name} {_shown(name, old)} -> {_shown(name, new)}" if name in _NUMBERS else name
        for name, old, new in zip(CONTENT, found, cells, strict=True)
        if old != new
    )
    return f"{place}: {', '.join(parts)}"


def _shown(name: str, cell: bytes | None) -> str:
    return "missing" if cell is None else str(_BIGINT.unpack(cell)[0])


def _stored(target: Target, keys: list[Key]) -> dict[Key, Stored]:
    """The stored reports of all reports in the ranges that keys span, partition by partition."""
    spans = []
    for (merchant, place), group in itertools.groupby(sorted(keys), key=lambda key: (key[0], bucket(target.grain, from_ms(key[1])))):
        starts = [start for _, start, _ in group]
        spans.append((merchant, target.grain.value, place, from_ms(starts[0]), from_ms(starts[-1])))
    return {(span[0], start, currency): stored for span, rows in _read(target, spans) for start, currency, stored in rows}


def _read(target: Target, spans: list[tuple[Any, ...]]) -> list[tuple[Any, list[tuple[int, str, Stored]]]]:
    deadline, pause = time.monotonic() + target.patience_seconds, FIRST_PAUSE
    while True:
        try:
            session, statement = _raw(report_store.session(target.cassandra), target.keyspace)
            answers = execute_concurrent(session, [(statement, span) for span in spans], concurrency=target.inflight)
            return [(span, [_row(row) for row in answer.result_or_exc]) for span, answer in zip(spans, answers, strict=True)]
        except RETRIED as error:
            if time.monotonic() > deadline:
                raise ReportStoreError(f"Cassandra did not answer within {target.patience_seconds:.0f} s: {error}") from error
        time.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE)


def _row(row: Any) -> tuple[int, str, Stored]:
    start, currency, version, *cells = row
    return _BIGINT.unpack(start)[0], currency.decode(), (0 if version is None else _BIGINT.unpack(version)[0], tuple(cells))


_RESULT = ProtocolHandler.message_types_by_opcode[ResultMessage.opcode]


class _RawResult(_RESULT):  # type: ignore[misc,valid-type]
    """Rows whose every cell is the bytes that it is made of: decoded values would compare no better and cost more."""

    column_metadata: Any

    def recv_results_metadata(self, *arguments: Any) -> None:
        super().recv_results_metadata(*arguments)
        self.column_metadata = [(*names, BytesType) for *names, _ in self.column_metadata or ()]


class _RawProtocol(ProtocolHandler):  # type: ignore[misc]
    message_types_by_opcode: ClassVar = {**ProtocolHandler.message_types_by_opcode, ResultMessage.opcode: _RawResult}


def _raw(session: Session, keyspace: str) -> tuple[Session, PreparedStatement]:
    """A session beside this process's own which leaves cells as they are, and the read in it."""
    cache: dict[str, tuple[Session, PreparedStatement]] = session.__dict__.setdefault("millrace_raw", {})
    if keyspace not in cache:
        raw = next((each for each, _ in cache.values()), None) or session.cluster.connect()
        raw.client_protocol_handler = _RawProtocol
        where = "merchant_id = ? AND grain = ? AND bucket = ? AND window_start >= ? AND window_start <= ?"
        columns = ", ".join(("window_start", "currency", "version", *CONTENT))
        statement = raw.prepare(f"SELECT {columns} FROM {keyspace}.{REPORTS_TABLE} WHERE {where}")  # noqa: S608
        statement.is_idempotent = True
        cache[keyspace] = raw, statement
    return cache[keyspace]
