"""What a person may write for a point in the past."""

from __future__ import annotations

import pytest

from millrace_cdc.errors import Misconfigured
from millrace_cdc.replay.points import Point, parse

NOW = 1_795_616_217.9
TOKEN = "826B06EDD9000000032B0229296E04"


@pytest.mark.parametrize(
    ("text", "point"),
    [
        ("now", Point("now")),
        ("oldest", Point("oldest")),
        (TOKEN, Point("token", token=TOKEN)),
        (TOKEN.lower(), Point("token", token=TOKEN)),
        ("1795616217", Point("time", at=(1_795_616_217, 0))),
        ("1795616217.3", Point("time", at=(1_795_616_217, 3))),
        ("2026-11-25T14:16:57Z", Point("time", at=(1_795_616_217, 0))),
        ("2026-11-25T23:16:57+09:00", Point("time", at=(1_795_616_217, 0))),
        ("-90m", Point("time", at=(1_795_616_217 - 5_400, 0))),
        ("-1d", Point("time", at=(1_795_616_217 - 86_400, 0))),
        ("before-migration", Point("bookmark", name="before-migration")),
    ],
)
def test_each_form_is_understood(text: str, point: Point) -> None:
    assert parse("--from", text, NOW) == point


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is no point; write now, oldest"),
        ("?", "is no point; write now, oldest"),
        ("-5", "is no point"),
        ("-5w", "is no point"),
        ("2026-11-25T14:16:57", "names no zone; write 2026-11-25T14:16:57Z for UTC"),
        ("2026-13-45", "is not a time"),
        ("82zz1111111111111111111", "is not a resume token"),
        ("x" * 65, "is no point"),
    ],
)
def test_anything_else_is_refused_with_the_option_and_what_can_be_written(text: str, words: str) -> None:
    with pytest.raises(Misconfigured, match=f"^--from: .*{words}"):
        parse("--from", text, NOW)
