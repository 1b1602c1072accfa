"""What differs between connect-config/ and the cluster. Pure: no I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from millrace_cdc.connect.declarations import Declared
from millrace_cdc.connect.models import PAUSED, RUNNING, STOPPED, Connector
from millrace_cdc.connect.redaction import Redactor

Sign = Literal["+", "~", "-", "!"]
Kind = Literal["create", "update", "state", "delete"]
TARGET = {"running": RUNNING, "paused": PAUSED, "stopped": STOPPED}
"""State in a file -> state on the cluster."""


@dataclass(frozen=True)
class Change:
    """One difference: ``+`` is missing, ``~`` differs, ``-`` is not declared and goes only where deletion is asked for."""

    sign: Sign
    kind: Kind
    name: str
    detail: str
    """What differs, secrets hidden."""
    config: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The declared configuration (create, update)."""
    target: str = RUNNING
    """The state that it is to have."""

    def line(self) -> str:
        """The change as a line for a person."""
        return f"{self.sign} {self.kind} {self.name}" + (f": {self.detail}" if self.detail else "")

    def row(self) -> dict[str, str]:
        """The change for --json."""
        return {"sign": self.sign, "kind": self.kind, "name": self.name, "detail": self.detail}


def plan(declared: Sequence[Declared], cluster: Mapping[str, Connector], prefix: str, redactor: Redactor) -> list[Change]:
    """Every change, creations and updates first, deletions last; empty when the cluster is as declared.

    ``prefix`` is what our connectors' names begin with: others on the same cluster are never touched.
    """
    changes: list[Change] = []
    wanted = {item.name for item in declared if item.state != "absent"}
    for item in declared:
        if item.state != "absent":
            changes += _one(item, cluster.get(item.name), redactor)
    surplus = [name for name in sorted(cluster) if name.startswith(prefix) and name not in wanted]
    absent = {item.name for item in declared}
    for name in surplus:
        why = "its file says absent" if name in absent else "no file declares it"
        changes.append(Change("-", "delete", name, f"{why}; apply --prune deletes it"))
    return changes


def foreign(cluster: Mapping[str, Connector], prefix: str) -> list[str]:
    """Connectors of others on the same cluster."""
    return [name for name in sorted(cluster) if not name.startswith(prefix)]


def _one(item: Declared, present: Connector | None, redactor: Redactor) -> list[Change]:
    target = TARGET[item.state]
    if present is None or present.info is None:
        return [Change("+", "create", item.name, f"{item.state}; {item.about}".rstrip("; "), item.config, target)]
    changes = []
    stored = {key: value for key, value in present.info.config.items() if key != "name"}
    differences = _differences(item.config, stored, redactor)
    if differences:
        changes.append(Change("~", "update", item.name, "; ".join(differences), item.config, target))
    state = present.status.connector.state if present.status else ""
    # FAILED, UNASSIGNED and RESTARTING are conditions of a connector that is meant to run: `status` tells them, not a plan.
    actual = state if state in (PAUSED, STOPPED) else RUNNING
    if actual != target:
        changes.append(Change("~", "state", item.name, f"is {actual.lower()}, declared {item.state}", target=target))
    return changes


def _differences(wanted: Mapping[str, str], stored: Mapping[str, str], redactor: Redactor) -> list[str]:
    found = []
    for key in sorted(wanted.keys() | stored.keys()):
        if key not in stored:
            found.append(f"{key} is missing")
        elif key not in wanted:
            found.append(f"{key} is not declared")
        elif wanted[key] != stored[key]:
            found.append(f"{key} is {_short(redactor.value(key, stored[key]))}, declared {_short(redactor.value(key, wanted[key]))}")
    return found


def _short(text: str, length: int = 60) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
