"""The state of connectors for a person or a script. Pure but for the two requests that it is read with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from millrace_cdc.connect.declarations import Declared
from millrace_cdc.connect.models import FAILED, RUNNING, Connector
from millrace_cdc.connect.plan import TARGET
from millrace_cdc.connect.redaction import Redactor
from millrace_cdc.connect.traces import in_short


@dataclass(frozen=True)
class Row:
    """One connector or task; ``task`` is None for the connector itself."""

    connector: str
    task: int | None
    state: str
    worker: str
    trouble: str
    """Its trace in short, or ""."""


@dataclass(frozen=True)
class Report:
    """The rows of the chosen connectors, and what is wrong in words; ``good`` when nothing is."""

    rows: list[Row]
    troubles: list[str]

    @property
    def good(self) -> bool:
        """Whether everything is in the state that it is declared to be in."""
        return not self.troubles

    def as_json(self) -> dict[str, Any]:
        """For --json and the operators' endpoint."""
        return {"good": self.good, "connectors": [asdict(row) for row in self.rows], "troubles": self.troubles}


def report(cluster: Mapping[str, Connector], declared: Sequence[Declared], only: Sequence[str], redactor: Redactor) -> Report:
    """The state of connectors: those of ``only``, or all on the cluster with those that are declared and missing."""
    wanted = {item.name: TARGET[item.state] for item in declared if item.state != "absent"}
    chosen = list(only) or sorted(cluster.keys() | wanted.keys())
    rows: list[Row] = []
    troubles: list[str] = []
    for name in chosen:
        connector = cluster.get(name)
        if connector is None:
            troubles.append(f"{name}: is not on the cluster; `millrace connect apply` creates it")
            rows.append(Row(name, None, "MISSING", "", ""))
            continue
        own = _rows(name, connector, redactor)
        rows += own
        troubles += _troubles(name, own, wanted.get(name))
    return Report(rows, troubles)


def _rows(name: str, connector: Connector, redactor: Redactor) -> list[Row]:
    if connector.status is None:
        return [Row(name, None, "UNKNOWN", "", "the cluster has no status of it yet")]
    own = connector.status.connector
    parts = [(None, own.state, own.worker_id, own.trace), *((t.id, t.state, t.worker_id, t.trace) for t in connector.status.tasks)]
    return [
        Row(name, task, state, worker, redactor.text(in_short(trace)) if trace or state == FAILED else "")
        for task, state, worker, trace in parts
    ]


def _troubles(name: str, rows: Sequence[Row], target: str | None) -> list[str]:
    own, tasks = rows[0], rows[1:]
    found = []
    for row in rows:
        if row.state == FAILED:
            found.append(f"{name}{'' if row.task is None else f' task {row.task}'}: FAILED: {row.trouble}")
        elif row.state in ("UNASSIGNED", "UNKNOWN", "RESTARTING"):
            found.append(f"{name}{'' if row.task is None else f' task {row.task}'}: {row.state}")
    if target and own.state not in (target, FAILED, "UNASSIGNED", "UNKNOWN", "RESTARTING"):
        found.append(f"{name}: is {own.state}, declared {target}")
    if own.state == RUNNING and not tasks:
        found.append(f"{name}: runs without a task")
    return found
