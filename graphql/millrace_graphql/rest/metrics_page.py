"""docs/metrics.md, made from the definitions that GraphQL, REST and CSV are made from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from millrace_contracts.metrics import CUSTOMER_METRICS, METRICS, Kind, Unit
from millrace_graphql.ranges.privacy import DEMOGRAPHICS
from millrace_graphql.ranges.query import BREAKDOWN_FIELDS
from millrace_graphql.schema.inputs import BASIS_DOCS, CHANGE_DOCS, GRAIN_DOCS, PRESET_DOCS
from millrace_graphql.schema.metrics import HINTS, may_be_null
from millrace_graphql.settings import ApiSettings

UNITS = {
    Unit.COUNT: "A whole number.",
    Unit.MONEY: "Minor units of the report's currency, as digits in a string; sums never mix currencies.",
    Unit.POINTS: "Loyalty points, as digits in a string.",
    Unit.FRACTION: "A fraction; 0.05 is 5 %.",
}


def page() -> str:
    """The page as Markdown."""
    limits = ApiSettings()
    rows = [(f"`{m.name}`", m.unit.value, m.kind.value, m.doc, m.formula, "yes" if may_be_null(m) else "") for m in METRICS]
    breakdowns = [
        (f"`{name}`", f"`{column[3:].upper()}`", "yes" if column in DEMOGRAPHICS else "") for name, column in BREAKDOWN_FIELDS.items()
    ]
    parts = [
        "# Metrics\n\nMade from `millrace_contracts.metrics` and the API's own definitions, and tested to be so. The names are the same in"
        " GraphQL, REST, CSV and NDJSON.",
        _table(("Metric", "Unit", "Kind", "Meaning", "Formula over any range", "May be null"), rows),
        "## Units\n\n" + _list({unit.value: UNITS[unit] for unit in Unit}),
        "## Kinds\n\nThe server gives the totals of a range, so that no client adds up what cannot be.\n\n"
        + _list({kind.value: HINTS[kind] for kind in Kind}),
        "## Breakdowns\n\nPayments and gross by value; those without the value stand under `unknown`. `breakdown` gives the largest"
        " values of a range and the rest as one.\n\n" + _table(("Field", "Dimension", "Demographic"), breakdowns),
        f"A demographic value is shown only where at least {limits.min_customers} customers are known to stand behind it. What is left out"
        " could be had from the totals by subtraction, so values are\nleft out until as many customers stand behind all of them together;"
        " `withheld` names such breakdowns. The number of customers behind a value is bounded\nfrom below by the customers of the range,"
        " of its days and of its hours less the payments of other values.",
        "## New and returning customers\n\nBy closed day of the merchant's own calendar and over all currencies: `customersByDay` in"
        " GraphQL, `/v1/merchants/{id}/customers` in REST.\n\n"
        + _table(
            ("Metric", "Unit", "Kind", "Meaning", "Formula"),
            [(f"`{m.name}`", m.unit.value, m.kind.value, m.doc, m.formula) for m in CUSTOMER_METRICS],
        ),
        "A customer is new on the first day on which they have a succeeded payment at the merchant, and returning on every later one. A day"
        " that is not counted yet is\nnull and stands in `missing`."
        " They count all customers and are no demographics: none is withheld.",
        "## Windows\n\n" + _list(GRAIN_DOCS),
        "The zone is the merchant's own unless `timeZone` names another. `partial` marks a window of which the range holds only a part;"
        " `split` one that begins or ends\ninside a stored 10-minute report, which counts where it starts. Reports of merchants in zones"
        " whose offset is not in whole tens of minutes are stored in parts,\nso that their windows are never split; where another"
        " merchant is asked for such a zone, they are.",
        "## Presets\n\n" + _list(PRESET_DOCS),
        "## Comparison\n\n" + _list(BASIS_DOCS),
        "Earlier windows are of the same zone's calendar and at the same time on its wall clock. A period that is still running is compared"
        " as far as the analysis is\ncomplete (`through`), and its counterpart no further. A date or hour that the earlier period does not"
        " have stands against null.",
        "`changeKind`:\n\n" + _list(CHANGE_DOCS),
        "## Peers\n\nMerchants of the same business type, country, region and currency. A median is shown where at least"
        f" {limits.min_peers} other merchants have a value; of a\nlarger group always the same"
        f" {limits.max_peers} are read. No peer is named.",
        "## Freshness\n\n"
        + _list(
            {
                "asOf": "When the store was asked how far the analysis is; the reports are not older.",
                "completeThrough": "Every change committed up to here is in the answer.",
                "revision": "How many versions of facts stand behind the answer; it grows with every change that touches it.",
                "missing": "Windows of the range that changes may still reach.",
            }
        )
        + "\n\nCSV and NDJSON carry them in the headers `Millrace-As-Of`, `Millrace-Complete-Through` and `Millrace-Missing-Windows`.",
    ]
    return "\n\n".join(parts) + "\n"


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [header, tuple("---" for _ in header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _list(items: Mapping[str, str]) -> str:
    return "\n".join(f"- `{name}`: {text}" for name, text in items.items())
