"""Every function that a query may call, in each form of Spark's documentation, with literals and with columns of `payments`.

A list ends in forms whose answer no order of rows or tasks changes: no first row of many, no last digit of a sum of fractions.
"""

from __future__ import annotations

_AT, _DAY = "TIMESTAMP '2026-11-24 10:20:30.5'", "DATE '2026-11-24'"

ROWS = [
    # parts of a day and instant
    *(
        f"{name}({value})"
        for name in "year quarter month weekofyear weekday day dayofmonth dayofweek dayofyear hour minute second".split()  # noqa: SIM905
        for value in ("'2026-11-24 10:20:30'", _AT, "occurred_at")
    ),
    *(
        f"extract({field} FROM {value})"
        for field in ("YEAR", "YEAROFWEEK", "QUARTER", "MONTHS", "week", "DAY", "DAYOFWEEK", "DOW_ISO", "DOY", "HOUR", "MINUTES", "SECOND")
        for value in (_AT, "occurred_at")
    ),
    "extract(DAYS FROM INTERVAL 5 DAYS 3 HOURS)",
    "extract(SECOND FROM occurred_at - window_start)",
    *(f"date_trunc('{unit}', {value})" for unit in ("YEAR", "week", "DAY", "HOUR", "MINUTE") for value in (_AT, "occurred_at")),
    *(f"trunc({value}, '{unit}')" for unit in ("YEAR", "quarter", "MM", "week") for value in (_DAY, "'2026-11-24'", "occurred_at")),
    # patterns
    "to_date('2026-11-24')", "to_date('24.11.2026', 'dd.MM.yyyy')", "to_date('20261124', 'yyyyMMdd')", "to_date(occurred_at)",
    "to_date(date_format(occurred_at, 'dd.MM.yy'), 'dd.MM.yy')",
    "to_timestamp('2026-11-24 10:20:30')", "to_timestamp('24.11.2026 10:00', 'dd.MM.yyyy HH:mm')", "to_timestamp(occurred_at)",
    "to_timestamp(date_format(occurred_at, 'yyyyMMddHHmmss'), 'yyyyMMddHHmmss')",
    *(
        f"date_format({value}, '{pattern}')"
        for pattern in ("yyyy-MM-dd HH:mm:ss.SSS", "y", "E, d MMM yyyy", "HH''h''mm", "D", "a hh", "''''yy", "yyyy-MM-dd\\'T\\'HH")
        for value in (_AT, "occurred_at")
    ),
    # days and instants
    "make_date(2026, 11, 24)", "make_date(2026, month(occurred_at), day(occurred_at))",
    "unix_millis(TIMESTAMP '2026-11-24 10:20:30.123Z')", "unix_millis(occurred_at)", "unix_seconds(occurred_at)", f"unix_seconds({_AT})",
    f"from_utc_timestamp({_AT}, 'Asia/Seoul')", "from_utc_timestamp('2026-11-24', 'Asia/Seoul')", "from_utc_timestamp(occurred_at, 'UTC')",
    f"to_utc_timestamp({_AT}, 'Asia/Seoul')", "to_utc_timestamp(occurred_at, 'America/New_York')",
    f"date_add({_DAY}, 3)", "date_add('2026-11-24', 3)", "date_add(occurred_at, 1)", f"date_sub({_DAY}, 3)", "date_sub(occurred_at, 1)",
    f"date_add(HOUR, 3, {_AT})", f"dateadd({_DAY}, 3)", "dateadd(MONTH, -1, occurred_at)", "timestampadd(MINUTE, 5, occurred_at)",
    "timestampadd(WEEK, 1, DATE '2026-11-24')",
    f"datediff({_DAY}, '2026-11-01')", f"date_diff({_DAY}, occurred_at)", "datediff(DAY, window_start, occurred_at)",
    f"date_diff(HOUR, occurred_at, {_AT})", f"timestampdiff(MONTH, DATE '2020-01-31', {_DAY})",
    "timestampdiff(SECOND, window_start, occurred_at)",
    f"add_months({_DAY}, 3)", "add_months(occurred_at, -1)", f"last_day({_DAY})", "last_day('2026-02-01')", "last_day(occurred_at)",
    "months_between('2026-11-24', '2026-01-01')", "months_between(occurred_at, TIMESTAMP '2026-01-01 00:00:00', false)",
    "now() = current_timestamp()", "current_timestamp = now()", "current_date() = curdate()", "current_date = to_date(now())",
    # numbers
    *(f"{name}({value})" for name in ("abs", "sign", "signum", "floor", "ceil", "ceiling") for value in ("-1.5", "amount",
    "amount - 5000.5")),
    "abs(INTERVAL -3 DAYS)", "floor(3.1411, 3)", "ceil(3.1411, 3)", "ceiling(3.1411, -1)", "floor(amount / 7, 1)", "ceil(amount / 7, 1)",
    "round(2.5)", "round(2.345, 2)", "round(amount, -2)", "bround(2.5)", "bround(2.345, 2)", "bround(amount, -1)",
    *(f"{name}({value})" for name in ("sqrt", "exp", "ln", "log2", "log10") for value in ("2", "1 + amount / 10000")),
    "log(10, 100)", "log(2.5)", "log(2, amount + 1)", "pow(2, 3)", "power(amount, 2)",
    "greatest(1, 3, 2)", "greatest(amount, points_used)", "least('b', 'a')", "least(amount, NULL, 7)",
    "mod(7, 3)", "mod(amount, 7)", "pmod(-7, 3)", "pmod(-amount, 7)", "try_divide(1, 0)", "try_divide(amount, points_used)",
    "try_divide(INTERVAL 2 MONTHS, 2)", "width_bucket(5.3, 0.2, 10.6, 5)", "width_bucket(amount, 0, 10000, 10)",
    # nulls and choices
    "coalesce(NULL, 1)", "coalesce(method, 'none')", "ifnull(NULL, 'a')", "ifnull(method, kind)", "nvl(NULL, 2)", "nvl(method, kind)",
    "nvl2(NULL, 1, 2)", "nvl2(method, kind, 'none')", "nullif(2, 2)", "nullif(kind, 'refund')", "isnull(1)", "isnull(method)",
    "isnotnull(NULL)", "isnotnull(method)", "if(1 < 2, 'a', 'b')", "if(amount > 5000, amount, NULL)",
    "CASE WHEN amount > 5000 THEN 'big' WHEN amount > 100 THEN 'small' ELSE 'tiny' END", "CASE kind WHEN 'refund' THEN 1 END",
    "CASE (amount) WHEN 1 THEN 2 ELSE 3 END",
    # types
    "CAST('10' AS INT)", "CAST(amount AS STRING)", "CAST(amount / 3 AS DECIMAL(20, 3))", "CAST('2026-11-24' AS DATE)",
    "try_cast('a' AS INT)", "try_cast(method AS DOUBLE)", "amount::string", "'3'::int", "CAST(occurred_at AS TIMESTAMP_NTZ)",
    "CAST(1 AS BOOLEAN)", "CAST(amount AS SMALLINT)", "boolean('true')", "boolean(points_used)", "int('1')", "int(occurred_at IS NULL)",
    "float('1.5')", "float(amount)", "double('1e3')", "double(amount)", "date('2026-11-24')", "date(occurred_at)",
    "timestamp('2026-11-24 10:00:00')", "timestamp(occurred_at)", "string(1)", "string(occurred_at)",
    "1.5BD", "10L", "3S", "4Y", "1.5F", "1.5D", "1e3", ".5", "5.", "1e3BD", "-1.25BD * 2",
    # text
    *(
        f"{name}({value})"
        for name in "lower lcase upper ucase initcap length len char_length character_length trim ltrim rtrim".split()  # noqa: SIM905
        for value in ("'  Spark SQL '", "method")
    ),
    "substring('Spark SQL', 5)", "substring('Spark SQL', -3)", "substring(payment_id, 2, 3)", "substring('Spark SQL' FROM 5)",
    "substring(payment_id FROM 2 FOR 1)", "substr('Spark SQL', 5, 1)", "substr(payment_id, 2)", "substr(payment_id FROM 1 FOR 2)",
    "left('Spark SQL', 3)", "left(payment_id, 2)", "right('Spark SQL', 3)", "right(payment_id, 2)",
    "trim(BOTH FROM '  a ')", "trim(LEADING FROM '  a ')", "trim(TRAILING FROM ' a ')", "trim('SL' FROM 'SSparkSQLS')",
    "trim(BOTH 'SL' FROM 'SSparkSQLS')", "trim(LEADING 'p' FROM payment_id)", "trim(TRAILING '1' FROM payment_id)",
    "ltrim('p', payment_id)",
    "rtrim('1', payment_id)",
    "startswith('Spark SQL', 'Spark')", "startswith(method, 'c')", "endswith(method, 'd')", "endswith('Spark', NULL)",
    "contains(method, 'a')",
    "contains('Spark SQL', 'k S')", "instr('SparkSQL', 'SQL')", "instr(method, 'a')", "locate('bar', 'foobarbar')",
    "locate('a', method, 2)",
    "position('bar', 'foobarbar')", "position('bar', 'foobarbar', 5)", "POSITION('a' IN method)", "split_part('11.12.13', '.', 3)",
    "split_part(method, 'a', 1)", "like('Spark', '_park')", "like(method, 'c%')", "ilike('Spark', '_PARK')", "ilike(method, 'C%')",
    "like('50%', '50/%', '/')", "method LIKE 'c%' ESCAPE '!'", "method NOT ILIKE 'C%'", "method LIKE ANY ('c%', 'w%')",
    # literals
    "'O''Brien'", "''''", "'a' 'b'", '"O""B\'x"', r"r'a\n'", r"'\101\u0041\U0001F600\%\_\x\Z\z'", "'a\\'b\\\\'",
    "INTERVAL 3 DAYS", "INTERVAL '3' DAY", "INTERVAL -3 MONTHS", "INTERVAL '1-2' YEAR TO MONTH", "INTERVAL '3 04:05:06.7' DAY TO SECOND",
    "INTERVAL 1 DAY 2 HOURS", "INTERVAL '3 days 2 hours'", "occurred_at + INTERVAL 90 MINUTES", "occurred_at - window_start", _DAY,
    "TIMESTAMP_NTZ '2026-11-24 10:00:00'", "TIMESTAMP '2026-11-24T10:00:00+01:00'", "7 DIV 2", "7 / 2", "7 % 4", "amount DIV 3",
    "1 <=> NULL", "method IS DISTINCT FROM kind", "method IS NOT DISTINCT FROM NULL", "1 == 1", "1 != 2", "!(amount > 1)", "NOT amount > 1",
    "amount BETWEEN 1 AND 100", "amount NOT IN (1, 2)", "(amount > 1) IS TRUE",
]  # fmt: skip

AGGREGATES = [
    *(f"{name}({value})" for name in ("count", "sum", "avg", "mean", "min", "max", "median", "mode") for value in ("1", "amount")),
    "count(*)", "count(method, amount)", "count(DISTINCT method)", "count(DISTINCT method, kind)", "count_if(amount > 10)",
    "count_if(true)",
    "sum(DISTINCT amount)", "sum(amount) FILTER (WHERE kind = 'refund')", "min(method)", "max(occurred_at)",
    *(
        f"round({name}({value}), 6)"
        for name in ("stddev", "stddev_samp", "stddev_pop", "variance", "var_samp", "var_pop")
        for value in ("2", "amount")
    ),
    "percentile(amount, 0.3)", "percentile(amount, array(0.25, 0.75))", "percentile(amount, 0.5, points_used + 1)", "percentile(7, 0.5)",
    "percentile(occurred_at - window_start, 0.5)",
    *(
        f"{name}({arguments})"
        for name in ("percentile_approx", "approx_percentile")
        for arguments in ("amount, 0.5", "amount, 0.5, 100", "amount, array(0.5, 0.1), 100", "7, 0.5")
    ),
    "approx_count_distinct(amount)", "approx_count_distinct(amount, 0.1)", "approx_count_distinct(1)",
    "max_by(amount, amount)", "min_by(amount, amount)", "max_by('a', 1)", "min_by(kind, kind)",
    "any_value(7)", "any_value(if(amount >= 0, 'x', 'y'))", "any_value(NULL, true)", "any_value(7 IGNORE NULLS)",
    "first(7)", "first(if(amount >= 0, 'x', 'y'))", "first(if(kind = 'refund', NULL, 1), true)", "first(7 IGNORE NULLS)",
    "first(if(kind = 'refund', NULL, 1)) IGNORE NULLS", "last(7)", "last(if(amount >= 0, 'x', 'y'))", "last(7) RESPECT NULLS",
    "last(if(kind = 'refund', NULL, 1), true)", "last(if(kind = 'refund', NULL, 1)) IGNORE NULLS",
    "first_value(7)", "first_value(if(kind = 'refund', NULL, 1)) IGNORE NULLS", "last_value(7)", "last_value(7, true)",
    "bool_and(amount > 1)", "every(true)", "every(amount >= 0)", "bool_or(amount > 1)", "bool_or(false)",
    "round(corr(amount, points_used), 6)", "mode(kind)", "mode(kind, true)", "mode() WITHIN GROUP (ORDER BY kind)",
    "mode() WITHIN GROUP (ORDER BY kind DESC)",
]  # fmt: skip

GROUPED = ["grouping(kind)", "grouping(currency)", "grouping_id()", "grouping_id(kind, currency)", "count(*)"]
"""Over GROUP BY CUBE (kind, currency)."""

WINDOWS = [
    "row_number() OVER w", "rank() OVER w", "dense_rank() OVER w", "percent_rank() OVER w", "cume_dist() OVER w", "ntile(4) OVER w",
    "ntile() OVER w",
    "lag(amount) OVER w", "lag(amount, 2) OVER w", "lag(amount, 2, -1) OVER w", "lag('a') OVER w", "lag(method) IGNORE NULLS OVER w",
    "lead(amount) OVER w", "lead(amount, 2) OVER w", "lead(amount, 2, -1) OVER w", "lead(method, 1) IGNORE NULLS OVER w",
    "first_value(method) OVER w", "first_value(method, true) OVER w", "first_value(method) IGNORE NULLS OVER w",
    "last_value(method) OVER w", "last_value(method) IGNORE NULLS OVER w", "first(amount) OVER w", "last(amount) OVER w",
    "nth_value(amount, 2) OVER w", "nth_value(method, 2) IGNORE NULLS OVER w", "nth_value('a', 2) OVER w",
    "sum(amount) OVER (PARTITION BY kind ORDER BY amount RANGE BETWEEN 100 PRECEDING AND CURRENT ROW)",
    "max(amount) OVER (ORDER BY payment_id, kind ROWS BETWEEN UNBOUNDED PRECEDING AND 1 FOLLOWING)",
    "count(*) OVER (ORDER BY occurred_at RANGE BETWEEN INTERVAL 1 DAY PRECEDING AND INTERVAL '2' DAYS FOLLOWING)",
]  # fmt: skip
"""Over WINDOW w AS (PARTITION BY merchant_id ORDER BY payment_id, kind)."""
