"""One list of zones and one table of their rules, the pinned one. Expected values are read off the text rules of release 2026f."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib import resources
from pathlib import Path
from zoneinfo import TZPATH, ZoneInfo, reset_tzpath

import pytest
import tzdata

from millrace_contracts.values import zones

TEXT_RULES = resources.files(tzdata).joinpath("zoneinfo", "tzdata.zi").read_text(encoding="utf-8").splitlines()


@pytest.fixture
def another_host(tmp_path: Path) -> Iterator[None]:
    """A host whose zone folder holds UTC's file under every name that is asked for here."""
    for name in ("America/Vancouver", "Asia/Tokyo", "posix/Asia/Tokyo"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(zones.data("UTC"))
    before = TZPATH
    reset_tzpath([tmp_path])
    ZoneInfo.clear_cache()
    zones.rules.cache_clear()
    yield
    reset_tzpath(before)
    ZoneInfo.clear_cache()


def test_every_zone_and_link_of_the_text_rules_is_taken_and_nothing_else() -> None:
    lines = [line.split() for line in TEXT_RULES]
    listed = {words[1] for words in lines if words[:1] == ["Z"]} | {words[2] for words in lines if words[:1] == ["L"]}
    assert zones.names() == listed - {"Factory"}
    assert TEXT_RULES[0] == f"# version {zones.VERSION}"


@pytest.mark.parametrize(
    ("name", "at", "hours"),
    [
        ("America/Vancouver", "2026-11-25T07:30:00Z", -7),  # 2026 N 1 2: -7 - MST
        ("America/Edmonton", "2026-11-25T07:30:00Z", -6),  # 2026 N 1 2: -6 - CST
        ("America/Winnipeg", "2026-11-25T07:30:00Z", -5),  # 2026 N 1 2: -5 - EST
        ("America/Havana", "2026-11-25T07:30:00Z", -4),  # R Q: no change in autumn 2026
        ("Africa/Casablanca", "2026-09-20T00:59:59Z", 1),  # 1 M until 2026 S 20 2
        ("Africa/Casablanca", "2026-09-20T01:00:00Z", 0),
        ("America/Coyhaique", "2026-07-01T03:30:00Z", -3),  # -3 since 2025 Mar 20
        ("ROC", "2026-07-01T00:00:00Z", 8),  # L Asia/Taipei ROC
    ],
)
def test_the_pinned_rules_decide(another_host: None, name: str, at: str, hours: int) -> None:
    assert datetime.fromisoformat(at).astimezone(zones.rules(name)).utcoffset() == timedelta(hours=hours)


def test_what_the_host_says_decides_nothing(another_host: None) -> None:
    noon = datetime(2026, 11, 24, 12, tzinfo=UTC)
    assert noon.astimezone(ZoneInfo("Asia/Tokyo")).hour == 12
    assert noon.astimezone(zones.rules("Asia/Tokyo")).hour == 21
    with pytest.raises(KeyError, match="posix/Asia/Tokyo"):
        zones.rules("posix/Asia/Tokyo")


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("posix/Asia/Tokyo", "take Asia/Tokyo"), ("right/Europe/Berlin", "take Europe/Berlin"), ("posixrules", "take"),
        ("localtime", "take an IANA name"), ("Factory", "take"), ("asia/seoul", "take Asia/Seoul"), ("America", "take America/"),
        ("+09:00", "take an IANA name"), ("", "take an IANA name"), ("Europe/\x00", "take"), ("../../etc/passwd", "take an IANA name"),
    ],
)  # fmt: skip
def test_what_is_no_zone_is_refused_with_a_near_one(name: str, advice: str) -> None:
    with pytest.raises(ValueError, match=f"^not an IANA time zone; {advice}"):
        zones.checked(name)
    assert zones.or_utc(name) == "UTC"


def test_every_zone_that_is_taken_has_rules() -> None:
    for name in zones.names():
        assert zones.checked(name) == zones.or_utc(name) == zones.rules(name).key
        assert zones.data(name)[:4] == b"TZif"
