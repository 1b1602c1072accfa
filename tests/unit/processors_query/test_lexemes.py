"""Lexemes of a query: what each text holds, and that no other reader finds other ones in what is written from them."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace_processors.query.errors import RefusedError
from millrace_processors.query.text.lexemes import Kind, lexemes, masked

TEXTS = {
    # as Spark 4.1 reads them
    "'O''Brien'": "O'Brien",
    "''''": "'",
    "''": "",
    "'HH''h'''": "HH'h'",
    "'a' 'b'": "ab",
    "'a' -- and\n\"b\"": "ab",
    '"O""B\'x"': "O\"B'x",
    "'a\"\"b'": 'a""b',
    r"r'a\n'": r"a\n",
    r"R'a''b'": "ab",
    r'R"a\n"': r"a\n",
    r"'\101\u0041\U0001F600\%\_\x\Z\0\z'": "AA\U0001f600\\%\\_x\x1a\0z",
    r"'\ud83d\ude00'": "\U0001f600",
    "'\\\\'": "\\",
    "'it\\'s'": "it's",
}
TOKENS = [
    "SELECT", "x1", "`a b`", "'x'", "'it''s'", '"q"', "1.5BD", "3L", ".5", "1e3", "(", ")", "<=>", "<", "::", "-", ",", ".",
    "/* c /* d */ */", "-- e\n",
]  # fmt: skip


@pytest.mark.parametrize("written", TEXTS)
def test_a_text_holds_what_spark_reads(written: str) -> None:
    (found,) = lexemes(written)
    assert (found.kind, found.value, found.start, found.end) == (Kind.TEXT, TEXTS[written], 0, len(written))


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])), st.sampled_from("'\""))
def test_any_text_is_read_back_from_its_literal(value: str, quote: str) -> None:
    doubled = quote + value.replace("\\", "\\\\").replace(quote, quote * 2) + quote
    escaped = quote + value.replace("\\", "\\\\").replace(quote, "\\" + quote) + quote
    assert [each.value for literal in (doubled, escaped) for each in lexemes(literal)] == [value, value]


@given(st.lists(st.sampled_from(TOKENS)))
def test_what_is_masked_keeps_every_place_and_holds_no_text_of_the_caller(tokens: list[str]) -> None:
    sql = " ".join(tokens)
    found = lexemes(sql)
    shown = masked(sql, found)
    assert shown.count("\n") == sql[: len(shown)].count("\n")
    assert all(sql[at] == "\n" for at, letter in enumerate(shown) if letter == "\n")
    for lexeme in found:
        if lexeme.kind is Kind.TEXT:
            assert set(shown[lexeme.start : lexeme.end]) <= set("'x \n")
        elif lexeme.kind is not Kind.NUMBER:
            assert shown[lexeme.start : lexeme.end] == sql[lexeme.start : lexeme.end]


@given(st.text())
def test_any_text_has_lexemes_or_is_refused_in_words_with_its_place(sql: str) -> None:
    try:
        found = lexemes(sql)
    except RefusedError as error:
        found = []
        known = error.data
    else:
        known = {"line": 1, "column": 1}
    assert known["line"] >= 1 <= known["column"]
    assert all(before.end <= after.start for before, after in pairwise(found))
