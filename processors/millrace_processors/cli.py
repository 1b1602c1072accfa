"""``millrace process``: the analysis jobs."""

from __future__ import annotations

from collections.abc import Mapping

import click
import orjson

from millrace_processors import jobs_cli, reprocess_cli, upkeep_cli
from millrace_processors.command_errors import reported
from millrace_processors.settings import Config
from millrace_runtime import logs
from millrace_runtime.ops import OpsServer
from millrace_runtime.screen import echo
from millrace_runtime.stopping import StopSignal

QUERIES = ("payments", "merchants", "users")


@click.group()
def process() -> None:
    """Run the analysis jobs: change events in, reports out.

    \b
    millrace process tables     declare the tables of the lake and the report store
    millrace process stream     keep the reports up to date
    millrace process reprocess  compute reports again, and say what became different
    millrace process rollup     merge the reports of closed hours and days
    millrace process customers  count new and returning customers of closed days
    millrace process maintain   keep the lake's files and snapshots in order
    millrace process audit      compare MongoDB, Kafka, lake and reports, and repair
    """


process.add_command(reprocess_cli.reprocess)
process.add_command(jobs_cli.rollup)
process.add_command(jobs_cli.customers)
process.add_command(upkeep_cli.maintain)
process.add_command(upkeep_cli.audit)


@process.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of lines.")
@click.option("--store-only", is_flag=True, help="Only Cassandra's; `process stream` declares the lake's as it starts.")
@click.pass_obj
def tables(environ: Mapping[str, str], as_json: bool, store_only: bool) -> None:
    """Declare Cassandra's keyspace and tables and the lake's tables; safe to repeat, never drops data."""
    from millrace_processors import session, tables

    with reported():
        config = Config.load(environ)
        store, lake = tables.declare_store(config), []
        if not store_only:
            spark = session.build(config, "tables")
            lake = tables.declare_lake(config, spark)
            spark.stop()
    if as_json:
        echo(orjson.dumps({"store": store, "lake": lake}))
    else:
        echo("\n".join([*store, *lake]))


@process.command()
@click.option(
    "--trigger", default="10 seconds", show_default=True, help="How often a micro-batch begins, such as '5 seconds' or '1 minute'."
)
@click.option("--query", "names", multiple=True, type=click.Choice(QUERIES), help="Only these topics; default all. One driver each scales.")
@click.option("--ops-port", type=click.IntRange(0, 65535), default=0, show_default=True, help="Port of /health, /ready, /metrics; 0: any.")
@click.pass_obj
def stream(environ: Mapping[str, str], trigger: str, names: tuple[str, ...], ops_port: int) -> None:
    """Keep the reports up to date with the change events in Kafka, until Ctrl-C or SIGTERM.

    \b
    A batch that has begun is finished first. kill -9 at any instant is safe: the next start goes on from the
    checkpoint and gives the same reports.
    Example: millrace process stream --trigger '5 seconds'
             millrace process stream --query payments      the payments only, the rest in another driver
    Exit codes: 0 stopped, 2 a setting or topic is missing, 3 a server is away, 6 a query kept failing.
    """
    from millrace_processors import session, tables
    from millrace_processors.listener import ProgressListener
    from millrace_processors.metrics import Metrics
    from millrace_processors.streaming import Streaming

    with reported():
        config = Config.load(environ)
        logs.configure(config.runtime, "processors")
        stop = StopSignal().install()
        metrics = Metrics()
        spark = session.build(config, "stream")
        # Spark's own handler would tear the session down under a batch.
        stop.install()
        tables.declare_lake(config, spark)
        spark.streams.addListener(ProgressListener(metrics))
        job = Streaming(config, spark, metrics, names or QUERIES, trigger)
        with OpsServer(metrics.registry, job.readiness, config.runtime.host, ops_port):
            job.run(stop)
        spark.stop()
