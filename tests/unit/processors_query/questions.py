"""Queries of chance that the guard lets pass: views read directly, joined, nested, united, through common tables and correlated."""

from __future__ import annotations

from hypothesis import strategies as st

_COLUMNS = {
    "payments": ["merchant_id", "payment_id", "kind", "currency", "amount", "method", "customer"],
    "reports": ["merchant_id", "currency", "payments", "gross", "net", "customers"],
}
_CONDITIONS = {
    "payments": ["amount > 100", "kind = 'refund'", "method IS NULL", "merchant_id <> 'm1'", "TRUE", "1 = 1 OR merchant_id = 'm3'"],
    "reports": ["net > 0", "currency IN ('USD', 'EUR')", "NOT gross BETWEEN 1 AND 50", "TRUE", "merchant_id LIKE '%'"],
}
views = st.sampled_from(sorted(_COLUMNS))


@st.composite
def sources(draw: st.DrawFn, depth: int = 2, path: str = "") -> str:
    """A SELECT whose columns are merchant (a merchant id) and n (an integer)."""
    shape = draw(
        st.sampled_from(["plain", "plain", "grouped", "windowed", "correlated", *(["join", "union", "nested", "common"] * (depth > 0))])
    )
    view = draw(views)
    where = draw(st.sampled_from(_CONDITIONS[view]))
    spelling = draw(st.sampled_from([view, view.upper(), f"`{view}`", f"{view} AS x", f"{view} payments"]))
    if shape == "plain":
        return f"SELECT merchant_id AS merchant, 1 AS n FROM {spelling} WHERE {where}"
    if shape == "grouped":
        return f"SELECT merchant_id AS merchant, count(*) AS n FROM {spelling} WHERE {where} GROUP BY merchant_id HAVING count(*) >= 0"
    if shape == "windowed":
        window = "row_number() OVER (PARTITION BY currency ORDER BY merchant_id)"
        return f"SELECT merchant_id AS merchant, {window} AS n FROM {spelling} WHERE {where}"
    if shape == "correlated":
        inner = draw(views)
        test = draw(st.sampled_from(["EXISTS", "NOT EXISTS"]))
        return (
            f"SELECT o.merchant_id AS merchant, 1 AS n FROM {view} AS o "
            f"WHERE {test} (SELECT 1 FROM {inner} AS i WHERE i.currency = o.currency AND i.merchant_id <> o.merchant_id)"
        )
    left, right = draw(sources(depth - 1, path + "l")), draw(sources(depth - 1, path + "r"))
    if shape == "join":
        kind = draw(st.sampled_from(["JOIN", "LEFT JOIN", "FULL JOIN"]))
        return (
            f"SELECT coalesce(a.merchant, b.merchant) AS merchant, b.n AS n FROM ({left}) AS a {kind} ({right}) AS b "
            "ON a.merchant = b.merchant AND a.n = b.n"
        )
    if shape == "union":
        word = draw(st.sampled_from(["UNION", "UNION ALL", "EXCEPT", "INTERSECT"]))
        return f"SELECT * FROM (({left}) {word} ({right})) AS u"
    if shape == "nested":
        return f"SELECT z.merchant AS merchant, (SELECT max(y.n) FROM ({right}) AS y) AS n FROM ({left}) AS z"
    name = draw(st.sampled_from(["facts", "merchants_", "c", "lake"])) + path
    common = f"WITH {name} AS ({left}) SELECT a.merchant, a.n FROM {name} AS a JOIN {name} AS b USING (n)"
    return f"SELECT q.merchant AS merchant, q.n AS n FROM ({common}) AS q"
