"""The plan is the difference between the declarations and the server."""

import dataclasses

from millrace_mongo_init.declarations import Collection, Declarations, Index, Privilege
from millrace_mongo_init.plan import Change, notes, plan
from millrace_mongo_init.server import Server
from millrace_mongo_init.settings import Login

VALIDATOR = {"$jsonSchema": {"bsonType": "object"}}
ITEM = Collection(
    collection="payments",
    validator=VALIDATOR,
    changeStreamPreAndPostImages=True,
    shardKey={"_id": "hashed"},
    indexes=[Index(name="by_time", keys={"merchantId": 1, "paidAt": 1}), Index(name="expiry", keys={"at": 1}, expireAfterSeconds=60)],
)
DECLARED = Declarations(collections=[ITEM], roles={"relay": [Privilege(collection="payments", actions=["find", "changeStream"])]})
LOGIN = Login("relay", "r", "admin", "top-secret", "mongodb://r:top-secret@h/")
ID_INDEX = {"name": "_id_", "key": {"_id": 1}}
BY_TIME = {"v": 2, "name": "by_time", "key": {"merchantId": 1, "paidAt": 1}}
EXPIRY = {"v": 2, "name": "expiry", "key": {"at": 1}, "expireAfterSeconds": 60}
AS_DECLARED = Server(
    collections={"payments": {"validator": VALIDATOR, "changeStreamPreAndPostImages": {"enabled": True}}},
    indexes={"payments": [ID_INDEX, BY_TIME, EXPIRY]},
    roles={
        "millrace_relay_shop": {
            "privileges": [{"resource": {"db": "shop", "collection": "payments"}, "actions": ["changeStream", "find"]}],
            "roles": [],
        }
    },
    users={"r": {"roles": [{"role": "millrace_relay_shop", "db": "admin"}]}},
    passwords=frozenset(["r"]),
)


def planned(server: Server) -> list[Change]:
    return plan(DECLARED, server, "shop", [LOGIN])


def lines(server: Server) -> list[str]:
    return [change.line() for change in planned(server)]


def with_(**changed: object) -> Server:
    return dataclasses.replace(AS_DECLARED, **changed)


def test_a_server_as_declared_has_an_empty_plan() -> None:
    assert planned(AS_DECLARED) == []


def test_an_empty_server_gets_everything_in_order() -> None:
    assert lines(Server()) == [
        "+ collection shop.payments: validator and pre- and post-images",
        "+ index shop.payments.by_time: (merchantId 1, paidAt 1)",
        "+ index shop.payments.expiry: (at 1) expiring after 60 s",
        "+ role millrace_relay_shop: 1 privileges",
        "+ user r: with the role millrace_relay_shop",
    ]


def test_another_validator_is_modified_in_place() -> None:
    server = with_(collections={"payments": {**AS_DECLARED.collections["payments"], "validator": {}}})
    (change,) = planned(server)
    assert change.line() == "~ validator shop.payments: differs"
    assert change.commands[0].document["collMod"] == "payments"


def test_a_validator_that_only_warns_is_modified() -> None:
    server = with_(collections={"payments": {**AS_DECLARED.collections["payments"], "validationAction": "warn"}})
    assert lines(server) == ["~ validator shop.payments: differs"]


def test_images_that_are_off_are_turned_on() -> None:
    assert lines(with_(collections={"payments": {"validator": VALIDATOR}})) == ["~ images shop.payments: turn pre- and post-images on"]


def test_another_expiry_changes_without_a_rebuild() -> None:
    (change,) = planned(with_(indexes={"payments": [ID_INDEX, BY_TIME, {**EXPIRY, "expireAfterSeconds": 90}]}))
    assert change.line() == "~ index shop.payments.expiry: expires after 90 s, declared 60 s"
    assert change.commands[0].document == {"collMod": "payments", "index": {"name": "expiry", "expireAfterSeconds": 60}}


def test_an_index_with_its_keys_in_another_order_is_named_and_needs_a_rebuild() -> None:
    (change,) = planned(with_(indexes={"payments": [{**BY_TIME, "key": {"paidAt": 1, "merchantId": 1}}, EXPIRY]}))
    assert change.sign == "!"
    assert "(paidAt 1, merchantId 1)" in change.detail
    assert "--rebuild-indexes" in change.detail
    assert [next(iter(command.document)) for command in change.commands] == ["dropIndexes", "createIndexes"]


def test_an_index_under_another_name_needs_a_rebuild() -> None:
    (change,) = planned(with_(indexes={"payments": [{**BY_TIME, "name": "old"}, EXPIRY]}))
    assert (change.sign, change.commands[0].document) == ("!", {"dropIndexes": "payments", "index": "old"})


def test_a_role_with_one_action_more_is_set_back() -> None:
    wide = [{"resource": {"collection": "payments", "db": "shop"}, "actions": ["find", "insert", "changeStream"]}]
    assert lines(with_(roles={"millrace_relay_shop": {"privileges": wide, "roles": []}})) == [
        "~ role millrace_relay_shop: its privileges differ"
    ]


def test_a_role_that_inherits_is_set_back() -> None:
    role = {**AS_DECLARED.roles["millrace_relay_shop"], "roles": [{"role": "root", "db": "admin"}]}
    assert lines(with_(roles={"millrace_relay_shop": role})) == ["~ role millrace_relay_shop: its privileges differ"]


def test_a_user_of_another_database_is_granted_this_one_too() -> None:
    (change,) = planned(with_(users={"r": {"roles": [{"role": "millrace_relay_other", "db": "admin"}]}}))
    assert change.line() == "~ user r: grant the role millrace_relay_shop"
    assert change.commands[0].document["grantRolesToUser"] == "r"


def test_another_password_is_set_and_never_shown() -> None:
    (change,) = planned(with_(passwords=frozenset()))
    assert change.line() == "~ user r: its password is not the one of its URI"
    assert change.commands[0].document["pwd"] == "top-secret"
    assert "top-secret" not in repr(planned(Server())) + repr(change)


def test_shard_keys_are_for_a_mongos_only() -> None:
    assert lines(with_(sharded=True)) == ["+ shard key shop.payments: {'_id': 'hashed'}"]


def test_another_shard_key_is_left_to_a_person() -> None:
    (change,) = planned(with_(sharded=True, shard_keys={"payments": {"merchantId": 1}}))
    assert (change.sign, change.commands) == ("!", ())


def test_what_is_not_declared_is_noted_and_left_alone() -> None:
    server = with_(
        indexes={"payments": [ID_INDEX, BY_TIME, EXPIRY, {"name": "mine", "key": {"x": 1}}]},
        users={"r": {"roles": [{"role": "millrace_relay_shop", "db": "admin"}, {"role": "root", "db": "admin"}]}},
    )
    assert planned(server) == []
    assert notes(DECLARED, server, "shop", [LOGIN]) == [
        "index payments.mine is not declared and left alone",
        "user r also holds the role root of admin, which is not declared",
    ]
