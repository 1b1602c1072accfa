"""The jobs' commands: what they refuse, with which words and exit codes, and what they say when they are done."""

from __future__ import annotations

import json
import signal
from datetime import UTC, datetime
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from pyspark.errors import PythonException

from millrace_processors import jobs_cli, reprocess_cli, session, upkeep_cli
from millrace_processors.auditing import Audited, Window
from millrace_processors.cli import process
from millrace_processors.customers import Counted
from millrace_processors.errors import UnavailableError
from millrace_processors.expected import Expected
from millrace_processors.payments import Outcome
from millrace_processors.refresh import Mode, Refreshed
from millrace_processors.reprocessing import Reprocessed, added
from millrace_processors.rolling import Rolled

JOBS = ("reprocess", "rollup", "customers", "maintain", "audit")


@pytest.mark.parametrize("name", JOBS)
def test_help_teaches_with_an_example_and_the_exit_codes(name: str) -> None:
    text = CliRunner().invoke(process, [name, "--help"]).output
    assert f"Example: millrace process {name}" in text
    assert "Exit codes: 0" in text
    assert "--json" in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["reprocess", "--offsets", "0:1"], "--offsets speaks of Kafka; add --from kafka"),
        (["reprocess", "--from", "mongo", "--offsets", "0:1"], "--offsets speaks of Kafka; add --from kafka"),
        (["reprocess", "--from", "kafka", "--token", "82"], "--token speaks of the change stream; add --from token"),
        (["reprocess", "--from", "token"], "--from token takes one of --token (a resume token) and --start (a cluster time)"),
        (["reprocess", "--from", "token", "--token", "82", "--start", "2026-11-24"], "--from token takes one of --token"),
        (["reprocess", "--from", "kafka", "--start", "2026-11-24", "--offsets", "0:1"], "takes one of --start and --offsets"),
        (["reprocess", "--start", "yesterday"], "'yesterday' is not an instant such as 2026-11-24T15:00Z"),
        (["maintain", "--keep-hours", "0"], "--keep-hours"),
        (["audit", "--every", "5"], "--every"),
    ],
)
def test_a_wrong_option_is_named_with_the_fix(arguments: list[str], words: str) -> None:
    result = CliRunner().invoke(process, arguments, obj={})
    assert result.exit_code == 2
    assert words in result.output


def test_an_instant_without_an_offset_is_in_utc() -> None:
    kind = jobs_cli.Instant()
    expected = datetime(2026, 11, 24, 15, tzinfo=UTC)
    for text in ("2026-11-24T15:00", "2026-11-24T15:00Z", "2026-11-25T00:00+09:00"):
        assert kind.convert(text, None, None) == expected
    with pytest.raises(click.BadParameter):
        kind.convert("24.11.2026", None, None)


def test_the_sum_of_batches_keeps_some_examples() -> None:
    total = Reprocessed(Refreshed(reports=1, equal=1))
    for number in range(30):
        total = added(total, Outcome(2, 1, Refreshed(reports=1, changed=1, examples=[f"e{number}"]), None))
    assert (total.events, total.dead_letters, total.refreshed.reports, total.refreshed.changed, total.refreshed.equal) == (
        60,
        30,
        31,
        30,
        1,
    )
    assert total.refreshed.examples == [f"e{number}" for number in range(20)]


@pytest.mark.parametrize(
    ("mode", "refreshed", "finished", "code"),
    [
        (Mode.COMPARE, Refreshed(reports=2, equal=2), True, 0),
        (Mode.COMPARE, Refreshed(reports=2, equal=1, changed=1), True, 1),
        (Mode.COMPARE, Refreshed(reports=2, equal=1, added=1), True, 1),
        (Mode.COMPARE, Refreshed(reports=2, equal=1, newer=1), True, 0),
        (Mode.COMPARE_AND_WRITE, Refreshed(reports=2, changed=2), True, 0),
        (Mode.WRITE, Refreshed(reports=2), False, 130),
    ],
)
def test_the_exit_code_of_a_reprocess(mode: Mode, refreshed: Refreshed, finished: bool, code: int) -> None:
    assert reprocess_cli.told_reprocess(True, "lake", mode, Reprocessed(refreshed, finished=finished), 1.0) == code


def test_a_dry_run_says_how_long_the_run_will_take_and_what_that_rests_on(capsys: pytest.CaptureFixture[str]) -> None:
    done, hour = Reprocessed(Refreshed(reports=2, facts=50_000, equal=2)), Expected(3_600.0, "the last run, which wrote")
    assert reprocess_cli.told_reprocess(False, "lake", Mode.COMPARE, done, 1.0, hour) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "Expected to take 3600.0 s when it writes: by the last run, which wrote."
    assert reprocess_cli.told_reprocess(True, "lake", Mode.COMPARE, done, 1.0, hour) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["expectedSeconds"], said["expectedRestsOn"]) == (3_600.0, "the last run, which wrote")
    assert reprocess_cli.told_reprocess(True, "lake", Mode.WRITE, done, 1.0) == 0
    assert "expectedSeconds" not in json.loads(capsys.readouterr().out)


def test_what_a_rollup_and_an_audit_say() -> None:
    assert "Nothing is complete yet" in jobs_cli.told_rollup(Rolled())
    text = jobs_cli.told_rollup(Rolled(60_000, hours=1_200, days=3, packed=5, rezoned=2))
    assert text == "1,200 hours and 3 days, 5 packed days, up to 1970-01-01T00:01:00Z, 2 merchants in another time zone"
    window = Window(datetime(2026, 11, 24, tzinfo=UTC), 5, 4, 900, 800, 3, 1, "m 2026-11-24T00:00Z USD: gross 1 -> 2")
    assert upkeep_cli.told_audit(Audited(60_000, 7, 6, [window], 1, 2)).splitlines() == [
        "2026-11-24T00:00Z: 5 facts in Kafka, 4 of them in the lake (amounts 900 and 800); 1 of 3 reports differ, "
        "such as m 2026-11-24T00:00Z USD: gross 1 -> 2",
        "6 of 7 windows certified, 1 differ, up to 1970-01-01T00:01:00Z",
        "Repaired: 1 facts, 2 reports",
    ]


@pytest.mark.parametrize(
    ("refused", "line"),
    [
        ({"paidAt": 1}, "1 payment refused: paidAt"),
        ({"paidAt": 1_200}, "1,200 payments refused: paidAt"),
        ({"user.key": 2, "paidAt": 1}, "3 payments refused: paidAt (1), user.key (2)"),
    ],
)
def test_an_audit_says_beside_the_verdict_what_was_refused(refused: dict[str, int], line: str) -> None:
    verdict = "7 of 7 windows certified, 0 differ, up to 1970-01-01T00:01:00Z"
    assert upkeep_cli.told_audit(Audited(60_000, 7, 7, refused=refused)).splitlines() == [verdict, line]


def test_an_audit_names_the_place_that_differs_and_those_that_were_not_looked_at() -> None:
    start = datetime(2026, 11, 24, tzinfo=UTC)
    counts = Window(start, 5, 5, 900, 900, 3, 0, None, 6, 1_000, 5, 900, 8, 7, of_mongo=True, of_relay=True)
    assert upkeep_cli.told_audit(Audited(60_000, 7, 6, [counts], left_out=["the relay's counts: there is no topic t"])).splitlines() == [
        "2026-11-24T00:00Z: 5 facts in Kafka, 5 of them in the lake (amounts 900 and 900); "
        "6 in MongoDB and 5 in the lake now (amounts 1,000 and 900); Kafka has 7 of 8 events that the relay has written; "
        "0 of 3 reports differ",
        "Not compared: the relay's counts: there is no topic t",
        "6 of 7 windows certified, 1 differ, up to 1970-01-01T00:01:00Z",
    ]


def test_what_a_reprocess_from_elsewhere_and_a_count_of_customers_say(capsys: pytest.CaptureFixture[str]) -> None:
    done = Reprocessed(Refreshed(reports=2, facts=5, changed=1, equal=1), events=1_000, dead_letters=2, corrected=3, retracted=1)
    assert reprocess_cli.told_reprocess(False, "mongo", Mode.COMPARE, done, 1.5) == 1
    assert capsys.readouterr().out.splitlines()[:2] == [
        "1,000 payments in MongoDB, 2 of them can not be decoded: 3 facts that the lake lacked would be added, "
        "1 that MongoDB has not would be retracted",
        "2 reports from 5 facts in 1.5 s, none written",
    ]
    assert reprocess_cli.told_reprocess(False, "token", Mode.WRITE, done, 1.5) == 0
    assert capsys.readouterr().out.splitlines()[0] == "1,000 events, 2 of them can not be decoded"
    assert "Nothing is complete yet" in jobs_cli.told_customers(Counted())
    assert jobs_cli.told_customers(Counted(60_000, True, 1_200, 7)) == (
        "1,200 days counted up to 1970-01-01T00:01:00Z, 7 customers with another first day (all)"
    )


@pytest.mark.parametrize(
    ("raised", "code", "words"),
    [
        (PythonException("Traceback\nmillrace_processors.errors.ReportStoreError: Cassandra did not take 3 reports"), 3, "run it again: "),
        (UnavailableError("MongoDB does not answer; is the stack up?"), 3, "is the stack up?"),
    ],
)
def test_what_fails_in_the_engine_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, raised: Exception, code: int, words: str
) -> None:
    class Engine:
        def stop(self) -> None:
            """Nothing runs."""

    monkeypatch.setattr(session, "build", lambda config, name: Engine())
    monkeypatch.setattr(jobs_cli.logs, "configure", lambda settings, tier: None)
    handler = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(click.ClickException) as failed, jobs_cli.job({"MILLRACE_SPARK_JARS": str(tmp_path)}, "audit"):
            raise raised
    finally:
        signal.signal(signal.SIGTERM, handler)
    assert failed.value.exit_code == code
    assert words in str(failed.value)
    assert "Traceback" not in str(failed.value)
