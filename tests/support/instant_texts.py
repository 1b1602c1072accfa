"""Texts of instants for the tests of every tier: those that RFC 3339 has, with their value, and those that it has not."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import strategies as st

NO_INSTANTS = (
    "2026-W48-2T09:30:00Z",
    "2026-328T09:30:00Z",
    "2026-11-24T09:30:00,5Z",
    "2026-11-24T093000+0000",
    "20261124T093000Z",
    "2026-11-24T09:30:00+0000",
    "2026-11-24T09:30:00+00",
    "2026-11-24T09:30:00+00:00:30",
    "2026-11-24T09:30:00+24:00",
    "2026-11-24T09:30:00+09:60",
    "2026-11-24T24:00:00Z",
    "2026-11-24T09:60:00Z",
    "2026-11-24T09:30:61Z",
    "2026-11-24T09:30:60Z",
    "2026-11-24T09:30:00.Z",
    "2026-11-24T09:30:00",
    "2026-11-24_09:30:00Z",
    "2026-11-24\u00a009:30:00Z",
    "2026-11-24T09:30:00Z ",
    "2026-11-24T09:30:00Z\n",
    " 2026-11-24T09:30:00Z",
    "2026-02-29T09:30:00Z",
    "2026-13-01T09:30:00Z",
    "2026-11-31T09:30:00Z",
    "0000-01-01T00:00:00Z",
    "-2026-11-24T09:30:00Z",
    "+12026-11-24T09:30:00Z",
    "12026-11-24T09:30:00Z",
    "２０２６-11-24T09:30:00Z",
    "2026-11-24T٠٩:30:00Z",
    "2026-11-24T09:30:00\u2212 05:00",
    "\ud800",
    "",
)
"""No texts of RFC 3339, in any tier and command."""
OUT_OF_REACH = ("0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-05:00")
"""Texts of RFC 3339 that Python cannot shift to UTC."""


class Parts(NamedTuple):
    """A text of the grammar and the microseconds since 1970 that it means, counted by hand."""

    text: str
    us: int


@st.composite
def _rfc_3339(draw: st.DrawFn) -> Parts:
    year, month = draw(st.integers(1, 9999)), draw(st.integers(1, 12))
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    lengths = [31, 29 if leap else 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
    day, hour, minute, second = (draw(st.integers(low, high)) for low, high in ((1, lengths[month - 1]), (0, 23), (0, 59), (0, 59)))
    fraction = draw(st.one_of(st.just(""), st.from_regex(r"\.[0-9]{1,12}", fullmatch=True)))
    sign, ahead, minutes = draw(st.sampled_from("+-")), draw(st.integers(0, 23)), draw(st.integers(0, 59))
    offset = draw(st.sampled_from(["Z", "z", f"{sign}{ahead:02d}:{minutes:02d}"]))
    shift = 0 if offset in "Zz" else (ahead * 60 + minutes) * (1 if sign == "+" else -1)
    before = year - 1
    days = before * 365 + before // 4 - before // 100 + before // 400 + sum(lengths[: month - 1]) + day - 1 - 719_162
    seconds = ((days * 24 + hour) * 60 + minute - shift) * 60 + second
    text = f"{year:04d}-{month:02d}-{day:02d}{draw(st.sampled_from('Tt '))}{hour:02d}:{minute:02d}:{second:02d}{fraction}{offset}"
    return Parts(text, seconds * 1_000_000 + int((fraction[1:] + "000000")[:6]))


RFC_3339 = _rfc_3339()
_PIECES = st.one_of(
    st.sampled_from(
        ["2026", "0000", "0001", "9999", "1970", "2100", "-", "11", "24", "02", "30", "W48", "T", "t", " ", ":", "23", "59", "60"]
    ),
    st.sampled_from(
        [".", ",", "5", "Z", "z", "+", "00:00", "+23:59", "-23:59", "+01:00", ":30", "\u0660", "1795600000", "-2h", "e9", "NaN"]
    ),
)
ALMOST_INSTANTS = st.one_of(
    st.sampled_from((*NO_INSTANTS, *OUT_OF_REACH)),
    RFC_3339.map(lambda parts: parts.text),
    st.builds(lambda parts, at, piece: parts.text[:at] + piece + parts.text[at + 1 :], RFC_3339, st.integers(0, 30), _PIECES),
    st.builds(lambda parts, at: parts.text[:at], RFC_3339, st.integers(0, 30)),
    st.lists(_PIECES, max_size=14).map("".join),
)
"""Texts that look like instants; some are."""
