"""Carry out a plan. Every command is idempotent together with the plan that follows it: a second run finds nothing to do."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pymongo import MongoClient
from pymongo.errors import OperationFailure

from millrace_mongo_init.plan import Change
from millrace_mongo_init.server import Document

ALREADY_DONE = frozenset([48, 85, 86, 23, 51002, 51003])
"""NamespaceExists, IndexOptionsConflict, IndexKeySpecsConflict, AlreadyInitialized, role and user exist: another apply was faster.

The plan that is made after an apply says whether the server is as declared, so these need no judgement here."""


def execute(
    client: MongoClient[Document], changes: Sequence[Change], *, rebuild_indexes: bool, progress: Callable[[Change], None]
) -> list[Change]:
    """Make the changes in order and tell ``progress`` each; returns those that were left because they need a rebuild.

    Raises:
        pymongo.errors.PyMongoError: a command failed; those before it are done, and a new plan names what is left.
    """
    left: list[Change] = []
    for change in changes:
        if not change.commands or (change.sign == "!" and not rebuild_indexes):
            left.append(change)
            continue
        for command in change.commands:
            _run(client, command.database, command.document)
        progress(change)
    return left


def _run(client: MongoClient[Document], database: str, document: Document) -> None:
    try:
        client[database].command({**document, "writeConcern": {"w": "majority"}})
    except OperationFailure as error:
        if error.code not in ALREADY_DONE:
            raise
