"""The pages for people, as the tests of the docs read them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
_FENCE = re.compile(r"^```.*?^```$", re.M | re.S)


def pages() -> list[Path]:
    """Every Markdown file of ours."""
    return sorted(path for path in ROOT.rglob("*.md") if not _hidden(path))


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") or part == "node_modules" for part in path.relative_to(ROOT).parts)


def name_of(path: Path) -> str:
    """For test ids."""
    return str(path.relative_to(ROOT))


def code_lines(path: Path) -> Iterator[str]:
    """Lines of code blocks, fenced or indented."""
    text = path.read_text()
    for block in _FENCE.findall(text):
        yield from block.splitlines()[1:-1]
    after_blank = True
    for line in _FENCE.sub("", text).splitlines():
        if line.startswith("    ") and after_blank:
            yield line.strip()
        else:
            after_blank = not line.strip()


def inline_code(path: Path) -> list[str]:
    """Texts between single backticks, outside of code blocks."""
    return re.findall(r"(?<!`)`([^`\n]+)`(?!`)", _FENCE.sub("", path.read_text()))


def prose(path: Path) -> str:
    """The page without any code."""
    return re.sub(r"`[^`\n]*`", "", _FENCE.sub("", path.read_text()))


def anchors(path: Path) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", _FENCE.sub("", path.read_text()), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
