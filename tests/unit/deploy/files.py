"""The deployment's files, read once."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[3]
DEPLOY = ROOT / "deploy"
VARIABLE = re.compile(r"\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<rule>:\?|:-|[^}:])?(?P<text>[^}]*)\}")

DATA_SERVERS = {"mongo", "kafka", "connect", "cassandra", "redis"}
JOBS = {"rollups", "customers", "maintenance", "audit"}
APPLICATION = {"collection", "relay", "connect-watch", "processors", "api", "query"} | JOBS
ONE_SHOTS = {"mongo-replica-set", "mongo-init", "topics", "connectors", "cassandra-roles", "tables"}
WATCHING = {"prometheus", "grafana"}


@cache
def compose() -> dict[str, Any]:
    """docker-compose.yml as its loader sees it, variables not yet filled in."""
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return loaded


def services() -> dict[str, dict[str, Any]]:
    """The services by name."""
    found: dict[str, dict[str, Any]] = compose()["services"]
    return found


def builds() -> dict[str, tuple[Path, dict[str, str]]]:
    """Service -> (Dockerfile, build arguments) of every service whose image is built here."""
    return {
        name: (ROOT / service["build"]["dockerfile"], service["build"].get("args", {}))
        for name, service in services().items()
        if "build" in service
    }


def example(name: str) -> dict[str, str]:
    """Variable -> value of an env example."""
    lines = (DEPLOY / "env" / name).read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
