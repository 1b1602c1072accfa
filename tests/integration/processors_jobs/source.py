"""The source database of a test: the documents that a history of change events leaves behind, written by the administrator."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from click.testing import CliRunner
from pymongo import MongoClient, ReplaceOne

from millrace_contracts.windows import from_ms
from millrace_mongo_init.cli import mongo_init
from tests.integration.processors_jobs.history import Event
from tests.support.waiting import wait_until


class Source:
    """The payments collection."""

    def __init__(self, environ: dict[str, str]) -> None:
        result = CliRunner().invoke(mongo_init, ["apply"], obj=environ)
        assert result.exit_code == 0, result.output
        self._client: MongoClient[dict[str, Any]] = MongoClient(environ["MILLRACE_MONGO_ADMIN_URI"])
        self._database = self._client[environ["MILLRACE_NAMES_DATABASE"]]
        self.payments = self._database["payments"]
        self._remembers(3_600)  # what it held: a test may take longer than it otherwise does

    def _remembers(self, seconds: int) -> None:
        self._client.admin.command({"setParameter": 1, "minSnapshotHistoryWindowInSeconds": seconds})

    def hold(self, history: Iterable[Event]) -> None:
        """Be as after a history."""
        newest = {key: json.loads(value)["after"] for key, value in history}
        self.put(*(image for image in newest.values() if image is not None))

    def put(self, *images: dict[str, Any]) -> None:
        """Write payments, whatever the validator thinks of them."""
        made = [ReplaceOne({"_id": image["_id"]}, document(image), upsert=True) for image in images]
        self.payments.bulk_write(made, ordered=False, bypass_document_validation=True)

    def now_ms(self) -> int:
        """A cluster time, to the second, behind everything that was written."""
        written = self._second()
        wait_until(lambda: self._second() > written, 60, "the next second")
        return self._second() * 1000

    def _second(self) -> int:
        self._client.admin.command({"appendOplogNote": 1, "data": {}})
        reply = self._database.command({"find": "payments", "filter": {"_id": None}, "readConcern": {"level": "snapshot"}})
        return int(reply["cursor"]["atClusterTime"].time)

    def close(self) -> None:
        """Leave nothing behind."""
        self._remembers(300)
        name = self._database.name
        self._client.drop_database(name)
        for role in self._client.admin.command("rolesInfo", 1)["roles"]:
            if role["role"].endswith(f"_{name}"):
                self._client.admin.command("dropRole", role["role"])
        self._client.close()


def document(image: dict[str, Any]) -> dict[str, Any]:
    """A document as MongoDB holds it, with what never leaves it (I12)."""
    made = {**image, "createdAt": datetime.now(UTC), "updatedAt": datetime.now(UTC)}
    if "user" in image:
        made["user"] = {**image["user"], "id": f"raw-{image['user'].get('key')}"}
    if isinstance(image["paidAt"], int):
        made["paidAt"] = from_ms(image["paidAt"])
    made["refunds"] = [{**each, "refundedAt": from_ms(each["refundedAt"])} for each in image["refunds"]]
    return made
