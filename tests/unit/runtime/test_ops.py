"""The operators' endpoint over real HTTP on a free port."""

import json
import urllib.error
import urllib.request
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter

from millrace_runtime.ops import OpsServer


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_health_ready_and_metrics_tell_the_state() -> None:
    registry = CollectorRegistry()
    Counter("events", "Events.", registry=registry).inc(3)
    state: dict[str, Any] = {"ready": False}
    with OpsServer(registry, lambda: (state["ready"], {"kafka": "away"})) as server:
        assert get(server.address + "/health") == (200, '{"status":"alive"}')
        status, body = get(server.address + "/ready")
        assert (status, json.loads(body)) == (503, {"ready": False, "kafka": "away"})
        state["ready"] = True
        assert get(server.address + "/ready")[0] == 200
        assert "events_total 3.0" in get(server.address + "/metrics")[1]
        assert get(server.address + "/nothing")[0] == 404


def test_the_port_is_free_again_after_the_end() -> None:
    with OpsServer(CollectorRegistry(), lambda: (True, {})) as server:
        address = server.address
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(address + "/health", timeout=30)
