"""What may stand in a query: allow-lists of words, functions, types and syntax. Pure data.

Nothing is forbidden by name: a word, a function, a type, or a node of the syntax tree or an argument of it that is not listed here is
refused. No listed function makes text longer, collects rows into a value, reads anything but its arguments, or runs a regular expression.
"""

from __future__ import annotations

from typing import Final

from sqlglot import exp

_ARGUMENTS: dict[type[exp.Expr], str] = {
    exp.Select: "expressions from_ joins where group having order limit offset distinct with_ windows",
    exp.Union: "this expression distinct with_ order limit offset",
    exp.Except: "this expression distinct with_ order limit offset",
    exp.Intersect: "this expression distinct with_ order limit offset",
    exp.Subquery: "this alias",
    exp.With: "expressions",
    exp.CTE: "this alias",
    exp.From: "this",
    exp.Table: "this alias",
    exp.TableAlias: "this columns",
    exp.Join: "this on using side kind",
    exp.Where: "this",
    exp.Having: "this",
    exp.Group: "expressions rollup cube grouping_sets",
    exp.Rollup: "expressions",
    exp.Cube: "expressions",
    exp.GroupingSets: "expressions",
    exp.Order: "expressions",
    exp.Ordered: "this desc nulls_first",
    exp.Limit: "expression",
    exp.Offset: "expression",
    exp.Distinct: "expressions",
    exp.Column: "this table",
    exp.Identifier: "this quoted",
    exp.Star: "",
    exp.Alias: "this alias",
    exp.Literal: "this is_string",
    exp.Boolean: "this",
    exp.Null: "",
    exp.Paren: "this",
    exp.Tuple: "expressions",
    exp.In: "this expressions query",
    exp.Exists: "this",
    exp.Any: "this",
    exp.All: "this",
    exp.Window: "this partition_by order spec alias over",
    exp.WindowSpec: "kind start start_side end end_side",
    exp.WithinGroup: "this expression",
    exp.Filter: "this expression",
    exp.IgnoreNulls: "this",
    exp.RespectNulls: "this",
    exp.Case: "this ifs default",
    exp.If: "this true false",
    exp.Cast: "this to",
    exp.TryCast: "this to safe",
    exp.DataType: "this expressions nested",
    exp.DataTypeParam: "this",
    exp.Interval: "this unit",
    exp.IntervalSpan: "this expression",
    exp.Var: "this",
    exp.Between: "this low high symmetric",
    exp.Is: "this expression",
    exp.Like: "this expression negate",
    exp.ILike: "this expression negate",
    exp.Escape: "this expression",
    exp.Not: "this",
    exp.Neg: "this",
    exp.Div: "this expression typed safe",
    # Functions with a grammar of their own; every other one is a name with arguments.
    exp.Anonymous: "this expressions",
    exp.Trim: "this expression position",
    exp.Substring: "this start length",
    exp.StrPosition: "this substr position occurrence",
    exp.Extract: "this expression",
    **dict.fromkeys((exp.CurrentDate, exp.CurrentTimestamp), ""),
    **dict.fromkeys(
        (exp.And, exp.Or, exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.NullSafeEQ, exp.NullSafeNEQ, exp.Add, exp.Sub, exp.Mul,
         exp.Mod, exp.IntDiv), "this expression",
    ),
}  # fmt: skip


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


SYNTAX: Final = {kind: frozenset(arguments.split()) for kind, arguments in _ARGUMENTS.items()}
"""Node -> the arguments that it may have."""

FUNCTIONS: Final = _words(
    # aggregates
    "count count_if sum avg mean min max stddev stddev_samp stddev_pop variance var_samp var_pop median percentile percentile_approx "
    "approx_percentile approx_count_distinct max_by min_by any_value first last bool_and every bool_or corr mode grouping grouping_id "
    # over a window
    "row_number rank dense_rank percent_rank cume_dist ntile lag lead first_value last_value nth_value "
    # time
    "year quarter month weekofyear weekday day dayofmonth dayofweek dayofyear hour minute second extract date_trunc trunc date_format "
    "to_date to_timestamp make_date unix_millis unix_seconds from_utc_timestamp to_utc_timestamp date_add date_sub dateadd date_diff "
    "datediff add_months last_day months_between timestampadd timestampdiff now curdate current_date current_timestamp "
    # numbers
    "abs sign signum round bround floor ceil ceiling sqrt pow power exp ln log log2 log10 greatest least mod pmod try_divide width_bucket "
    # nulls and choices
    "coalesce ifnull nvl nvl2 nullif isnull isnotnull if case "
    # types
    "cast try_cast boolean int float double date timestamp string "
    # text
    "lower lcase upper ucase initcap length len char_length character_length substring substr left right trim ltrim rtrim startswith "
    "endswith contains instr locate position split_part like ilike"
)
"""Functions by the names that Spark calls them by."""
PERCENTILES: Final = frozenset({"percentile", "percentile_approx", "approx_percentile"})
"""Functions that may also take an array of numbers: nowhere else may one be written."""
UNIT_FIRST: Final = frozenset({"timestampadd", "timestampdiff", "dateadd", "date_add", "datediff", "date_diff"})
"""Functions whose first of three arguments is a unit."""
BARE_FUNCTIONS: Final = frozenset(
    {"current_date", "current_time", "current_timestamp", "current_user", "session_user", "user", "localtimestamp", "grouping__id"}
)
"""Functions that the engine calls by their bare name, in backticks too, where no column of that name is in reach (I9)."""

TYPES: Final = frozenset(
    [
        "BOOLEAN",
        "TINYINT",
        "BYTE",
        "SMALLINT",
        "SHORT",
        "INT",
        "INTEGER",
        "BIGINT",
        "LONG",
        "FLOAT",
        "REAL",
        "DOUBLE",
        "DECIMAL",
        "DEC",
        "NUMERIC",
        "DATE",
        "TIMESTAMP",
        "TIMESTAMP_LTZ",
        "TIMESTAMP_NTZ",
        "STRING",
        "VARCHAR",
    ]
)
TYPED_TEXTS: Final = frozenset({"DATE", "TIMESTAMP", "TIMESTAMP_LTZ", "TIMESTAMP_NTZ", "INTERVAL"})
"""Words that make a value of the text behind them."""
UNITS: Final = _words(
    "YEAR YEARS QUARTER QUARTERS MONTH MONTHS WEEK WEEKS DAY DAYS HOUR HOURS MINUTE MINUTES SECOND SECONDS MILLISECOND MILLISECONDS "
    "MICROSECOND MICROSECONDS Y YR YRS YEAROFWEEK QTR MON MONS W D DAYOFWEEK DOW DAYOFWEEK_ISO DOW_ISO DOY DAYOFYEAR H HR HRS M MIN MINS "
    "S SEC SECS"
)
WORDS: Final = frozenset(
    [
        "SELECT",
        "DISTINCT",
        "ALL",
        "FROM",
        "WHERE",
        "GROUP",
        "BY",
        "HAVING",
        "ORDER",
        "LIMIT",
        "OFFSET",
        "WITH",
        "AS",
        "JOIN",
        "INNER",
        "LEFT",
        "RIGHT",
        "FULL",
        "OUTER",
        "SEMI",
        "ANTI",
        "ON",
        "USING",
        "UNION",
        "EXCEPT",
        "MINUS",
        "INTERSECT",
        "AND",
        "OR",
        "NOT",
        "IN",
        "IS",
        "NULL",
        "TRUE",
        "FALSE",
        "LIKE",
        "ILIKE",
        "ESCAPE",
        "BETWEEN",
        "EXISTS",
        "ANY",
        "SOME",
        "CASE",
        "WHEN",
        "THEN",
        "ELSE",
        "END",
        "BOTH",
        "LEADING",
        "TRAILING",
        "FOR",
        "DIV",
        "INTERVAL",
        "TO",
        "OVER",
        "PARTITION",
        "ROWS",
        "RANGE",
        "UNBOUNDED",
        "CURRENT",
        "ROW",
        "PRECEDING",
        "FOLLOWING",
        "WINDOW",
        "FILTER",
        "WITHIN",
        "IGNORE",
        "RESPECT",
        "NULLS",
        "ASC",
        "DESC",
        "FIRST",
        "LAST",
        "ROLLUP",
        "CUBE",
        "GROUPING",
        "SETS",
        "CURRENT_DATE",
        "CURRENT_TIMESTAMP",
    ]
)
"""Words of SELECT itself."""
JOIN_SIDES: Final = frozenset({"", "LEFT", "RIGHT", "FULL"})
JOIN_KINDS: Final = frozenset({"", "INNER", "OUTER", "SEMI", "ANTI"})
MAX_NODES: Final = 2_000
MAX_TOKENS: Final = 4_000
MAX_NESTING: Final = 25
"""Of parentheses, before the text is parsed."""
MAX_DEPTH: Final = 100
"""Of the syntax tree; the parser's own recursion stays well below Python's limit."""
MAX_SOURCES: Final = 16
"""How often views and common table expressions may be named in one query."""


def function_names() -> list[str]:
    """Every function that may be called, sorted."""
    return sorted(FUNCTIONS)
