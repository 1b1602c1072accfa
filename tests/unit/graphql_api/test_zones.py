"""Offsets of every zone against the zone files themselves."""

import struct
from datetime import UTC, datetime, timedelta
from importlib import resources

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace_contracts.values.zones import names, rules
from millrace_contracts.windows import to_ms
from millrace_graphql.errors import InvalidArgumentError
from millrace_graphql.ranges.zones import check_zone, offsets

SINCE, UNTIL = to_ms(datetime(2005, 1, 1, tzinfo=UTC)), to_ms(datetime(2027, 1, 1, tzinfo=UTC))
ZONES = sorted(names())


def transitions(name: str) -> tuple[tuple[int, ...], bytes]:
    """Seconds of the explicit transitions of a zone's file (RFC 9636, version 2 and later), and the file."""
    data = resources.files("tzdata").joinpath("zoneinfo", *name.split("/")).read_bytes()

    def counts(at: int) -> tuple[int, ...]:
        return struct.unpack_from(">6l", data, at + 20)

    utc, std, leap, times, types, chars = counts(0)
    second = 44 + times * 5 + types * 6 + chars + leap * 8 + std + utc
    assert data[second : second + 4] == b"TZif"
    number = counts(second)[3]
    return struct.unpack_from(f">{number}q", data, second + 44), data


def test_every_change_of_every_zone_is_found_at_its_instant() -> None:
    seen: set[bytes] = set()
    changes = 0
    for name in ZONES:
        seconds, data = transitions(name)
        if data in seen:
            continue
        seen.add(data)
        inside = [second * 1000 for second in seconds if SINCE < second * 1000 < UNTIL]
        if not inside:
            continue
        instants = np.array([ms + shift for ms in inside for shift in (-1, 0)], np.int64)
        found = offsets(name, SINCE, UNTIL).at(instants).tolist()
        expected = [_offset(name, ms) for ms in instants.tolist()]
        assert found == expected, name
        changes += len(inside)
    assert changes > 2_000
    assert len(seen) > 300


def _offset(name: str, ms: int) -> int:
    shift = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)).astimezone(rules(name)).utcoffset()
    assert shift is not None
    return shift // timedelta(milliseconds=1)


@given(st.sampled_from(ZONES), st.integers(SINCE, to_ms(datetime(2099, 12, 30, tzinfo=UTC))))
def test_the_offset_at_any_instant_is_the_zones(name: str, ms: int) -> None:
    assert offsets(name, ms - 10**9, ms + 10**9).at(np.array([ms], np.int64)).tolist() == [_offset(name, ms)]


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        ("Asia/Soul", "take Asia/Seoul"),
        ("asia/seoul", "take Asia/Seoul"),
        ("", "take an IANA name such as Asia/Seoul or UTC"),
        ("../../etc/passwd", "take an IANA name"),
        ("/etc/localtime", "take an IANA name"),
        ("America", "take America/"),
        ("localtime", "take an IANA name"),
        ("Europe/\x00", "take"),
        ("x" * 100_000, "take an IANA name"),
        ("+09:00", "take an IANA name"),
    ],
)
def test_an_unknown_zone_is_refused_with_a_near_one(name: str, fix: str) -> None:
    with pytest.raises(InvalidArgumentError, match=r"^timeZone: .* is not an IANA time zone; take") as error:
        check_zone(name)
    assert fix in error.value.message
    assert len(error.value.message) < 250
