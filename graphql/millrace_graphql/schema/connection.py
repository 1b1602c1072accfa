"""Long lists as Relay connections: https://relay.dev/graphql/connections.htm."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import graphene

from millrace_graphql.errors import InvalidArgumentError

T = TypeVar("T")


class PageInfo(graphene.ObjectType):  # type: ignore[misc]
    """Where a page of a connection stands."""

    has_next_page = graphene.Boolean(required=True, description="Whether items follow this page.")
    has_previous_page = graphene.Boolean(required=True, description="Whether items come before this page.")
    start_cursor = graphene.String(description="Cursor of the first item, for `before`; null of an empty page.")
    end_cursor = graphene.String(description="Cursor of the last item, for `after`; null of an empty page.")


@dataclass(frozen=True)
class Edge(Generic[T]):
    """An item of a page with its cursor."""

    cursor: str
    node: T


@dataclass(frozen=True)
class Page(Generic[T]):
    """A page of a connection. ``total`` is None where it is not known without reading all."""

    edges: Sequence[Edge[T]]
    has_next_page: bool
    has_previous_page: bool
    total: int | None = None

    @property
    def page_info(self) -> dict[str, Any]:
        """The page's place."""
        ends = (self.edges[0].cursor, self.edges[-1].cursor) if self.edges else (None, None)
        return {
            "has_next_page": self.has_next_page,
            "has_previous_page": self.has_previous_page,
            "start_cursor": ends[0],
            "end_cursor": ends[1],
        }


def connection(item: Any, name: str, *, counted: bool) -> Any:
    """The connection type of a type's items."""
    edge = type(
        f"{name}Edge",
        (graphene.ObjectType,),
        {
            "__doc__": "An item and where it stands.",
            "cursor": graphene.String(required=True, description="Where the item stands, for `after` and `before`."),
            "node": graphene.Field(graphene.NonNull(item), description="The item."),
        },
    )
    fields: dict[str, Any] = {
        "__doc__": "A page of a long list.",
        "edges": graphene.Field(graphene.NonNull(graphene.List(graphene.NonNull(edge))), description="The items in their order."),
        "page_info": graphene.Field(graphene.NonNull(PageInfo), description="Where the page stands."),
    }
    if counted:
        fields["total_count"] = graphene.Int(
            required=True, description="How many items the whole list has.", resolver=lambda page, info: page.total
        )
    return type(f"{name}Connection", (graphene.ObjectType,), fields)


def to_cursor(key: str) -> str:
    """An opaque cursor for a key."""
    return base64.urlsafe_b64encode(key.encode()).decode().rstrip("=")


def from_cursor(name: str, cursor: str) -> str:
    """The key of a cursor.

    Raises:
        InvalidArgumentError: it is none of ours.
    """
    try:
        return base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        raise InvalidArgumentError(name, cursor, "is not a cursor of this list", "take one from pageInfo or an edge") from None


def page_of(first: int | None, last: int | None, low: int, high: int) -> tuple[int, int]:
    """Of the places [low, high) those of the page: the first so many of them, then the last so many of these."""
    if first is not None:
        high = min(high, low + first)
    if last is not None:
        low = max(low, high - last)
    return low, high
