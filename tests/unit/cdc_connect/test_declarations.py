"""connect-config/ as it is shipped, and files that are wrong."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from millrace_cdc.connect import settings as settings_module
from millrace_cdc.connect.declarations import Declared, full_name, load
from millrace_cdc.connect.errors import DeclarationError
from millrace_cdc.connect.settings import AdminSettings
from millrace_contracts.documents import MERCHANT_CAPTURED_FIELDS, PAYMENT_CAPTURED_FIELDS, USER_SENSITIVE_FIELDS
from millrace_contracts.settings import NamesSettings, SettingsError

SHIPPED = Path(__file__).resolve().parents[3] / "connect-config"
NAMES = NamesSettings(database="shop", topic_prefix="blue")


def shipped(enable: tuple[str, ...] = ()) -> dict[str, Declared]:
    return {item.short: item for item in load(SHIPPED, NAMES, enable)}


def write(folder: Path, **fields: Any) -> Path:
    (folder / "c.json").write_text(json.dumps({"config": {"connector.class": "x.Y"}, **fields}))
    return folder


def test_three_connectors_are_shipped_and_payments_are_off() -> None:
    assert {name: item.state for name, item in shipped().items()} == {"merchants": "running", "payments": "absent", "users": "running"}
    assert shipped(("payments",))["payments"].state == "running"


@pytest.mark.parametrize("short", ["merchants", "users", "payments"])
def test_names_are_filled_in_and_secrets_are_left_as_references(short: str) -> None:
    item = shipped()[short]
    assert item.name == f"blue.shop.{short}"
    assert item.config["topic.prefix"] == "blue"
    assert item.config["capture.target"] == "shop"
    assert item.config["mongodb.connection.string"] == "${env:MILLRACE_MONGO_DEBEZIUM_URI}"
    assert not [value for value in item.config.values() if "${names:" in value]


@pytest.mark.parametrize("short", ["merchants", "users", "payments"])
def test_the_worker_may_read_the_variables_that_connectors_name(short: str) -> None:
    allowed = re.search(r"^config\.providers\.env\.param\.allowlist\.pattern=(.+)$", (SHIPPED / "worker.properties").read_text(), re.M)
    assert allowed
    for value in shipped()[short].config.values():
        for variable in re.findall(r"\$\{env:(\w+)\}", value):
            assert re.fullmatch(allowed[1], variable)


def test_the_worker_asks_for_a_login_and_lets_connectors_set_what_they_declare() -> None:
    lines = (SHIPPED / "worker.properties").read_text().splitlines()
    worker = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    assert worker["rest.extension.classes"].endswith(".BasicAuthSecurityRestExtension")
    assert worker["connector.client.config.override.policy"] == "Allowlist"
    allowed = set(worker["connector.client.config.override.allowlist"].split(","))
    used = {key.split(".override.")[1] for item in shipped().values() for key in item.config if ".override." in key}
    assert used == allowed


def test_events_and_offsets_commit_together() -> None:
    assert "\nexactly.once.source.support=enabled\n" in (SHIPPED / "worker.properties").read_text()
    assert {item.config["exactly.once.support"] for item in shipped().values()} == {"required"}


def fields_that_pass(short: str) -> tuple[set[str], set[str]]:
    """What the pipeline lets through of a document (dotted), and what the last transformation does (top level)."""
    config = shipped()[short].config
    project = json.loads(config["cursor.pipeline"])[1]["$project"]
    by_pipeline = {key.removeprefix("fullDocument.") for key in project if key.startswith("fullDocument.")}
    before = {key.removeprefix("fullDocumentBeforeChange.") for key in project if key.startswith("fullDocumentBeforeChange.")}
    signal = {"type", "data"}  # of a signal's document, which the same stream carries
    assert by_pipeline - signal == before
    assert signal <= by_pipeline
    included = set(config["transforms.captured.include"].split(","))
    return before, {name for name in included if not name.startswith("__")}


def test_of_a_user_no_personal_field_passes_any_of_the_three_gates() -> None:
    # I12
    by_pipeline, by_transformation = fields_that_pass("users")
    excluded = set(shipped()["users"].config["field.exclude.list"].split(","))
    assert excluded == {f"shop.users.{name}" for name in USER_SENSITIVE_FIELDS}
    assert not (by_pipeline | by_transformation) & set(USER_SENSITIVE_FIELDS)
    assert by_pipeline == by_transformation


def test_of_a_merchant_the_captured_fields_pass() -> None:
    assert fields_that_pass("merchants") == (set(MERCHANT_CAPTURED_FIELDS), set(MERCHANT_CAPTURED_FIELDS))


def test_of_a_payment_the_captured_fields_pass() -> None:
    by_pipeline, by_transformation = fields_that_pass("payments")
    assert by_pipeline == set(PAYMENT_CAPTURED_FIELDS)
    assert by_transformation == {name.split(".")[0] for name in PAYMENT_CAPTURED_FIELDS}
    # What the snapshot, which no pipeline touches, would carry of the closed `user` beyond the captured fields.
    excluded = set(shipped()["payments"].config["field.exclude.list"].split(","))
    assert {"shop.payments.user.id", "shop.payments.user.device.os"} <= excluded


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"state": "off"}, "state 'off' is not one of running, paused, stopped, absent"),
        ({"configuration": {}}, "does not know configuration"),
        ({"config": []}, "needs an object under `config`"),
        ({"config": {"a": "b"}}, "needs a `connector.class`"),
        ({"config": {"connector.class": "x.Y", "name": "n"}}, "must not hold `name`"),
        ({"config": {"connector.class": "x.Y", "tasks.max": 1}}, "tasks.max is not a text"),
        ({"config": {"connector.class": "x.Y", "a": "${names:nope}"}}, r"\$\{names:nope\} is not one of database, topic_prefix"),
        ({"config": {"connector.class": "x.Y", "mongodb.password": "hunter2"}}, "mongodb.password holds a secret in clear text"),
        ({"config": {"connector.class": "x.Y", "mongodb.connection.string": "mongodb://u:p@h/"}}, "holds a secret in clear text"),
    ],
)
def test_a_wrong_file_is_named_with_what_is_wrong(tmp_path: Path, fields: dict[str, Any], words: str) -> None:
    with pytest.raises(DeclarationError, match=rf"c\.json: .*{words}") as caught:
        load(write(tmp_path, **fields), NAMES)
    assert "hunter2" not in caught.value.message


def test_a_key_that_is_given_twice_in_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text('{"config": {"tasks.max": "1", "tasks.max": "2"}}')
    with pytest.raises(DeclarationError, match=r"c\.json: can not be read as JSON \(config\.tasks\.max is given twice\)"):
        load(tmp_path, NAMES)


def test_a_file_that_is_no_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text("{")
    with pytest.raises(DeclarationError, match=r"c\.json: can not be read as JSON"):
        load(tmp_path, NAMES)


def test_references_inside_a_uri_are_no_secret(tmp_path: Path) -> None:
    uri = "mongodb://${env:U}:${env:P}@host/"
    folder = write(tmp_path, config={"connector.class": "x.Y", "mongodb.connection.string": uri, "mongodb.password": "${env:P}"})
    assert load(folder, NAMES)[0].config["mongodb.connection.string"] == uri


def test_an_empty_folder_and_an_unknown_enabled_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DeclarationError, match="holds no NAME"):
        load(tmp_path, NAMES)
    with pytest.raises(DeclarationError, match="declares no connector refunds"):
        load(SHIPPED, NAMES, ["refunds"])


def test_a_whole_name_and_a_short_one_mean_the_same() -> None:
    assert full_name(NAMES, "merchants") == full_name(NAMES, "blue.shop.merchants") == "blue.shop.merchants"


def test_the_folder_is_the_settings_else_the_checkouts_else_the_installed_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert AdminSettings.load({"MILLRACE_CONNECT_CONFIG_DIR": str(tmp_path)}).folder() == tmp_path
    assert AdminSettings.load({}).folder() == SHIPPED
    installed = tmp_path / "share" / "millrace" / "connect-config"
    monkeypatch.setattr(settings_module, "__file__", str(tmp_path / "site" / "a" / "b" / "settings.py"))
    monkeypatch.setattr(settings_module.sysconfig, "get_path", lambda name: str(tmp_path))
    with pytest.raises(SettingsError, match="MILLRACE_CONNECT_CONFIG_DIR: is not set, and there is no connect-config/"):
        AdminSettings.load({}).folder()
    installed.mkdir(parents=True)
    assert AdminSettings.load({}).folder() == installed
    with pytest.raises(SettingsError, match="MILLRACE_CONNECT_CONFIG_DIR: '/no/where' is not a folder"):
        AdminSettings.load({"MILLRACE_CONNECT_CONFIG_DIR": "/no/where"}).folder()
