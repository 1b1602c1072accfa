"""One list of currencies with their digits. Expected digits are those of ISO 4217 list one of 2026-01-01."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace_contracts.values import currencies

WITHOUT_A_MINOR_UNIT = ["XAG", "XAU", "XBA", "XBB", "XBC", "XBD", "XDR", "XPD", "XPT", "XSU", "XTS", "XUA", "XXX"]


@pytest.mark.parametrize(
    ("code", "digits"),
    [
        ("USD", 2), ("KRW", 0), ("KWD", 3), ("XOF", 0), ("XAF", 0), ("XPF", 0), ("UGX", 0), ("PYG", 0), ("IQD", 3), ("LYD", 3), ("PKR", 2),
        ("XCG", 2), ("CLF", 4), ("UYW", 4), ("MGA", 2), ("MRU", 2), ("BGN", 2), ("ZWG", 2),
    ],
)  # fmt: skip
def test_a_currency_has_the_digits_of_its_minor_unit(code: str, digits: int) -> None:
    assert currencies.checked(code) == code
    assert currencies.minor_digits(code) == digits


def test_the_list_is_whole_and_has_a_date() -> None:
    # List one has 178 codes; 13 have no minor unit.
    assert len(currencies.ACTIVE) == 178 - len(WITHOUT_A_MINOR_UNIT)
    assert [sum(digits == each for digits in currencies.ACTIVE.values()) for each in (0, 2, 3, 4)] == [17, 139, 7, 2]
    assert date.fromisoformat(currencies.PUBLISHED) == date(2026, 1, 1)
    assert all(len(code) == currencies.CODE_LENGTH and code.isascii() and code.isupper() for code in currencies.TAKEN)
    assert currencies.ACTIVE.items() <= currencies.TAKEN.items()


@pytest.mark.parametrize("code", [*WITHOUT_A_MINOR_UNIT, "DEM", "EURO", "", "ABC", "978"])
def test_what_has_no_minor_unit_or_is_no_code_is_refused(code: str) -> None:
    with pytest.raises(ValueError, match=r"^not a currency of ISO 4217 as published on 2026-01-01; write a code in capitals"):
        currencies.checked(code)


def test_a_code_in_small_letters_is_refused_with_the_code() -> None:
    with pytest.raises(ValueError, match=r"^not an ISO 4217 code; write XOF$"):
        currencies.checked("xof ")


@given(st.text(max_size=4))
def test_any_text_is_a_listed_code_or_refused(text: str) -> None:
    try:
        assert currencies.checked(text) in currencies.TAKEN
    except ValueError:
        assert text not in currencies.TAKEN
