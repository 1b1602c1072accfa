"""What the server is asked to send."""

from __future__ import annotations

from millrace_cdc.projection import Share, fingerprint, stages
from millrace_contracts.documents import PAYMENT_CAPTURED_FIELDS


def test_only_captured_fields_cross_the_wire() -> None:
    """I12: the projection is an inclusion of exactly the captured fields, for both images."""
    _, project = stages(PAYMENT_CAPTURED_FIELDS)
    asked = set(project["$project"])
    images = {f"{image}.{field}" for image in ("fullDocument", "fullDocumentBeforeChange") for field in PAYMENT_CAPTURED_FIELDS}
    assert asked == images | {"operationType", "documentKey", "to"}
    assert set(project["$project"].values()) == {1}


def test_every_kind_of_change_is_asked_for() -> None:
    match, _ = stages(("_id",))
    assert set(match["$match"]["operationType"]["$in"]) == {
        "insert", "update", "replace", "delete", "drop", "rename", "dropDatabase", "invalidate",
    }  # fmt: skip


def test_a_share_takes_its_documents_and_all_that_happens_to_the_collection() -> None:
    match, _ = stages(("_id",), Share(1, 3))
    mine, controls = match["$match"]["$or"]
    assert mine["$expr"]["$eq"][1] == 1
    assert set(controls["operationType"]["$in"]) == {"drop", "rename", "dropDatabase", "invalidate"}


def test_the_fingerprint_changes_with_what_is_captured_and_with_nothing_else() -> None:
    one = fingerprint("commerce", "payments", ("_id", "amount"))
    assert one == fingerprint("commerce", "payments", ("_id", "amount"))
    assert len({one, fingerprint("commerce", "payments", ("_id",)), fingerprint("other", "payments", ("_id", "amount"))}) == 3
