"""The dashboard and the alert rules speak of metrics and labels that the code has."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml
from scripts import reference

from tests.unit.docs.pages import ROOT

PROMETHEUS = ROOT / "deploy" / "prometheus"
DASHBOARDS = sorted((ROOT / "deploy" / "grafana" / "dashboards").glob("*.json"))
RULES = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())
METRIC = re.compile(r"\bmillrace_[a-z_]+\b")


def rules() -> list[dict[str, Any]]:
    return [rule for group in RULES["groups"] for rule in group["rules"]]


RECORDED = {rule["record"] for rule in rules() if "record" in rule}


def alerts() -> list[dict[str, Any]]:
    return [rule for rule in rules() if "alert" in rule]


def panels() -> list[dict[str, Any]]:
    return [panel for path in DASHBOARDS for panel in json.loads(path.read_text())["panels"]]


def expressions() -> list[str]:
    return [rule["expr"] for rule in rules()] + [target["expr"] for panel in panels() for target in panel.get("targets", [])]


def series() -> set[str]:
    """Every name that Prometheus may store."""
    return {
        f"{name}{suffix}"
        for name, (_, kind, _) in reference.metric_families().items()
        for suffix in (("_bucket", "_sum", "_count") if kind == "histogram" else ("",))
    }


@pytest.mark.parametrize("expression", expressions())
def test_an_expression_speaks_of_metrics_that_exist(expression: str) -> None:
    names = set(METRIC.findall(expression))
    assert names or re.search(r"\bup\b", expression) or set(re.findall(r"\bmillrace:\w+", expression)) & RECORDED
    assert names <= series()
    for opening, closing in ("()", "{}", "[]"):
        assert expression.count(opening) == expression.count(closing)


@pytest.mark.parametrize("expression", expressions())
def test_an_expression_groups_by_labels_that_exist(expression: str) -> None:
    labels = {label.strip() for found in re.findall(r"\bby \(([^)]*)\)", expression) for label in found.split(",")}
    labels |= set(re.findall(r"[{,]\s*(\w+)\s*[=!]~?", expression))
    known = {"job"} | {label for metric in METRIC.findall(expression) for label in LABELS[re.sub(r"_(bucket|total)$", "", metric)]}
    assert labels - {"le"} <= known


def labels() -> dict[str, set[str]]:
    """Labels by family, of the collectors that the processes register."""
    found: dict[str, set[str]] = {}
    for registry in reference.registries().values():
        for collector in list(registry._collector_to_names):
            named = getattr(collector, "_labelnames", ())
            for family in collector.collect():
                found[family.name] = {*named, *(label for sample in family.samples for label in sample.labels)}
    return found


LABELS = labels()


def test_rules_are_named_by_prometheus_and_say_what_to_do() -> None:
    named = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())["rule_files"]
    assert [name for name in named if not (PROMETHEUS / name).is_file()] == []
    for rule in alerts():
        assert rule["labels"]["severity"] in ("page", "ticket"), rule
        assert rule["annotations"]["summary"].endswith("."), rule
    names = [rule["alert"] for rule in alerts()]
    assert len(names) == len(set(names)) > 5


def test_the_folder_that_grafana_looks_into_holds_the_dashboard() -> None:
    provider = yaml.safe_load((ROOT / "deploy" / "grafana" / "provisioning" / "dashboards" / "millrace.yaml").read_text())
    path = provider["providers"][0]["options"]["path"]
    mounts = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["grafana"]["volumes"]
    assert f"./deploy/grafana/dashboards:{path}:ro" in mounts
    assert [found.name for found in DASHBOARDS] == ["millrace.json"]


def test_panels_have_ids_of_their_own_and_do_not_overlap() -> None:
    ids = [panel["id"] for panel in panels()]
    assert len(ids) == len(set(ids))
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells


def test_every_panel_asks_the_declared_data_source() -> None:
    source = yaml.safe_load((ROOT / "deploy" / "grafana" / "provisioning" / "datasources" / "prometheus.yaml").read_text())
    uid = source["datasources"][0]["uid"]
    assert {target["datasource"]["uid"] for panel in panels() for target in panel.get("targets", [])} == {uid}
