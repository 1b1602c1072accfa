"""Texts of others as they are shown: on a terminal, and in a table that a spreadsheet opens.

They are refused at the door (``identifiers.no_control``), but what was stored before, or was written past it, still acts.
"""

from __future__ import annotations

import re

_LINES = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""Control characters, separators of lines, and what turns the direction of writing; not the tab and the line feed."""
_FORMULA = frozenset("=+-@\t\r\n＝＋－＠")
"""With what a cell begins that a spreadsheet takes for a formula, in both widths."""


def on_screen(text: str) -> str:
    """Lines that do nothing to a terminal: what acts is an escape such as ``\\x1b``."""
    return text if text.isprintable() else _LINES.sub(_escaped, text)


def in_cell(text: str) -> str:
    """One cell of a table on a terminal: as ``on_screen``, and on one line."""
    return text if text.isprintable() else on_screen(text).replace("\n", "\\n").replace("\t", "\\t")


def csv_cell(text: str) -> str:
    """A cell of CSV that a spreadsheet does not take for a formula: a quotation mark stands before what would be one."""
    shown = on_screen(text)
    return f"'{shown}" if text[:1] in _FORMULA else shown


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
