"""Packed days give back what was put in, the same bytes for the same reports, and refuse what they cannot read."""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace_contracts import packed
from millrace_contracts.reports import BREAKDOWNS, COUNTERS, PACKED, SKETCHES

DAY = 1_795_132_800_000
"""2026-11-20."""
WINDOW = 600_000
GOLDEN = Path(__file__).with_name("packed_day.json")
INT64 = st.integers(-(2**63), 2**63 - 1)
NUMBERS = st.one_of(st.just(0), st.integers(0, 9), st.integers(-200, 40_000), INT64)
KEYS = st.sets(st.tuples(st.integers(0, 143), st.sampled_from(["EUR", "KRW", "USD"])), min_size=1, max_size=40).map(sorted)
MAPS = st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), st.tuples(INT64, INT64).map(list), max_size=4)


@given(KEYS)
def test_windows_come_back_in_the_order_of_start_and_currency(keys: list[tuple[int, str]]) -> None:
    starts = np.array([DAY + place * WINDOW for place, _ in keys], np.int64)
    found = packed.decode_windows(DAY, packed.encode_windows(DAY, starts, [currency for _, currency in keys]))
    assert list(zip(found.starts.tolist(), found.currencies.tolist(), strict=True)) == [
        (DAY + place * WINDOW, name) for place, name in keys
    ]
    names = {name for _, name in keys}
    assert found.only == (min(names) if len(names) == 1 else None)


@given(st.integers(1, 300).flatmap(lambda n: st.lists(st.lists(NUMBERS, min_size=n, max_size=n), min_size=1, max_size=10)))
def test_numbers_of_any_width_come_back(columns: list[list[int]]) -> None:
    data = packed.encode_numbers([np.array(column, np.int64) for column in columns])
    assert [column.tolist() for column in packed.decode_numbers(data)] == columns


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_blobs_come_back(blobs: list[bytes]) -> None:
    assert packed.decode_blobs(packed.encode_blobs(blobs)) == blobs


@given(st.lists(MAPS, max_size=8), st.randoms())
def test_maps_come_back_and_their_order_leaves_no_trace(maps: list[dict[str, list[int]]], chance: random.Random) -> None:  # I6
    data = packed.encode_maps(maps)
    assert packed.decode_maps(data) == maps
    shuffled = [dict(chance.sample(list(each.items()), len(each))) for each in maps]
    assert packed.encode_maps(shuffled) == data


def test_a_day_of_zeros_takes_nothing_but_its_head() -> None:
    assert packed.encode_numbers([np.zeros(144, np.int64)] * 10) == bytes([1, 144, 0, 10, *[255] * 10])


def test_numbers_of_one_width_lie_behind_one_another_the_widest_first() -> None:
    data = packed.encode_numbers([np.array(column, np.int64) for column in ([1, -2], [0, 0], [300, 5], [3, 4])])
    assert data.hex() == "010200" + "04" + "00ff0100" + "2c010500" + "01fe" + "0304"


@pytest.mark.parametrize(
    ("starts", "currencies"),
    [
        ([DAY + WINDOW, DAY], ["USD", "USD"]), ([DAY, DAY], ["USD", "EUR"]), ([DAY, DAY], ["USD", "USD"]),
        ([DAY - WINDOW], ["USD"]), ([DAY + 144 * WINDOW], ["USD"]), ([DAY + 1], ["USD"]),
    ],
)  # fmt: skip
def test_reports_out_of_order_or_of_another_day_are_refused(starts: list[int], currencies: list[str]) -> None:
    with pytest.raises(ValueError, match="not the windows of the day"):
        packed.encode_windows(DAY, np.array(starts, np.int64), currencies)


@pytest.mark.parametrize("data", [b"", b"\x01", b"\x02\x01\x00\x00\x00"])
@pytest.mark.parametrize(
    "decode", [packed.decode_numbers, packed.decode_blobs, packed.decode_maps, lambda data: packed.decode_windows(0, data)]
)
def test_another_format_is_refused(decode: Any, data: bytes) -> None:
    with pytest.raises(ValueError, match="not a column of a packed day of format 1"):
        decode(data)


def test_bytes_that_were_stored_stay_readable_and_are_made_the_same() -> None:
    golden = json.loads(GOLDEN.read_text())
    reports, data = golden["reports"], {name: bytes.fromhex(text) for name, text in golden["bytes"].items()}
    assert list(data) == list(PACKED)
    found = packed.decode_windows(golden["day_ms"], data["windows"])
    assert (found.starts.tolist(), found.currencies.tolist()) == (reports["starts"], reports["currencies"])
    numbers = [column.tolist() for column in packed.decode_numbers(data["numbers"])]
    assert dict(zip((*COUNTERS, "revision"), numbers, strict=True)) == {name: reports[name] for name in (*COUNTERS, "revision")}
    assert all(packed.decode_maps(data[name]) == reports[name] for name in BREAKDOWNS)
    assert all([blob.hex() for blob in packed.decode_blobs(data[name])] == reports[name] for name in SKETCHES)
    columns = {name: np.array(reports[name], np.int64) for name in (*COUNTERS, "revision")}
    columns |= {name: reports[name] for name in BREAKDOWNS}
    columns |= {name: [bytes.fromhex(blob) for blob in reports[name]] for name in SKETCHES}
    starts = np.array(reports["starts"], np.int64)
    assert packed.encode_day(golden["day_ms"], starts, reports["currencies"], columns) == data
