"""What may be asked, and every trick that must not get through, each with what the refusal says."""

from __future__ import annotations

import re

import pytest

from millrace_processors.query.errors import RefusedError, TooLargeError
from millrace_processors.query.guard import check

ALLOWED = [
    "\ufeffSELECT amount FROM payments WHERE method = 'O''Brien' OR method = 'a' 'b' OR method = r'\\d'",
    "SELECT to_timestamp('24.11.2026 10:00', 'dd.MM.yyyy HH:mm'), unix_millis(occurred_at), unix_seconds(occurred_at) FROM payments",
    "SELECT to_date('24.11.2026', 'dd.MM.yyyy'), to_date('20261124', 'yyyyMMdd'), date_format(occurred_at, 'HH''h''') FROM payments",
    "SELECT timestampadd(DAY, 1, occurred_at), datediff(HOUR, window_start, occurred_at), extract(DOW FROM occurred_at) FROM payments",
    "SELECT percentile(amount, array(0.25, 0.75)), mode() WITHIN GROUP (ORDER BY kind), first(method) IGNORE NULLS FROM payments",
    "SELECT INTERVAL '1-2' YEAR TO MONTH, INTERVAL '3 4' DAY TO HOUR, INTERVAL 1 DAY 2 HOURS, INTERVAL '7 days' FROM payments",
    "SELECT 1.5BD, 3L, 2S, 1Y, 1.5F, 1e3BD, amount::decimal(9,2), method LIKE '50!%' ESCAPE '!', amount == 1, !TRUE FROM payments",
    "SELECT * FROM payments",
    "select P.Amount from Payments as p where p.METHOD = 'card'",
    "SELECT count(*), count(DISTINCT customer), sum(amount) FILTER (WHERE kind = 'refund') FROM payments;",
    "SELECT date_trunc('hour', occurred_at), currency, sum(amount) FROM payments GROUP BY 1, 2 HAVING sum(amount) > 5 ORDER BY 1 DESC",
    "SELECT method, avg(amount) FROM payments GROUP BY ROLLUP (method)",
    "SELECT method, grade, sum(amount) FROM payments GROUP BY GROUPING SETS ((method), (grade), ())",
    "SELECT from_utc_timestamp(p.window_start, m.time_zone) AS local FROM payments p LEFT JOIN merchants m USING (merchant_id)",
    "SELECT a.net FROM reports a JOIN reports b ON a.window_start = b.window_start + INTERVAL '7' DAYS",
    "SELECT net FROM reports WHERE window_start >= current_timestamp() - INTERVAL 7 DAYS",
    "SELECT rank() OVER (PARTITION BY merchant_id ORDER BY net DESC) AS place FROM reports",
    "SELECT lag(net) OVER w, sum(net) OVER (ORDER BY net ROWS BETWEEN 5 PRECEDING AND CURRENT ROW) FROM reports WINDOW w AS (ORDER BY net)",
    "WITH a AS (SELECT net AS n FROM reports), b AS (SELECT n FROM a) SELECT b.n FROM b WHERE n IN (SELECT n FROM a)",
    "SELECT net FROM reports UNION ALL SELECT amount FROM payments EXCEPT SELECT 1",
    "SELECT x.total FROM (SELECT sum(amount) AS total FROM payments) AS x",
    "SELECT r.net FROM reports r WHERE EXISTS (SELECT 1 FROM payments p WHERE p.window_start = r.window_start)",
    "SELECT CASE WHEN amount > 10 THEN 'big' ELSE 'small' END AS size, if(amount > 1, 1, 0), coalesce(method, 'none') FROM payments",
    "SELECT percentile_approx(amount, 0.95), median(amount), max_by(method, amount), approx_count_distinct(customer) FROM payments",
    "SELECT try_cast(method AS INT), CAST(amount AS DECIMAL(20, 2)) / 100, amount::double, round(amount / 100, 2) FROM payments",
    "SELECT year(occurred_at), date_format(occurred_at, 'yyyy-MM-dd'), extract(hour FROM occurred_at), weekday(occurred_at) FROM payments",
    "SELECT amount AS `the amount` FROM payments ORDER BY `the amount` LIMIT 5 OFFSET 2",
    "SELECT amount /* a comment; DROP TABLE x */ FROM payments -- and another",
    "SELECT x.user FROM (SELECT customer AS user FROM payments) AS x",
    "SELECT DATE '2026-11-01', TIMESTAMP '2026-11-01 00:00:00', 1e3, .5, TRUE, NULL",
]


@pytest.mark.parametrize("sql", ALLOWED)
def test_a_select_over_the_views_passes(sql: str) -> None:
    check(sql, everything=False)


REFUSED = {
    # other statements
    "": "0 statements",
    "-- nothing": "0 statements",
    "SELECT 1; SELECT 2": "2 statements",
    "SELECT 1; DROP TABLE payments": "2 statements",
    "SELECT ';' ; SELECT 2": "2 statements",
    "/* ; */ SELECT 1 /* */ ; /* */ DELETE FROM payments": "2 statements",
    "SELECT": "SELECT without a column",
    "DROP TABLE payments": "one SELECT",
    "INSERT INTO payments SELECT * FROM payments": "one SELECT",
    "WITH a AS (SELECT 1) INSERT INTO payments SELECT * FROM a": "one SELECT",
    "CREATE TABLE x AS SELECT * FROM payments": "one SELECT",
    "CREATE TEMPORARY VIEW payments AS SELECT 1": "one SELECT",
    "CACHE TABLE x AS SELECT 1": "one SELECT",
    "MERGE INTO payments USING reports ON true WHEN MATCHED THEN DELETE": "",
    "SET spark.sql.runSQLOnFiles = true": "one SELECT",
    "RESET": "one SELECT",
    "EXPLAIN SELECT * FROM payments": "one SELECT",
    "DESCRIBE payments": "one SELECT",
    "SHOW TABLES": "one SELECT",
    "USE lake": "one SELECT",
    "ADD JAR 'x.jar'": "one SELECT",
    "CALL lake.system.expire_snapshots('facts')": "one SELECT",
    "TABLE payments": "one SELECT",
    "VALUES (1)": "one SELECT",
    "EXECUTE IMMEDIATE 'SELECT 1'": "one SELECT",
    "BEGIN SELECT 1; END": "",
    # other tables, by any way
    "SELECT * FROM facts": "'facts'",
    "SELECT * FROM users": "'users'",
    "SELECT * FROM lake.millrace.facts": "'lake.millrace.facts' at line 1, column 15 is no view",
    "SELECT * FROM `lake`.`millrace`.`facts`": "'`lake`.`millrace`.`facts`' at line 1, column 15 is no view",
    "SELECT * FROM `lake.millrace.facts`": "name",
    "SELECT * FROM spark_catalog.default.payments": "'spark_catalog.default.payments' at line 1, column 15 is no view",
    "SELECT * FROM payments.files": "'payments.files' at line 1, column 15 is no view",
    "SELECT * FROM payments.snapshots": "'payments.snapshots' at line 1, column 15 is no view",
    "SELECT * FROM global_temp.payments": "'global_temp.payments' at line 1, column 15 is no view",
    "SELECT * FROM information_schema.tables": "'information_schema.tables' at line 1, column 15 is no view",
    "SELECT * FROM parquet.`/data/lake/facts`": "",
    "SELECT * FROM csv.`/etc/passwd`": "",
    "SELECT * FROM json.`s3://bucket/x`": "",
    "SELECT * FROM `/etc/passwd`": "name",
    "SELECT * FROM '/etc/passwd'": "",
    "SELECT * FROM range(10)": "range()",
    "SELECT * FROM read_files('/etc')": "read_files()",
    "SELECT * FROM stack(2, 1, 2)": "",
    "SELECT * FROM explode(array(1))": "",
    "SELECT * FROM identifier('lake.millrace.facts')": "identifier()",
    "SELECT * FROM TABLE(x)": "",
    "SELECT * FROM (VALUES (1)) t": "VALUES",
    "SELECT * FROM payments VERSION AS OF 1": "VERSION",
    "SELECT * FROM payments TIMESTAMP AS OF '2026-01-01'": "",
    "SELECT * FROM payments TABLESAMPLE (1 PERCENT)": "TABLESAMPLE",
    "SELECT * FROM payments WHERE EXISTS (SELECT 1 FROM facts WHERE facts.fact_id = payments.payment_id)": "'facts'",
    "SELECT (SELECT max(customer_key) FROM users u WHERE u.user_key = payments.customer) FROM payments": "'users'",
    "SELECT * FROM payments JOIN facts USING (merchant_id)": "'facts'",
    "SELECT amount FROM payments UNION SELECT amount FROM facts": "'facts'",
    # names that would hide or escape
    "WITH payments AS (SELECT 1 AS amount) SELECT amount FROM payments": "would hide",
    "WITH `PAYMENTS` AS (SELECT 1 AS amount) SELECT amount FROM payments": "would hide",
    "WITH a AS (SELECT 1), A AS (SELECT 2) SELECT * FROM a": "there already",
    "WITH facts AS (SELECT * FROM facts) SELECT * FROM facts": "'facts'",
    "WITH b AS (SELECT * FROM facts), facts AS (SELECT 1) SELECT * FROM b": "'facts'",
    "SELECT (WITH facts AS (SELECT 1) SELECT * FROM facts) FROM facts": "'facts'",
    "SELECT * FROM (WITH facts AS (SELECT 1) SELECT * FROM facts) x JOIN facts ON x.amount = 1": "'facts'",
    "WITH RECURSIVE a AS (SELECT 1 UNION ALL SELECT * FROM a) SELECT * FROM a": "RECURSIVE",
    "WITH a AS (SELECT * FROM a) SELECT * FROM a": "'a'",
    "SELECT `a``b` FROM payments": "name",
    "SELECT amount AS `x'); DROP TABLE y; --` FROM payments": "name",
    # columns
    "SELECT customer_key FROM payments": "'customer_key'",
    "SELECT gender FROM payments": "'gender'",
    "SELECT document FROM merchants": "'document'",
    "SELECT _metadata.file_path FROM payments": "",
    "SELECT _file FROM payments": "'_file'",
    "SELECT * EXCEPT (amount) FROM payments": "'amount'",
    "SELECT lake.millrace.facts.amount FROM payments": "",
    "SELECT facts.amount FROM payments": "no table of the query",
    # functions that the engine calls by a bare name, in every clause
    "SELECT user FROM payments": "'user'",
    "SELECT current_user FROM payments": "",
    "SELECT `current_user` AS u, 1 AS `current_user` FROM merchants": "'current_user'",
    "SELECT `session_user` AS u, 1 AS `session_user` FROM merchants": "'session_user'",
    "SELECT `user` AS u, 1 AS `user` FROM merchants": "'user'",
    "SELECT 1 AS `USER` FROM merchants WHERE `USER` = 'root'": "'USER'",
    "SELECT count(*) AS user FROM merchants GROUP BY user": "'user'",
    "SELECT count(*) AS user FROM merchants HAVING user = 'root'": "'user'",
    "SELECT 1 AS user FROM merchants ORDER BY user": "'user'",
    "SELECT a.merchant_id, 1 AS user FROM merchants a JOIN merchants b ON a.name = user": "'user'",
    "SELECT rank() OVER (ORDER BY `user`) AS r, 1 AS user FROM merchants": "'user'",
    "WITH u AS (SELECT 1 AS user) SELECT (SELECT max(`user`) FROM merchants) AS x FROM u": "'user'",
    "SELECT max(`current_time`) AS x, 1 AS `current_time` FROM merchants": "'current_time'",
    # functions
    "SELECT java_method('java.lang.System', 'exit', 1)": "java_method()",
    "SELECT reflect('java.lang.Runtime', 'getRuntime')": "reflect()",
    "SELECT try_reflect('java.lang.Runtime', 'getRuntime')": "try_reflect()",
    "SELECT input_file_name() FROM payments": "input_file_name()",
    "SELECT current_user(), current_catalog()": "",
    "SELECT uuid(), rand()": "",
    "SELECT `java_method`('a', 'b')": "",
    "SELECT lake.system.bucket(2, 'a')": "",
    "SELECT spark_partition_id(), version()": "",
    "SELECT secret('scope', 'key')": "secret()",
    "SELECT ai_query('model', 'words')": "ai_query()",
    "SELECT http_request(1)": "http_request()",
    "SELECT from_json(method, 'a INT') FROM payments": "",
    "SELECT explode(array(1, 2))": "",
    "SELECT repeat('x', 1000000000)": "repeat()",
    "SELECT method || method FROM payments": "",
    "SELECT concat(method, method) FROM payments": "concat()",
    "SELECT collect_list(amount) FROM payments": "",
    "SELECT sequence(1, 1000000000)": "",
    "SELECT transform(array(1), x -> x + 1)": "",
    "SELECT method RLIKE '(a+)+b' FROM payments": "",
    "SELECT regexp_replace(method, 'a', 'b') FROM payments": "",
    "SELECT aggregate(array(1), 0, (a, b) -> a + b)": "",
    "SELECT array(1, 2) FROM payments": "array()",
    "SELECT percentile(amount, array(amount)) FROM payments": "array()",
    "SELECT filter(array(1), amount) FROM payments": "",
    "SELECT `sum`(amount) FROM payments": "sum",
    # other syntax
    "SELECT 1 AS 'x'": "'x'",
    "SELECT INTERVAL 'a;b' DAY": "'a;b'",
    "SELECT '\\uD800'": "half a character",
    "SELECT 1 /* no end": "'/*'",
    "SELECT 1 /* /* no end */": "'/*'",
    "SELECT 1a2 FROM payments": "1a2",
    "SELECT 1 |> SELECT 2": "'|'",
    "SELECT TRANSFORM (amount) USING 'cat' AS x FROM payments": "",
    "SELECT /*+ BROADCAST(payments) */ * FROM payments": "hint '/*+'",
    "SELECT * FROM payments LATERAL VIEW explode(amount) t AS x": "LATERAL",
    "SELECT * FROM payments LATERAL VIEW OUTER java_method('a', 'b') t AS x": "LATERAL",
    "SELECT * FROM payments, LATERAL (SELECT 1)": "",
    "SELECT * FROM payments, payments AS p": "'payments AS p'",
    "SELECT * FROM payments JOIN reports": "without a condition",
    "SELECT * FROM payments JOIN reports ON true": "without a condition",
    "SELECT * FROM payments NATURAL JOIN reports": "",
    "SELECT * FROM payments PIVOT (sum(amount) FOR method IN ('card'))": "PIVOT",
    "SELECT amount FROM payments QUALIFY row_number() OVER (ORDER BY amount) = 1": "QUALIFY",
    "SELECT amount FROM payments SORT BY amount": "SORT",
    "SELECT amount FROM payments DISTRIBUTE BY amount": "DISTRIBUTE",
    "SELECT amount FROM payments CLUSTER BY amount": "CLUSTER",
    "SELECT :name, ?": "':'",
    "SELECT ${spark.app.name}": "",
    "SELECT @x": "",
    "SELECT amount:x FROM payments": "",
    "SELECT method COLLATE UNICODE FROM payments": "",
    "SELECT CAST(amount AS ARRAY<INT>) FROM payments": "type",
    "SELECT CAST(method AS BINARY) FROM payments": "type",
    "SELECT X'41'": "",
    "SELECT amount FROM payments FOR UPDATE": "",
    "SELECT * FROM STREAM payments": "",
    "SELECT 'unclosed": "",
    "SELECT (1": "",
}


@pytest.mark.parametrize("sql", REFUSED)
def test_anything_else_is_refused_with_words(sql: str) -> None:
    with pytest.raises(RefusedError) as found:
        check(sql, everything=False)
    assert REFUSED[sql].lower() in found.value.message.lower()


@pytest.mark.parametrize("sql", REFUSED)
def test_every_name_in_a_refusal_stands_in_the_query(sql: str) -> None:
    with pytest.raises(RefusedError) as found:
        check(sql, everything=False)
    what = found.value.data["what"]
    phrases = "a SELECT without a column|a join without a condition|statements|syntax"
    kinds = "function|column|table|type|word|name|text|quote|hint|comment|number|character|the|before"
    words = re.findall(r"\w+", re.sub(rf"\b(?:{phrases}|{kinds})\b", " ", what))
    assert [word for word in words if word not in sql] == []
    near = re.search(r" near (.+)$", found.value.message) if what == "syntax" else None
    assert near is None or near[1] in sql


def test_a_refusal_names_what_where_and_what_is_allowed() -> None:
    with pytest.raises(RefusedError) as found:
        check("SELECT amount,\n       java_method('a', 'b')\nFROM payments", everything=False)
    assert found.value.message.startswith("java_method() at line 2, column 8 is no function that may be called; allowed: ")
    assert {"what": "java_method()", "line": 2, "column": 8}.items() <= found.value.data.items()
    assert "percentile_approx" in found.value.data["allowed"]


def test_an_unknown_table_is_told_with_the_views() -> None:
    with pytest.raises(RefusedError) as found:
        check("SELECT 1\nFROM  secrets", everything=False)
    assert found.value.message == "the table 'secrets' at line 2, column 7 is no view; allowed: payments, reports, merchants"


def test_what_can_not_be_parsed_is_told_with_its_place() -> None:
    with pytest.raises(RefusedError) as found:
        check("SELECT amount\nFROM payments WHERE AND", everything=False)
    assert found.value.data["line"] == 2


def test_joins_without_conditions_are_refused_before_the_parser_tries_every_way_to_read_them() -> None:
    for sql in (
        "SELECT 1 FROM payments " + "JOIN payments " * 300,
        "SELECT 1 FROM payments " + "JOIN payments " * 300 + "ON 1 = 1 " * 300,
        "SELECT 1 FROM " + "(payments JOIN " * 20 + "payments" + ")" * 20,
        "SELECT 1 FROM payments WHERE EXISTS (SELECT 1 FROM payments JOIN payments) AND EXISTS (SELECT 1 FROM payments JOIN payments)",
    ):
        with pytest.raises(RefusedError, match="a join without a condition at line 1"):
            check(sql, everything=False)


def test_an_analyst_may_name_the_columns_that_tell_of_people() -> None:
    check("SELECT gender, age_band, country FROM payments", everything=True)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT " + "(" * 200 + "1" + ")" * 200,
        "SELECT " + "1 + " * 3_000 + "1",
        "SELECT 1 " + "".join(f"UNION ALL SELECT amount FROM payments p{n} " for n in range(30)),
        "SELECT " + "NOT " * 900 + "TRUE",
        "SELECT " + "- " * 1_900 + "1",
        "SELECT 1 FROM payments " + "JOIN payments USING (merchant_id) " * 30,
        "SELECT " + "a." * 4_000 + "a",
        "SELECT " + "CASE WHEN TRUE THEN " * 300 + "1" + " END" * 300,
    ],
)
def test_a_query_that_is_too_large_or_nests_too_deep_is_refused_in_words(sql: str) -> None:
    with pytest.raises(TooLargeError):
        check(sql, everything=False)


@pytest.mark.parametrize("sql", ["\x00", "SELECT \x00", "\ud800", "🙂", "\\", "`"])
def test_strange_characters_are_refused(sql: str) -> None:
    with pytest.raises(RefusedError):
        check(sql, everything=False)
