"""Decisions are numbered, dated, and listed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.unit.docs.pages import ROOT

FOLDER = ROOT / "docs" / "decisions"
DECISIONS = sorted(path for path in FOLDER.glob("*.md") if path.name != "README.md")


@pytest.mark.parametrize("path", DECISIONS, ids=lambda path: path.stem)
def test_a_decision_has_a_number_a_date_and_a_line_in_the_list(path: Path) -> None:
    title = re.match(r"# (\d{4}) \((\d{4}-\d{2}-\d{2})\): \S", path.read_text())
    assert title is not None, "begin with `# NNNN (YYYY-MM-DD): title`"
    assert path.name.startswith(f"{title[1]}-")
    assert re.search(rf"^\| {title[1]} \| \[.+\]\({path.name}\), {title[2]} \|$", (FOLDER / "README.md").read_text(), re.M)


def test_no_number_is_given_twice() -> None:
    numbers = [path.name[:4] for path in DECISIONS]
    assert len(numbers) == len(set(numbers))
