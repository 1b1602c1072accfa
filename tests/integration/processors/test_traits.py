"""The column that stands for a fact's kind, retraction and dimensions."""

from __future__ import annotations

import numpy as np
import pytest
from pyspark.sql import SparkSession

from millrace_contracts.facts import DIMENSIONS
from millrace_processors import traits

pytestmark = pytest.mark.stack


def test_the_traits_of_the_engine_are_those_of_python_whatever_the_texts_hold(spark: SparkSession) -> None:
    texts = ["card", "", "ü", "\x1f", "\x00", "ÿ", "a\nb"]
    given = [
        {"kind": "payment" if number % 2 else "refund", "retracted": number % 3 == 0, **dict.fromkeys(DIMENSIONS, text)}
        for number, text in enumerate([*texts, None])
    ]
    columns = ", ".join(f"{name} {'boolean' if name == 'retracted' else 'string'}" for name in traits.NAMES)
    rows = spark.createDataFrame([tuple(each[name] for name in traits.NAMES) for each in given], columns)
    made = rows.select(traits.column()).toArrow()[traits.NAME].combine_chunks()
    assert made.to_pylist() == [traits.packed(each) for each in given]
    found = traits.Traits.of(made)
    assert found.has("retracted", traits.RETRACTED).tolist() == [each["retracted"] for each in given]
    names, ranks = found.ranks("device", np.ones(len(given), dtype=np.bool_))
    assert [names[rank].decode() for rank in ranks] == [each["device"] or "" for each in given]
