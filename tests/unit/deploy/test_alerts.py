"""The alert rules as Prometheus itself reads and runs them; what promtool runs stands in alerts.yml beside this file."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest

from millrace_cdc.state import RelayState
from millrace_processors.metrics import Metrics
from tests.unit.deploy.files import APPLICATION, DEPLOY

RULES = DEPLOY / "prometheus" / "alerts.yml"
SCRAPES = DEPLOY / "prometheus" / "prometheus.yml"
CASES = Path(__file__).with_name("alerts.yml")
needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool comes with Debian's package prometheus")


@needs_promtool
@pytest.mark.parametrize("words", [("check", "rules", RULES), ("check", "config", SCRAPES), ("test", "rules", CASES)], ids=lambda w: w[1])
def test_promtool_accepts(words: tuple[str | Path, ...]) -> None:
    ran = subprocess.run(["promtool", *map(str, words)], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def jobs() -> set[str]:
    return {each["job_name"] for each in yaml.safe_load(SCRAPES.read_text())["scrape_configs"]}


def test_every_service_of_ours_is_a_job_of_its_own_whose_absence_pages() -> None:
    assert jobs() == APPLICATION | {"prometheus"}
    rules = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
    [missing] = [rule for rule in rules if rule.get("alert") == "ProcessMissing"]
    assert sorted(re.findall(r'absent\(up\{job="([a-z-]+)"\}\)', missing["expr"])) == sorted(jobs())
    assert (missing["for"], missing["labels"]["severity"]) == ("2m", "page")


def test_a_runway_that_is_not_known_yet_is_not_told_as_none_left() -> None:
    registry = CollectorRegistry()
    RelayState(registry, "payments", 0)
    assert b'millrace_relay_oplog_runway_seconds{collection="payments",stream="0"} NaN' in generate_latest(registry)


def test_counters_of_a_query_begin_with_0_so_that_the_first_dead_letter_is_an_increase() -> None:
    metrics = Metrics()
    metrics.expect("payments")
    shown = generate_latest(metrics.registry)
    assert b'millrace_processors_dead_letters_total{query="payments"} 0.0' in shown
    assert b'millrace_processors_query_restarts_total{query="payments"} 0.0' in shown
