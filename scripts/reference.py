"""Write the parts of docs/ that follow from the code: commands, settings, metrics. `make docs` runs it; --check only compares.

A generated part stands between ``<!-- generated: NAME by `make docs` -->`` and ``<!-- end of NAME -->``; the rest is written by hand.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import prometheus_client
from prometheus_client import CollectorRegistry

from millrace.main import COMMANDS, cli
from millrace_contracts.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("contracts", "mongo-init", "collection", "cdc", "processors", "graphql", "stack")
PAGES = {"commands": "docs/commands.md", "settings": "docs/operations.md", "metrics": "docs/operations.md"}
RANGES = (click.IntRange, click.FloatRange)
SECRETS = re.compile(r"SECRET|PASSWORD|_URI$")
PLAIN_MEANINGS = {
    "MILLRACE_API_AUDIENCE": "Audience that an access token must name.",
    "MILLRACE_API_GRAPHIQL": "Whether GraphiQL is served.",
    "MILLRACE_API_INTROSPECTION": "Whether the schema may be asked for.",
    "MILLRACE_API_ISSUER": "Issuer that an access token must name; the default is refused in production.",
    "MILLRACE_API_LEEWAY_SECONDS": "Clocks may differ by so much when a token's times are checked.",
    "MILLRACE_API_MAX_ALIASES": "Aliases of one document.",
    "MILLRACE_API_MAX_BODY_BYTES": "Of one request.",
    "MILLRACE_API_MAX_DEPTH": "Depth of one document.",
    "MILLRACE_API_MAX_ROOT_FIELDS": "Fields at the root of one document.",
    "MILLRACE_API_MAX_TOKENS": "Tokens of one document.",
    "MILLRACE_CASSANDRA_LOCAL_DC": "The data centre that clients ask.",
    "MILLRACE_CASSANDRA_PASSWORD": "Of that login.",
    "MILLRACE_CASSANDRA_PORT": "Its native protocol.",
    "MILLRACE_CASSANDRA_REPLICATION": "Of the keyspace when it is made.",
    "MILLRACE_CASSANDRA_USERNAME": "Empty: no login.",
    "MILLRACE_COLLECTION_CACHE_ENTRIES": "Most entries of each cache.",
    "MILLRACE_COLLECTION_KEY_CACHE_SECONDS": "How long an API key is good without being looked up again.",
    "MILLRACE_COLLECTION_MAX_BODY_BYTES": "Of one command.",
    "MILLRACE_COLLECTION_MAX_LINE_BYTES": "Of one line of a bulk body.",
    "MILLRACE_COLLECTION_MERCHANT_CACHE_SECONDS": "The same of a merchant.",
    "MILLRACE_COLLECTION_USER_CACHE_SECONDS": "The same of a user.",
    "MILLRACE_CONNECT_PASSWORD": "Password of that user; the worker's container needs both too.",
    "MILLRACE_CONNECT_URL": "REST API of any worker of the cluster.",
    "MILLRACE_KAFKA_BOOTSTRAP": "Brokers, comma-separated.",
    "MILLRACE_MONGO_ADMIN_URI": "MongoDB as its administrator, for `mongo-init` only.",
    "MILLRACE_MONGO_COLLECTION_URI": "MongoDB as the collection tier's user.",
    "MILLRACE_MONGO_DEBEZIUM_URI": "MongoDB as Debezium's user; the Connect worker reads it.",
    "MILLRACE_MONGO_RELAY_URI": "MongoDB as the relay's user; behind several mongos name one of them.",
    "MILLRACE_MONGO_TRUTH_URI": "MongoDB as a user that only reads: `millrace truth`, `process audit`, `process reprocess`.",
    "MILLRACE_REDIS_URL": "The in-memory store.",
    "MILLRACE_RELAY_COLLECTION": "The collection that the relay captures.",
    "MILLRACE_RUNTIME_ENVIRONMENT": "`production` refuses the published default secrets.",
    "MILLRACE_RUNTIME_LOG_FORMAT": "`json`, or `console` for a person.",
    "MILLRACE_RUNTIME_LOG_LEVEL": "`debug`, `info`, `warning` or `error`.",
    "MILLRACE_SPARK_DRIVER_MEMORY": "Heap of the driver.",
    "MILLRACE_SPARK_EXECUTOR_MEMORY": "Heap of an executor.",
    "MILLRACE_STACK_CASSANDRA_HEAP_MB": "Its heap.",
    "MILLRACE_STACK_CONNECT_HEAP_MB": "Its heap.",
    "MILLRACE_STACK_KAFKA_HEAP_MB": "Its heap.",
    "MILLRACE_STACK_MONGO_CACHE_MB": "Its cache.",
    "MILLRACE_STACK_MONGO_OPLOG_MB": "Most that the oplog grows to.",
    "MILLRACE_STACK_REDIS_MEMORY_MB": "Where Redis begins to evict.",
    "MILLRACE_TOPICS_DIMENSION_PARTITIONS": "Of the topics of merchants and users.",
    "MILLRACE_TOPICS_PAYMENT_PARTITIONS": "Of the payments' topic.",
    "MILLRACE_TOPICS_REPLICATION_FACTOR": "Of topics that are made.",
}
"""What a setting means where its class says it in one sentence for all; a docstring under the field goes first."""


def cell(text: object) -> str:
    """A table cell."""
    return " ".join(str(text).split()).replace("|", "\\|")


def prose(text: str) -> str:
    """One line of text in which GitHub sees no HTML: ``<home>`` outside of backticks would vanish."""
    parts = " ".join(text.replace("``", "`").split()).split("`")
    return "`".join(part if index % 2 else part.replace("<", "&lt;") for index, part in enumerate(parts))


# --- commands --------------------------------------------------------------------------------------------------------------


def walk(
    command: click.Command, context: click.Context, path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], click.Command, click.Context]]:
    """A command and everything below it, as they are listed."""
    yield path, command, context
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            if below is not None and not below.hidden:
                yield from walk(below, click.Context(below, parent=context, info_name=name), (*path, name))


def every_command() -> Iterator[tuple[tuple[str, ...], click.Command, click.Context]]:
    """All commands, without the root."""
    root = click.Context(cli, info_name="millrace")
    for name in COMMANDS:
        command = cli.get_command(root, name)
        assert command is not None, name
        yield from walk(command, click.Context(command, parent=root, info_name=name), (name,))


def commands() -> str:
    """The reference of every command."""
    parts = ["| command | does |", "|---|---|"]
    found = list(every_command())
    parts += [f"| [`millrace {name}`](#millrace-{name}) | {cell(text)} |" for name, (_, _, text) in COMMANDS.items()]
    for path, command, context in found:
        level = "##" if len(path) == 1 else "###"
        usage = " ".join(["millrace", *path, *command.collect_usage_pieces(context)])
        parts += ["", f"{level} millrace {' '.join(path)}", "", f"`{usage}`", "", *_help(command), *_options(command, context)]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(parts))


def _help(command: click.Command) -> list[str]:
    lines: list[str] = []
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        if paragraph.startswith("\b\n"):
            lines += ["```text", *paragraph.removeprefix("\b\n").splitlines(), "```", ""]
        elif paragraph:
            lines += [prose(paragraph), ""]
    return lines


def _options(command: click.Command, context: click.Context) -> list[str]:
    rows = [
        f"| `{cell(_names(parameter, context))}` | {_default(parameter, context)} | {cell(prose(_meaning(parameter)))} |"
        for parameter in command.params
        if isinstance(parameter, click.Option) and not parameter.hidden
    ]
    return ["| option | default | meaning |", "|---|---|---|", *rows] if rows else []


def _names(option: click.Option, context: click.Context) -> str:
    names = ", ".join([*option.opts, *option.secondary_opts])
    if option.is_flag:
        return names
    return f"{names} {'N' if isinstance(option.type, RANGES) and not option.metavar else option.make_metavar(context)}"


def _meaning(option: click.Option) -> str:
    if not isinstance(option.type, RANGES):
        return option.help or ""
    low, high = option.type.min, option.type.max
    bounds = f"From {low}" + (f" to {high}" if high is not None else "") if low is not None else f"At most {high}"
    return f"{option.help} {bounds}." if option.help else f"{bounds}."


def _default(option: click.Option, context: click.Context) -> str:
    if option.required:
        return "required"
    value = option.get_default(context)
    return f"`{cell(value)}`" if option.show_default and value is not None and not option.is_flag else ""


# --- settings --------------------------------------------------------------------------------------------------------------


def settings_classes() -> list[type[Settings]]:
    """Every settings group, in the order of the flow."""
    found = []
    for folder in PACKAGES:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if re.search(r"\bclass \w+\(\w*Settings, group=", path.read_text()):
                module = importlib.import_module(".".join(path.relative_to(ROOT / folder).with_suffix("").parts))
                found += [
                    each
                    for each in vars(module).values()
                    if inspect.isclass(each) and issubclass(each, Settings) and each.__module__ == module.__name__ and each is not Settings
                ]
    return found


def settings() -> str:
    """One row a variable, with who reads it."""
    rows: dict[str, tuple[str, str]] = {}
    readers: dict[str, list[str]] = {}
    for group in settings_classes():
        documented = field_docs(group)
        reader = group.__module__.split(".")[0].removeprefix("millrace_").replace("_", "-")
        for name, field in group.model_fields.items():
            variable = group.variable(name)
            meaning = documented.get(name) or PLAIN_MEANINGS.get(variable) or name.replace("_", " ").capitalize()
            default = "required" if field.is_required() else _shown(variable, field.default)
            rows.setdefault(variable, (default, meaning))
            if reader not in readers.setdefault(variable, []):
                readers[variable].append(reader)
    lines = ["| variable | read by | default | meaning |", "|---|---|---|---|"]
    for variable, (default, meaning) in sorted(rows.items()):
        who = "shared" if "contracts" in readers[variable] else ", ".join(readers[variable])
        lines.append(f"| `{variable}` | {who} | {default} | {cell(prose(meaning))} |")
    return "\n".join(lines)


def _shown(variable: str, value: object) -> str:
    if SECRETS.search(variable):
        return "for local use only" if value else ""
    return f"`{cell(value)}`" if value not in ("", None) else ""


def field_docs(group: type[Settings]) -> dict[str, str]:
    """Field -> the docstring under it, also of a class that the group inherits from."""
    found = {}
    for each in reversed(group.__mro__):
        if issubclass(each, Settings) and each is not Settings:
            body = ast.parse(inspect.getsource(each)).body[0]
            assert isinstance(body, ast.ClassDef)
            for field, text in zip(body.body, body.body[1:], strict=False):
                if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr):
                    found[field.target.id] = inspect.cleandoc(str(ast.literal_eval(text.value)))
    return found


# --- metrics ---------------------------------------------------------------------------------------------------------------


def registries() -> dict[str, CollectorRegistry]:
    """Who exposes what; each tier's metrics as its process registers them."""
    from millrace_cdc.connect.watch import Metrics as WatchMetrics
    from millrace_cdc.state import RelayState
    from millrace_graphql.observability import REGISTRY as API
    from millrace_processors.metrics import Metrics as ProcessorsMetrics
    from millrace_processors.query.metrics import Metrics as QueryMetrics
    from millrace_processors.schedule import JobMetrics

    importlib.import_module("millrace_collection.metrics")
    relay = CollectorRegistry()
    RelayState(relay, "payments", 0)
    return {
        "collection": prometheus_client.REGISTRY,
        "relay": relay,
        "connect watch": WatchMetrics().registry,
        "process stream": ProcessorsMetrics().registry,
        "process rollup, customers, maintain, audit --every": JobMetrics().registry,
        "query serve": QueryMetrics().registry,
        "api": API,
    }


def metric_families() -> dict[str, tuple[str, str, str]]:
    """Name as Prometheus shows it -> (who, type, meaning)."""
    # Its registry is made with the application, which wants a Kafka Connect.
    found = {"millrace_operators_requests_total": ("connect serve", "counter", "Requests by operation and status.")}
    for who, registry in registries().items():
        for family in registry.collect():
            if family.name.startswith("millrace_"):
                name = f"{family.name}_total" if family.type == "counter" else family.name
                others = f"{found[name][0]}; " if name in found else ""
                found[name] = (others + who, family.type, family.documentation)
    return found


def metrics() -> str:
    """One row a metric."""
    rows = [f"| `{name}` | {who} | {kind} | {cell(prose(text))} |" for name, (who, kind, text) in metric_families().items()]
    return "\n".join(["| metric | of | type | meaning |", "|---|---|---|---|", *rows])


# --- pages -----------------------------------------------------------------------------------------------------------------


def rendered(page: str) -> str:
    """A page with its generated parts as the code has them now.

    Raises:
        ValueError: the page lacks the marks of a part.
    """
    text = (ROOT / page).read_text()
    makers: dict[str, Any] = {"commands": commands, "settings": settings, "metrics": metrics}
    for name in (name for name, where in PAGES.items() if where == page):
        begin, end = f"<!-- generated: {name} by `make docs` -->", f"<!-- end of {name} -->"
        before, found, rest = text.partition(begin)
        _, closed, after = rest.partition(end)
        if not (found and closed):
            raise ValueError(f"{page} has no part between {begin} and {end}")
        text = f"{before}{begin}\n\n{makers[name]()}\n\n{end}{after}"
    return text


def main() -> int:
    """Write the pages, or with --check name those that differ (exit code 1)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where a page is not what the code says")
    options = parser.parse_args()
    different = 0
    for page in sorted(set(PAGES.values())):
        text = rendered(page)
        if text != (ROOT / page).read_text():
            different += 1
            print(f"{page}: {'differs; run `make docs`' if options.check else 'written'}")
            if not options.check:
                (ROOT / page).write_text(text)
    return 1 if options.check and different else 0


if __name__ == "__main__":
    sys.exit(main())
