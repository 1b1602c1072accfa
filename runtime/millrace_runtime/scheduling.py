"""How the kernel shares its cores out among a server's threads."""

from __future__ import annotations

import os

from millrace_contracts.settings import RuntimeSettings


def schedule(settings: RuntimeSettings) -> bool:
    """Ask the kernel for the policy of the settings, for this process and all it starts; whether another than before was granted.

    A server in Python is two threads and more that wake each other for every request, and a thread that is woken takes the core from
    the one that works, before that one has come to an end of what it can do. With ``batch`` (Linux's SCHED_BATCH) it waits for its turn:
    the loop then finds more requests at once. See sched(7). Priorities stay as they are, and nobody needs a right for it.
    """
    if settings.scheduling == "normal" or not hasattr(os, "SCHED_BATCH"):
        return False
    try:
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    except OSError:  # a container's filter of system calls may refuse: costs speed only
        return False
    return True
