"""``millrace api``: serve the GraphQL and REST API."""

from __future__ import annotations

import os
import resource
import tempfile
from collections.abc import Mapping

import click

from millrace_contracts.settings import CassandraSettings, NamesSettings, RedisSettings, RuntimeSettings
from millrace_graphql.boards import FOLDER_VARIABLE
from millrace_graphql.settings import ApiSettings
from millrace_runtime import logs
from millrace_runtime.listening import address_for, port_for
from millrace_runtime.scheduling import schedule
from millrace_runtime.workers import serve

DEFAULT_PORT = 8000
KILL_SECONDS = 15
"""From SIGTERM to the end, whatever a request in flight does."""
RESPAWN_SECONDS = 5.0
"""How long a new worker starts beside the one whose place it takes."""


@click.command()
@click.option("--host", metavar="ADDRESS", help="Where to listen; MILLRACE_RUNTIME_HOST, 127.0.0.1 by default.")
@click.option("--port", type=click.IntRange(0, 65_535), default=DEFAULT_PORT, show_default=True, help="0 takes a free one.")
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Processes.")
@click.pass_obj
def api(settings: Mapping[str, str], host: str | None, port: int, workers: int) -> None:
    """Serve the GraphQL and REST API until SIGTERM or Ctrl-C.

    GraphQL at /graphql, GraphiQL at /graphiql, REST under /v1 with /docs and /openapi.json, and /health, /ready, /metrics.
    Cassandra may come later: until then /ready answers 503. SIGHUP puts new workers in the place of the old ones, which answer
    what they have taken and end.

    \b
    Example:
      millrace api --port 8000 --workers 2
    """
    runtime = RuntimeSettings.load(settings)
    # Every group is looked at here, so that a bad setting is one line now and not a worker that dies again and again.
    limits = ApiSettings.checked(settings)
    _allow_files(limits.max_connections * 2)
    schedule(runtime)  # workers inherit it
    for group in (NamesSettings, CassandraSettings, RedisSettings):
        group.load(settings)
    address = address_for(runtime, host)
    port = port_for(address, port)
    # Granian's workers are new processes: the merged settings reach them through the environment.
    os.environ.update({name: value for name, value in settings.items() if name.startswith("MILLRACE_")})
    logs.configure(runtime, "graphql")
    import structlog

    structlog.get_logger().info("serving", url=f"http://{address}:{port}", workers=workers)
    with tempfile.TemporaryDirectory(prefix="millrace-metrics-") as folder:
        os.environ[FOLDER_VARIABLE] = folder  # where each worker has its numbers, so that any of them shows all
        serve(
            "millrace_graphql.server:target",
            address,
            port,
            workers=workers,
            kill_timeout=KILL_SECONDS,
            respawn_interval=RESPAWN_SECONDS,
            backpressure=limits.max_connections,  # Granian counts connections, idle ones and subscriptions included
        )


def _allow_files(wanted: int) -> None:
    """Raise the soft limit of open files, a connection each, as far as the hard one lets us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if most > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
