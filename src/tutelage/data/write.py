"""The splits as Arrow files, a batch at a time, and the fingerprint of what was written."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tutelage.artifacts.corpus import ALSO, SCHEMA, SPLITS
from tutelage.data.arrange import Part

_SCHEMA_VERSION = b"tutelage corpus 1"


class _SplitFile:
    """One split's file; rows are hashed as they are written."""

    def __init__(self, folder: Path, name: str, stack: ExitStack) -> None:
        self._writer = stack.enter_context(pa.ipc.new_file(str(folder / f"{name}.arrow"), SCHEMA))
        self.digest = hashlib.sha256(name.encode())

    def write(self, batch: pa.RecordBatch, keys: bytes, targets: bytes) -> None:
        self._writer.write_batch(batch)
        # The lengths keep keys and targets of neighbouring batches from being read as one another.
        self.digest.update(len(batch).to_bytes(8, "little") + keys + targets)


def write_splits(folder: Path, parts: Mapping[str, Part], sources: Sequence[str]) -> str:
    """Write `<split>.arrow` for each split that has rows; return the fingerprint, 32 hexadecimal digits.

    The fingerprint covers key and target of every row, in order, by split; not where a row came from, and not what
    is only measured on besides.
    """
    names = pa.array(list(sources), pa.string())
    total = hashlib.sha256(_SCHEMA_VERSION)
    digests: dict[str, bytes] = {}
    for role, part in parts.items():
        with ExitStack() as stack:
            present = [name for name in dict.fromkeys([*SPLITS, role]) if (part.split == name).any()]
            files = {name: _SplitFile(folder, name, stack) for name in present}
            _write_part(part, files, names)
            digests |= {name: file.digest.digest() for name, file in files.items()}
    for name in sorted(name for name in digests if not name.startswith(ALSO)):
        total.update(digests[name])
    return total.hexdigest()[:32]


def _write_part(part: Part, files: Mapping[str, _SplitFile], names: pa.Array) -> None:
    spool = part.spool
    keys = spool.keys
    columns = (part.targets, keys, spool.sources, spool.numbers)
    start = 0
    for texts in spool.batches():
        goal = part.split[start : start + len(texts)]
        for name, file in files.items():
            chosen = np.flatnonzero(goal == name)
            if len(chosen):
                rows = chosen + start
                batch = _batch(texts.take(pa.array(chosen)), [column[rows] for column in columns], names)
                file.write(batch, keys[rows].tobytes(), part.targets[rows].astype("<f8").tobytes())
        start += len(texts)


def _batch(texts: pa.Array, columns: Sequence[Any], names: pa.Array) -> pa.RecordBatch:
    target, key, source, number = columns
    arrays = [
        texts,
        pa.array(target, pa.float64(), from_pandas=True),  # NaN: no label, a null in the file
        pa.Array.from_buffers(pa.binary(16), len(key), [None, pa.py_buffer(key.tobytes())]),
        pa.DictionaryArray.from_arrays(pa.array(source, pa.int32()), names),
        pa.array(number, pa.int64()),
    ]
    return pa.record_batch(arrays, schema=SCHEMA)
