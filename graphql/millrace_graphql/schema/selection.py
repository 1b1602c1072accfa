"""What a resolver is asked for below its own field."""

from __future__ import annotations

from typing import Any

from graphql import FieldNode, FragmentSpreadNode

from millrace_graphql.errors import InvalidArgumentError, UnauthenticatedError
from millrace_graphql.http.execution import Context
from millrace_graphql.http.plans import Nodes
from millrace_graphql.identity import Identity
from millrace_graphql.ranges.columns import Group
from millrace_graphql.ranges.query import groups_for


def caller_of(info: Any) -> Identity:
    """The caller.

    Raises:
        UnauthenticatedError: there is none; the endpoint has refused such a request before.
    """
    context: Context = info.context
    if context.caller is None:
        raise UnauthenticatedError("send your access token in the header 'Authorization: Bearer <token>'")
    return context.caller


def groups_of(info: Any) -> frozenset[Group]:
    """The column groups behind every field selected below this one, so that nothing else is read."""
    nodes = info.field_nodes
    if not isinstance(nodes, Nodes):
        return _groups(info)
    known: frozenset[Group] | None = nodes.found.get(groups_of)
    if known is None:
        known = nodes.found[groups_of] = _groups(info)
    return known


def _groups(info: Any) -> frozenset[Group]:
    names: set[str] = set()
    seen: set[str] = set()
    waiting = [node.selection_set for node in info.field_nodes]
    while waiting:
        selections = waiting.pop()
        for selection in selections.selections if selections else ():
            if isinstance(selection, FieldNode):
                names.add(selection.name.value)
            elif isinstance(selection, FragmentSpreadNode):
                if selection.name.value not in seen:
                    seen.add(selection.name.value)
                    waiting.append(info.fragments[selection.name.value].selection_set)
                continue
            waiting.append(selection.selection_set)
    return groups_for(names)


def limited(name: str, value: int, most: int, fix: str = "") -> int:
    """A number of items to give.

    Raises:
        InvalidArgumentError: it is negative or too large.
    """
    if not 0 <= value <= most:
        raise InvalidArgumentError(name, value, "does not fit", f"give 0 to {most}{fix}")
    return value
