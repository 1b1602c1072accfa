"""The filter of snapshots in the declarations, and who tells what it leaves out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from millrace_cdc.connect import declarations, operations
from millrace_cdc.connect.client import ConnectClient
from millrace_cdc.connect.declarations import Declared
from millrace_cdc.connect.errors import DeclarationError
from millrace_cdc.connect.redaction import Redactor
from millrace_cdc.connect.session import Session
from millrace_cdc.connect.snapshots.filters import OVERRIDES, fits
from millrace_cdc.connect.snapshots.left_out import LeftOut, Look, LookError
from millrace_cdc.connect.watch import LOOK_AGAIN, LOOK_SOON, Watch
from millrace_contracts.settings import NamesSettings
from tests.unit.cdc_connect.fake_connect import CLASS, FakeConnect

NAMES = NamesSettings(topic_prefix="m", database="c")
SHIPPED = Path(__file__).parents[3] / "connect-config"
URI = "mongodb://debezium:hunter22@127.0.0.1:1/?serverSelectionTimeoutMS=1"


class FakeLook(Look):
    """Finds what it is given, or fails."""

    def __init__(self, *found: LeftOut | LookError) -> None:
        super().__init__({})
        self.answers, self.looks = list(found), 0

    def tell(self, declared: list[Declared]) -> list[LeftOut]:
        self.looks += 1
        for each in self.answers:
            if isinstance(each, LookError):
                raise each
        return [each for each in self.answers if isinstance(each, LeftOut)]


def session(look: Look) -> Session:
    client = ConnectClient("http://connect", transport=FakeConnect().transport())
    return Session(
        client, NAMES, [Declared("a", "m.c.a", "running", {"connector.class": CLASS})], Redactor({"MILLRACE_MONGO_X_URI": URI}), look
    )


@pytest.mark.parametrize("item", declarations.load(SHIPPED, NAMES), ids=lambda item: item.short)
def test_every_shipped_connectors_snapshot_has_the_filter_of_its_collection(item: Declared) -> None:  # I4
    assert item.config[OVERRIDES] == f"c.{item.short}"
    assert json.loads(item.config[f"{OVERRIDES}.c.{item.short}"]) == fits()


def test_a_filter_of_ones_own_is_refused(tmp_path: Path) -> None:
    config = {"connector.class": CLASS, OVERRIDES: "c.a", f"{OVERRIDES}.c.a": "{}"}
    (tmp_path / "a.json").write_text(json.dumps({"config": config}))
    with pytest.raises(DeclarationError, match=r"a\.json: snapshot\.collection\.filter\.overrides\.c\.a is made by `millrace connect`"):
        declarations.load(tmp_path, NAMES)


def test_what_is_left_out_is_noted_by_collection() -> None:
    look = FakeLook(LeftOut("users", b"u", "device is wrong"), LeftOut("merchants", b"m", "b"), LeftOut("users", b"v", "c"))
    assert operations.tell_left_out(session(look)) == [
        "snapshots leave out of users: u and 1 more: device is wrong; see the dead letters",
        "snapshots leave out of merchants: m: b; see the dead letters",
    ]


@pytest.mark.parametrize("environ", [{}, {"MILLRACE_MONGO_DEBEZIUM_URI": URI}])
def test_a_look_that_fails_is_noted_without_a_secret(environ: dict[str, str]) -> None:
    named = Declared("a", "m.c.a", "running", {OVERRIDES: "c.a"})
    with pytest.raises(LookError, match="what snapshots leave out could not be looked for"):
        Look(environ).tell([named])
    assert Look(environ).tell([Declared("a", "m.c.a", "absent", {OVERRIDES: "c.a"})]) == []
    failing = session(FakeLook(LookError(f"no {URI}")))
    (note,) = operations.tell_left_out(failing)
    assert "hunter22" not in note
    assert "`millrace connect watch` looks again" in note


def test_the_watch_looks_at_its_start_and_from_time_to_time_and_soon_again_after_a_failure() -> None:
    now = 0.0
    look = FakeLook(LeftOut("users", b"u", "x"), LeftOut("users", b"v", "x"))
    watch = Watch(session(look), clock=lambda: now)
    seen: list[tuple[float, int]] = []
    for now in (0.0, 5.0, LOOK_AGAIN - 1, LOOK_AGAIN + 1):
        watch.look()
        seen.append((now, look.looks))
    assert [looks for _, looks in seen] == [1, 1, 1, 2]
    assert metric(watch) == 2
    look.answers = [LookError("away")]
    for now in (2 * LOOK_AGAIN + 2, 2 * LOOK_AGAIN + 3, 2 * LOOK_AGAIN + 3 + LOOK_SOON):
        watch.look()
        seen.append((now, look.looks))
    assert [looks for _, looks in seen][4:] == [3, 3, 4]
    assert metric(watch) == 2


def metric(watch: Watch) -> Any:
    return watch.metrics.registry.get_sample_value("millrace_connect_left_out", {"collection": "users"})
