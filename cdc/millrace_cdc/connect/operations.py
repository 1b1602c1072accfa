"""What an operator does with connectors; the commands and the HTTP endpoint are two faces of these functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

from millrace_cdc.connect import apply as applying
from millrace_cdc.connect.apply import failed_parts
from millrace_cdc.connect.errors import NotFoundError, RefusedError
from millrace_cdc.connect.models import PAUSED, RUNNING, STOPPED
from millrace_cdc.connect.plan import Change, foreign
from millrace_cdc.connect.session import Session
from millrace_cdc.connect.snapshots.left_out import LookError
from millrace_cdc.connect.status import Report, report
from millrace_contracts.values.shown_text import in_cell

Action = Literal["pause", "resume", "stop", "restart"]
ACTIONS: tuple[str, ...] = get_args(Action)
TARGETS: dict[str, str] = {"pause": PAUSED, "resume": RUNNING, "stop": STOPPED, "restart": RUNNING}
LEVELS = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL", "OFF")


def compare(session: Session) -> tuple[list[Change], list[str]]:
    """What differs between connect-config/ and the cluster, and notes on what is left alone."""
    cluster = session.client.connectors()
    notes = [f"{name} is on the cluster, is not ours and is left alone" for name in foreign(cluster, session.prefix)]
    return session.plan(cluster), notes


def current(session: Session, names: Sequence[str] = ()) -> Report:
    """The state now of the named connectors, or of all."""
    return report(session.client.connectors(), session.declared, [session.full(name) for name in names], session.redactor)


def tell_left_out(session: Session) -> list[str]:
    """Dead letters for what snapshots leave out (I4); a note on each collection, or on why nobody could look."""
    try:
        found = session.look.tell(session.declared) if session.look else []
    except LookError as error:
        return [f"{session.redactor.text(error.message)}; `millrace connect watch` looks again"]
    notes = []
    for collection in dict.fromkeys(each.collection for each in found):
        first, *more = (each for each in found if each.collection == collection)
        named = f"{in_cell(first.key.decode())}{f' and {len(more)} more' if more else ''}"
        notes.append(f"snapshots leave out of {collection}: {named}: {in_cell(first.reason)}; see the dead letters")
    return notes


def act(session: Session, action: Action, name: str, *, wait: float = applying.SETTLE_SECONDS) -> Report:
    """Pause, resume, stop or restart (with all tasks) one connector, wait until it is done, and answer its state.

    Raises:
        NotFoundError: there is no such connector.
        NotSettledError: it failed on the way, or takes longer than ``wait`` seconds (0 does not wait).
    """
    full = session.full(name)
    session.client.connector(full)  # pausing an unknown connector is accepted by Connect; this says that there is none
    if action == "restart":
        session.client.restart(full, tasks=True)
    else:
        {"pause": session.client.pause, "resume": session.client.resume, "stop": session.client.stop}[action](full)
    if wait:
        applying.settle(session.client, {full: TARGETS[action]}, seconds=wait)
    return current(session, [full])


def restart_failed(session: Session, names: Sequence[str] = (), *, wait: float = applying.SETTLE_SECONDS) -> tuple[list[str], Report]:
    """Restart what failed of the named connectors, or of all of ours; what was restarted, and the state after it.

    Raises:
        NotSettledError: something failed again, or takes longer than ``wait`` seconds (0 does not wait).
    """
    cluster = session.client.connectors()
    chosen = [session.full(name) for name in names] or [name for name in sorted(cluster) if name.startswith(session.prefix)]
    done = []
    for name in chosen:
        found = cluster.get(name)
        if found is None:
            raise NotFoundError(f"Connector {name} not found")
        if found.status and failed_parts(found.status):
            session.client.restart(name, tasks=True, only_failed=True)
            done.append(name)
    if wait and done:
        applying.settle(session.client, dict.fromkeys(done, RUNNING), seconds=wait)
    return done, current(session, chosen)


def restart_task(session: Session, name: str, task: int) -> Report:
    """Restart one task, whatever its state."""
    full = session.full(name)
    session.client.restart_task(full, task)
    return current(session, [full])


def describe(session: Session, name: str) -> dict[str, Any]:
    """All that the cluster knows of one connector, secrets hidden."""
    full = session.full(name)
    info = session.client.connector(full)
    return {
        "name": info.name,
        "type": info.type,
        **current(session, [full]).as_json(),
        "config": session.redactor.config(dict(sorted(info.config.items()))),
        "topics": session.client.topics(full),
        "offsets": [offset.model_dump() for offset in session.client.offsets(full)],
    }


def worker(session: Session) -> dict[str, Any]:
    """The worker that answers, and its health."""
    health = session.client.health()
    return {"url": session.client.url, **session.client.worker().model_dump(), "health": health.status, "message": health.message}


def set_level(session: Session, logger: str, level: str, *, cluster: bool) -> list[str]:
    """Set a logger's level on the worker that answers or on all of them; the loggers that changed."""
    wanted = level.upper()
    if wanted not in LEVELS:
        raise RefusedError(f"level {level!r} is not one of {', '.join(LEVELS)}")
    return session.client.set_logger(logger, wanted, cluster=cluster)
