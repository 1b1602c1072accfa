"""What docs/ says of commands, settings, metrics and exit codes is what the code says."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from scripts import reference

from millrace_contracts import exit_codes
from tests.unit.docs.pages import ROOT

OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
INTERNAL = {
    "MILLRACE_API_METRICS_FOLDER",
    "MILLRACE_COLLECTION_SERVED_AT",
    "MILLRACE_PROCESS",
    "MILLRACE_RENEW_GOLDEN",
    "MILLRACE_STATIC",
}
"""What our processes tell their own children, and a switch of the tests."""


def code() -> list[Path]:
    return [path for path in ROOT.glob("*/millrace*/**/*.py") if ".venv" not in path.parts]


@pytest.mark.parametrize("page", sorted(set(reference.PAGES.values())))
def test_the_generated_parts_are_up_to_date(page: str) -> None:
    assert (ROOT / page).read_text() == reference.rendered(page), f"{page} is not what the code says: run `make docs`"


def test_every_command_has_its_section() -> None:
    page = (ROOT / "docs" / "commands.md").read_text()
    for path, _, _ in reference.every_command():
        assert re.search(rf"^##+ millrace {' '.join(path)}$", page, re.M), path


def test_every_variable_that_code_or_compose_names_is_described() -> None:
    described = set(re.findall(r"MILLRACE_[A-Z_]+", OPERATIONS))
    files = [*code(), ROOT / "docker-compose.yml", *(ROOT / "deploy" / "env").glob("*.example")]
    named = {name for path in files for name in re.findall(r"\bMILLRACE_[A-Z_]*[A-Z]\b(?!_)", path.read_text())}
    assert sorted(named - described - INTERNAL) == []


def test_every_described_variable_exists() -> None:
    known = {group.variable(field) for group in reference.settings_classes() for field in group.model_fields}
    files = [*code(), ROOT / "docker-compose.yml", *(ROOT / "deploy" / "env").glob("*.example")]
    named = {name for path in files for name in re.findall(r"MILLRACE_[A-Z_]+", path.read_text())}
    assert sorted(name for name in set(re.findall(r"`(MILLRACE_[A-Z_]*[A-Z])\b", OPERATIONS)) if name not in known | named) == []


def test_every_metric_in_the_code_is_described() -> None:
    made = r"(?:counter|gauge|Counter|Gauge|Histogram|MetricFamily)\(\s*\"(millrace_[a-z_]+)\""
    named = {name for path in code() for name in re.findall(made, path.read_text())}
    described = {name.removesuffix("_total") for name in re.findall(r"^\| `(millrace_[a-z_]+)`", OPERATIONS, re.M)}
    assert len(named) > 20
    assert sorted(named - described) == []


def test_every_exit_code_is_described() -> None:
    page = (ROOT / "docs" / "commands.md").read_text()
    described = {int(number) for number in re.findall(r"^\| (\d+) \|", page, re.M)}
    assert described == {value for name, value in vars(exit_codes).items() if name.isupper()}


def test_no_file_is_longer_than_400_lines() -> None:
    paths = [path for folder in ("*/millrace*", "tests", "scripts") for path in ROOT.glob(f"{folder}/**/*.py")]
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in paths}
    assert len(lengths) > 200
    assert {path: length for path, length in lengths.items() if length > 400} == {}


def test_every_benchmark_is_named_where_the_figures_are() -> None:
    runs = [path for path in (ROOT / "bench").glob("*.py") if f"python bench/{path.name}" in path.read_text()]
    assert len(runs) >= 3
    readme = (ROOT / "README.md").read_text()
    assert [path.name for path in runs if f"bench/{path.name}" not in readme] == []


def test_every_field_of_a_setting_has_a_meaning() -> None:
    plain = []
    for group in reference.settings_classes():
        documented = reference.field_docs(group)
        plain += [group.variable(name) for name in group.model_fields if name not in documented]
    assert sorted(set(plain) - reference.PLAIN_MEANINGS.keys()) == [], "write a docstring under the field"


def test_a_module_says_what_it_is_for() -> None:
    silent = [str(path.relative_to(ROOT)) for path in code() if not ast.get_docstring(ast.parse(path.read_text()))]
    assert silent == []
