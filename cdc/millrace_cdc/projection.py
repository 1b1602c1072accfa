"""What the server is asked to send: the stages after ``$changeStream``, made from the captured fields.

I12 is enforced here: the projection is an inclusion, so a field that is not captured never crosses the wire.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from millrace_contracts.documents import PAYMENT_CAPTURED_FIELDS

CHANGES = ("insert", "update", "replace", "delete")
CONTROLS = ("drop", "rename", "dropDatabase", "invalidate")
IMAGES = ("fullDocument", "fullDocumentBeforeChange")

CAPTURED = {"payments": PAYMENT_CAPTURED_FIELDS}


@dataclass(frozen=True)
class Share:
    """One of ``streams`` parallel streams of a collection: the documents whose hashed key is ``stream`` modulo ``streams``."""

    stream: int = 0
    streams: int = 1


WHOLE = Share()


def stages(fields: Sequence[str], share: Share = WHOLE, earlier_streams: int = 0) -> list[dict[str, Any]]:
    """``$match`` and ``$project`` that follow ``$changeStream``.

    With ``earlier_streams`` each change also says in ``earlier`` to which stream of that many its document belonged.
    """
    earlier = {"earlier": bucket_of("$documentKey._id", earlier_streams)} if earlier_streams else {}
    return [{"$match": _match(share)}, {"$project": {**_project(fields), **earlier}}]


def _match(share: Share) -> dict[str, Any]:
    if share.streams == 1:
        return {"operationType": {"$in": [*CHANGES, *CONTROLS]}}
    mine = {"operationType": {"$in": list(CHANGES)}, "$expr": {"$eq": [bucket_of("$documentKey._id", share.streams), share.stream]}}
    # Every stream sees what happens to the whole collection.
    return {"$or": [mine, {"operationType": {"$in": list(CONTROLS)}}]}


def bucket_of(path: str, streams: int) -> dict[str, Any]:
    """Expression: which of ``streams`` a document belongs to. The hash is a signed integer, its remainder is made positive."""
    remainder = {"$mod": [{"$toHashedIndexKey": path}, streams]}
    return {"$mod": [{"$add": [remainder, streams]}, streams]}


def _project(fields: Sequence[str]) -> dict[str, Any]:
    # `_id` is the resume token, which holds the cluster time as well: clusterTime itself need not travel.
    return {"operationType": 1, "documentKey": 1, "to": 1, **{f"{image}.{field}": 1 for image in IMAGES for field in fields}}


def projection_of(fields: Sequence[str]) -> dict[str, int]:
    """The projection of a find."""
    return dict.fromkeys(fields, 1)


def fingerprint(database: str, collection: str, fields: Sequence[str]) -> str:
    """Sixteen hexadecimal digits that change with what is captured; kept beside the token, which is good for that pipeline only."""
    essence = [database, collection, stages(fields), "whenAvailable"]
    return hashlib.sha256(orjson.dumps(essence, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]
