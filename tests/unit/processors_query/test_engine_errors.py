"""The engine's errors as a caller reads them."""

from __future__ import annotations

from pyspark.errors import AnalysisException, SparkRuntimeException

from millrace_processors.query.engine import Limits, _failed
from millrace_processors.query.errors import FailedError, TooLargeError

LIMITS = Limits(1, 1, 64)


def test_a_failure_while_running_tells_its_condition_and_no_value_of_any_row() -> None:
    raised = SparkRuntimeException(
        "[CAST_INVALID_INPUT] The value 'secret-merchant' of the type \"STRING\" cannot be cast to 12L because …\n== SQL =="
    )
    found = _failed(raised, LIMITS)
    assert isinstance(found, FailedError)
    assert found.message == "CAST_INVALID_INPUT: The value … of the type … cannot be cast to … because …"


def test_a_mistake_in_the_query_names_what_it_found_but_no_table_or_path_of_ours() -> None:
    raised = AnalysisException(
        "[UNRESOLVED_COLUMN.WITH_SUGGESTION] A column 'x' of `lake`.`shop`.`facts` at file:/data/lake hdfs://n:1/x\n'Project"
    )
    assert _failed(raised, LIMITS).message == "UNRESOLVED_COLUMN.WITH_SUGGESTION: A column 'x' of … at … …"


def test_a_result_over_sparks_own_bound_is_told_as_too_large() -> None:
    found = _failed(SparkRuntimeException("Total size of results is bigger than spark.driver.maxResultSize"), LIMITS)
    assert isinstance(found, TooLargeError)
    assert "LIMIT" in found.message


def test_an_error_without_a_condition_is_masked() -> None:
    found = _failed(ValueError("java.lang.OutOfMemoryError at /data/lake"), LIMITS)
    assert found.message == "the engine could not run the query; the log of the service says why"
