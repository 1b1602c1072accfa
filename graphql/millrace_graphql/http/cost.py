"""What a document costs, in points, before anything is read. Pure.

A point is about one small read. An object costs 1; a list's objects cost as often as its ``first`` asks for; a range costs 1 for
each day and group of columns that it reads, once more for each comparison with another, and for peers as often as there may be
of them. Fragments count where they are spread.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
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

from millrace_graphql.ranges.query import groups_for

DAY_SECONDS = 86_400
UNKNOWN_RANGE_DAYS = 28
"""A range whose length the text does not tell (a preset) counts as four weeks."""
DEFAULT_FIRST = 100
PEERS = 50
"""Merchants that a question about peers reads beside the one that it is about."""
MOST = 1_000_000_000


class Costs:
    """Costs of the operations of one document; ``variables`` as the request gives them, not yet coerced."""

    def __init__(self, document: DocumentNode, operation: OperationDefinitionNode, variables: Mapping[str, Any]) -> None:
        self._fragments = {node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)}
        defaults = {node.variable.name.value: node.default_value for node in operation.variable_definitions or ()}
        self._defaults = {name: _literal(value) for name, value in defaults.items() if value is not None}
        self._variables = variables
        self._known: dict[tuple[str, int], int] = {}
        self._operation = operation

    def total(self) -> int:
        """Points of the operation; at least 1."""
        return max(1, self._selections(self._operation.selection_set, 0))

    def _selections(self, selections: SelectionSetNode | None, within: int) -> int:
        """``within`` is what the range costs that the selections are of."""
        total = 0
        for selection in selections.selections if selections else ():
            if isinstance(selection, FieldNode):
                total += self._field(selection, within)
            elif isinstance(selection, FragmentSpreadNode):
                total += self._fragment(selection.name.value, within)
            else:
                total += self._selections(selection.selection_set, within)  # type: ignore[attr-defined]
        return min(total, MOST)

    def _fragment(self, name: str, within: int) -> int:
        key = name, within
        if key not in self._known:
            self._known[key] = 0  # a cycle is refused elsewhere
            fragment = self._fragments.get(name)
            self._known[key] = self._selections(fragment.selection_set, within) if fragment else 0
        return self._known[key]

    def _field(self, field: FieldNode, within: int) -> int:
        arguments = {argument.name.value: self._value(argument.value) for argument in field.arguments}
        own = self._days(arguments) * len(self._groups(field)) if _is_range(arguments) else 0
        if field.name.value == "peers":
            own *= 1 + PEERS
        elif field.name.value == "comparison":
            own = within
        if field.selection_set is None:
            return own
        below = 1 + self._selections(field.selection_set, own or within)
        if "first" in arguments or field.name.value in ("reports", "merchants"):
            first = arguments.get("first", DEFAULT_FIRST)
            below = 1 + below * max(0, first if isinstance(first, int) and not isinstance(first, bool) else DEFAULT_FIRST) // 10
        return min(own + below, MOST)

    def _groups(self, field: FieldNode) -> frozenset[Any]:
        names: set[str] = set()
        seen: set[str] = set()
        waiting = [field.selection_set]
        while waiting:
            selections = waiting.pop()
            for selection in selections.selections if selections else ():
                if isinstance(selection, FragmentSpreadNode):
                    name = selection.name.value
                    if name not in seen and name in self._fragments:
                        seen.add(name)
                        waiting.append(self._fragments[name].selection_set)
                    continue
                if isinstance(selection, FieldNode):
                    names.add(selection.name.value)
                waiting.append(selection.selection_set)  # type: ignore[attr-defined]
        return groups_for(names)

    def _days(self, arguments: Mapping[str, Any]) -> int:
        start, end = _instant(arguments.get("start")), _instant(arguments.get("end"))
        if start is None or end is None:
            return UNKNOWN_RANGE_DAYS if "end" in arguments or "start" not in arguments else 1
        return max(1, -(-int((end - start).total_seconds()) // DAY_SECONDS))

    def _value(self, node: ValueNode) -> Any:
        if isinstance(node, VariableNode):
            name = node.name.value
            return self._variables.get(name, self._defaults.get(name))
        return _literal(node)


def _is_range(arguments: Mapping[str, Any]) -> bool:
    return any(name in arguments for name in ("start", "end", "preset", "merchantId"))


def _literal(node: ValueNode) -> Any:
    if isinstance(node, IntValueNode):
        return int(node.value[:12])
    if isinstance(node, StringValueNode):
        return node.value
    if isinstance(node, ListValueNode):
        return [_literal(value) for value in node.values]
    return getattr(node, "value", None)


def _instant(value: Any) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        instant = datetime.fromisoformat(value.upper())
    except ValueError:
        return None
    return instant if instant.tzinfo else None
