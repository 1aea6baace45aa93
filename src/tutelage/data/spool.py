"""Clean rows of one role on their way into the corpus: texts on disk, the little else in memory."""

from __future__ import annotations

from array import array
from collections.abc import Hashable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tutelage.text import tokens_about

_SCHEMA = pa.schema([pa.field("text", pa.large_string(), nullable=False)])
# A batch ends at whichever comes first: what bounds the memory however long the texts are.
_ROWS = 4096
_CHARACTERS = 1 << 22


class Spool:
    """Rows in order of arrival. Memory: 16 bytes of key, 32 of numbers and one reference or two a row."""

    def __init__(self, path: Path, role: str) -> None:
        self.role = role
        self._path = path
        self._keys = bytearray()
        self._numbers = array("q")
        self._sources = array("i")
        self._lengths = array("q")
        self._tokens = array("q")
        self.labels: list[Any] = []
        self.groups: list[bytes] = []
        self._known: dict[Hashable, Hashable] = {}
        self._texts: list[str] = []
        self._waiting = 0

    def __enter__(self) -> Spool:
        self._writer = pa.ipc.new_stream(str(self._path), _SCHEMA)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._write()
        self._writer.close()

    def __len__(self) -> int:
        return len(self._numbers)

    def add(self, text: str, *, key: bytes, source: int, number: int, label: Any, group: bytes) -> None:
        """One row; `source` is the index of its source in the corpus, `label` is hashable or None."""
        self._texts.append(text)
        self._waiting += len(text)
        self._keys += key
        self._sources.append(source)
        self._numbers.append(number)
        self._lengths.append(len(text))
        self._tokens.append(tokens_about(text))
        self.labels.append(self._known.setdefault(label, label))
        self.groups.append(group)
        if len(self._texts) >= _ROWS or self._waiting >= _CHARACTERS:
            self._write()

    @property
    def tokens(self) -> NDArray[np.int64]:
        """(N,) how many tokens each text will come to, about."""
        return np.array(self._tokens, dtype=np.int64)

    @property
    def keys(self) -> NDArray[np.void]:
        """(N,) of 16 bytes."""
        return np.frombuffer(bytes(self._keys), dtype="V16")

    @property
    def numbers(self) -> NDArray[np.int64]:
        """(N,) row numbers in the source."""
        return np.array(self._numbers, dtype=np.int64)

    @property
    def sources(self) -> NDArray[np.int32]:
        """(N,) indices of the source."""
        return np.array(self._sources, dtype=np.int32)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(N,) characters of each text."""
        return np.array(self._lengths, dtype=np.int64)

    def batches(self) -> Iterator[pa.Array]:
        """The texts, some thousands at a time."""
        with pa.memory_map(str(self._path)) as file, pa.ipc.open_stream(file) as reader:
            for batch in reader:
                yield batch.column(0)

    def discard(self) -> None:
        """Remove the texts from the disk."""
        self._path.unlink()

    def _write(self) -> None:
        if self._texts:
            self._writer.write_batch(pa.record_batch([pa.array(self._texts, pa.large_string())], _SCHEMA))
        self._texts, self._waiting = [], 0
