"""Every relative link of a page leads somewhere, to the very heading where it names one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.unit.docs.pages import ROOT, anchors, name_of, pages, prose

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_a_relative_link_resolves(page: Path) -> None:
    broken = []
    for target in LINK.findall(prose(page)):
        if "://" in target or target.startswith("mailto:"):
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        if not found.exists() or not found.is_relative_to(ROOT):
            broken.append(target)
        elif anchor and found.suffix == ".md" and anchor not in anchors(found):
            broken.append(f"{target}: no such heading")
    assert broken == []


def test_the_pages_that_code_points_to_exist() -> None:
    named = set()
    for path in [*ROOT.glob("*/millrace*/**/*.py"), ROOT / "docker-compose.yml", *(ROOT / "deploy").rglob("*.conf")]:
        named |= set(re.findall(r"\b[\w-]+/[\w./-]*\.md\b", path.read_text()))
    assert {"docs/commands.md", "deploy/README.md", "cdc/README.md"} <= named
    assert sorted(name for name in named if not (ROOT / name).is_file()) == []


def test_readmes_are_reached_from_the_first_one() -> None:
    seen, ahead = set(), [ROOT / "README.md"]
    while ahead:
        page = ahead.pop()
        if page in seen:
            continue
        seen.add(page)
        for target in LINK.findall(prose(page)):
            found = (page.parent / target.partition("#")[0]).resolve()
            ahead += [found / "README.md"] if found.is_dir() and (found / "README.md").is_file() else []
            ahead += [found] if found.suffix == ".md" and found.is_file() else []
    assert [name_of(page) for page in pages() if page not in seen] == []
