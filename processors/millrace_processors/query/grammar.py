"""What may stand in a query: allow-lists of syntax, functions and types, over sqlglot's Spark dialect. Pure data.

Nothing is forbidden by name: a node, an argument of a node, a function or a type that is not listed here is refused. No listed function
makes text longer, collects rows into a value, reads anything but its arguments, or runs a regular expression.
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
    exp.Filter: "this expression",
    exp.Case: "this ifs default",
    exp.If: "this true false",
    exp.Cast: "this to",
    exp.TryCast: "this to safe",
    exp.DataType: "this expressions nested",
    exp.DataTypeParam: "this",
    exp.Interval: "this unit",
    exp.Var: "this",
    exp.Between: "this low high symmetric",
    exp.Is: "this expression",
    exp.Like: "this expression negate",
    exp.ILike: "this expression negate",
    exp.Not: "this",
    exp.Neg: "this",
    exp.Div: "this expression typed safe",
    **dict.fromkeys(
        (exp.And, exp.Or, exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.NullSafeEQ, exp.Add, exp.Sub, exp.Mul, exp.Mod,
         exp.IntDiv), "this expression",
    ),
}  # fmt: skip
SYNTAX: Final = {kind: frozenset(arguments.split()) for kind, arguments in _ARGUMENTS.items()}
"""Node -> the arguments that it may have."""

FUNCTIONS: Final[dict[type[exp.Expr], str]] = {
    # aggregates
    exp.Count: "count", exp.CountIf: "count_if", exp.Sum: "sum", exp.Avg: "avg", exp.Min: "min", exp.Max: "max",
    exp.Stddev: "stddev", exp.StddevSamp: "stddev_samp", exp.StddevPop: "stddev_pop", exp.Variance: "variance",
    exp.VariancePop: "var_pop", exp.Median: "median", exp.Quantile: "percentile", exp.ApproxQuantile: "percentile_approx",
    exp.ApproxDistinct: "approx_count_distinct", exp.ArgMax: "max_by", exp.ArgMin: "min_by", exp.AnyValue: "any_value",
    exp.First: "first", exp.Last: "last", exp.LogicalAnd: "bool_and", exp.LogicalOr: "bool_or", exp.Corr: "corr", exp.Mode: "mode",
    exp.Grouping: "grouping", exp.GroupingId: "grouping_id",
    # over a window
    exp.RowNumber: "row_number", exp.Rank: "rank", exp.DenseRank: "dense_rank", exp.PercentRank: "percent_rank",
    exp.CumeDist: "cume_dist", exp.Ntile: "ntile", exp.Lag: "lag", exp.Lead: "lead", exp.FirstValue: "first_value",
    exp.LastValue: "last_value", exp.NthValue: "nth_value",
    # time
    exp.Year: "year", exp.Quarter: "quarter", exp.Month: "month", exp.WeekOfYear: "weekofyear", exp.Day: "day",
    exp.DayOfMonth: "dayofmonth", exp.DayOfWeek: "dayofweek", exp.DayOfYear: "dayofyear", exp.Hour: "hour", exp.Minute: "minute",
    exp.Second: "second", exp.TimestampTrunc: "date_trunc", exp.TsOrDsToDate: "to_date", exp.TimeToStr: "date_format",
    exp.AtTimeZone: "from_utc_timestamp", exp.FromTimeZone: "to_utc_timestamp", exp.TsOrDsAdd: "date_add", exp.AddMonths: "add_months",
    exp.DateDiff: "datediff", exp.LastDay: "last_day", exp.Extract: "extract", exp.TimestampAdd: "timestampadd",
    exp.TimestampDiff: "timestampdiff", exp.MonthsBetween: "months_between", exp.CurrentDate: "current_date",
    exp.CurrentTimestamp: "current_timestamp", exp.TimeStrToTime: "to_timestamp",
    # numbers
    exp.Abs: "abs", exp.Sign: "sign", exp.Round: "round", exp.Floor: "floor", exp.Ceil: "ceil", exp.Sqrt: "sqrt", exp.Pow: "power",
    exp.Exp: "exp", exp.Ln: "ln", exp.Log: "log", exp.Greatest: "greatest", exp.Least: "least", exp.SafeDivide: "try_divide",
    exp.WidthBucket: "width_bucket",
    # nulls
    exp.Coalesce: "coalesce", exp.Nullif: "nullif", exp.Nvl2: "nvl2",
    # text
    exp.Lower: "lower", exp.Upper: "upper", exp.Initcap: "initcap", exp.Length: "length", exp.Substring: "substring", exp.Left: "left",
    exp.Right: "right", exp.Trim: "trim", exp.StartsWith: "startswith", exp.EndsWith: "endswith", exp.Contains: "contains",
    exp.StrPosition: "instr", exp.SplitPart: "split_part",
}  # fmt: skip
"""Functions that sqlglot knows -> how they are written."""
OTHER_FUNCTIONS: Final = frozenset(
    {"weekday", "make_date", "now", "pmod", "bround", "every", "isnull", "isnotnull", "unix_millis", "unix_seconds"}
)
"""Functions that sqlglot leaves as they are written."""

TYPES: Final = frozenset(
    {"BOOLEAN", "TINYINT", "SMALLINT", "INT", "BIGINT", "FLOAT", "DOUBLE", "DECIMAL", "DATE", "TIMESTAMP", "TIMESTAMPTZ", "TIMESTAMPLTZ",
     "TIMESTAMPNTZ", "TEXT", "VARCHAR"}
)  # fmt: skip
UNITS: Final = frozenset({"YEAR", "QUARTER", "MONTH", "WEEK", "DAY", "HOUR", "MINUTE", "SECOND", "MILLISECOND", "DAYOFWEEK", "DOW", "DOY"})
JOIN_SIDES: Final = frozenset({"", "LEFT", "RIGHT", "FULL"})
JOIN_KINDS: Final = frozenset({"", "INNER", "OUTER", "SEMI", "ANTI"})
WINDOW_WORDS: Final = frozenset({"ROWS", "RANGE", "UNBOUNDED", "CURRENT ROW", "PRECEDING", "FOLLOWING"})
WORDS: Final[dict[tuple[type[exp.Expr], str], frozenset[str]]] = {
    (exp.Trim, "position"): frozenset({"LEADING", "TRAILING", "BOTH"}),
    (exp.Window, "over"): frozenset({"OVER"}),
}
"""Texts that sqlglot keeps as they are in a node, and what they may be."""
MAX_NODES: Final = 2_000
MAX_TOKENS: Final = 4_000
MAX_NESTING: Final = 25
"""Of parentheses, before the text is parsed."""
MAX_DEPTH: Final = 100
"""Of the syntax tree; the parser's and the generator's own recursion stays well below Python's limit."""
MAX_SOURCES: Final = 16
"""How often views and common table expressions may be named in one query."""


def function_names() -> list[str]:
    """Every function that may be called, sorted."""
    return sorted({*FUNCTIONS.values(), *OTHER_FUNCTIONS, "if", "case", "cast", "try_cast", "nvl", "ifnull", "date_sub", "interval"})
