"""Ids that become part of a path, and texts without control characters."""

from __future__ import annotations

import re

PATH_ID = "1 to 64 letters, digits or . _ ~ -, and neither . nor .."
"""What an id may be that needs no escaping in a path, in words. Clients take the segments ``.`` and ``..`` away (RFC 3986, 5.2.4)."""
_PATH_ID = re.compile(r"[A-Za-z0-9._~-]{1,64}")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_DOTS = frozenset([".", ".."])


def path_id(text: str) -> str:
    """An id that needs no escaping in a path.

    Raises:
        ValueError: it is longer, has other characters, or is a segment that clients take away.
    """
    if text in _DOTS or not _PATH_ID.fullmatch(text):
        raise ValueError(f"write {PATH_ID}")
    return text


def no_dot_segment(text: str) -> str:
    """A text that may stand, escaped, in a path.

    Raises:
        ValueError: it is ``.`` or ``..``, which clients take away even where they are escaped.
    """
    if text in _DOTS:
        raise ValueError("is no segment of a path; write something else than . and ..")
    return text


def no_control(text: str) -> str:
    """A text without control characters (C0, DEL, C1) and without line and paragraph separators.

    Raises:
        ValueError: names the first of them.
    """
    if text.isprintable():  # in C; what it refuses beyond control characters, such as U+200D in names of other scripts, is looked at below
        return text
    found = _CONTROL.search(text)
    if found:
        raise ValueError(f"holds the control character U+{ord(found[0]):04X} at position {found.start()}; write it without")
    return text
