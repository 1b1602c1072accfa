"""Kafka Connect's REST API in memory: what ClientContract proves of it and of the real worker alike."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote

import httpx

CLASS = "io.debezium.connector.mongodb.MongoDbConnector"
WORKER = "127.0.0.1:8083"


class FakeConnect:
    """The handler of an httpx.MockTransport. ``busy`` 409 answers come before each of the next requests; ``log`` is what was asked."""

    def __init__(self) -> None:
        self.connectors: dict[str, dict[str, Any]] = {}
        self.known_keys = {"name", "connector.class", "tasks.max", "topic.prefix", "poll.interval.ms", "mongodb.connection.string"}
        self.busy = 0
        self.log: list[str] = []
        self.levels = {"root": {"level": "INFO", "last_modified": None}}

    def transport(self) -> httpx.MockTransport:
        """For the client."""
        return httpx.MockTransport(self)

    def fail(self, name: str, trace: str, task: int = 0) -> None:
        """Let a task fail."""
        self.connectors[name]["tasks"][task] = ("FAILED", trace)

    def __call__(self, request: httpx.Request) -> httpx.Response:  # noqa: C901 - a table of paths
        path = [unquote(part) for part in request.url.raw_path.decode().partition("?")[0].split("/")[1:]]
        body = json.loads(request.content) if request.content else None
        self.log.append(f"{request.method} {request.url.raw_path.decode()}")
        if self.busy:
            self.busy -= 1
            return error(409, "Cannot complete request momentarily due to stale configuration")
        match path:
            case [""]:
                return ok({"version": "4.3.1", "commit": "abc", "kafka_cluster_id": "k1"})
            case ["health"]:
                return ok({"status": "healthy", "message": "ready"})
            case ["connectors"] if request.method == "POST":
                return self._create(body)
            case ["connectors"] if "expand" in request.url.params:
                return ok({name: {"info": self._info(name), "status": self._status(name)} for name in self.connectors})
            case ["connectors"]:
                return ok(list(self.connectors))
            case ["connectors", name, *rest]:
                return self._connector(request, name, rest, body)
            case ["connector-plugins"]:
                return ok([{"class": CLASS, "type": "source", "version": "3.6.1.Final"}])
            case ["connector-plugins", plugin, *rest]:
                return self._plugin(plugin, rest, body)
            case ["admin", "loggers", *rest]:
                return self._loggers(request, rest, body)
        return error(404, "HTTP 404 Not Found")

    def _create(self, body: dict[str, Any]) -> httpx.Response:
        name = body["name"]
        if name in self.connectors:
            return error(409, f"Connector {name} already exists")
        self._put(name, body["config"], body.get("initial_state", "RUNNING"))
        return ok(self._info(name), 201)

    def _put(self, name: str, config: dict[str, str], state: str = "RUNNING") -> None:
        old = self.connectors.get(name, {"state": state, "offsets": []})
        self.connectors[name] = {**old, "config": {**config, "name": name}}
        self._set_state(name, old["state"])

    def _set_state(self, name: str, state: str) -> None:
        self.connectors[name]["state"] = state
        self.connectors[name]["tasks"] = [] if state == "STOPPED" else [(state, None)]

    def _info(self, name: str) -> dict[str, Any]:
        tasks = [{"connector": name, "task": index} for index in range(len(self.connectors[name]["tasks"]))]
        return {"name": name, "config": self.connectors[name]["config"], "tasks": tasks, "type": "source"}

    def _status(self, name: str) -> dict[str, Any]:
        found = self.connectors[name]
        tasks = [
            {"id": index, "state": state, "worker_id": WORKER, **({"trace": trace} if trace else {})}
            for index, (state, trace) in enumerate(found["tasks"])
        ]
        return {"name": name, "connector": {"state": found["state"], "worker_id": WORKER}, "tasks": tasks, "type": "source"}

    def _connector(self, request: httpx.Request, name: str, rest: list[str], body: Any) -> httpx.Response:  # noqa: C901 - a table too
        method = request.method
        if rest == ["config"] and method == "PUT":
            self._put(name, body)
            return ok(self._info(name))
        if name not in self.connectors:
            if rest in (["pause"], ["resume"]):
                return httpx.Response(202)
            return error(404, f"Connector {name} not found")
        found = self.connectors[name]
        match method, rest:
            case "GET", []:
                return ok(self._info(name))
            case "DELETE", []:
                del self.connectors[name]
                return httpx.Response(204)
            case "GET", ["config"]:
                return ok(found["config"])
            case "PATCH", ["config"]:
                merged = {**found["config"], **body}
                self._put(name, {key: value for key, value in merged.items() if value is not None})
                return ok(self._info(name))
            case "GET", ["status"]:
                return ok(self._status(name))
            case "PUT", [("pause" | "resume" | "stop") as action]:
                self._set_state(name, {"pause": "PAUSED", "resume": "RUNNING", "stop": "STOPPED"}[action])
                return httpx.Response(204 if action == "stop" else 202)
            case "POST", ["restart"]:
                self._set_state(name, found["state"])
                return ok(self._status(name), 202) if request.url.params else httpx.Response(204)
            case "GET", ["tasks"]:
                return ok([{"id": task, "config": found["config"]} for task in self._info(name)["tasks"]])
            case "GET", ["tasks", task, "status"] if int(task) < len(found["tasks"]):
                return ok(self._status(name)["tasks"][int(task)])
            case "POST", ["tasks", task, "restart"] if int(task) < len(found["tasks"]):
                found["tasks"][int(task)] = ("RUNNING", None)
                return httpx.Response(204)
            case "GET", ["topics"]:
                return ok({name: {"topics": found.get("topics", [])}})
            case "PUT", ["topics", "reset"]:
                found["topics"] = []
                return httpx.Response(200)
            case _, ["offsets"]:
                return self._offsets(method, found, body)
        return error(404, f"Unknown {'/'.join(rest)}")

    def _offsets(self, method: str, found: dict[str, Any], body: Any) -> httpx.Response:
        if method == "GET":
            return ok({"offsets": found["offsets"]})
        if found["state"] != "STOPPED":
            return error(400, "Connectors must be in the STOPPED state before their offsets can be modified.")
        if method == "DELETE":
            found["offsets"] = []
            return ok({"message": "The offsets for this connector have been reset successfully"})
        for entry in body["offsets"]:
            if entry["partition"] == {"server_id": found["config"].get("topic.prefix")}:
                found["offsets"] = [entry]
        return ok({"message": "The offsets for this connector have been altered successfully"})

    def _plugin(self, plugin: str, rest: list[str], body: Any) -> httpx.Response:
        if plugin != CLASS:
            return error(404, f"Failed to find any class that implements Connector and which name matches {plugin}")
        if rest == ["config"]:
            return ok([{"name": key, "type": "STRING", "required": False} for key in sorted(self.known_keys)])
        problems = {key: ["Invalid value"] for key, value in body.items() if key == "poll.interval.ms" and not value.isdigit()}
        configs: list[dict[str, Any]] = [
            {"definition": {"name": key}, "value": {"name": key, "value": body.get(key), "errors": problems.get(key, [])}}
            for key in sorted(self.known_keys)
        ]
        configs.append({"definition": {"name": "internal.hidden"}, "value": None})
        return ok({"name": CLASS, "error_count": len(problems), "groups": [], "configs": configs})

    def _loggers(self, request: httpx.Request, rest: list[str], body: Any) -> httpx.Response:
        if not rest:
            return ok(self.levels)
        if request.method == "PUT":
            self.levels[rest[0]] = {"level": body["level"], "last_modified": 1}
            return httpx.Response(204) if request.url.params else ok([rest[0]])
        return ok(self.levels[rest[0]]) if rest[0] in self.levels else error(404, f"Logger {rest[0]} not found.")


def ok(body: Any, status: int = 200) -> httpx.Response:
    """A good answer."""
    return httpx.Response(status, json=body)


def error(status: int, message: str) -> httpx.Response:
    """An answer as Connect words its errors."""
    return httpx.Response(status, json={"error_code": status, "message": message})
