"""Splits in memory, for tests that need no files."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pyarrow as pa

from tutelage.artifacts.corpus import SCHEMA, Split


def split(texts: Sequence[str], targets: Sequence[float | None] | None = None, name: str = "train") -> Split:
    """A split of some texts, all of class 0 where no targets are given."""
    keys = [hashlib.blake2b(text.encode(), digest_size=16).digest() for text in texts]
    columns = [
        pa.array(list(texts), pa.large_string()),
        pa.array([0.0] * len(texts) if targets is None else list(targets), pa.float64()),
        pa.array(keys, pa.binary(16)),
        pa.array(["memory"] * len(texts)).dictionary_encode(),
        pa.array(range(1, len(texts) + 1), pa.int64()),
    ]
    return Split(name, pa.table(columns, schema=SCHEMA))
