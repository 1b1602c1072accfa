"""Currencies: the ISO 4217 codes that are taken, with the digits of their minor unit.

The list is the one that the maintenance agency of ISO 4217 published on ``PUBLISHED`` ("list one"). Codes without a minor unit (metals,
units of account, testing) are left out: no amount can be an integer of theirs (I10). Codes that were withdrawn lately stay, since
payments of their time are still imported and refunded.
"""

from __future__ import annotations

from typing import Final

PUBLISHED: Final = "2026-01-01"
CODE_LENGTH: Final = 3
"""Characters; the analysis counts a document that was written directly with any code of this length, listed or not."""
_ACTIVE: Final = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    2: """
        AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF CHW CNY COP COU CRC
        CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR
        KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN
        PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS
        UAH USD USN UYU UZS VED VES WST XAD XCD XCG YER ZAR ZMW ZWG
    """,
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
_WITHDRAWN: Final = {0: "BYR", 2: "ANG BGN CUC HRK MRO SLL STD VEF ZWL"}
"""Withdrawn since 2016."""


def _by_code(listed: dict[int, str]) -> dict[str, int]:
    return {code: digits for digits, codes in listed.items() for code in codes.split()}


ACTIVE: Final = _by_code(_ACTIVE)
"""Code -> digits of every active currency with a minor unit."""
TAKEN: Final = ACTIVE | _by_code(_WITHDRAWN)
"""Code -> digits of every currency that a payment may have."""


def checked(code: str) -> str:
    """A code that is taken.

    Raises:
        ValueError: it is none.
    """
    if code in TAKEN:
        return code
    if code.strip().upper() in TAKEN:
        raise ValueError(f"not an ISO 4217 code; write {code.strip().upper()}")
    raise ValueError(f"not a currency of ISO 4217 as published on {PUBLISHED}; write a code in capitals, such as EUR")


def minor_digits(code: str) -> int:
    """How many decimal digits separate a currency's major from its minor unit. ``ValueError``: it is none that is taken."""
    return TAKEN[checked(code)]
