"""Limits on a document, looked at after parsing and before validation, whose cost grows with the document. Pure.

Fragments count as often as they are spread. Each is measured once, so that doubling fragments cost nothing to refuse.
"""

from __future__ import annotations

from dataclasses import dataclass

from graphql import DocumentNode, FieldNode, FragmentDefinitionNode, FragmentSpreadNode, OperationDefinitionNode, SelectionSetNode

from millrace_graphql.errors import LimitExceededError
from millrace_graphql.settings import ApiSettings


@dataclass(frozen=True)
class Size:
    """Size of a selection set with its fragments spread out."""

    depth: int = 0
    aliases: int = 0
    fields: int = 0
    """Fields of the set itself, without their sub-selections."""


def check(document: DocumentNode, settings: ApiSettings) -> None:
    """Refuse a document that is too deep, has too many aliases or root fields.

    Raises:
        LimitExceededError: names the limit, the value and what is allowed.
        RecursionError: nests deeper than Python can walk.
    """
    measure = _Measure(document)
    for definition in document.definitions:
        if isinstance(definition, OperationDefinitionNode):
            size = measure.size(definition.selection_set)
            _refuse("depth", size.depth, settings.max_depth, "ask for less in one request")
            _refuse("number of aliases", size.aliases, settings.max_aliases, "split it into several requests")
            _refuse("number of root fields", size.fields, settings.max_root_fields, "split it into several requests")


def root_fields(document: DocumentNode, operation: OperationDefinitionNode) -> set[str]:
    """Names of the fields that an operation asks of the root type, through fragments too."""
    fragments = _fragments(document)
    names: set[str] = set()
    seen: set[str] = set()
    waiting = [operation.selection_set]
    while waiting:
        for selection in waiting.pop().selections:
            if isinstance(selection, FieldNode):
                names.add(selection.name.value)
            elif isinstance(selection, FragmentSpreadNode):
                name = selection.name.value
                if name not in seen and name in fragments:
                    seen.add(name)
                    waiting.append(fragments[name].selection_set)
            else:
                waiting.append(selection.selection_set)  # type: ignore[attr-defined]
    return names


def _refuse(limit: str, value: int, allowed: int, fix: str) -> None:
    if value > allowed:
        raise LimitExceededError(limit, value, allowed, fix)


def _fragments(document: DocumentNode) -> dict[str, FragmentDefinitionNode]:
    return {node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)}


class _Measure:
    def __init__(self, document: DocumentNode) -> None:
        self._fragments = _fragments(document)
        self._measured: dict[str, Size] = {}
        self._open: set[str] = set()

    def size(self, selections: SelectionSetNode | None) -> Size:
        depth = aliases = fields = 0
        for selection in selections.selections if selections else ():
            if isinstance(selection, FieldNode):
                below = self.size(selection.selection_set)
                depth = max(depth, 1 + below.depth)
                aliases += below.aliases + (selection.alias is not None)
                fields += 1
                continue
            part = self._fragment(selection.name.value) if isinstance(selection, FragmentSpreadNode) else self.size(selection.selection_set)  # type: ignore[attr-defined]
            depth, aliases, fields = max(depth, part.depth), aliases + part.aliases, fields + part.fields
        return Size(depth, aliases, fields)

    def _fragment(self, name: str) -> Size:
        if name in self._measured:
            return self._measured[name]
        if name in self._open or name not in self._fragments:
            return Size()  # a cycle or an unknown fragment: validation names it
        self._open.add(name)
        size = self.size(self._fragments[name].selection_set)
        self._open.discard(name)
        self._measured[name] = size
        return size
