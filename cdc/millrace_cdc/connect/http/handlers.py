"""The operations behind the paths. Each takes a call and answers what becomes the JSON body."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from millrace_cdc.connect import apply as applying
from millrace_cdc.connect import offsets as guarded
from millrace_cdc.connect import operations
from millrace_cdc.connect.http.problems import Problem
from millrace_cdc.connect.operations import Action
from millrace_cdc.connect.plan import Change
from millrace_cdc.connect.session import Session

WAIT_SECONDS = 20.0
"""How long a request waits for a state; the page shows the state that there is when it is over."""
_PREFIX = "/v1/connect"


@dataclass(frozen=True)
class Call:
    """One request of an operator."""

    session: Session
    path: Mapping[str, Any]
    query: Mapping[str, str]
    body: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The connector of the path."""
        return str(self.path["name"])


Handler = Callable[[Call], Any]


@dataclass(frozen=True)
class Operation:
    """A method and path with its handler and what it does."""

    method: str
    path: str
    name: str
    text: str
    handler: Handler


def worker(call: Call) -> Any:
    """The worker that answers."""
    return operations.worker(call.session)


def status(call: Call) -> Any:
    """Every connector with its tasks, and what is wrong."""
    return operations.current(call.session).as_json()


def describe(call: Call) -> Any:
    """One connector, whole."""
    return operations.describe(call.session, call.name)


def act(call: Call) -> Any:
    """Pause, resume, stop or restart."""
    action = str(call.path["action"])
    if action not in operations.ACTIONS:
        raise Problem(404, f"{action!r:.20} is not one of {', '.join(operations.ACTIONS)}")
    if action == "restart" and call.query.get("failed") == "true":
        done, report = operations.restart_failed(call.session, [call.name], wait=WAIT_SECONDS)
        return {"restarted": done, **report.as_json()}
    return operations.act(call.session, cast("Action", action), call.name, wait=WAIT_SECONDS).as_json()


def restart_task(call: Call) -> Any:
    """Restart one task."""
    return operations.restart_task(call.session, call.name, int(call.path["task"])).as_json()


def restart_failed(call: Call) -> Any:
    """Restart whatever of ours failed."""
    done, report = operations.restart_failed(call.session, wait=WAIT_SECONDS)
    return {"restarted": done, **report.as_json()}


def plan(call: Call) -> Any:
    """What differs."""
    changes, notes = operations.compare(call.session)
    return {"changes": [change.row() for change in changes], "notes": notes + applying.validate(call.session.client, changes)}


def apply(call: Call) -> Any:
    """Make it so."""
    changes, notes = operations.compare(call.session)
    strange = applying.validate(call.session.client, changes)
    done: list[Change] = []
    left = applying.execute(call.session.client, changes, prune=call.query.get("prune") == "true", progress=done.append)
    applying.settle(call.session.client, applying.targets(done), seconds=WAIT_SECONDS)
    notes += strange + operations.tell_left_out(call.session)
    return {"applied": [change.row() for change in done], "left": [change.row() for change in left], "notes": notes}


def show_offsets(call: Call) -> Any:
    """Where a connector goes on."""
    return [guarded.row(entry) for entry in guarded.show(call.session, call.name)]


def set_offsets(call: Call) -> Any:
    """Make a stopped connector go on from ``{"resumeToken"}``, ``{"clusterTime": {"seconds", "ordinal"}}`` or ``{"offset"}``."""
    partition = call.body.get("partition")
    if partition is not None and not isinstance(partition, dict):
        raise Problem(422, "partition: is not an object")
    return guarded.move(call.session, call.name, _offset(call.body), partition).as_json()


def reset_offsets(call: Call) -> Any:
    """Remove the offsets of a stopped connector."""
    return guarded.reset(call.session, call.name).as_json()


def topics(call: Call) -> Any:
    """Topics that a connector has written to."""
    return call.session.client.topics(call.session.full(call.name))


def reset_topics(call: Call) -> Any:
    """Empty that list."""
    call.session.client.reset_topics(call.session.full(call.name))
    return topics(call)


def plugins(call: Call) -> Any:
    """What the worker has loaded."""
    found = call.session.client.plugins(connectors_only=call.query.get("all") != "true")
    return [plugin.model_dump(by_alias=True) for plugin in found]


def loggers(call: Call) -> Any:
    """Levels of the worker's loggers."""
    return {name: entry.model_dump() for name, entry in call.session.client.loggers().items()}


def set_logger(call: Call) -> Any:
    """Set a level: ``{"level": "DEBUG", "cluster": false}``."""
    level = call.body.get("level")
    if not isinstance(level, str):
        raise Problem(422, f"level: {level!r:.40} is not one of {', '.join(operations.LEVELS)}")
    changed = operations.set_level(call.session, str(call.path["logger"]), level, cluster=call.body.get("cluster") is True)
    return {"changed": changed}


def _offset(body: Mapping[str, Any]) -> dict[str, Any]:
    given = [name for name in ("resumeToken", "clusterTime", "offset") if name in body]
    if len(given) != 1:
        raise Problem(422, "the body needs exactly one of resumeToken, clusterTime and offset")
    value = body[given[0]]
    if given[0] == "resumeToken":
        return guarded.at_token(str(value))
    if not isinstance(value, dict):
        raise Problem(422, f"{given[0]}: is not an object")
    if given[0] == "offset":
        return dict(value)
    seconds, ordinal = value.get("seconds"), value.get("ordinal", 0)
    if not isinstance(seconds, int) or not isinstance(ordinal, int):
        raise Problem(422, "clusterTime: needs whole numbers, seconds and ordinal")
    return guarded.at_time(seconds, ordinal)


_ONE = _PREFIX + "/connectors/{name}"
OPERATIONS = (
    Operation("GET", _PREFIX, "worker", "The worker that answers: version, Kafka cluster, health.", worker),
    Operation("GET", f"{_PREFIX}/connectors", "status", "Connectors and tasks, and why one failed.", status),
    Operation("POST", f"{_PREFIX}/restart-failed", "restart-failed", "Restart whatever of ours failed.", restart_failed),
    Operation("GET", f"{_PREFIX}/plan", "plan", "What differs between connect-config/ and the cluster.", plan),
    Operation("POST", f"{_PREFIX}/apply", "apply", "Make the cluster as declared; ?prune=true deletes too.", apply),
    Operation("GET", f"{_PREFIX}/plugins", "plugins", "Plugins of the worker; ?all=true for every kind.", plugins),
    Operation("GET", f"{_PREFIX}/loggers", "loggers", "Levels of the worker's loggers.", loggers),
    Operation("PUT", _PREFIX + "/loggers/{logger}", "set-logger", "Set a level: {level, cluster}.", set_logger),
    Operation("GET", _ONE, "describe", "State, configuration (secrets hidden), topics and offsets of a connector.", describe),
    Operation("GET", f"{_ONE}/offsets", "offsets", "Where a connector goes on.", show_offsets),
    Operation("PATCH", f"{_ONE}/offsets", "set-offsets", "Move a stopped one: {resumeToken | clusterTime | offset}.", set_offsets),
    Operation("DELETE", f"{_ONE}/offsets", "reset-offsets", "Remove the offsets of a stopped connector.", reset_offsets),
    Operation("GET", f"{_ONE}/topics", "topics", "Topics that a connector has written to.", topics),
    Operation("DELETE", f"{_ONE}/topics", "reset-topics", "Empty the list of those topics.", reset_topics),
    Operation("POST", _ONE + "/tasks/{task:int}/restart", "restart-task", "Restart one task.", restart_task),
    Operation("POST", _ONE + "/{action}", "act", "pause, resume, stop or restart (?failed=true: what failed).", act),
)


def openapi() -> dict[str, Any]:
    """The operations as an OpenAPI 3.1 document."""
    paths: dict[str, dict[str, Any]] = {}
    for each in OPERATIONS:
        path = each.path.replace(":int", "")
        names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
        parameters = [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]
        answers = {"200": {"description": "Done."}, "default": {"description": "A problem (RFC 9457)."}}
        paths.setdefault(path, {})[each.method.lower()] = {
            "operationId": each.name, "summary": each.text, "parameters": parameters, "responses": answers,
        }  # fmt: skip
    return {
        "openapi": "3.1.0",
        "info": {"title": "Millrace: Kafka Connect for operators", "version": "1"},
        "paths": paths,
        "security": [{"operator": []}],
        "components": {"securitySchemes": {"operator": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}}},
    }
