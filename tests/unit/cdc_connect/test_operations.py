"""Operations over the fake cluster: apply, settle, restart, offsets under guard, status."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from millrace_cdc.connect import apply as applying
from millrace_cdc.connect import offsets as guarded
from millrace_cdc.connect import operations
from millrace_cdc.connect.client import ConnectClient
from millrace_cdc.connect.declarations import Declared
from millrace_cdc.connect.errors import InvalidConfigError, NotFoundError, NotSettledError, RefusedError, WorkerError
from millrace_cdc.connect.plan import Change
from millrace_cdc.connect.redaction import Redactor
from millrace_cdc.connect.session import Session
from millrace_cdc.connect.watch import Watch
from millrace_contracts.settings import NamesSettings
from tests.unit.cdc_connect.fake_connect import CLASS, FakeConnect

CONFIG = {"connector.class": CLASS, "tasks.max": "1", "topic.prefix": "m"}
STORED = "LwAAAAJfZGF0YQAfAAAAODI2QjA2RTMxNjAwMDAwMDAyMkIwMjI5Mjk2RTA0AAA="
"""A token as Debezium 3.6 stored it, read from a real worker."""
WHOLE = "826B06E316000000022B0229296E04"


class Clock:
    now = 0.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def fake() -> FakeConnect:
    return FakeConnect()


@pytest.fixture
def session(fake: FakeConnect) -> Iterator[Session]:
    with ConnectClient("http://connect", transport=fake.transport()) as client:
        names = NamesSettings(topic_prefix="m", database="c")
        declared = [Declared("a", "m.c.a", "running", CONFIG), Declared("b", "m.c.b", "stopped", CONFIG)]
        yield Session(client, names, declared, Redactor({}))


def apply(session: Session, *, prune: bool = False) -> tuple[list[Change], list[Change]]:
    changes, _ = operations.compare(session)
    applying.validate(session.client, changes)
    done: list[Change] = []
    return done, applying.execute(session.client, changes, prune=prune, progress=done.append)


def test_apply_makes_the_cluster_as_declared_and_then_has_nothing_to_do(session: Session, fake: FakeConnect) -> None:
    apply(session)
    assert {name: found["state"] for name, found in fake.connectors.items()} == {"m.c.a": "RUNNING", "m.c.b": "STOPPED"}
    assert apply(session) == ([], [])


def test_nothing_is_changed_when_one_configuration_is_refused(session: Session, fake: FakeConnect) -> None:
    session.declared.append(Declared("z", "m.c.z", "running", {**CONFIG, "poll.interval.ms": "soon"}))
    with pytest.raises(InvalidConfigError, match=r"m\.c\.z: .*poll\.interval\.ms: Invalid value"):
        apply(session)
    assert fake.connectors == {}


def test_a_plugin_that_no_worker_has_is_named(session: Session) -> None:
    session.declared[:] = [Declared("z", "m.c.z", "running", {"connector.class": "no.Such"})]
    with pytest.raises(InvalidConfigError, match=r"connector\.class: no worker has the plugin no\.Such"):
        apply(session)


def test_a_key_that_validation_does_not_know_is_noted_unless_it_is_known_to_work(session: Session) -> None:
    config = {**CONFIG, "pol.interval.ms": "50", "cursor.pipeline": "[]", "producer.override.linger.ms": "5"}
    session.declared[:] = [Declared("z", "m.c.z", "running", config)]
    notes = applying.validate(session.client, operations.compare(session)[0])
    assert notes == ["m.c.z: validation does not know the key pol.interval.ms; is it spelt right?"]


def test_deletion_needs_prune(session: Session, fake: FakeConnect) -> None:
    apply(session)
    del session.declared[1]
    _, left = apply(session)
    assert [change.name for change in left] == ["m.c.b"]
    assert "m.c.b" in fake.connectors
    assert apply(session, prune=True)[1] == []
    assert "m.c.b" not in fake.connectors


def test_settling_waits_for_the_state_and_tells_a_failure_at_once(session: Session, fake: FakeConnect) -> None:
    apply(session)
    clock = Clock()
    applying.settle(session.client, {"m.c.a": "RUNNING", "m.c.b": "STOPPED"}, sleep=clock.sleep, clock=clock)
    assert clock.now < 2
    fake.fail("m.c.a", "x.y.BadException: no\nCaused by: z.Worse: why")
    with pytest.raises(NotSettledError, match=r"m\.c\.a failed: task 0: BadException: no <- Worse: why"):
        applying.settle(session.client, {"m.c.a": "RUNNING"}, sleep=clock.sleep, clock=clock)
    with pytest.raises(NotSettledError, match=r"m\.c\.b did not come into its state within 9 s: it is STOPPED"):
        applying.settle(session.client, {"m.c.b": "RUNNING"}, seconds=9, sleep=clock.sleep, clock=clock)


def test_an_unknown_connector_is_not_paused_in_silence(session: Session) -> None:
    with pytest.raises(NotFoundError):
        operations.act(session, "pause", "nope")


def test_only_what_failed_is_restarted(session: Session, fake: FakeConnect) -> None:
    apply(session)
    assert operations.restart_failed(session, wait=0)[0] == []
    fake.fail("m.c.a", "x.Y: why")
    done, report = operations.restart_failed(session, wait=0)
    assert done == ["m.c.a"]
    assert report.good
    with pytest.raises(NotFoundError):
        operations.restart_failed(session, ["nope"], wait=0)


def test_status_names_what_failed_is_missing_or_is_in_another_state(session: Session, fake: FakeConnect) -> None:
    apply(session)
    assert operations.current(session).good
    fake.fail("m.c.a", "x.y.Bad: no")
    session.declared.append(Declared("d", "m.c.d", "running", CONFIG))
    session.client.resume("m.c.b")
    assert operations.current(session).troubles == [
        "m.c.a task 0: FAILED: Bad: no",
        "m.c.b: is RUNNING, declared STOPPED",
        "m.c.d: is not on the cluster; `millrace connect apply` creates it",
    ]
    assert not operations.current(session, ["a"]).good


def test_a_description_hides_secrets(session: Session) -> None:
    session.client.create("m.c.s", {**CONFIG, "mongodb.password": "hunter2", "topic.prefix": "m"})
    found = operations.describe(session, "m.c.s")
    assert found["config"]["mongodb.password"] == "***"
    assert "hunter2" not in json.dumps(found)


def test_a_level_that_is_none_is_refused(session: Session) -> None:
    with pytest.raises(RefusedError, match="level 'LOUD' is not one of TRACE"):
        operations.set_level(session, "a.b", "LOUD", cluster=False)
    assert operations.set_level(session, "a.b", "debug", cluster=False) == ["a.b"]


def test_offsets_move_only_while_the_connector_is_stopped(session: Session, fake: FakeConnect) -> None:
    apply(session)
    with pytest.raises(RefusedError, match=r"m\.c\.a is RUNNING; .*millrace connect stop a"):
        guarded.move(session, "a", guarded.at_time(100))
    session.client.stop("m.c.a")
    moved = guarded.move(session, "a", guarded.at_time(100, 3))
    assert (moved.before, [entry.offset for entry in moved.after]) == ([], [{"resume_token": "8200000064000000032B0229296E04"}])
    again = guarded.move(session, "a", guarded.at_token(STORED))
    assert again.before == moved.after
    assert again.after[0].offset == {"resume_token": WHOLE}
    assert guarded.reset(session, "a").after == []


def test_a_partition_that_connect_would_ignore_in_silence_is_refused(session: Session) -> None:
    apply(session)
    with pytest.raises(RefusedError, match=r"partition \{'server_id': 'typo'\} is none of the connector's: \{'server_id': 'm'\}"):
        guarded.move(session, "b", guarded.at_time(1), {"server_id": "typo"})


def test_a_change_that_connect_only_says_it_made_is_an_error(session: Session, fake: FakeConnect) -> None:
    apply(session)
    fake.connectors["m.c.b"]["config"]["topic.prefix"] = "other"  # as if the connector had been changed meanwhile
    fake.connectors["m.c.b"]["offsets"] = [{"partition": {"server_id": "m"}, "offset": {"sec": 1, "ord": 1}}]
    with pytest.raises(WorkerError, match=r"Connect answered .*altered successfully.* but its offsets are"):
        guarded.move(session, "b", guarded.at_time(2), {"server_id": "m"})


def test_a_time_that_is_none_is_refused() -> None:
    for seconds, ordinal in ((0, 0), (1 << 32, 0), (1, 1 << 32)):
        with pytest.raises(RefusedError, match="is not a cluster time"):
            guarded.at_time(seconds, ordinal)


@pytest.mark.parametrize("token", ["", "82zz", "{}", "AAAA", "hello"])
def test_what_is_no_resume_token_is_refused(token: str) -> None:
    with pytest.raises(RefusedError, match="is not a resume token"):
        guarded.at_token(token)


def test_offsets_are_told_in_words() -> None:
    # 0x6B06E316 seconds = 1,795,613,462; 2026-11-25 13:31:02 UTC by `date --utc --date=@1795613462`.
    assert guarded.in_words({"sec": -1, "ord": -1, "resume_token": STORED}) == "at 2026-11-25 13:31:02 UTC (ordinal 2)"
    event = "826B06E316000000022B042C0100296E5A1004" + "AB" * 16 + "463C5F6964003C6D3100000004"
    assert guarded.in_words({"resume_token": event}) == "behind a change of 2026-11-25 13:31:02 UTC (ordinal 2)"
    assert guarded.in_words({"sec": 1_795_613_462, "ord": 7}).startswith("2026-11-25 13:31:02 UTC (ordinal 7) without a token")
    assert guarded.in_words({"position": 5}) == guarded.in_words(None) == ""


def test_the_watch_counts_restarts_and_survives_a_cluster_that_is_away(session: Session, fake: FakeConnect) -> None:
    apply(session)
    clock = Clock()
    watch = Watch(session, clock=clock)
    assert watch.readiness()[0] is False
    fake.fail("m.c.a", "x.y.Bad: no")
    fake.log.clear()
    watch.look()
    assert "POST /connectors/m.c.a/tasks/0/restart" in fake.log
    value = watch.metrics.registry.get_sample_value
    assert value("millrace_connect_restarts_total", {"connector": "m.c.a", "task": "0"}) == 1
    clock.now = 4
    watch.look()
    assert value("millrace_connect_state", {"connector": "m.c.a", "task": "0", "state": "RUNNING"}) == 1
    assert watch.readiness()[0] is True
    fake.busy = 10_000
    impatient = Session(
        ConnectClient("http://connect", transport=fake.transport(), patience=0.1), session.names, session.declared, session.redactor
    )
    away = Watch(impatient, clock=clock)
    assert away.look() is None
    assert away.readiness()[0] is False
    fake.busy = 0
    assert away.look() is not None
    impatient.client.__exit__()


def test_the_watch_tells_a_task_that_is_stuck_from_one_that_failed_in_passing(session: Session, fake: FakeConnect) -> None:
    apply(session)
    clock = Clock()
    watch = Watch(session, clock=clock)
    stuck = lambda: watch.metrics.registry.get_sample_value("millrace_connect_stuck", {"connector": "m.c.a", "task": "0"})  # noqa: E731
    for _ in range(2):
        assert not [text for text in watch.readiness()[1]["troubles"] if "same offset" in text]
        fake.fail("m.c.a", "x.y.Bad: no")
        watch.look()
        clock.now += 10
    assert stuck() == 1
    assert [text for text in watch.readiness()[1]["troubles"] if "m.c.a task 0: fails at the same offset again" in text]
    fake.connectors["m.c.a"]["offsets"] = [{"partition": {"server_id": "m"}, "offset": {"resume_token": "further"}}]
    watch.look()
    fake.fail("m.c.a", "x.y.Bad: no")
    clock.now += 10
    watch.look()
    assert stuck() == 0


def test_the_watch_leaves_connectors_of_others_alone(session: Session, fake: FakeConnect) -> None:
    session.client.create("foreign", CONFIG)
    fake.fail("foreign", "x.y.Bad: no")
    ours = Watch(session).look()
    assert ours is not None
    assert ours.restart == []
    every = Watch(session, every=True).look()
    assert every is not None
    assert every.restart == [("foreign", 0)]
