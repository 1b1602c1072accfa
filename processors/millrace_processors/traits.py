"""What sorts facts into counts: kind, whether retracted, and the dimensions, as one column of few distinct values.

Eight columns of text would each be shuffled, sorted along and handed over to Python; one is, and there each distinct value is taken apart
once. A trait ends at a byte that no text in UTF-8 holds, so that any text may be one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import Column
from pyspark.sql import functions as F

from millrace_contracts.facts import DIMENSIONS

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]
NAME = "traits"
NAMES = ("kind", "retracted", *DIMENSIONS)
END = b"\xff"
RETRACTED = b"r"


def column() -> Column:
    """The column, made of a fact's columns; a null is an empty text."""
    end = F.lit(END).cast("string")
    retracted = F.when(F.col("retracted"), F.lit(RETRACTED.decode())).otherwise("")
    parts = [retracted if name == "retracted" else F.coalesce(F.col(name), F.lit("")) for name in NAMES]
    return F.concat(*(piece for part in parts for piece in (part, end))).cast("binary").alias(NAME)


def packed(fact: Mapping[str, Any]) -> bytes:
    """The same of one fact in Python."""
    texts = [RETRACTED * fact[name] if name == "retracted" else (fact[name] or "").encode() for name in NAMES]
    return b"".join(text + END for text in texts)


@dataclass(frozen=True)
class Traits:
    """The traits of a batch: the number of each row's combination, and what the combinations are."""

    rows: Ints
    combinations: list[list[bytes]]

    @classmethod
    def of(cls, values: pa.Array) -> Traits:
        """Take a batch's column apart."""
        encoded = values.dictionary_encode()
        return cls(np.asarray(encoded.indices).astype(np.int64), [each.split(END) for each in encoded.dictionary.to_pylist()])

    def has(self, name: str, value: bytes) -> Flags:
        """Which rows have a value."""
        place = NAMES.index(name)
        return np.array([each[place] == value for each in self.combinations], dtype=np.bool_)[self.rows]

    def ranks(self, name: str, chosen: Flags) -> tuple[list[bytes], Ints]:
        """The distinct values of a dimension in the order of their bytes, and for each chosen row the place of its value among them."""
        place = NAMES.index(name)
        values = sorted({each[place] for each in self.combinations})
        number = {value: at for at, value in enumerate(values)}
        return values, np.array([number[each[place]] for each in self.combinations], dtype=np.int64)[self.rows[chosen]]
