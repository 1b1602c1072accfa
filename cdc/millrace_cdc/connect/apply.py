"""Carry out a plan: everything is validated by Connect before anything is changed, and what was changed is waited for."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence

from millrace_cdc.connect.client import ConnectClient
from millrace_cdc.connect.errors import AlreadyExistsError, InvalidConfigError, NotFoundError, NotSettledError, RefusedError
from millrace_cdc.connect.models import FAILED, PAUSED, RUNNING, STOPPED, ConnectorStatus
from millrace_cdc.connect.plan import Change
from millrace_cdc.connect.traces import in_short

SETTLE_SECONDS = 60.0
POLL_SECONDS = 0.2
STEADY_SECONDS = 1.0
"""So long a good state must last: right after an update the cluster still tells the state from before it."""

UNLISTED = (
    "capture.", "cursor.", "snapshot.collection.filter.", "topic.creation.", "producer.override.", "consumer.override.", "admin.override.",
)  # fmt: skip
"""Beginnings of keys that work and that validation does not list; seen with Debezium 3.6."""


def validate(client: ConnectClient, changes: Sequence[Change]) -> list[str]:
    """Ask Connect of every configuration that is to be stored; notes on keys that nothing there knows, which may be misspelt.

    Raises:
        InvalidConfigError: values are refused; nothing has been changed.
    """
    notes = []
    for change in changes:
        if change.kind not in ("create", "update"):
            continue
        try:
            answer = client.validate(change.name, change.config)
        except NotFoundError:
            plugin = change.config.get("connector.class", "")
            raise InvalidConfigError(change.name, [("connector.class", f"no worker has the plugin {plugin}")]) from None
        except RefusedError as error:
            raise InvalidConfigError(change.name, [("config", error.message)]) from None
        if answer.problems():
            raise InvalidConfigError(change.name, answer.problems())
        strange = sorted(key for key in change.config.keys() - answer.known() if not key.startswith(UNLISTED))
        notes += [f"{change.name}: validation does not know the key {key}; is it spelt right?" for key in strange]
    return notes


def execute(client: ConnectClient, changes: Sequence[Change], *, prune: bool, progress: Callable[[Change], None]) -> list[Change]:
    """Make the changes in order and tell ``progress`` each; returns those that were left because deletion was not asked for.

    Raises:
        ConnectError: Connect refused a change; those before it are made, and a new plan names what is left.
    """
    left = []
    for change in changes:
        if change.kind == "delete" and not prune:
            left.append(change)
            continue
        _make(client, change)
        progress(change)
    return left


def _make(client: ConnectClient, change: Change) -> None:
    if change.kind == "create":
        try:
            client.create(change.name, change.config, initial_state=change.target)
        except AlreadyExistsError:  # another apply was faster
            client.put_config(change.name, change.config)
    elif change.kind == "update":
        client.put_config(change.name, change.config)
    elif change.kind == "delete":
        client.delete(change.name)
    else:
        {RUNNING: client.resume, PAUSED: client.pause, STOPPED: client.stop}[change.target](change.name)


def settle(
    client: ConnectClient,
    targets: Mapping[str, str],
    *,
    seconds: float = SETTLE_SECONDS,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Wait until connectors are in their states (name -> RUNNING, PAUSED or STOPPED), a running one with all of its tasks.

    Raises:
        NotSettledError: one failed or the time is over; the message says why in short.
    """
    deadline, good_since = clock() + seconds, None
    while targets:
        waiting = {name: said for name, target in targets.items() if (said := _unsettled(client, name, target))}
        now = clock()
        if not waiting:
            good_since = now if good_since is None else good_since
            if now - good_since >= STEADY_SECONDS:
                return
        else:
            good_since = None
            _give_up(waiting, seconds, late=now >= deadline)
        sleep(POLL_SECONDS)


def _give_up(waiting: Mapping[str, tuple[bool, str]], seconds: float, *, late: bool) -> None:
    failed = {name: said for name, (final, said) in waiting.items() if final}
    if failed:
        raise NotSettledError("; ".join(f"{name} failed: {said}" for name, said in failed.items()))
    if late:
        how = f"did not come into its state within {seconds:.0f} s"
        raise NotSettledError("; ".join(f"{name} {how}: {said}" for name, (_, said) in waiting.items()))


def _unsettled(client: ConnectClient, name: str, target: str) -> tuple[bool, str] | None:
    """Why a connector is not in its state yet (and whether waiting is of no use), or None."""
    try:
        status = client.status(name)
    except NotFoundError:
        return False, "the cluster does not know it yet"
    failures = failed_parts(status)
    if failures and target == RUNNING:
        return True, failures[0]
    states = [status.connector.state, *(task.state for task in status.tasks)]
    if target == STOPPED:
        settled = status.connector.state == STOPPED and not status.tasks
    elif target == PAUSED:
        settled = set(states) == {PAUSED}
    else:
        settled = set(states) == {RUNNING} and len(states) > 1
    return None if settled else (False, f"it is {', '.join(states)}")


def failed_parts(status: ConnectorStatus) -> list[str]:
    """The failed connector and tasks of a status, each with its trace in short."""
    found = [f"connector: {in_short(status.connector.trace)}"] if status.connector.state == FAILED else []
    return found + [f"task {task.id}: {in_short(task.trace)}" for task in status.tasks if task.state == FAILED]


def targets(changes: Collection[Change]) -> dict[str, str]:
    """What to wait for after changes were made."""
    return {change.name: change.target for change in changes if change.kind != "delete"}
