"""Two tenants whose queries are planned without end: the engine goes, a third tenant's query is answered, and the two wait."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.processors_query.conftest import Filled, filled  # noqa: F401
from tests.integration.processors_query.test_process import END, START, Running, serving
from tests.support.stuck_planner import STUCK
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.stack, pytest.mark.timeout(1_200)]
BOUNDS = {"MAX_RUNNING": "2", "TIMEOUT_SECONDS": "100", "GRACE_SECONDS": "5", "PENALTY_SECONDS": "3600"}


class Asking:
    """A caller."""

    def __init__(self, service: Running, *merchants: str) -> None:
        self.jobs = f"{service.url}/v1/query/jobs"
        self.headers = {"Authorization": f"Bearer {service.token(*merchants)}"}

    def ask(self, sql: str) -> str:
        answer = httpx.post(self.jobs, json={"sql": sql, "start": START, "end": END}, headers=self.headers, timeout=300)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def job(self, job_id: str) -> dict[str, Any]:
        """The job; empty while the service is away."""
        try:
            return dict(httpx.get(f"{self.jobs}/{job_id}", headers=self.headers, timeout=300).json())
        except httpx.TransportError:
            return {}

    def wait(self, job_id: str, state: str) -> dict[str, Any]:
        wait_until(lambda: self.job(job_id).get("state") == state, 400, f"the query is {state}")
        return self.job(job_id)


def test_queries_that_are_stuck_in_planning_cost_nobody_else_an_answer(filled: Filled, tmp_path: Path) -> None:  # noqa: F811
    environ = filled.environ | {"MILLRACE_HOME": str(tmp_path), "MILLRACE_SPARK_DRIVER_MEMORY": "700m"}
    environ |= {f"MILLRACE_QUERY_{name}": value for name, value in BOUNDS.items()}
    log = tmp_path / "serve.log"
    with serving(environ, log, ["tests.support.stuck_planner", "0"]) as service:
        first, second, third = (Asking(service, merchant) for merchant in ("m1", "m2", "m3"))
        stuck = [(caller, caller.ask(STUCK)) for caller in (first, second)]
        for caller, job in stuck:
            caller.wait(job, "running")
        waiting = third.ask("SELECT count(*) AS n FROM merchants")
        assert third.job(waiting)["state"] == "queued"
        wait_until(lambda: _unready(service.url), 200, "the service says that it has no slot")
        assert third.wait(waiting, "done")["rows"] == 1
        for caller, job in stuck:
            assert caller.wait(job, "failed")["error"]["code"] == "TIMEOUT"
        lines = log.read_text()
        assert ("query.unstoppable" in lines, "query.tenant_waits" in lines) == (True, True)
        metrics = httpx.get(f"{service.url}/metrics", timeout=60).text
        assert 'millrace_query_engines_replaced_total{at="statement"}' in metrics
        # Whoever ended an engine is behind everybody else until their time is over.
        guilty = next(caller for caller, job in stuck if f'"job": "{job}"' in lines or f'"job":"{job}"' in lines)
        held = guilty.ask("SELECT count(*) AS n FROM merchants")
        third.wait(third.ask("SELECT count(*) AS n FROM merchants"), "done")
        assert guilty.job(held)["state"] == "queued"


def _unready(url: str) -> bool:
    try:
        answer = httpx.get(f"{url}/ready", timeout=60)
    except httpx.TransportError:
        return False
    return answer.status_code == 503 and "still hold all 2 slots" in answer.json()["detail"]
