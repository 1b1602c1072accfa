"""A Java stack trace in one line."""

from __future__ import annotations

import re

_CAUSE = re.compile(r"^Caused by: (.+)$", re.MULTILINE)
_CLASS = re.compile(r"^(?:[a-z_][\w$]*\.)+(?P<name>[A-Z][\w$]*)(?P<rest>:.*)?$", re.DOTALL)
_NOISE = re.compile(r" The full response is .*", re.DOTALL)
_LONGEST = 300


def in_short(trace: str | None) -> str:
    """The first line and the innermost cause, exception classes without their packages; never longer than 300 characters."""
    if not trace or not trace.strip():
        return "no trace"
    first = trace.strip().splitlines()[0]
    causes = _CAUSE.findall(trace)
    parts = [_bare(first)]
    if causes and _bare(causes[-1]) != parts[0]:
        parts.append(_bare(causes[-1]))
    text = " <- ".join(parts)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _bare(line: str) -> str:
    line = _NOISE.sub("", line)
    found = _CLASS.match(line.strip())
    return f"{found['name']}{found['rest'] or ''}" if found else line.strip()
