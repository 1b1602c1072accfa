"""The changes of a zone's offset, read from its TZif data (RFC 9636). Pure but for the zone files themselves."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from itertools import pairwise

from millrace_contracts.values import zones

LAST_YEAR = 2299
"""What recurs for ever is written out up to the end of this year; from then on the last offset holds."""
_HEADER = struct.Struct(">4sc15x6L")


@dataclass(frozen=True)
class Change:
    """From ``at`` (epoch seconds) on, clocks are ``offset`` seconds ahead of UTC, ``standard`` of them without daylight saving."""

    at: int
    offset: int
    standard: int


def changes(name: str) -> tuple[Change, list[Change]]:
    """What holds before the first change, and every change of the offset in order."""
    data = zones.data(name)
    # Version 1, whose instants have 32 bits, comes first and is passed over.
    at, instants, kinds = 0, "l", _HEADER.unpack_from(data)
    if kinds[1] >= b"2":
        at = _HEADER.size + _length(kinds[2:], 4)
        instants, kinds = "q", _HEADER.unpack_from(data, at)
    times, types = kinds[5], kinds[6]
    at += _HEADER.size
    seconds = struct.unpack_from(f">{times}{instants}", data, at)
    at += times * struct.calcsize(f">{instants}")
    indices, at = data[at : at + times], at + times
    offsets = [struct.unpack_from(">l?", data, at + 6 * place) for place in range(types)]
    first = Change(-(1 << 59), offsets[0][0], offsets[0][0])
    found, standard = [first], first.standard
    for second, index in zip(seconds, indices, strict=True):
        offset, saving = offsets[index]
        standard = standard if saving else offset
        found.append(Change(second, offset, standard))
    if b"," in data.rsplit(b"\n", 2)[1]:  # the rule for all later years, in the form of POSIX, has daylight saving
        found += _recurring(zones.rules(name), found[-1])
    return first, [new for old, new in pairwise(found) if (old.offset, old.standard) != (new.offset, new.standard)]


def _length(counts: tuple[int, ...], size: int) -> int:
    """Bytes of a data block, by the counts of its header and the size of an instant."""
    utc, standard, leaps, times, types, letters = counts
    return times * (size + 1) + types * 6 + letters + leaps * (size + 4) + standard + utc


def _recurring(place: tzinfo, last: Change) -> list[Change]:
    """Changes by the rule at the end of the data: months are compared, and each change narrowed down to its second."""
    year = max(1970, datetime.fromtimestamp(max(last.at, 0), UTC).year)
    months = [int(datetime(each, month, 1, tzinfo=UTC).timestamp()) for each in range(year, LAST_YEAR + 1) for month in range(1, 13)]
    found, low, known = [], last.at, last
    for month in months:
        if month <= low:
            continue
        high = month
        if _offset(place, high) != known.offset:
            before = low
            while high - before > 1:
                middle = (before + high) // 2
                before, high = (middle, high) if _offset(place, middle) == known.offset else (before, middle)
            offset = _offset(place, high)
            saving = datetime.fromtimestamp(high, place).dst()
            known = Change(high, offset, known.standard if saving else offset)
            found.append(known)
        low = month
    return found


def _offset(place: tzinfo, second: int) -> int:
    shift = datetime.fromtimestamp(second, place).utcoffset()
    assert shift is not None
    return shift.days * 86_400 + shift.seconds
