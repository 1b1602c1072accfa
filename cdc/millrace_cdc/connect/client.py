"""A client for all of the REST API of Kafka Connect (4.x): typed answers, typed errors, and the retries that rebalances need.

The rules it keeps, each seen on a real worker: 409 means that a rebalance or another change is under way and is asked again until
``patience`` seconds are over, except where it says that a name is taken; a request can block for 90 s while the leader is asked, so
the read timeout is longer; a worker that does not accept a connection is tried again, a request that was sent is repeated only
where repeating it changes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeVar, cast
from urllib.parse import quote

import httpx
from pydantic import TypeAdapter, ValidationError

from millrace_cdc.connect import errors
from millrace_cdc.connect.models import (
    ConfigKey,
    Connector,
    ConnectorInfo,
    ConnectorStatus,
    Health,
    LoggerLevel,
    Offsets,
    Plugin,
    SourceOffset,
    TaskConfig,
    TaskState,
    Validation,
    Worker,
)

T = TypeVar("T")

READ_TIMEOUT = 100.0
PATIENCE = 60.0
CONNECT_PATIENCE = 5.0
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 3.0
_REPEATABLE = frozenset(["GET", "PUT", "DELETE"])


class ConnectClient:
    """One Connect cluster; any of its workers answers for all. Safe to share between threads.

    ``login`` is user and password, where the cluster asks for them.
    """

    def __init__(
        self,
        url: str,
        *,
        login: tuple[str, str] | None = None,
        hide: Callable[[str], str] = lambda text: text,
        patience: float = PATIENCE,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.url = url.rstrip("/")
        self._hide, self._patience, self._sleep, self._clock = hide, patience, sleep, clock
        timeout = httpx.Timeout(READ_TIMEOUT, connect=5.0)
        self._http = httpx.Client(base_url=self.url, auth=login, timeout=timeout, transport=transport, trust_env=False)

    def __enter__(self) -> ConnectClient:
        return self

    def __exit__(self, *exc: object) -> None:
        self._http.close()

    # --- the worker ------------------------------------------------------------------------------------------------

    def worker(self) -> Worker:
        """Version and Kafka cluster of the worker that answers."""
        return self._read(Worker, "GET", "/")

    def health(self) -> Health:
        """Whether the worker has joined its group; an unhealthy one is an answer too, not an error."""
        answer = self._send("GET", "/health", accept=(500, 503))
        return _typed(Health, answer, "/health")

    # --- connectors ------------------------------------------------------------------------------------------------

    def names(self) -> list[str]:
        """Names of all connectors."""
        return self._read(list[str], "GET", "/connectors")

    def connectors(self) -> dict[str, Connector]:
        """Every connector with its stored configuration and its status, in one request."""
        return self._read(dict[str, Connector], "GET", "/connectors", params=[("expand", "info"), ("expand", "status")])

    def create(self, name: str, config: Mapping[str, str], *, initial_state: str | None = None) -> ConnectorInfo:
        """Create a connector; ``initial_state`` is RUNNING, PAUSED or STOPPED.

        Raises:
            AlreadyExistsError: the name is taken.
        """
        body = {"name": name, "config": dict(config), **({"initial_state": initial_state} if initial_state else {})}
        return self._read(ConnectorInfo, "POST", "/connectors", json=body)

    def connector(self, name: str) -> ConnectorInfo:
        """One connector."""
        return self._read(ConnectorInfo, "GET", _path(name))

    def config(self, name: str) -> dict[str, str]:
        """Its configuration as stored."""
        return self._read(dict[str, str], "GET", _path(name, "config"))

    def put_config(self, name: str, config: Mapping[str, str]) -> ConnectorInfo:
        """Create it or replace its whole configuration."""
        return self._read(ConnectorInfo, "PUT", _path(name, "config"), json=dict(config))

    def patch_config(self, name: str, changes: Mapping[str, str | None]) -> ConnectorInfo:
        """Change some keys; None removes a key."""
        return self._read(ConnectorInfo, "PATCH", _path(name, "config"), json=dict(changes))

    def delete(self, name: str) -> None:
        """Delete it; its offsets stay and serve a connector of the same name again."""
        self._send("DELETE", _path(name))

    def status(self, name: str) -> ConnectorStatus:
        """Its state and its tasks'."""
        return self._read(ConnectorStatus, "GET", _path(name, "status"))

    def pause(self, name: str) -> None:
        """Ask its tasks to pause; they stay on their workers."""
        self._send("PUT", _path(name, "pause"))

    def stop(self, name: str) -> None:
        """Ask it to stop: its tasks are shut down, its offsets may be changed."""
        self._send("PUT", _path(name, "stop"))

    def resume(self, name: str) -> None:
        """Ask a paused or stopped one to run."""
        self._send("PUT", _path(name, "resume"))

    def restart(self, name: str, *, tasks: bool = False, only_failed: bool = False) -> ConnectorStatus | None:
        """Restart the connector, its tasks too where asked for; with a flag Connect answers the state it begins with."""
        if not tasks and not only_failed:
            self._send("POST", _path(name, "restart"))
            return None
        params = [("includeTasks", _flag(tasks)), ("onlyFailed", _flag(only_failed))]
        return self._read(ConnectorStatus, "POST", _path(name, "restart"), params=params)

    # --- tasks, topics, offsets --------------------------------------------------------------------------------------

    def tasks(self, name: str) -> list[TaskConfig]:
        """Its tasks with their configurations."""
        return self._read(list[TaskConfig], "GET", _path(name, "tasks"))

    def task_status(self, name: str, task: int) -> TaskState:
        """The state of one task."""
        return self._read(TaskState, "GET", _path(name, "tasks", str(task), "status"))

    def restart_task(self, name: str, task: int) -> None:
        """Restart one task."""
        self._send("POST", _path(name, "tasks", str(task), "restart"))

    def topics(self, name: str) -> list[str]:
        """Topics that it has written to or read from since it was created or its list was reset."""
        answer = self._read(dict[str, dict[str, list[str]]], "GET", _path(name, "topics"))
        return sorted(answer.get(name, {}).get("topics", []))

    def reset_topics(self, name: str) -> None:
        """Empty that list."""
        self._send("PUT", _path(name, "topics", "reset"))

    def offsets(self, name: str) -> list[SourceOffset]:
        """Its committed offsets; empty until its first event."""
        return self._read(Offsets, "GET", _path(name, "offsets")).offsets

    def set_offsets(self, name: str, offsets: Sequence[SourceOffset]) -> str:
        """Replace offsets of a STOPPED connector; Connect's own sentence. A wrong partition is not refused: check it first.

        Raises:
            RefusedError: it is not stopped, or the connector refuses the offset.
        """
        body = {"offsets": [offset.model_dump() for offset in offsets]}
        return _message(self._send("PATCH", _path(name, "offsets"), json=body))

    def reset_offsets(self, name: str) -> str:
        """Remove all offsets of a STOPPED connector; Connect's own sentence."""
        return _message(self._send("DELETE", _path(name, "offsets")))

    # --- plugins -------------------------------------------------------------------------------------------------------

    def plugins(self, *, connectors_only: bool = True) -> list[Plugin]:
        """The plugins that the worker has loaded; converters, transformations and predicates too where asked for."""
        return self._read(list[Plugin], "GET", "/connector-plugins", params=[("connectorsOnly", _flag(connectors_only))])

    def plugin_config(self, plugin: str) -> list[ConfigKey]:
        """The keys of a plugin's configuration."""
        return self._read(list[ConfigKey], "GET", f"/connector-plugins/{quote(plugin, safe='')}/config")

    def validate(self, name: str, config: Mapping[str, str]) -> Validation:
        """What Connect and the connector say of a configuration before it is stored."""
        plugin = quote(config.get("connector.class", ""), safe="")
        return self._read(Validation, "PUT", f"/connector-plugins/{plugin}/config/validate", json={**config, "name": name})

    # --- loggers -------------------------------------------------------------------------------------------------------

    def loggers(self) -> dict[str, LoggerLevel]:
        """Loggers whose level is set."""
        return self._read(dict[str, LoggerLevel], "GET", "/admin/loggers")

    def logger(self, name: str) -> LoggerLevel:
        """One logger."""
        return self._read(LoggerLevel, "GET", f"/admin/loggers/{quote(name, safe='')}")

    def set_logger(self, name: str, level: str, *, cluster: bool = False) -> list[str]:
        """Set a level on the worker that answers, or on every worker; the loggers that changed (unknown for a cluster)."""
        params = [("scope", "cluster")] if cluster else []
        answer = self._send("PUT", f"/admin/loggers/{quote(name, safe='')}", json={"level": level}, params=params)
        return [] if answer is None else _typed(list[str], answer, "/admin/loggers")

    # --- how ---------------------------------------------------------------------------------------------------------------

    def _read(self, kind: type[T], method: str, path: str, **request: Any) -> T:
        return _typed(kind, self._send(method, path, **request), path)

    def _send(self, method: str, path: str, *, accept: Sequence[int] = (), **request: Any) -> Any:
        """The JSON of a good answer, None where it has no body."""
        started, pause = self._clock(), FIRST_PAUSE
        while True:
            reason, patience = "", self._patience
            try:
                answer = self._http.request(method, path, **request)
                if answer.is_success or answer.status_code in accept:
                    return _json(answer, path)
                failure: errors.ConnectError = self._failure(answer, path)
                if not isinstance(failure, errors.RebalancingError):
                    raise failure
            except httpx.TransportError as error:
                reason = self._hide(str(error) or type(error).__name__)
                failure = errors.UnreachableError(f"Kafka Connect does not answer at {self.url} ({reason}); is it up?")
                patience = min(CONNECT_PATIENCE, self._patience)
                # A POST or PATCH that may have reached the worker is not sent twice.
                if method not in _REPEATABLE and not isinstance(error, httpx.ConnectError):
                    raise failure from None
            if self._clock() - started + pause > patience:
                raise failure from None
            self._sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    def _failure(self, answer: httpx.Response, path: str) -> errors.ConnectError:
        status, said = answer.status_code, self._hide(_said(answer))
        if status == httpx.codes.UNAUTHORIZED:
            return errors.LoginError(
                f"Kafka Connect at {self.url} refuses the login; "
                "set MILLRACE_CONNECT_USERNAME and MILLRACE_CONNECT_PASSWORD to one of its users"
            )
        if status == httpx.codes.NOT_FOUND:
            return errors.NotFoundError(f"{said} (at {self.url})")
        if status == httpx.codes.CONFLICT:
            if "already exists" in said:
                return errors.AlreadyExistsError(said)
            return errors.RebalancingError(f"Kafka Connect is busy with a rebalance or another change ({said}); try again shortly")
        if status in (httpx.codes.BAD_REQUEST, httpx.codes.UNPROCESSABLE_ENTITY):
            return errors.RefusedError(said)
        return errors.WorkerError(f"Kafka Connect answered {status} to {path}: {said}")


def _path(name: str, *parts: str) -> str:
    return "/".join(["/connectors", quote(name, safe=""), *parts])


def _flag(value: bool) -> str:
    return "true" if value else "false"


def _json(answer: httpx.Response, path: str) -> Any:
    if not answer.content:
        return None
    try:
        return answer.json()
    except ValueError:
        raise errors.WorkerError(f"{path}: the answer is not JSON; is this address Kafka Connect's?") from None


def _typed(kind: type[T], answer: Any, path: str) -> T:
    try:
        validated: T = _adapter(cast("Any", kind)).validate_python(answer)
        return validated
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the answer"
        raise errors.WorkerError(f"{path}: {where}: {first['msg']}; is this address Kafka Connect's?") from None


@lru_cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    """Made once a type: making one takes longer than most requests."""
    return TypeAdapter(kind)


def _said(answer: httpx.Response) -> str:
    try:
        document = answer.json()
    except ValueError:
        document = None
    if isinstance(document, dict) and isinstance(document.get("message"), str):
        return " ".join(document["message"].split())
    return answer.reason_phrase or f"HTTP {answer.status_code}"


def _message(answer: Any) -> str:
    return str(answer.get("message", "")) if isinstance(answer, dict) else ""
