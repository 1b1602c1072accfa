"""Scalars: money that no float touches, and instants in UTC."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import graphene
from graphql import GraphQLError, StringValueNode, ValueNode, print_ast

from millrace_contracts.values import instants
from millrace_graphql.bounded import short_texts
from millrace_graphql.ranges.plan import iso


class BigInt(graphene.Scalar):  # type: ignore[misc]
    """A whole number of any size as a string of decimal digits: an amount of money in minor units, or points. Never a float."""

    @staticmethod
    def serialize(value: Any) -> str:
        """The digits."""
        return str(int(value))

    @staticmethod
    def parse_value(value: Any) -> int:
        """The number of a variable: digits, or a JSON integer."""
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise GraphQLError(f"not a BigInt: {value!r:.60}; write digits in quotes")
        try:
            return int(value)
        except ValueError:
            raise GraphQLError(f"not a BigInt: {value!r:.60}; write digits in quotes") from None

    @classmethod
    def parse_literal(cls, node: ValueNode, _variables: Any = None) -> int:
        """The number of a literal."""
        return cls.parse_value(getattr(node, "value", None))


class DateTime(graphene.Scalar):  # type: ignore[misc]
    """An instant in RFC 3339. Answers are in UTC (2026-11-24T09:30:00Z); an argument may carry any offset, but must carry one."""

    class Meta:
        """Graphene's settings."""

        name = "DateTime"

    @staticmethod
    def serialize(value: Any) -> str:
        """RFC 3339 of epoch milliseconds."""
        return iso(int(value))

    @staticmethod
    def parse_value(value: Any) -> datetime:
        """The instant of a text."""
        instant = parse_instant(value) if isinstance(value, str) else None
        if instant is None:
            raise GraphQLError(f"not a DateTime: {value!r:.60}; write RFC 3339 with an offset, such as 2026-11-24T09:30:00Z")
        return instant

    @classmethod
    def parse_literal(cls, node: ValueNode, _variables: Any = None) -> datetime:
        """The instant of a literal."""
        return cls.parse_value(node.value if isinstance(node, StringValueNode) else print_ast(node))


@short_texts(2_048)
def parse_instant(text: str) -> datetime | None:
    """The UTC instant of an RFC 3339 text; None of anything else, a time without an offset included. Many ask for the same days."""
    try:
        return instants.parse_instant(text)
    except ValueError:
        return None
