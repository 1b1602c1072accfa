"""Time zones: the IANA names that are taken, and one table of their rules for every process.

The table is the one of the pinned package ``tzdata``. ``zoneinfo.ZoneInfo`` by name would prefer the host's, and two hosts would give
one merchant two different days. Pure but for the package's own files.
"""

from __future__ import annotations

import difflib
import hashlib
from functools import cache
from importlib import resources
from zoneinfo import ZoneInfo

import tzdata

VERSION: str = tzdata.IANA_VERSION
"""The release of the IANA database, such as 2026f."""
UTC = "UTC"
_NO_PLACES = frozenset({"Factory", "localtime", "posixrules"})
"""Names that stand for no place, or for another one on each machine."""


@cache
def names() -> frozenset[str]:
    """Every zone that is taken."""
    listed = resources.files(tzdata).joinpath("zones").read_text(encoding="utf-8")
    return frozenset(listed.split()) - _NO_PLACES


@cache
def rules(name: str) -> ZoneInfo:
    """The rules of a zone of ``names``. ``KeyError``: it is none."""
    with _file(name).open("rb") as opened:
        return ZoneInfo.from_file(opened, key=name)


def data(name: str) -> bytes:
    """The rules of a zone of ``names`` as TZif (RFC 9636). ``KeyError``: it is none."""
    return _file(name).read_bytes()


@cache
def digest(name: str) -> str:
    """A digest of a zone's rules: equal ones have equal days. Empty where the name is none that is taken."""
    return hashlib.sha256(data(name)).hexdigest()[:16] if name in names() else ""


def checked(name: str) -> str:
    """The name of a zone that is taken.

    Raises:
        ValueError: it is none; says which names are near.
    """
    if name in names():
        return name
    raise ValueError(f"not an IANA time zone; {advice(name)}")


def or_utc(name: str | None) -> str:
    """The zone of a merchant; UTC where it is missing or none that is taken."""
    return name if name in names() else UTC


def advice(name: str) -> str:
    """What to write instead of a name that is none."""
    folded = {known.lower(): known for known in names()}
    near = difflib.get_close_matches(name[:60].lower(), folded, n=3, cutoff=0.7)
    return f"take {' or '.join(folded[match] for match in near)}" if near else "take an IANA name such as Asia/Seoul or UTC"


def _file(name: str) -> resources.abc.Traversable:
    if name not in names():
        raise KeyError(name)
    return resources.files(tzdata).joinpath("zoneinfo", *name.split("/"))
