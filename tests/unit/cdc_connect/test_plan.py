"""What a plan names, what it leaves alone, and what it shows of values."""

from __future__ import annotations

from millrace_cdc.connect.declarations import Declared, State
from millrace_cdc.connect.models import Connector
from millrace_cdc.connect.plan import foreign, plan
from millrace_cdc.connect.redaction import Redactor

PREFIX = "m.c."
CONFIG = {"connector.class": "x.Y", "poll.interval.ms": "50"}


def declared(short: str = "a", state: State = "running", **config: str) -> Declared:
    return Declared(short, PREFIX + short, state, {**CONFIG, **config}, "About.")


def present(state: str = "RUNNING", name: str = "m.c.a", **config: str) -> dict[str, Connector]:
    info = {"name": name, "config": {"name": name, **CONFIG, **config}}
    return {name: Connector.model_validate({"info": info, "status": {"name": name, "connector": {"state": state}, "tasks": []}})}


def lines(items: list[Declared], cluster: dict[str, Connector], **environ: str) -> list[str]:
    return [change.line() for change in plan(items, cluster, PREFIX, Redactor(environ))]


def test_a_cluster_as_declared_gives_an_empty_plan() -> None:
    assert lines([declared()], present()) == []


def test_a_missing_connector_is_created_in_its_state() -> None:
    changes = plan([declared(state="stopped")], {}, PREFIX, Redactor({}))
    assert [(change.line(), change.target, change.config) for change in changes] == [("+ create m.c.a: stopped; About.", "STOPPED", CONFIG)]


def test_every_difference_of_a_configuration_is_named() -> None:
    cluster = present(extra="1")
    found = lines([declared(**{"poll.interval.ms": "70", "new": "x"})], cluster)
    assert found == ["~ update m.c.a: extra is not declared; new is missing; poll.interval.ms is 50, declared 70"]


def test_a_state_that_differs_is_a_change_of_its_own() -> None:
    assert lines([declared()], present("PAUSED")) == ["~ state m.c.a: is paused, declared running"]
    assert lines([declared(state="paused")], present()) == ["~ state m.c.a: is running, declared paused"]


def test_a_failed_connector_is_no_difference_of_a_plan() -> None:
    for state in ("FAILED", "UNASSIGNED", "RESTARTING"):
        assert lines([declared()], present(state)) == []


def test_what_is_ours_and_not_declared_is_marked_for_deletion_and_others_are_not_touched() -> None:
    cluster = {**present(name="m.c.old"), **present(name="m.c.a"), **present(name="someone.else")}
    assert lines([declared(state="absent")], cluster) == [
        "- delete m.c.a: its file says absent; apply --prune deletes it",
        "- delete m.c.old: no file declares it; apply --prune deletes it",
    ]
    assert foreign(cluster, PREFIX) == ["someone.else"]


def test_secrets_are_hidden_in_a_plan_and_long_values_cut() -> None:
    cluster = present(**{"mongodb.password": "oldsecret", "note": "x oldsecret y", "long": "z" * 200})
    found = lines(
        [declared(**{"mongodb.password": "${env:P}", "note": "n", "long": "q"})], cluster, MILLRACE_MONGO_A_URI="mongodb://u:oldsecret@h/"
    )
    assert "oldsecret" not in found[0]
    assert "mongodb.password is ***, declared ${env:P}" in found[0]
    assert "note is x *** y, declared n" in found[0]
    assert "z" * 60 not in found[0]
