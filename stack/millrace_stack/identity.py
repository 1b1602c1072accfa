"""Which process is ours: a pid is reused, a pid with its start time within one boot is not.

The start time is that of /proc/<pid>/stat in clock ticks since boot: exact, and untouched by a change of the wall clock.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

OWNER = "MILLRACE_PROCESS"
"""Environment variable that carries a process's token to its children."""

_PROC = Path("/proc")


@dataclass(frozen=True)
class Identity:
    """One process of this machine since it was switched on."""

    pid: int
    started: int
    """Clock ticks from boot to start."""
    boot: str
    """The kernel's boot id."""


@dataclass(frozen=True)
class _Stat:
    state: str
    group: int
    started: int


def identify(pid: int) -> Identity | None:
    """Who runs under this pid; None where nobody does (a zombie has ended)."""
    stat = _stat(pid)
    if stat is None or stat.state in "ZX":
        return None
    return Identity(pid, stat.started, boot_id())


def alive(identity: Identity) -> bool:
    """Whether that very process still runs."""
    return identify(identity.pid) == identity


def boot_id() -> str:
    """Changes with every boot."""
    return (_PROC / "sys/kernel/random/boot_id").read_text().strip()


def send(identity: Identity, signum: signal.Signals) -> bool:
    """Signal that very process; False, and nothing sent, when it is gone or its pid is another's now."""
    with _held(identity.pid) as handle:
        return handle is not None and alive(identity) and _signal(handle, signum)


def send_group(identity: Identity, token: str, signum: signal.Signals) -> int:
    """Signal every process of its group; how many got it.

    A leader that is alive proves the group; after its death only processes that carry ``token`` in their environment belong.
    All are checked before the first is signalled: the leader's death must not take the proof from its children.
    """
    with ExitStack() as stack:
        held = [(pid, stack.enter_context(_held(pid))) for pid in members(identity, token)]
        ours = [handle for pid, handle in held if handle is not None and _belongs(pid, identity, token)]
        return sum(_signal(handle, signum) for handle in ours)


def members(identity: Identity, token: str) -> list[int]:
    """Pids of the group that are alive, the leader first."""
    if identity.boot != boot_id():
        return []
    return sorted((pid for pid in _pids() if _belongs(pid, identity, token)), key=lambda pid: pid != identity.pid)


def carrying(token: str) -> list[Identity]:
    """Processes whose environment carries the token, oldest first."""
    found = (identify(pid) for pid in _pids() if _has_token(pid, token))
    return sorted((each for each in found if each), key=lambda each: each.started)


@contextmanager
def _held(pid: int) -> Iterator[int | None]:
    """A pidfd: opened before a check of the process, it can not come to mean another one afterwards; None when there is none."""
    try:
        handle = os.pidfd_open(pid)
    except (ProcessLookupError, PermissionError):
        yield None
        return
    try:
        yield handle
    finally:
        os.close(handle)


def _signal(handle: int, signum: signal.Signals) -> bool:
    try:
        signal.pidfd_send_signal(handle, signum)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _belongs(pid: int, leader: Identity, token: str) -> bool:
    stat = _stat(pid)
    if stat is None or stat.state in "ZX":
        return False
    if pid == leader.pid:
        return stat.started == leader.started
    return stat.group == leader.pid and (alive(leader) or _has_token(pid, token))


def _has_token(pid: int, token: str) -> bool:
    try:
        return f"{OWNER}={token}".encode() in (_PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return False


def _stat(pid: int) -> _Stat | None:
    try:
        text = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    # The name, in parentheses, may itself hold spaces and parentheses: the fields begin after the last one (proc(5)).
    fields = text[text.rindex(")") + 2 :].split()
    return _Stat(state=fields[0], group=int(fields[2]), started=int(fields[19]))


def _pids() -> Iterator[int]:
    return (int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit())
