"""What a teacher said, on disk: once per text, found by content, never stale.

A folder of shards named by their own hash, inside a folder named by the teacher and by what was recorded. A changed
teacher, text or recording is another name, so nothing stale can be read. Shards are memory-mapped: reading a batch
costs a batch of memory, whatever the corpus.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tutelage import storage
from tutelage.errors import TutelageError
from tutelage.recipe import Arithmetic

# Rows in a shard: a few MB, recorded in seconds; what a killed recording loses at most.
SHARD_ROWS = 4096


@dataclass(frozen=True)
class Recording:
    """What is kept of a teacher for each text."""

    outputs: int
    """K, outputs of the head, calibrated, in the user's unit."""
    layers: tuple[int, ...] = ()
    """Layers whose hidden states, averaged over the text's tokens, are kept in half precision."""
    width: int = 0
    """Width of those hidden states."""
    precision: Arithmetic = "fp32"
    """The arithmetic that the teacher was computed in."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """One row on disk."""
        return np.dtype(
            [
                ("key", "V16"),
                ("outputs", "<f4", (self.outputs,)),
                ("hidden", "<f2", (len(self.layers), self.width)),
            ]
        )


@dataclass(frozen=True)
class Signals:
    """A verified, complete set of shards."""

    folder: Path
    recording: Recording
    shards: tuple[NDArray[Any], ...]
    starts: NDArray[np.int64]
    """(shards + 1,): the number of the first row of each."""
    index: tuple[NDArray[np.uint64], NDArray[np.int64]]
    """First halves of all keys, sorted, and the row of each."""
    places: tuple[int, ...] | None = None
    """Which of the recorded layers are handed out, by position; None: all."""

    @classmethod
    def open(cls, folder: Path, recording: Recording) -> tuple[Signals, list[str]]:
        """Map every intact shard of a folder; damaged ones are removed and named in the second result."""
        folder.mkdir(parents=True, exist_ok=True)
        storage.mend(folder)
        shards, broken = [], []
        for path in sorted(folder.glob("*.npy")):
            shard = _read(path, recording)
            if shard is None:
                broken.append(f"the recorded signals {path.name} are damaged and will be recorded again")
                path.unlink()
            else:
                shards.append(shard)
        starts = np.concatenate([[0], np.cumsum([len(shard) for shard in shards])]).astype(np.int64)
        halves = [_first_half(shard["key"]) for shard in shards]
        first = np.concatenate(halves) if halves else np.empty(0, dtype=np.uint64)
        order = np.argsort(first, kind="stable")
        return cls(folder, recording, tuple(shards), starts, (first[order], order)), broken

    def __len__(self) -> int:
        return int(self.starts[-1])

    def only(self, layers: Sequence[int]) -> Signals:
        """The same signals with some of the recorded layers, for a student that matches no others."""
        held = range(len(self.recording.layers)) if self.places is None else self.places
        places = tuple(held[self.recording.layers.index(layer)] for layer in layers)
        narrowed = replace(self.recording, layers=tuple(layers), width=self.recording.width if layers else 0)
        return replace(self, recording=narrowed, places=places)

    def find(self, keys: NDArray[np.void]) -> NDArray[np.int64]:
        """The row of each key (N,), -1 where it was not recorded."""
        first, rows = self.index
        if not len(first):
            return np.full(len(keys), -1, dtype=np.int64)
        wanted = _first_half(keys)
        place = np.minimum(np.searchsorted(first, wanted), len(first) - 1)
        return np.where(first[place] == wanted, rows[place], -1)

    def take(self, rows: NDArray[np.int64], keys: NDArray[np.void]) -> NDArray[Any]:
        """The records (B,) of some rows; each must be that of its key.

        Raises `TutelageError` when one is not: a stale signal is never handed out.
        """
        result = np.empty(len(rows), dtype=self.recording.dtype)
        shard_of = np.searchsorted(self.starts, rows, side="right") - 1
        for number in np.unique(shard_of):
            mine = shard_of == number
            found = self.shards[number][rows[mine] - self.starts[number]]
            result["key"][mine], result["outputs"][mine] = found["key"], found["outputs"]
            hidden = found["hidden"] if self.places is None else found["hidden"][:, list(self.places)]
            result["hidden"][mine] = hidden[..., : self.recording.width]
        if not np.array_equal(result["key"], keys):
            raise TutelageError(
                f"the signals in {self.folder} do not belong to these texts",
                expected="one record for each text, found by its content",
                cure="delete that folder and run again",
            )
        return result

    def outputs(self, rows: NDArray[np.int64], keys: NDArray[np.void]) -> NDArray[np.float32]:
        """The outputs (B, K) alone, of as many rows as there are."""
        parts, narrow = [np.empty((0, self.recording.outputs), dtype=np.float32)], self.only(())
        for begin in range(0, len(rows), SHARD_ROWS):
            part = slice(begin, begin + SHARD_ROWS)
            parts.append(narrow.take(rows[part], keys[part])["outputs"])
        return np.concatenate(parts)


def write_shard(folder: Path, number: int, records: NDArray[Any]) -> None:
    """Write one shard, whole or not at all; its name carries the hash of its bytes."""
    with storage.whole_file(folder / "shard.tmp") as partial:
        with partial.open("wb") as file:
            np.save(file, records, allow_pickle=False)
        digest = storage.sha256_of(partial)[:16]
    (folder / "shard.tmp").rename(folder / f"{number:06d}-{digest}.npy")


def _read(path: Path, recording: Recording) -> NDArray[Any] | None:
    if storage.sha256_of(path)[:16] != path.stem.split("-")[-1]:
        return None
    try:
        shard: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError):
        return None
    return shard if shard.dtype == recording.dtype else None


def _first_half(keys: NDArray[Any]) -> NDArray[np.uint64]:
    return np.ascontiguousarray(keys).view("<u8").reshape(-1, 2)[:, 0]
