"""Java's table of zones, ``lib/tzdb.dat`` of a Java home, written from ours. Pure.

The format is that of OpenJDK's ``TzdbZoneRulesCompiler``; each zone is ``java.time.zone.ZoneRules`` as ``Ser`` writes it.
"""

from __future__ import annotations

import struct
from itertools import pairwise

from millrace_contracts.values import zones
from millrace_processors.java_zones.tzif import changes

_EARLIEST, _LATEST, _QUARTER = -4_575_744_000, 10_413_792_000, 900
"""Instants between these that are whole quarters of an hour take three bytes."""


def table() -> bytes:
    """Every zone of ``zones.names``."""
    names = sorted(zones.names())
    equal = {zones.data(name): name for name in names}
    made = {name: _rules(name) for name in equal.values()}
    written = {name: made[equal[zones.data(name)]] for name in names}
    rules = sorted(set(written.values()))
    places = {each: number for number, each in enumerate(rules)}
    pairs = b"".join(struct.pack(">HH", number, places[written[name]]) for number, name in enumerate(names))
    parts = [b"\x01", _text("TZDB"), _count(1), _text(zones.VERSION), _count(len(names)), *map(_text, names)]
    parts += [_count(len(rules)), *(_count(len(each)) + each for each in rules), _count(len(names)), pairs, _count(0)]
    return b"".join(parts)


def _rules(name: str) -> bytes:
    first, after = changes(name)
    standard = [(each.at, each.standard) for old, each in pairwise([first, *after]) if each.standard != old.standard]
    wall = [(each.at, each.offset) for old, each in pairwise([first, *after]) if each.offset != old.offset]
    return b"\x01" + _steps(first.standard, standard) + _steps(first.offset, wall) + b"\x00"


def _steps(first: int, steps: list[tuple[int, int]]) -> bytes:
    offsets = [first, *(offset for _, offset in steps)]
    return struct.pack(">l", len(steps)) + b"".join(_instant(at) for at, _ in steps) + b"".join(map(_offset, offsets))


def _instant(second: int) -> bytes:
    if _EARLIEST <= second < _LATEST and not second % _QUARTER:
        return ((second - _EARLIEST) // _QUARTER).to_bytes(3, "big")
    return struct.pack(">Bq", 255, second)


def _offset(seconds: int) -> bytes:
    return struct.pack(">bl", 127, seconds) if seconds % _QUARTER else struct.pack(">b", seconds // _QUARTER)


def _text(value: str) -> bytes:
    return _count(len(value)) + value.encode("ascii")


def _count(value: int) -> bytes:
    return struct.pack(">H", value)
