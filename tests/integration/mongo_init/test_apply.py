"""Plan and apply against the real server."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import orjson
import pytest
from bson.int64 import Int64
from click.testing import CliRunner
from pymongo import MongoClient
from pymongo.errors import OperationFailure, WriteError

from millrace_contracts.values.currencies import TAKEN
from millrace_mongo_init.cli import mongo_init
from tests.integration.mongo_init.conftest import Settings, as_role, run

NOW = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
PAYMENT = {
    "_id": "p1",
    "merchantId": "m1",
    "amount": 1250,
    "currency": "EUR",
    "method": "card",
    "points": {"used": 0, "earned": 1},
    "status": "succeeded",
    "paidAt": NOW,
    "refunds": [],
    "createdAt": NOW,
    "updatedAt": NOW,
    "schemaVersion": 1,
}


def passwords(environ: Settings) -> list[str]:
    uris = [value for name, value in environ.items() if name.startswith("MILLRACE_MONGO_") and name.endswith("_URI")]
    return [uri.split("://")[1].split("@")[0].split(":")[1] for uri in uris]


def test_a_plan_after_apply_is_empty_and_no_password_is_printed(environ: Settings, admin: MongoClient) -> None:
    before, code = run(environ, "plan")
    assert code == 1
    assert f"+ collection {environ['MILLRACE_NAMES_DATABASE']}.payments" in before.output
    made, code = run(environ, "apply", "--json")
    assert code == 0
    assert orjson.loads(made.stdout)["left"] == []
    after, code = run(environ, "plan", "--json")
    assert code == 0
    assert orjson.loads(after.stdout)["changes"] == []
    again, _ = run(environ, "apply", "--json")
    assert orjson.loads(again.stdout)["applied"] == []
    shown = before.output + made.output + after.output
    assert [password for password in passwords(environ) if password in shown] == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"amount": 12.5},
        {"amount": "12"},
        {"amount": -1},
        {"paidAt": 1_700_000_000_000},
        {"status": "lost"},
        {"user": {"id": "u", "key": "A" * 22, "email": "a@b.example"}},
        {"currency": "ABC"},
        {"currency": 840},
        {"user": {"id": "u"}},
        {"refunds": [{"id": "r", "amount": 0, "refundedAt": NOW}]},
    ],
)
def test_the_validator_refuses_a_payment_that_is_not_one(applied: Settings, admin: MongoClient, database: str, wrong: dict) -> None:
    with pytest.raises(WriteError) as refused:
        admin[database].payments.insert_one({**PAYMENT, **wrong})
    assert refused.value.code == 121


def test_the_validator_takes_every_currency_that_the_collection_tier_takes(applied: Settings, admin: MongoClient, database: str) -> None:
    codes = sorted(TAKEN)
    assert {"XOF", "XAF", "UGX", "PYG", "IQD", "LYD", "PKR", "BGN"} <= set(codes)
    admin[database].payments.insert_many([{**PAYMENT, "_id": code, "currency": code} for code in codes])
    assert admin[database].payments.distinct("currency") == codes


def test_the_validator_takes_32_and_64_bit_amounts(applied: Settings, admin: MongoClient, database: str) -> None:
    for number, amount in enumerate((0, Int64(1), 10**12)):
        admin[database].payments.insert_one({**PAYMENT, "_id": f"p{number}", "amount": amount})


def refused(action: Callable[[], object]) -> bool:
    with pytest.raises(OperationFailure) as error:
        action()
    return error.value.code == 13


def test_the_collection_role_can_not_read_the_oplog(applied: Settings, database: str) -> None:
    with as_role(applied, "collection") as client:
        client[database].payments.insert_one(dict(PAYMENT))
        assert refused(lambda: client.local["oplog.rs"].find_one())
        assert refused(lambda: client[database].payments.watch())
        assert refused(lambda: client[database].payments.delete_one({"_id": "p1"}))
        assert refused(lambda: client[database].payments.drop())


def test_the_relay_follows_payments_and_can_not_write_them(applied: Settings, database: str) -> None:
    with as_role(applied, "relay") as client:
        client[database].payments.watch().close()
        client[database].payments.find_one()
        assert "earliestOptime" in client.admin.command("serverStatus", oplog=1)["oplog"]
        assert refused(lambda: client[database].payments.insert_one(dict(PAYMENT)))
        assert refused(lambda: client[database].users.find_one())
        assert refused(lambda: client.local["oplog.rs"].find_one())


def test_debezium_follows_the_database_and_writes_its_signals_only(applied: Settings, database: str) -> None:
    with as_role(applied, "debezium") as client:
        client[database].watch().close()
        client[database].debeziumSignals.insert_one({"type": "execute-snapshot"})
        assert refused(lambda: client[database].merchants.insert_one({}))


def test_truth_reads_documents_and_nothing_else(applied: Settings, database: str) -> None:
    with as_role(applied, "truth") as client:
        client[database].payments.find_one()
        assert refused(lambda: client[database].apiKeys.find_one())
        assert refused(lambda: client[database].payments.insert_one(dict(PAYMENT)))


def test_drift_is_found_and_mended_without_touching_data(applied: Settings, admin: MongoClient, database: str) -> None:
    source = admin[database]
    source.payments.insert_one(dict(PAYMENT))
    source.command("collMod", "payments", validator={}, changeStreamPreAndPostImages={"enabled": False})
    source.command("collMod", "idempotencyKeys", index={"name": "expiry", "expireAfterSeconds": 5})
    source.payments.drop_index("merchantId_paidAt")
    role = f"millrace_relay_{database}"
    admin.admin.command("updateRole", role, privileges=[], roles=[{"role": "readWrite", "db": database}])
    changes = orjson.loads(run(applied, "plan", "--json")[0].stdout)["changes"]
    assert sorted((change["sign"], change["kind"]) for change in changes) == [
        ("+", "index"), ("~", "images"), ("~", "index"), ("~", "role"), ("~", "validator"),
    ]  # fmt: skip
    assert run(applied, "apply")[1] == 0
    assert run(applied, "plan")[1] == 0
    assert source.payments.count_documents({}) == 1


def test_an_index_that_needs_a_rebuild_waits_for_a_person(applied: Settings, admin: MongoClient, database: str) -> None:
    payments = admin[database].payments
    payments.drop_index("merchantId_paidAt")
    payments.create_index({"merchantId": 1}, name="merchantId_paidAt")
    result, code = run(applied, "apply")
    assert code == 1
    assert "! index" in result.output
    assert dict(payments.index_information()["merchantId_paidAt"]["key"]) == {"merchantId": 1}
    assert run(applied, "apply", "--rebuild-indexes")[1] == 0
    assert dict(payments.index_information()["merchantId_paidAt"]["key"]) == {"merchantId": 1, "paidAt": 1}


def test_a_user_whose_password_changed_gets_the_one_of_its_uri(applied: Settings, admin: MongoClient, database: str) -> None:
    uri = applied["MILLRACE_MONGO_TRUTH_URI"]
    user = uri.split("://")[1].split(":")[0]
    admin.admin.command("updateUser", user, pwd="another")
    result, code = run(applied, "plan")
    assert (code, f"~ user {user}: its password" in result.output) == (1, True)
    assert run(applied, "apply")[1] == 0
    with as_role(applied, "truth") as client:
        assert client[database].payments.count_documents({}) == 0


def test_a_wrong_administrator_is_named_in_one_line(mongo_server: Settings, names: Settings) -> None:
    host = mongo_server["MILLRACE_MONGO_ADMIN_URI"].split("@")[1]
    environ = {**mongo_server, **names, "MILLRACE_MONGO_ADMIN_URI": f"mongodb://nobody:wrong@{host}"}
    result = CliRunner().invoke(mongo_init, ["plan"], obj=environ)
    assert result.exit_code == 2
    assert result.output == "Error: MILLRACE_MONGO_ADMIN_URI: MongoDB refuses this user and password\n"
