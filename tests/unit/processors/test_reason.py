"""The one line that says why a query has failed."""

from __future__ import annotations

import pytest

from millrace_processors.streaming import reason_of

PROXY = "An exception was raised by the Python Proxy. Return Message: Traceback (most recent call last):"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            f"{PROXY}\n"
            '  File "report_store.py", line 1, in write\n'
            "    raise ReportStoreError(1)\n"
            "millrace_processors.errors.ReportStoreError: Cassandra did not take 3 reports in 180 s: busy\n"
            "\tat org.apache.spark.Foo.bar(Foo.scala:1)",
            "millrace_processors.errors.ReportStoreError: Cassandra did not take 3 reports in 180 s: busy",
        ),
        (
            f"[FOREACH_BATCH] failed\n{PROXY}\n    return f(*a, **kw)\n           ^^^^^\n"
            "pyspark.errors.exceptions.captured.PythonException: \n"
            "cassandra.cluster.NoHostAvailable: ('Unable to connect to any servers', {})",
            "cassandra.cluster.NoHostAvailable: ('Unable to connect to any servers', {})",
        ),
        ("Kafka went away", "Kafka went away"),
    ],
)
def test_the_line_that_names_the_error_is_taken(text: str, expected: str) -> None:
    assert reason_of(RuntimeError(text)) == expected


def test_a_query_that_ended_without_an_error_says_so() -> None:
    assert reason_of(None) == "ended"
