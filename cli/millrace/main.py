"""Entry point of the ``millrace`` command.

Each subcommand lives in its tier (``<package>.cli``) and is imported when it is asked for, so that the API's image needs no Spark.
A subcommand gets the merged settings as ``ctx.obj``, a mapping of MILLRACE_ variables.
"""

from __future__ import annotations

import importlib
import io
import os
import sys
from pathlib import Path

import click

from millrace.environment import find_home, joined
from millrace_contracts import exit_codes
from millrace_contracts.settings import SettingsError

COMMANDS: dict[str, tuple[str, str, str]] = {
    "stack": ("millrace_stack.cli", "stack", "Start, stop and look at the local servers."),
    "demo": ("millrace_stack.demo.cli", "demo", "Run the whole pipeline here on real retail baskets."),
    "load": ("millrace_stack.load.cli", "load", "Post payments to the collection API at a rate."),
    "truth": ("millrace_stack.truth.cli", "truth", "Compare the API's answers with MongoDB itself."),
    "mongo-init": ("millrace_mongo_init.cli", "mongo_init", "Declare collections, validators, indexes and roles."),
    "collection": ("millrace_collection.cli", "collection", "Run the collection API and manage its keys."),
    "relay": ("millrace_cdc.cli", "relay", "Run the change-stream relay."),
    "topics": ("millrace_cdc.topics_cli", "topics", "Declare the Kafka topics."),
    "replay": ("millrace_cdc.replay.cli", "replay", "Send changes of the past again."),
    "bookmark": ("millrace_cdc.replay.bookmark_cli", "bookmark", "Name points of the change stream."),
    "connect": ("millrace_cdc.connect.cli", "connect", "Administer Kafka Connect."),
    "process": ("millrace_processors.cli", "process", "Run the analysis jobs."),
    "query": ("millrace_processors.query.cli", "query", "Ask ad-hoc SQL over payments and reports."),
    "api": ("millrace_graphql.cli", "api", "Run the GraphQL and REST API."),
    "token": ("millrace_graphql.token_cli", "token", "Make an access token for local use."),
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the flow."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command, or None where there is no such name."""
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        try:
            command: click.Command = getattr(importlib.import_module(module), attribute)
        except ModuleNotFoundError as error:
            extra = module.split(".")[0].removeprefix("millrace_").replace("_", "-")
            raise click.ClickException(f"{cmd_name} needs {error.name}: pip install 'millrace[{extra}]'") from None
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="millrace")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Merchant analytics driven by the database's own change stream."""
    home = find_home(os.environ, Path.cwd())
    try:
        ctx.obj = joined(os.environ, home)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def main() -> None:
    """Run the command; a user's mistake gets one line and an exit code, never a stack trace."""
    from millrace_runtime.screen import echo  # not at import: the help of the command imports no other package

    try:
        code = cli.main(standalone_mode=False)
    except click.exceptions.Abort:
        code = exit_codes.INTERRUPTED
    except SettingsError as error:
        echo(f"Error: {error}", err=True)
        code = exit_codes.USAGE
    except click.ClickException as error:
        told = io.StringIO()
        error.show(told)
        echo(told.getvalue(), err=True, nl=False)
        code = error.exit_code if error.exit_code != 1 else exit_codes.USAGE
    except BrokenPipeError:
        code = exit_codes.OK
    sys.exit(code if isinstance(code, int) else exit_codes.OK)
