"""Which documents a snapshot may read: those that Debezium's converter takes, as a filter that MongoDB evaluates.

The converter derives a schema from the whole document, whatever is captured of it. It takes plain values, objects of them, and arrays
whose elements have one type; objects in an array need the same fields of the same types. A document of any other form makes its task fail,
at every restart. A plain value of the wrong type passes: the decoder refuses it by the field's name, as it does one of the stream.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from millrace_cdc.connect.errors import DeclarationError

OVERRIDES = "snapshot.collection.filter.overrides"
"""Debezium's key: the collections (``database.collection``, comma-separated) whose snapshot has a filter, under ``<key>.<collection>``."""
PLAIN = ["string", "int", "long", "double", "bool", "date", "objectId", "null"]
DEPTH = 3
"""Objects inside of objects: a payment's user has a device."""

Expression = dict[str, Any]


def collections(config: Mapping[str, str]) -> list[str]:
    """Names (``database.collection``) of those whose snapshot leaves out what the converter does not take."""
    return [name.strip() for name in config.get(OVERRIDES, "").split(",") if name.strip()]


def with_filters(config: Mapping[str, str], where: str) -> dict[str, str]:
    """The configuration with the filter of each collection that ``OVERRIDES`` lists.

    Raises:
        DeclarationError: a collection has a filter of its own, which would let through what stops the connector.
    """
    made, filter_json = dict(config), json.dumps(fits(), separators=(",", ":"))
    for name in collections(config):
        if f"{OVERRIDES}.{name}" in config:
            raise DeclarationError(f"{where}: {OVERRIDES}.{name} is made by `millrace connect`; leave it out")
        made[f"{OVERRIDES}.{name}"] = filter_json
    return made


def fits() -> Expression:
    """The filter of a snapshot."""
    return {"$expr": {"$allElementsTrue": [{"$map": {"input": {"$objectToArray": "$$ROOT"}, "in": _field("$$this")}}]}}


def misfits() -> list[Expression]:
    """Stages that find what the filter leaves out: ``_id``, ``field`` (the first that does not fit) and its ``type``, of each document."""
    wrong: Expression = {"$filter": {"input": {"$objectToArray": "$$ROOT"}, "cond": {"$not": [_field("$$this")]}}}
    first = {"$let": {"vars": {"field": {"$first": wrong}}, "in": {"field": "$$field.k", "type": {"$type": "$$field.v"}}}}
    return [{"$match": {"$nor": [fits()]}}, {"$project": {"_id": 1, "misfit": first}}]


def _field(pair: str) -> Expression:
    """Whether a top-level field fits; an id is not looked into, and null is none."""
    plain_id = {"$in": [{"$type": f"{pair}.v"}, [kind for kind in PLAIN if kind != "null"]]}
    return {"$cond": [{"$eq": [f"{pair}.k", "_id"]}, plain_id, _pair(pair, DEPTH)]}


def _pair(pair: str, depth: int) -> Expression:
    return {"$and": [_named(f"{pair}.k"), _value(f"{pair}.v", depth)]}


def _named(name: str) -> Expression:
    """An empty name is none to Kafka Connect, and ``$…`` is taken for extended JSON."""
    return {"$not": [{"$in": [{"$substrCP": [name, 0, 1]}, ["", {"$literal": "$"}]]}]}


def _value(value: str, depth: int) -> Expression:
    kind = {"$type": value}
    branches = [{"case": {"$eq": [kind, "array"]}, "then": _array(value)}]
    if depth:
        inside = {"$map": {"input": {"$objectToArray": value}, "in": _pair("$$this", depth - 1)}}
        branches.append({"case": {"$eq": [kind, "object"]}, "then": {"$allElementsTrue": [inside]}})
    return {"$switch": {"branches": branches, "default": {"$in": [kind, PLAIN]}}}


def _array(value: str) -> Expression:
    """Elements of one plain type, or objects with the same fields of the same plain types in the same order."""
    pair = {"k": "$$this.k", "is": {"$type": "$$this.v"}, "fits": _named("$$this.k")}
    fields = {"$map": {"input": {"$objectToArray": "$$this"}, "in": pair}}
    form = {"$cond": [{"$eq": [{"$type": "$$this"}, "object"]}, fields, {"$type": "$$this"}]}
    forms = {"$setUnion": [{"$map": {"input": value, "in": form}}, []]}
    plain = {"$allElementsTrue": [{"$map": {"input": "$$form", "in": {"$and": ["$$this.fits", {"$in": ["$$this.is", PLAIN]}]}}}]}
    taken = {"$cond": [{"$isArray": ["$$form"]}, plain, {"$in": ["$$form", PLAIN]}]}
    all_taken = {"$allElementsTrue": [{"$map": {"input": "$$forms", "as": "form", "in": taken}}]}
    return {"$let": {"vars": {"forms": forms}, "in": {"$and": [{"$lte": [{"$size": "$$forms"}, 1]}, all_taken]}}}
