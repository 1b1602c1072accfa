"""A stack trace in one line."""

from __future__ import annotations

from millrace_cdc.connect.traces import in_short

TRACE = """org.apache.kafka.connect.errors.ConnectException: An exception occurred in the change event producer
\tat io.debezium.pipeline.ErrorHandler.setProducerThrowable(ErrorHandler.java:73)
\t... 5 more
Caused by: io.debezium.DebeziumException: in between
\tat a.B.c(B.java:1)
Caused by: com.mongodb.MongoSecurityException: Exception authenticating MongoCredential{userName='debezium'}
\tat com.mongodb.X.y(X.java:2)
"""


def test_the_first_line_and_the_innermost_cause_are_kept() -> None:
    assert in_short(TRACE) == (
        "ConnectException: An exception occurred in the change event producer <- "
        "MongoSecurityException: Exception authenticating MongoCredential{userName='debezium'}"
    )


def test_a_trace_without_a_cause_is_its_first_line() -> None:
    assert in_short("java.lang.NullPointerException\n\tat a.B.c(B.java:1)") == "NullPointerException"


def test_what_mongodb_repeats_in_full_is_left_out() -> None:
    said = "com.mongodb.MongoCommandException: failed with error 18: 'Authentication failed.'. The full response is {\"ok\": 0.0}"
    assert in_short(said) == "MongoCommandException: failed with error 18: 'Authentication failed.'."


def test_a_long_text_is_cut_and_none_is_said() -> None:
    assert len(in_short("E: " + "x" * 1000)) == 300
    assert in_short(None) == in_short("  ") == "no trace"
