"""Texts of others on a terminal and in a spreadsheet, against the Unicode database."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace_contracts.values.shown_text import csv_cell, in_cell, on_screen

TEXTS = st.text(st.sampled_from("=+-@\t\r\n\x1b\x07\x9b\u202e＝a") | st.characters(codec="utf-8"))


@given(TEXTS)
def test_nothing_that_is_shown_acts(text: str) -> None:
    for shown, kept in ((on_screen(text), "\t\n"), (in_cell(text), ""), (csv_cell(text), "\t\n")):
        acting = [each for each in shown if unicodedata.category(each) in ("Cc", "Zl", "Zp") or unicodedata.bidirectional(each) in TURNS]
        assert set(acting) <= set(kept)
    assert csv_cell(text)[:1] not in ("=", "+", "-", "@", "\t", "\r", "\n", "＝")


TURNS = frozenset(["LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"])


@given(st.text(st.characters(codec="utf-8", categories=("L", "M", "N", "P", "S", "Zs")), max_size=20))
def test_what_does_not_act_is_shown_as_it_is(text: str) -> None:
    assert on_screen(text) == in_cell(text) == text
    assert csv_cell(text) in (text, f"'{text}")


@pytest.mark.parametrize(
    ("text", "cell", "csv"),
    [
        ('=HYPERLINK("http://e","x")', '=HYPERLINK("http://e","x")', '\'=HYPERLINK("http://e","x")'),
        ("\x1b]0;owned\x07", "\\x1b]0;owned\\x07", "\\x1b]0;owned\\x07"),
        ("a\nb\tc\r", "a\\nb\\tc\\x0d", "a\nb\tc\\x0d"),
        ("\r=1", "\\x0d=1", "'\\x0d=1"),
        ("\u202eevil", "\\u202eevil", "\\u202eevil"),
        ("Café 👩‍👩‍👧", "Café 👩‍👩‍👧", "Café 👩‍👩‍👧"),
        ("", "", ""),
    ],
)
def test_a_text_is_shown_so(text: str, cell: str, csv: str) -> None:
    assert (in_cell(text), csv_cell(text)) == (cell, csv)
