"""A server's worker and the supervisor that started it."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import time

from millrace_contracts import exit_codes

_PR_SET_PDEATHSIG = 1
GRACE_SECONDS = 15.0
"""From the supervisor's death to the end of a worker that its SIGTERM has not ended."""
LOOK_SECONDS = 1.0


def end_with_supervisor() -> None:
    """A worker whose supervisor was killed would go on holding the port: let the kernel end it too. To be called first in a worker.

    A server that is just starting may lose the kernel's SIGTERM. So a thread looks too, and ends the process when its time is over.

    Raises:
        SystemExit: the supervisor was killed before the kernel was told.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    supervisor = multiprocessing.parent_process()
    if supervisor is not None and os.getppid() != supervisor.pid:
        raise SystemExit(exit_codes.FATAL)
    if supervisor is not None:
        threading.Thread(target=_follow, args=(supervisor.pid,), name="supervisor", daemon=True).start()


def _follow(supervisor: int | None) -> None:
    while os.getppid() == supervisor:
        time.sleep(LOOK_SECONDS)
    time.sleep(GRACE_SECONDS)
    os._exit(exit_codes.FATAL)
