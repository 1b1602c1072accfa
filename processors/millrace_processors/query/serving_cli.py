"""``millrace query serve``: the query service as a long-running process."""

from __future__ import annotations

import os
from collections.abc import Mapping

import click

from millrace_contracts.settings import RuntimeSettings
from millrace_processors.command_errors import reported
from millrace_processors.query.settings import QueryConfig
from millrace_runtime import logs
from millrace_runtime.listening import address_for, port_for

DEFAULT_PORT = 8085


@click.command()
@click.option("--host", metavar="ADDRESS", help="Where to listen; MILLRACE_RUNTIME_HOST, 127.0.0.1 by default.")
@click.option("--port", type=click.IntRange(0, 65_535), default=DEFAULT_PORT, show_default=True, help="0 takes a free one.")
@click.pass_obj
def serve(environ: Mapping[str, str], host: str | None, port: int) -> None:
    """Serve ad-hoc queries until SIGTERM or Ctrl-C, in a Spark of this process's own.

    REST under /v1/query; /health, /ready and /metrics on the same port. A stop cancels what runs; the queries that had not ended are then
    `lost` and are asked again by their callers, while results that are done outlive a restart until they expire. A query that does not end
    has its Spark replaced, and everybody else's jobs are taken up again.

    \b
    Example:
      millrace query serve --port 8085
      curl -H "Authorization: Bearer $(millrace token --merchant ID)" http://127.0.0.1:8085/v1/query/views
    Exit codes: 0 stopped, 2 a setting is missing or bad or the port is taken.
    """
    from millrace_runtime.workers import serve as serve_with

    runtime = RuntimeSettings.load(environ)
    # Looked at here, so that a bad setting is one line now and not a worker that dies again and again.
    with reported():
        QueryConfig.load(environ)
    address = address_for(runtime, host)
    port = port_for(address, port)
    # Granian's worker is a new process: the merged settings reach it through the environment.
    os.environ.update({name: value for name, value in environ.items() if name.startswith("MILLRACE_")})
    logs.configure(runtime, "query")
    import structlog

    structlog.get_logger().info("serving", url=f"http://{address}:{port}")
    # One worker: the jobs and their queue are that process's own.
    serve_with("millrace_processors.query.app:target", address, port, kill_timeout=30)
