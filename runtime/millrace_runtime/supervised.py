"""A server's worker and the supervisor that started it."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys

from millrace_contracts import exit_codes

_PR_SET_PDEATHSIG = 1


def end_with_supervisor() -> None:
    """A worker whose supervisor was killed would go on holding the port: let the kernel end it too. To be called first in a worker.

    Raises:
        SystemExit: the supervisor was killed before the kernel was told.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    supervisor = multiprocessing.parent_process()
    if supervisor is not None and os.getppid() != supervisor.pid:
        raise SystemExit(exit_codes.FATAL)
