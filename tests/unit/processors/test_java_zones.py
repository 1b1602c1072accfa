"""Java's table of zones, written from ours: its parts read back by its format, and the home that holds it."""

from __future__ import annotations

import os
import stat
import struct
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace_contracts.values import zones
from millrace_processors.java_zones import home, tzdb, tzif

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@settings(deadline=None)
@given(st.sampled_from(sorted(zones.names())), st.integers(-2_500_000_000, 10_413_000_000))
def test_the_changes_of_a_zone_give_its_offset_at_any_instant(name: str, second: int) -> None:
    first, after = tzif.changes(name)
    offset = next((each.offset for each in reversed(after) if each.at <= second), first.offset)
    assert timedelta(seconds=offset) == (EPOCH + timedelta(seconds=second)).astimezone(zones.rules(name)).utcoffset()


class Reader:
    """The file as ``java.time.zone.TzdbZoneRulesProvider`` reads it."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, form: str) -> int:
        (value,) = struct.unpack_from(f">{form}", self.data, self.at)
        self.at += struct.calcsize(f">{form}")
        return int(value)

    def text(self) -> bytes:
        length = self.take("H")
        self.at += length
        return self.data[self.at - length : self.at]

    def instant(self) -> int:
        first = self.take("B")
        return self.take("q") if first == 255 else (first << 16 | self.take("H")) * 900 - 4_575_744_000

    def offset(self) -> int:
        quarters = self.take("b")
        return self.take("l") if quarters == 127 else quarters * 900

    def steps(self) -> tuple[list[int], list[int]]:
        count = self.take("l")
        return [self.instant() for _ in range(count)], [self.offset() for _ in range(count + 1)]


def test_java_reads_every_zone_with_its_offsets() -> None:
    read = Reader(tzdb.table())
    assert (read.take("B"), read.text(), read.take("H"), read.text().decode()) == (1, b"TZDB", 1, zones.VERSION)
    names = [read.text().decode() for _ in range(read.take("H"))]
    assert set(names) == zones.names()
    rules = [read.text() for _ in range(read.take("H"))]
    of = {names[read.take("H")]: rules[read.take("H")] for _ in range(read.take("H"))}
    assert (set(of), read.take("H"), read.at) == (zones.names(), 0, len(read.data))
    for name, at, hours in (
        ("America/Vancouver", "2026-11-25T07:30Z", -7), ("Africa/Casablanca", "2026-11-25T07:30Z", 0), ("ROC", "2026-11-25T07:30Z", 8),
        ("Europe/Berlin", "2199-07-01T00:00Z", 2), ("Europe/Berlin", "2199-01-01T00:00Z", 1),
        ("America/Coyhaique", "2026-07-01T00:00Z", -3),
    ):  # fmt: skip
        zone = Reader(of[name])
        assert zone.take("B") == 1
        zone.steps()
        instants, offsets = zone.steps()
        assert instants == sorted(set(instants))
        assert offsets[sum(each <= datetime.fromisoformat(at).timestamp() for each in instants)] == hours * 3600
        assert (zone.take("B"), zone.at) == (0, len(of[name]))


@pytest.fixture
def java(tmp_path: Path) -> Path:
    """What a JRE looks like."""
    real = tmp_path / "jre"
    for name in ("bin/java", "conf/java.security", "lib/modules", "lib/tzdb.dat", "release"):
        path = real / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return real


def made_for(java: Path) -> Path:
    """The home that the JVM is told, in a folder of the test's own."""
    with mock.patch("tempfile.tempdir", str(java.parent)), mock.patch.object(tzdb, "table", return_value=b"ours"):
        name, _, value = home.option({"JAVA_HOME": str(java)}).partition("=")
    assert name == "-Djava.home"
    return Path(value)


def test_a_java_home_has_everything_of_the_real_one_but_the_zones(java: Path) -> None:
    made = made_for(java)
    assert (stat.S_IMODE(made.stat().st_mode), made.stat().st_uid) == (0o700, os.getuid())
    for name in ("bin/java", "conf/java.security", "lib/modules", "release"):
        assert (made / name).samefile(java / name)
    assert (made / "lib" / "tzdb.dat").read_bytes() == b"ours"
    assert (java / "lib" / "tzdb.dat").read_text() == "lib/tzdb.dat"
    assert made_for(java) == made


def test_a_home_that_others_can_write_to_is_not_taken(java: Path) -> None:
    made = made_for(java)
    made.chmod(0o777)
    assert made_for(java) != made


def test_a_java_of_another_layout_keeps_its_own_zones(tmp_path: Path) -> None:
    assert home.option({"JAVA_HOME": str(tmp_path)}) == home.option({"PATH": str(tmp_path)}) == ""
