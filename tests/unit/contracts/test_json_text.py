"""JSON from outside, against the standard library's parser, which hands out every pair."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace_contracts.values.json_text import DEEPEST, JsonError, checked, loads

NAMES = st.sampled_from(["amount", "points", "used", "a:b", ":", '"', "\\", "é", ""]) | st.text(max_size=3)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text(st.sampled_from(':"\\{},u003a €\n\x7f') | st.characters(codec="utf-8"))
)


class Pairs(list[tuple[str, Any]]):
    """An object whose names may be equal."""


VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.lists(st.tuples(NAMES, inner), max_size=4).map(Pairs), max_leaves=12
)


def written(value: object, escape: bool) -> str:
    """JSON of a value, with every name and every colon of a text escaped where ``escape`` says so."""
    if isinstance(value, Pairs):
        return "{" + ",".join(f"{written(name, escape)} :{written(inner, escape)}" for name, inner in value) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(written(inner, escape) for inner in value) + "]"
    text = json.dumps(value, ensure_ascii=escape)
    return text.replace(":", "\\u003A") if escape and isinstance(value, str) else text


def doubled(value: object) -> bool:
    if isinstance(value, Pairs):
        names = [name for name, _ in value]
        return len(set(names)) < len(names) or any(doubled(inner) for _, inner in value)
    return isinstance(value, list) and any(doubled(inner) for inner in value)


@given(VALUES, st.booleans(), st.booleans())
def test_a_text_gives_what_the_standard_parser_reads_unless_a_name_is_given_twice(value: object, escape: bool, marked: bool) -> None:
    text = written(value, escape).encode()
    given_text = b"\xef\xbb\xbf" + text if marked else text
    if doubled(value):
        with pytest.raises(JsonError, match=r"is given twice$") as refused:
            loads(given_text)
        assert refused.value.field is not None
    else:
        assert loads(given_text) == json.loads(text)
        assert checked(given_text) == text


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ('{"amount":100,"amount":999}', "amount"),
        ('{"points":{"used":1,"earned":2,"used":1}}', "points.used"),
        ('{"variables":{"list":[1,{"a":1,"a":2}]}}', "variables.list.1.a"),
        ('[{"a":1},{"a":1,"a":1}]', "1.a"),
        ('{"amount":1,"am\\u006funt":2}', "amount"),
        ('{"a":1,"a":2,"b":"\\u003a"}', "a"),
        ('{"at":"2026-11-24T09:30:00Z","at":5}', "at"),
        ('{"":1,"":2}', ""),
    ],
)
def test_the_name_that_is_given_twice_is_told_with_its_path(text: str, field: str) -> None:
    with pytest.raises(JsonError) as refused:
        loads(text)
    assert (refused.value.field, str(refused.value)) == (field, f"{field} is given twice")


@pytest.mark.parametrize(
    "text", ['{"a":":","b":"\\"c\\":"}', '{"a:b":{"c":[{"d":":::"}]}}', '{"a":"\\u003a"}', '{"a":"\\\\u003a"}', "1", '":"']
)
def test_colons_in_texts_are_no_names(text: str) -> None:
    assert loads(text) == json.loads(text)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ('{"a":1}'.encode("utf-16"), "the body is UTF-16; send UTF-8"),
        ('{"a":1}'.encode("utf-16-be"), "the body is UTF-16; send UTF-8"),
        ('{"a":1}'.encode("utf-16-le"), "the body is UTF-16; send UTF-8"),
        ('{"a":1}'.encode("utf-32"), "the body is UTF-32; send UTF-8"),
        (b'{"a":"\xe9"}', "the body is not UTF-8 (byte 6)"),
        (b"\x1f\x8b\x08\x00\x00", "the body is compressed; send it as it is"),
        (b'{"a":NaN}', "the body is not JSON: "),
        (b"", "the body is not JSON: "),
        (b'\xef\xbb\xbf\xef\xbb\xbf{"a":1}', "the body is not JSON: "),
    ],
)
def test_what_is_no_json_is_refused_by_its_name(data: bytes, words: str) -> None:
    with pytest.raises(JsonError) as refused:
        loads(data)
    assert str(refused.value).startswith(words)
    assert refused.value.field is None


def test_a_value_may_nest_as_deep_as_can_be_written_again() -> None:
    assert loads("[" * DEEPEST + "]" * DEEPEST) is not None
    with pytest.raises(JsonError, match=r"^variables nests deeper than 254 levels$"):
        loads("[" * (DEEPEST + 1) + "]" * (DEEPEST + 1), "variables")


@given(st.binary(max_size=40))
def test_no_bytes_raise_another_error(data: bytes) -> None:
    with suppress(JsonError):
        loads(data)
