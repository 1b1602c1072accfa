"""The rules as conditions on the images of a decoded change event (Column -> Column, pure).

Most events need only a look at what Spark has parsed. The JSON is read again where a value has not had its type (``corrupt``), or where
a text reads as something else does.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

from pyspark.sql import Column
from pyspark.sql import functions as F

from millrace_contracts.documents import PAYMENT_STATUSES
from millrace_contracts.payment_rules.rules import EARLIEST_MS, LATEST_MS, RULES, TEXTS, Kind, Rule
from millrace_contracts.sketches import LARGEST
from millrace_processors.payment_rules import texts

_SHOWN = 200


@dataclass(frozen=True)
class Image:
    """An image of an event: as it was parsed, and where it stands in the event's JSON ``text``. ``roots``: the first that has it counts."""

    parsed: Column
    text: Column
    roots: tuple[str, ...]

    def field(self, path: str) -> Column:
        """A parsed value."""
        return functools.reduce(lambda value, name: value[name], path.split("."), self.parsed)

    def ways(self, path: str) -> tuple[str, ...]:
        """JSON paths to a value."""
        return tuple(f"{root}.{path}" for root in self.roots)

    def written(self, path: str) -> Column:
        """A value as the JSON has it, null where it has none."""
        return F.coalesce(*(F.get_json_object(self.text, way) for way in self.ways(path)))

    def says(self, path: str, expected: str) -> Column:
        """The sentence of a dead letter."""
        shown = F.coalesce(F.substring(self.written(path), 1, _SHOWN), F.lit("missing"))
        return F.concat(F.lit(f"{path} is "), shown, F.lit(f"; expected {expected}"))


def plain(image: Image) -> Column:
    """Whether an image of an event, of which every value has had its type, may give facts. Never null."""
    return F.coalesce(_sound(image) & _clear(image), F.lit(False))


def accepted(image: Image, corrupt: Column) -> Column:
    """Whether an image may give facts: whether ``refusal`` finds nothing. Never null.

    ``corrupt``: not null if some value of the event, be it in this image or in another, has not had its type.
    """
    mistyped = functools.reduce(Column.__or__, (_mistyped(image, rule) for rule in RULES if not rule.required))
    return plain(image) & (corrupt.isNull() | ~mistyped)


def refusal(image: Image) -> Column:
    """What is wrong with an image, naming field, value and what was expected; null if nothing is."""
    reason = F.when(F.lit(False), F.lit(None).cast("string"))
    for rule in RULES:
        wrong = ~F.coalesce(_present(image, rule), F.lit(False)) if rule.required else _mistyped(image, rule)
        if rule.kind is Kind.TEXT:
            wrong = wrong | ~texts.all_text(image.text, [image.ways(rule.path)])
        if rule.kind is Kind.REFUNDS:
            wrong = wrong | ~_refunds(image) | ~texts.all_text(image.text, (), image.ways(rule.path), "$.id")
        reason = reason.when(F.coalesce(wrong, F.lit(True)), image.says(rule.path, rule.kind.value))
    return reason


def _sound(image: Image) -> Column:
    """The quick part, from parsed values only."""
    required = (_present(image, rule) for rule in RULES if rule.required)
    return functools.reduce(Column.__and__, required) & _refunds(image)


def _clear(image: Image) -> Column:
    """Whether what was taken for text was text."""
    taken = [*(image.field(path) for path in TEXTS), image.field("refunds")["id"]]
    exact = texts.all_text(image.text, [image.ways(path) for path in TEXTS], image.ways("refunds"), "$.id")
    return F.when(texts.doubtful(*taken), exact).otherwise(True)


def _present(image: Image, rule: Rule) -> Column:
    """Whether a required field is there and in its range; texts are looked at elsewhere."""
    value = image.field(rule.path)
    return _RANGES[rule.kind](value) if rule.kind in _RANGES else value.isNotNull()


def _mistyped(image: Image, rule: Rule) -> Column:
    """Whether the JSON has a value that did not have its type."""
    return image.field(rule.path).isNull() & image.written(rule.path).isNotNull()


def _refunds(image: Image) -> Column:
    return F.coalesce(F.forall(image.field("refunds"), _refund), F.lit(True))


def _refund(refund: Column) -> Column:
    amount, instant = _RANGES[Kind.AMOUNT](refund["amount"]), _RANGES[Kind.INSTANT](refund["refundedAt"])
    return F.coalesce(refund["id"].isNotNull() & amount & instant, F.lit(False))


_RANGES = {
    Kind.AMOUNT: lambda value: value.between(0, LARGEST),
    Kind.CURRENCY: lambda value: value.rlike(r"^[A-Za-z]{3}\z"),
    Kind.STATUS: lambda value: value.isin(*PAYMENT_STATUSES),
    Kind.INSTANT: lambda value: value.between(EARLIEST_MS, LATEST_MS),
}
