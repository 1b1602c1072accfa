"""Settings of the collection tier."""

import pytest

from millrace_collection.settings import LOCAL_CUSTOMER_SECRET, CollectionSettings
from millrace_contracts.settings import SettingsError


def test_the_published_secret_is_for_local_use_only() -> None:
    assert CollectionSettings.load({}).secret == bytes.fromhex(LOCAL_CUSTOMER_SECRET)
    with pytest.raises(SettingsError, match="MILLRACE_COLLECTION_CUSTOMER_SECRET"):
        CollectionSettings.load({"MILLRACE_RUNTIME_ENVIRONMENT": "production"})
    own = {"MILLRACE_RUNTIME_ENVIRONMENT": "production", "MILLRACE_COLLECTION_CUSTOMER_SECRET": "0f" * 32}
    assert CollectionSettings.load(own).secret == b"\x0f" * 32


@pytest.mark.parametrize("secret", ["short", "00" * 15, "zz" * 16])
def test_a_bad_secret_names_its_variable(secret: str) -> None:
    with pytest.raises(SettingsError, match="MILLRACE_COLLECTION_CUSTOMER_SECRET"):
        CollectionSettings.load({"MILLRACE_COLLECTION_CUSTOMER_SECRET": secret})


def test_a_batch_of_none_is_refused() -> None:
    with pytest.raises(SettingsError, match="MILLRACE_COLLECTION_BULK_BATCH: '0' does not fit"):
        CollectionSettings.load({"MILLRACE_COLLECTION_BULK_BATCH": "0"})
