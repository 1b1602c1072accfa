"""Ids in paths, and texts without control characters, against what a client and the Unicode database say."""

import unicodedata
from contextlib import suppress
from urllib.parse import quote, urljoin

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace_contracts.values.identifiers import no_control, no_dot_segment, path_id


@given(st.text(st.sampled_from("aZ9._~-/%\x00 é"), max_size=5) | st.text(".", max_size=3))
def test_an_id_that_is_taken_comes_back_from_a_client_as_it_was(text: str) -> None:
    with suppress(ValueError):
        path_id(text)
        assert quote(text, safe="") == text
        assert urljoin("http://host/v1/payments", f"/v1/payments/{text}") == f"http://host/v1/payments/{text}"


@pytest.mark.parametrize("text", [".", "..", "", "a/b", "a b", "x" * 65, "a\n"])
def test_other_ids_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="neither"):
        path_id(text)


@pytest.mark.parametrize("text", ["...", ".a", "a..b", "~", "x" * 64])
def test_dots_beside_other_characters_are_taken(text: str) -> None:
    assert path_id(text) == no_dot_segment(text) == text


@given(st.text())
def test_control_characters_and_separators_of_lines_are_refused_and_nothing_else(text: str) -> None:
    acts = [character for character in text if unicodedata.category(character) in ("Cc", "Zl", "Zp")]
    if acts:
        with pytest.raises(ValueError, match=rf"U\+{ord(acts[0]):04X} at position {text.index(acts[0])};"):
            no_control(text)
    else:
        assert no_control(text) == text


@pytest.mark.parametrize("text", ["O'Brien", "नमस्‍ते", "می‌خواهم", "👩‍👩‍👧", "a\u00a0b", "=1+1"])
def test_names_of_all_scripts_are_taken(text: str) -> None:
    assert no_control(text) == text
