"""How far the rollups have come, as the progress table holds it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from cassandra.cluster import Session

from millrace_contracts.reports import PROGRESS_ROLLUPS, PROGRESS_TABLE
from millrace_contracts.values import zones
from millrace_contracts.windows import from_ms


@dataclass(frozen=True)
class RollupState:
    """What the last rollup was made of. ``lake``: the epoch of the facts table; ``facts``, ``merchants``: ids of snapshots."""

    through_ms: int
    lake: int
    facts: int
    merchants: int | None
    rules: Mapping[str, str] | None
    """Zone -> ``zones.digest`` of the rules that its days were made by, of all merchants' zones; None: by rules that were not noted."""
    parts: bool = True
    """Whether it was made by a version that knows parts of reports, and days that begin inside of one."""

    def moved(self) -> list[str] | None:
        """The zones whose rules have changed since; None: any may have."""
        return None if self.rules is None else [zone for zone, digest in self.rules.items() if digest != zones.digest(zone)]


class RollupProgress:
    """The row of the rollups, or of another job over closed windows, in the progress table, beside that of the reports."""

    def __init__(self, session: Session, keyspace: str, name: str = PROGRESS_ROLLUPS) -> None:
        self._session, self._name = session, name
        table = f"{keyspace}.{PROGRESS_TABLE}"
        self._read = session.prepare(f"SELECT to_unix_timestamp(complete_through) AS through, detail FROM {table} WHERE name = ?")  # noqa: S608
        # Stamped with the instant itself: a rollup that is behind can not take it back (I7).
        self._through = session.prepare(f"INSERT INTO {table} (name, complete_through) VALUES (?, ?) USING TIMESTAMP ?")  # noqa: S608 - a name of our own
        self._rest = session.prepare(f"INSERT INTO {table} (name, updated_at, version, detail) VALUES (?, to_timestamp(now()), ?, ?)")  # noqa: S608

    def load(self) -> RollupState | None:
        """What was saved last."""
        row = self._session.execute(self._read, (self._name,)).one()
        if row is None or row.through is None or not row.detail:
            return None
        detail = json.loads(row.detail)
        known = {"parts": detail.get("parts", False)}
        return RollupState(row.through, detail["lake"], detail["facts"], detail["merchants"], detail.get("zones"), **known)

    def save(self, state: RollupState, version: int) -> None:
        """Write it; only once the hours and days that it speaks of are in the store."""
        made = {"lake": state.lake, "facts": state.facts, "merchants": state.merchants}
        detail = json.dumps({**made, "zones": state.rules, "parts": state.parts})
        self._session.execute(self._rest, (self._name, version, detail))
        self._session.execute(self._through, (self._name, from_ms(state.through_ms), state.through_ms * 1000))
