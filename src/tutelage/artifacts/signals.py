"""What a teacher said, on disk: once per text, found by content, never stale.

A folder of shards named by their own hash, inside a folder named by the teacher and by what was recorded. A changed
teacher, text or recording is another name, so nothing stale can be read. Shards are memory-mapped: reading a batch
costs a batch of memory, whatever the corpus.

A shard is an array of one record a text. Where tokens were recorded too, their states follow in the same file, so that
a text and its tokens are there together or not at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tutelage import storage
from tutelage.errors import TutelageError
from tutelage.recipe_training import Arithmetic

Channel = tuple[str, int]
"""What is kept of tokens, and of which layer: see `token_states`."""

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
    channels: tuple[Channel, ...] = ()
    """What is kept of every token, in half precision: see `token_states`."""
    token_width: int = 0
    """Width of each channel."""
    precision: Arithmetic = "fp32"
    """The arithmetic that the teacher was computed in."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """One text on disk."""
        fields: list[Any] = [
            ("key", "V16"),
            ("outputs", "<f4", (self.outputs,)),
            ("hidden", "<f2", (len(self.layers), self.width)),
        ]
        # Where its tokens are, among those of its shard, and how they split the text: see `Network.splits`.
        places: list[Any] = [("start", "<i8"), ("count", "<i8"), ("split", "<u8")]
        return np.dtype([*fields, *places] if self.channels else fields)

    @property
    def identity(self) -> dict[str, Any]:
        """What it is known by, as JSON; without tokens, and in fp32, as it was before there was anything else."""
        values = asdict(self)
        if self.precision == "fp32":
            values.pop("precision")
        else:
            values["head"] = "fp32"  # it was not always
        without = () if self.channels else ("channels", "token_width")
        return {name: value for name, value in values.items() if name not in without}

    def within(self, other: Recording) -> bool:
        """Whether another holds all the layers and channels of this one."""
        return set(self.layers) <= set(other.layers) and set(self.channels) <= set(other.channels)

    def only(self, layers: Sequence[int], channels: Sequence[Channel] = ()) -> Recording:
        """The same with some of the layers and channels."""
        return Recording(
            self.outputs,
            tuple(layers),
            self.width if layers else 0,
            tuple(channels),
            self.token_width if channels else 0,
            self.precision,
        )


class Shard(NamedTuple):
    """A part of the texts, memory-mapped."""

    records: NDArray[Any]
    tokens: NDArray[np.float16]
    """(tokens, channels, width)."""


@dataclass(frozen=True)
class Signals:
    """A verified, complete set of shards."""

    folder: Path
    recording: Recording
    shards: tuple[Shard, ...]
    starts: NDArray[np.int64]
    """(shards + 1,): the number of the first row of each."""
    index: tuple[NDArray[np.uint64], NDArray[np.int64]]
    """First halves of all keys, sorted, and the row of each."""
    places: tuple[int, ...] | None = None
    """Which of the recorded layers are handed out, by position; None: all."""
    lanes: tuple[int, ...] | None = None
    """Which of the recorded channels, likewise."""
    earlier: float = 0.0
    """Seconds that processes which were killed had spent on recording them."""
    written: int = 0
    """Texts that were recorded just now; the others were there."""

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
        starts = np.concatenate([[0], np.cumsum([len(shard.records) for shard in shards])]).astype(np.int64)
        halves = [_first_half(shard.records["key"]) for shard in shards]
        first = np.concatenate(halves) if halves else np.empty(0, dtype=np.uint64)
        order = np.argsort(first, kind="stable")
        return cls(folder, recording, tuple(shards), starts, (first[order], order)), broken

    def __len__(self) -> int:
        return int(self.starts[-1])

    def only(self, layers: Sequence[int], channels: Sequence[Channel] = ()) -> Signals:
        """The same signals with some of the recorded layers and channels, for a student that matches no others."""
        whole = self.recording
        if (tuple(layers), tuple(channels)) == (whole.layers, whole.channels):
            return self
        held = range(len(whole.layers)) if self.places is None else self.places
        kept = range(len(whole.channels)) if self.lanes is None else self.lanes
        places = tuple(held[whole.layers.index(layer)] for layer in layers)
        lanes = tuple(kept[whole.channels.index(channel)] for channel in channels)
        return replace(self, recording=whole.only(layers, channels), places=places, lanes=lanes)

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
            found = self.shards[number].records[rows[mine] - self.starts[number]]
            for name in result.dtype.names or ():
                if name != "hidden":
                    result[name][mine] = found[name]
            hidden = found["hidden"] if self.places is None else found["hidden"][:, list(self.places)]
            result["hidden"][mine] = hidden[..., : self.recording.width]
        if not np.array_equal(result["key"], keys):
            raise TutelageError(
                f"the signals in {self.folder} do not belong to these texts",
                expected="one record for each text, found by its content",
                cure="delete that folder and run again",
            )
        return result

    def tokens(self, rows: NDArray[np.int64], keys: NDArray[np.void]) -> NDArray[np.float16]:
        """The tokens' states (N, channels, width) of some rows, one row after the other.

        Raises `TutelageError` like `take`.
        """
        records = self.take(rows, keys)
        lanes = list(range(len(self.recording.channels)) if self.lanes is None else self.lanes)
        numbers = np.searchsorted(self.starts, rows, side="right") - 1
        parts = [
            self.shards[number].tokens[start : start + count][:, lanes]
            for number, start, count in zip(numbers, records["start"], records["count"], strict=True)
        ]
        return np.concatenate([np.empty((0, len(lanes), self.recording.token_width), dtype=np.float16), *parts])

    def splits(self, rows: NDArray[np.int64], keys: NDArray[np.void]) -> NDArray[np.uint64]:
        """How the teacher splits as many texts (N,) as there are into tokens: see `Network.splits`."""
        narrow = self.only((), self.recording.channels)
        parts = [narrow.take(rows[part], keys[part])["split"] for part in _in_parts(len(rows))]
        return np.concatenate([np.empty(0, dtype=np.uint64), *parts])

    def outputs(self, rows: NDArray[np.int64], keys: NDArray[np.void]) -> NDArray[np.float32]:
        """The outputs (B, K) alone, of as many rows as there are."""
        parts, narrow = [np.empty((0, self.recording.outputs), dtype=np.float32)], self.only(())
        for part in _in_parts(len(rows)):
            parts.append(narrow.take(rows[part], keys[part])["outputs"])
        return np.concatenate(parts)


def write_shard(folder: Path, number: int, records: NDArray[Any], tokens: NDArray[np.float16] | None = None) -> None:
    """Write one shard, whole or not at all; its name carries the hash of its bytes."""
    with storage.whole_file(folder / "shard.tmp") as partial:
        with partial.open("wb") as file:
            np.save(file, records, allow_pickle=False)
            if tokens is not None:
                file.write(np.ascontiguousarray(tokens, dtype="<f2").data)
        digest = storage.sha256_of(partial)[:16]
    (folder / "shard.tmp").rename(folder / f"{number:06d}-{digest}.npy")


def _read(path: Path, recording: Recording) -> Shard | None:
    if storage.sha256_of(path)[:16] != path.stem.split("-")[-1]:
        return None
    try:
        records: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError):
        return None
    if records.dtype != recording.dtype:
        return None
    shape = (int(records["count"].sum()) if recording.channels else 0, len(recording.channels), recording.token_width)
    if not np.prod(shape):
        return Shard(records, np.empty(shape, dtype=np.float16))
    # They are the end of the file.
    offset = path.stat().st_size - int(np.prod(shape)) * np.dtype("<f2").itemsize
    return Shard(records, np.memmap(path, dtype="<f2", mode="r", offset=offset, shape=shape))


def _in_parts(count: int) -> list[slice]:
    return [slice(begin, begin + SHARD_ROWS) for begin in range(0, count, SHARD_ROWS)]


def _first_half(keys: NDArray[Any]) -> NDArray[np.uint64]:
    return np.ascontiguousarray(keys).view("<u8").reshape(-1, 2)[:, 0]
