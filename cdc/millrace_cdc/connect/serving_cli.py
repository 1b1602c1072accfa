"""``millrace connect watch`` and ``millrace connect serve``: the administrator as a long-running process."""

from __future__ import annotations

import os
from collections.abc import Mapping

import click
import structlog

from millrace_cdc.connect.screen import session
from millrace_cdc.connect.settings import AdminSettings
from millrace_cdc.connect.watch import Watch
from millrace_contracts import exit_codes
from millrace_contracts.identity import TokenSettings
from millrace_contracts.settings import RuntimeSettings
from millrace_runtime import logs
from millrace_runtime.listening import address_for, port_for
from millrace_runtime.ops import OpsServer
from millrace_runtime.stopping import StopSignal

PATIENCE = 10.0
"""Seconds that a look or a request waits for a rebalance: another look comes, another request can be sent."""


@click.command()
@click.option("--interval", type=click.FloatRange(0.2), default=5.0, show_default=True, metavar="SECONDS", help="Between two looks.")
@click.option("--all", "every", is_flag=True, help="Every connector of the cluster, not only ours.")
@click.option("--ops-port", type=click.IntRange(0, 65_535), default=0, metavar="PORT", help="Of /health, /ready, /metrics; 0: a free one.")
@click.pass_obj
def watch(environ: Mapping[str, str], interval: float, every: bool, ops_port: int) -> int:
    """Watch the connectors until SIGTERM or Ctrl-C: name what failed, and restart it with backoff.

    A first failure is restarted at once, then after 2, 4, 8 … seconds, at most every five minutes.
    A Connect that does not answer is waited for.

    \b
    Example:
      millrace connect watch --interval 5 --ops-port 9464
    """
    runtime = RuntimeSettings.load(environ)
    logs.configure(runtime, "connect-watch")
    stop = StopSignal().install()
    with session(environ, patience=PATIENCE) as open_session:
        watching = Watch(open_session, every=every)
        try:
            server = OpsServer(watching.metrics.registry, watching.readiness, runtime.host, ops_port)
        except OSError as error:
            raise click.UsageError(f"--ops-port: {ops_port}: {error.strerror}; choose another, 0 for a free one") from None
        with server:
            structlog.get_logger().info("watching", connect=open_session.client.url, ops=server.address, interval=interval)
            watching.run(stop, interval)
    return exit_codes.OK


@click.command()
@click.option("--host", metavar="ADDRESS", help="Where to listen; MILLRACE_RUNTIME_HOST, 127.0.0.1 by default.")
@click.option("--port", type=click.IntRange(0, 65_535), default=8090, show_default=True, help="0 takes a free one.")
@click.pass_obj
def serve(environ: Mapping[str, str], host: str | None, port: int) -> None:
    """Serve the same operations over HTTP for the operators' page, until SIGTERM or Ctrl-C.

    Every path under /v1/connect wants an access token of the role operator; /openapi.json tells them all.
    /health, /ready and /metrics are on the same port.

    \b
    Example:
      millrace connect serve --port 8090
      curl -H "Authorization: Bearer $(millrace token --role operator)" http://127.0.0.1:8090/v1/connect/connectors
    """
    from granian import Granian
    from granian.constants import Interfaces, Loops
    from granian.log import LogLevels

    runtime = RuntimeSettings.load(environ)
    # Looked at here, so that a bad setting is one line now and not a worker that dies again and again.
    TokenSettings.checked(environ)
    AdminSettings.load(environ)
    with session(environ, patience=PATIENCE):
        pass
    address = address_for(runtime, host)
    port = port_for(address, port)
    os.environ.update({name: value for name, value in environ.items() if name.startswith("MILLRACE_")})
    logs.configure(runtime, "connect-operators")
    structlog.get_logger().info("serving", url=f"http://{address}:{port}")
    Granian(
        "millrace_cdc.connect.http.app:target",
        factory=True,
        address=address,
        port=port,
        workers=1,
        interface=Interfaces.ASGI,
        loop=Loops.uvloop,
        respawn_failed_workers=True,
        workers_kill_timeout=15,
        log_level=LogLevels.warning,
    ).serve()


COMMANDS = (watch, serve)
