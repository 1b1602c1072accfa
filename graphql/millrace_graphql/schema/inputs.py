"""What a caller may ask for: ranges, presets, grains, zones, comparisons and breakdowns."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import graphene

from millrace_graphql.ranges.answers import Asked
from millrace_graphql.ranges.breakdown import Dimension as DimensionData
from millrace_graphql.ranges.breakdown import Order as OrderData
from millrace_graphql.ranges.calendar import Grain as GrainData
from millrace_graphql.ranges.calendar import Preset as PresetData
from millrace_graphql.ranges.compare import ChangeKind as ChangeKindData
from millrace_graphql.ranges.shifts import Basis as BasisData
from millrace_graphql.schema.scalars import DateTime

GRAIN_DOCS = {
    "TEN_MINUTES": "Windows of ten minutes, as reports are stored; the same in every zone.",
    "HOUR": "Hours on the wall clock of the zone; one that the clocks repeat is two windows.",
    "DAY": "Days of the zone's calendar, of 23 or 25 hours where the clocks change.",
    "WEEK": "Weeks of the zone's calendar, from Monday.",
    "MONTH": "Months of the zone's calendar.",
}
PRESET_DOCS = {
    "TODAY": "The day that is running.",
    "YESTERDAY": "The day before.",
    "LAST_7_DAYS": "Seven days, the last of which is running.",
    "LAST_28_DAYS": "28 days, the last of which is running.",
    "LAST_90_DAYS": "90 days, the last of which is running.",
    "MONTH_TO_DATE": "From the first of the month to the end of the day that is running.",
    "YEAR_TO_DATE": "From the first of January to the end of the day that is running.",
}
BASIS_DOCS = {
    "PREVIOUS_PERIOD": "As many days just before; the month or year before for months and for MONTH_TO_DATE and YEAR_TO_DATE.",
    "SAME_WEEKDAYS": "The same weekdays, as few whole weeks before as there can be.",
    "LAST_YEAR": "The same dates a year before.",
}
CHANGE_DOCS = {
    "UP": "More than before.",
    "DOWN": "Less than before.",
    "FLAT": "The same.",
    "NEW": "There was nothing before.",
    "GONE": "There was something before and there is nothing now.",
}
DIMENSION_DOCS = {
    "METHOD": "How it was paid.",
    "GENDER": "Gender of the customer, as known at the payment. Demographic.",
    "AGE_BAND": "Age of the customer by calendar year. Demographic.",
    "GRADE": "Grade of the customer.",
    "COUNTRY": "Country of the customer. Demographic.",
    "DEVICE": "What it was paid with.",
}
ORDER_DOCS = {"GROSS": "Most gross first.", "PAYMENTS": "Most payments first."}


def _enum(data: Any, name: str, doc: str, docs: dict[str, str]) -> Any:
    return graphene.Enum.from_enum(data, name=name, description=lambda value: docs[value.name] if value else doc)


Grain = _enum(GrainData, "Grain", "Length of a window.", GRAIN_DOCS)
Preset = _enum(PresetData, "Preset", "A range that moves with the day.", PRESET_DOCS)
Basis = _enum(BasisData, "ComparisonBasis", "What a period is compared with.", BASIS_DOCS)
ChangeKind = _enum(ChangeKindData, "ChangeKind", "How a value changed.", CHANGE_DOCS)
Dimension = _enum(DimensionData, "Dimension", "What payments are broken down by.", DIMENSION_DOCS)
Order = _enum(OrderData, "BreakdownOrder", "Which values come first.", ORDER_DOCS)

MERCHANT_DOC = "The merchant; your token must open it."
GRAIN_DOC = "Length of a window on the calendar of the time zone."
WHOSE_DOC = "The merchant that it is of."
INCLUSIVE_DOC = "Inclusive."
FRESHNESS_DOC = "How fresh and complete it is."
CURRENCY_DOC = "ISO 4217; the merchant's own where it is left out."
ZONE_DOC = "IANA time zone such as Asia/Seoul; the merchant's own where it is left out."
START_DOC = "On a boundary of the grain in the time zone; for weeks and months, at the start of a day."


DAY_DOC = "Where a day of the merchant's own calendar begins."


def day_arguments() -> dict[str, Any]:
    """Arguments of a range of days of one merchant's own calendar."""
    return {
        "merchant_id": graphene.ID(required=True, description=MERCHANT_DOC),
        "start": DateTime(description=DAY_DOC),
        "end": DateTime(description="Exclusive; as start."),
        "preset": Preset(description="Instead of start and end."),
    }


def range_arguments() -> dict[str, Any]:
    """Arguments of a range of one merchant."""
    return {
        "merchant_id": graphene.ID(required=True, description=MERCHANT_DOC),
        "start": DateTime(description=START_DOC),
        "end": DateTime(description="Exclusive; as start."),
        "preset": Preset(description="Instead of start and end."),
        "time_zone": graphene.String(description=ZONE_DOC),
        "currency": graphene.String(description=CURRENCY_DOC),
    }


def asked(
    start: datetime | None = None,
    end: datetime | None = None,
    preset: PresetData | None = None,
    grain: GrainData = GrainData.TEN_MINUTES,
    time_zone: str | None = None,
    currency: str | None = None,
    sparse: bool = False,
) -> Asked:
    """The arguments of a range as a question."""
    return Asked(start, end, PresetData(preset) if preset else None, GrainData(grain), time_zone, currency, sparse)
