"""The supervisor of a server's workers: it replaces one that died, and ends within its time however the signal to end reaches it.

Granian's own supervisor wakes its main thread by a ``threading.Event`` that the signal handler sets. Where workers end at that moment,
as after a SIGTERM to the whole process group, the main thread may hold the event's lock: it then waits for itself for ever. It may also
clear the event right after the handler has set it. So the handler here only writes to a pipe, which a thread reads.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from typing import Any

import structlog
from granian.constants import Interfaces, Loops
from granian.log import LogLevels
from granian.server.mp import MPServer

from millrace_contracts import exit_codes

RESPAWN_SECONDS = 2.0
"""An old worker is ended so long after the new one was started."""
RESERVE_SECONDS = 3
"""Of the time to end: for what follows after the workers were killed."""


def serve(
    target: str, address: str, port: int, *, workers: int = 1, kill_timeout: int, respawn_interval: float = RESPAWN_SECONDS, **options: Any
) -> None:
    """Serve an ASGI factory, ``package.module:name``, until SIGTERM or Ctrl-C; requests in flight are finished.

    ``kill_timeout``: seconds from the signal to the end of this process, whatever the workers do. A worker that dies is replaced,
    unless it dies again within seconds; then the supervisor ends with exit code 1.
    """
    Supervisor(
        target,
        factory=True,
        address=address,
        port=port,
        workers=workers,
        interface=Interfaces.ASGI,
        loop=Loops.uvloop,
        respawn_failed_workers=True,
        respawn_interval=respawn_interval,
        workers_kill_timeout=kill_timeout,
        log_level=LogLevels.warning,
        **options,
    ).serve()


class Supervisor(MPServer):
    """Granian's supervisor with a stop that cannot be missed and is bounded."""

    def startup(self, spawn_target: Any, target_loader: Any) -> None:
        """Open the pipe before there are signals to write to it."""
        assert self.workers_kill_timeout
        self._stop_seconds = self.workers_kill_timeout
        self.workers_kill_timeout = max(1, self.workers_kill_timeout - RESERVE_SECONDS)
        self._told, self._tell = os.pipe()
        threading.Thread(target=self._end, name="end", daemon=True).start()
        super().startup(spawn_target, target_loader)  # type: ignore[no-untyped-call]

    def signal_handler_interrupt(self, *_: Any, **__: Any) -> None:
        """Tell the thread; nothing that takes a lock is safe here."""
        if os.getpid() != self.pid:
            # A worker that was forked a moment ago and has no handlers of its own yet.
            os._exit(exit_codes.INTERRUPTED)
        self.interrupt_signal = True
        os.write(self._tell, b".")

    def signal_handler_reload(self, *_: Any, **__: Any) -> None:
        """SIGHUP: the same."""
        self.reload_signal = True
        os.write(self._tell, b".")

    def shutdown(self, exit_code: int = 0) -> None:
        """Workers that the same signal has reached have not failed."""
        try:
            super().shutdown(exit_code)  # type: ignore[no-untyped-call]
        except SystemExit:
            if exit_code or not self.interrupt_signal:
                raise

    def _end(self) -> None:
        while os.read(self._told, 1) and not self.interrupt_signal:
            self.main_loop_interrupt.set()
        deadline = time.monotonic() + self._stop_seconds - 1
        while time.monotonic() < deadline:
            self.main_loop_interrupt.set()
            time.sleep(0.1)
        structlog.get_logger().error("stop_took_too_long", seconds=self._stop_seconds)
        for worker in multiprocessing.active_children():
            worker.kill()
        os._exit(exit_codes.FATAL)
