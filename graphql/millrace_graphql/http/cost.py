"""What a document costs, in points, before anything is read. Pure.

A point is about one small read. An object costs 1; a list's objects cost as often as its ``first`` asks for; a range costs 1 for
each day and group of columns that it reads, once more for each comparison with another, and for peers as often as there may be
of them. Fragments count where they are spread.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    IntValueNode,
    ListValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    StringValueNode,
    ValueNode,
    VariableNode,
)

from millrace_graphql.bounded import LONGEST_TEXT
from millrace_graphql.ranges.query import groups_for
from millrace_graphql.schema.scalars import parse_instant

DAY_SECONDS = 86_400
UNKNOWN_RANGE_DAYS = 28
"""A range whose length the text does not tell (a preset) counts as four weeks."""
DEFAULT_FIRST = 100
PEERS = 50
"""Merchants that a question about peers reads beside the one that it is about."""
MOST = 1_000_000_000
RANGE_ARGUMENTS = {"start", "end", "preset", "merchantId"}
"""A field with one of these reads a range."""


@dataclass(frozen=True)
class _Field:
    """What the cost of a field needs of its document."""

    name: str
    arguments: tuple[tuple[str, Any, str | None], ...]
    """(argument, its constant, or the variable that it is)."""
    groups: int
    """Column groups that its range reads; 0 where it is no range."""
    is_object: bool
    is_list: bool
    below: tuple[_Field | str, ...]
    """Its selections; a text is the name of a fragment."""
    fixed: int | None = None
    """What it costs, where neither an argument nor a fragment has a say in it."""


class Costs:
    """The cost of one operation: its document is walked once, and for each request only the values of its variables are looked at."""

    def __init__(self, document: DocumentNode, operation: OperationDefinitionNode) -> None:
        self._definitions = {node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)}
        defaults = {node.variable.name.value: node.default_value for node in operation.variable_definitions or ()}
        self._defaults = {name: _literal(value) for name, value in defaults.items() if value is not None}
        self._fields = self._selected(operation.selection_set)
        self._fragments = {name: self._selected(node.selection_set) for name, node in self._definitions.items()}

    def total(self, variables: Mapping[str, Any]) -> int:
        """Points of the operation with these variables, as the request gives them, not yet coerced; at least 1."""
        return max(1, self._sum(self._fields, 0, variables, {}))

    def _sum(self, selected: tuple[_Field | str, ...], within: int, variables: Mapping[str, Any], known: dict[tuple[str, int], int]) -> int:
        """``within`` is what the range costs that the selections are of; ``known`` holds the fragments that were summed before."""
        total = 0
        for selection in selected:
            if isinstance(selection, _Field):
                total += self._cost(selection, within, variables, known)
                continue
            key = selection, within
            if key not in known:
                known[key] = 0  # a cycle is refused elsewhere
                known[key] = self._sum(self._fragments.get(selection, ()), within, variables, known)
            total += known[key]
        return min(total, MOST)

    def _cost(self, field: _Field, within: int, variables: Mapping[str, Any], known: dict[tuple[str, int], int]) -> int:
        if field.fixed is not None:
            return field.fixed
        if not field.arguments and not field.is_list and field.name != "comparison":
            return 1 + self._sum(field.below, within, variables, known) if field.is_object else 0
        arguments: dict[str, Any] = {}
        for name, value, variable in field.arguments:
            arguments[name] = value if variable is None else variables.get(variable, self._defaults.get(variable))
        own = _days(arguments) * field.groups if field.groups else 0
        if field.name == "peers":
            own *= 1 + PEERS
        elif field.name == "comparison":
            own = within
        if not field.is_object:
            return own
        below = 1 + self._sum(field.below, own or within, variables, known)
        if field.is_list:
            first = arguments.get("first", DEFAULT_FIRST)
            below = 1 + below * max(0, first if isinstance(first, int) and not isinstance(first, bool) else DEFAULT_FIRST) // 10
        return min(own + below, MOST)

    def _selected(self, selections: SelectionSetNode | None) -> tuple[_Field | str, ...]:
        found: list[_Field | str] = []
        for selection in selections.selections if selections else ():
            if isinstance(selection, FieldNode):
                found.append(self._field(selection))
            elif isinstance(selection, FragmentSpreadNode):
                found.append(selection.name.value)
            else:
                found += self._selected(selection.selection_set)  # type: ignore[attr-defined]
        return tuple(found)

    def _field(self, field: FieldNode) -> _Field:
        arguments = tuple(
            (argument.name.value, None, argument.value.name.value)
            if isinstance(argument.value, VariableNode)
            else (argument.name.value, _literal(argument.value), None)
            for argument in field.arguments
        )
        names = {name for name, _, _ in arguments}
        groups = len(self._groups(field)) if names & RANGE_ARGUMENTS else 0
        is_list = "first" in names or field.name.value in ("reports", "merchants")
        below = self._selected(field.selection_set)
        fixed = None
        if not arguments and not is_list and field.name.value != "comparison":
            parts = [each.fixed for each in below if isinstance(each, _Field)]
            if len(parts) == len(below) and None not in parts:
                fixed = 1 + sum(part or 0 for part in parts) if field.selection_set is not None else 0
        return _Field(field.name.value, arguments, groups, field.selection_set is not None, is_list, below, fixed)

    def _groups(self, field: FieldNode) -> frozenset[Any]:
        names: set[str] = set()
        seen: set[str] = set()
        waiting = [field.selection_set]
        while waiting:
            selections = waiting.pop()
            for selection in selections.selections if selections else ():
                if isinstance(selection, FragmentSpreadNode):
                    name = selection.name.value
                    if name not in seen and name in self._definitions:
                        seen.add(name)
                        waiting.append(self._definitions[name].selection_set)
                    continue
                if isinstance(selection, FieldNode):
                    names.add(selection.name.value)
                waiting.append(selection.selection_set)  # type: ignore[attr-defined]
        return groups_for(names)


def _days(arguments: Mapping[str, Any]) -> int:
    start, end = arguments.get("start"), arguments.get("end")
    found = _days_between(start, end) if _is_short(start) and _is_short(end) else None
    if found is None:
        return UNKNOWN_RANGE_DAYS if "end" in arguments or "start" not in arguments else 1
    return found


def _is_short(value: Any) -> bool:
    """Whether it may be an instant: what is longer is none, and is not remembered."""
    return isinstance(value, str) and len(value) <= LONGEST_TEXT


@lru_cache(2_048)
def _days_between(first: str, last: str) -> int | None:
    """Days begun between two instants; None where one of them is none."""
    start, end = parse_instant(first), parse_instant(last)
    return None if start is None or end is None else max(1, -(-int((end - start).total_seconds()) // DAY_SECONDS))


def _literal(node: ValueNode) -> Any:
    if isinstance(node, IntValueNode):
        return int(node.value[:12])
    if isinstance(node, StringValueNode):
        return node.value
    if isinstance(node, ListValueNode):
        return [_literal(value) for value in node.values]
    return getattr(node, "value", None)
