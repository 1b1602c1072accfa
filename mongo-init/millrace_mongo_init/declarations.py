"""The declarative files: what the source database must look like, as typed objects."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field

from millrace_contracts.values.currencies import TAKEN


class _Declared(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Index(_Declared):
    """An index; ``keys`` in order, ``expireAfterSeconds`` makes it a TTL index."""

    name: str
    keys: dict[str, int | str]
    unique: bool = False
    expire_after_seconds: int | None = Field(None, alias="expireAfterSeconds")

    def spec(self, shard_key: dict[str, int | str] | None = None) -> dict[str, Any]:
        """The index as ``createIndexes`` takes it; on shards a unique index must start with the shard key, else it is a plain one."""
        spec: dict[str, Any] = {"key": dict(self.keys), "name": self.name}
        if self.unique and (shard_key is None or list(self.keys)[: len(shard_key)] == list(shard_key)):
            spec["unique"] = True
        if self.expire_after_seconds is not None:
            spec["expireAfterSeconds"] = self.expire_after_seconds
        return spec


class Collection(_Declared):
    """A collection with its validator, images, shard key and indexes."""

    collection: str
    validator: dict[str, Any] = {}
    images: bool = Field(False, alias="changeStreamPreAndPostImages")
    shard_key: dict[str, int | str] | None = Field(None, alias="shardKey")
    indexes: list[Index] = []


class Privilege(_Declared):
    """Actions on a collection (``database`` defaults to the source database) or on the cluster."""

    actions: list[str]
    collection: str = ""
    database: str | None = None
    cluster: bool = False

    def spec(self, source_database: str) -> dict[str, Any]:
        """The privilege as ``createRole`` takes it."""
        resource: dict[str, Any] = (
            {"cluster": True} if self.cluster else {"db": self.database or source_database, "collection": self.collection}
        )
        return {"resource": resource, "actions": sorted(self.actions)}


class Declarations(_Declared):
    """All of it: collections in file order, and role -> privileges."""

    collections: list[Collection]
    roles: dict[str, list[Privilege]]


class _Loader(yaml.SafeLoader):
    """YAML with ``!currencies``, which stands for the list of the contracts."""


_Loader.add_constructor("!currencies", lambda loader, node: sorted(TAKEN))


@cache
def load() -> Declarations:
    """Read the files of this package."""
    folder = resources.files(__package__) / "declarations"
    texts = {entry.name: entry.read_text() for entry in folder.iterdir() if entry.name.endswith(".yaml")}
    roles = yaml.safe_load(texts.pop("roles.yaml"))["roles"]
    collections = [yaml.load(texts[name], _Loader) for name in sorted(texts)]  # noqa: S506 - it is a safe one
    return Declarations.model_validate({"collections": collections, "roles": roles})


def role_name(role: str, database: str) -> str:
    """Name of a role on the server: installations that share a server keep theirs apart by the database's name."""
    return f"millrace_{role}_{database}"
