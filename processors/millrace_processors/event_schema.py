"""What from_json makes of a change event: the relay's envelope and Debezium's flattened document side by side."""

from __future__ import annotations

from pyspark.sql.types import ArrayType, DataType, IntegerType, LongType, StringType, StructField, StructType

CORRUPT = "corrupt"
"""Holds the text of an event in which some value did not have its type; such a value is null."""


def _struct(**fields: DataType) -> StructType:
    return StructType([StructField(name, kind) for name, kind in fields.items()])


_TEXT, _INTEGER, _LONG = StringType(), IntegerType(), LongType()
_USER = _struct(
    key=_TEXT, birthYear=_INTEGER, gender=_TEXT, country=_TEXT, grade=_TEXT, device=_struct(type=_TEXT)
)  # fmt: skip
IMAGE = _struct(
    _id=_TEXT,
    merchantId=_TEXT,
    user=_USER,
    amount=_LONG,
    currency=_TEXT,
    method=_TEXT,
    points=_struct(used=_LONG, earned=_LONG),
    status=_TEXT,
    paidAt=_LONG,
    refunds=ArrayType(_struct(id=_TEXT, amount=_LONG, refundedAt=_LONG)),
)
"""The captured fields of a payment (contracts.documents.PAYMENT_CAPTURED_FIELDS); instants are epoch milliseconds."""

EVENT = StructType(
    [
        *_struct(op=_TEXT, before=IMAGE, after=IMAGE, source=_struct(ts_ms=_LONG, ord=_LONG, token=_TEXT)).fields,
        *_struct(__op=_TEXT, __source_ts_ms=_LONG, __source_ord=_LONG, __source_order=_TEXT, __deleted=_TEXT).fields,
        *IMAGE.fields,
        StructField(CORRUPT, _TEXT),
    ]
)
