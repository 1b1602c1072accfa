"""The query service with the loop in Spark's planner that it keeps out (SPARK-58428): ``python -m tests.support.stuck_planner PORT``.

So the real engine is stuck in planning by `CASE WHEN window_start >= … THEN 1/0 ELSE 1 END = 1`, and does not hear that it is to stop.
"""

from __future__ import annotations

import os
import sys

import structlog
from starlette.applications import Starlette

from millrace_contracts.settings import RuntimeSettings
from millrace_processors.query import app, engine
from millrace_runtime import logs
from millrace_runtime.listening import port_for
from millrace_runtime.workers import serve

STUCK = "SELECT count(*) AS n FROM payments WHERE CASE WHEN window_start >= TIMESTAMP'2026-11-01' THEN 1/0 ELSE 1 END = 1"


def target() -> Starlette:
    """What the worker imports."""
    engine.SAFETY["spark.sql.optimizer.datasourceV2ExprFolding"] = "true"
    return app.target()


if __name__ == "__main__":
    port = port_for("127.0.0.1", int(sys.argv[1]))
    logs.configure(RuntimeSettings.load(os.environ), "query")
    structlog.get_logger().info("serving", url=f"http://127.0.0.1:{port}")
    serve("tests.support.stuck_planner:target", "127.0.0.1", port, kill_timeout=30)
