"""The data of a run: splits in Arrow files, memory-mapped, with the bound task and what is known of their health."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tutelage import tasks
from tutelage.artifacts.mixture import Mixture

if TYPE_CHECKING:
    from tutelage.tasks import Task

SCHEMA = pa.schema(
    [
        pa.field("text", pa.large_string(), nullable=False),
        pa.field("target", pa.float64()),  # null where a row has no label
        pa.field("key", pa.binary(16), nullable=False),  # BLAKE2b-128 of the text: equal texts, equal keys
        pa.field("source", pa.dictionary(pa.int32(), pa.string()), nullable=False),  # the file it came from
        pa.field("row", pa.int64(), nullable=False),  # its row number there, from 1
    ]
)
# The source of a changed copy begins so.
COPY = "copy: "
DESCRIPTION = "corpus.json"
SPLITS = ("train", "validation", "judge", "test", "unlabelled")
MORE, ALSO = "more.", "also_test."
"""What the files of further data sets are called, a number behind it: to train on, and to measure on."""


@dataclass(frozen=True)
class Split:
    """Rows of one split; the table is memory-mapped and has `SCHEMA`."""

    name: str
    table: pa.Table
    mixture: Mixture | None = None
    """How often its rows are drawn; None where each is once an epoch."""

    @classmethod
    def load(cls, name: str, file: Path) -> Split:
        """Map an Arrow file."""
        with pa.memory_map(str(file)) as source:
            return cls(name, pa.ipc.open_file(source).read_all())

    @classmethod
    def unlabelled(cls, name: str, texts: Sequence[str], sources: Sequence[str], rows: Sequence[int]) -> Split:
        """Texts (N,) without labels, in memory, and where each came from."""
        columns = [
            pa.array(texts, pa.large_string()),
            pa.nulls(len(texts), pa.float64()),
            pa.array([content_key(text) for text in texts], pa.binary(16)),
            pa.array(sources, pa.string()).dictionary_encode(),
            pa.array(rows, pa.int64()),
        ]
        return cls(name, pa.table(columns, schema=SCHEMA))

    def save(self, file: Path) -> None:
        """Write an Arrow file that `load` maps."""
        # A file has one dictionary of sources.
        table = self.table.unify_dictionaries().combine_chunks()
        with pa.ipc.new_file(str(file), SCHEMA) as writer:
            writer.write_table(table)

    def take(self, rows: NDArray[np.int64]) -> Split:
        """Some rows, in the order given."""
        return Split(self.name, self.table.unify_dictionaries().take(pa.array(rows)))

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def texts(self, rows: NDArray[np.int64] | None = None) -> list[str]:
        """The texts of some rows, or of all."""
        column = self.table["text"] if rows is None else self.table["text"].take(pa.array(rows))
        return list(column.to_pylist())

    @property
    def targets(self) -> NDArray[np.float64]:
        """(N,), NaN where there is no label."""
        return np.asarray(self.table["target"].to_numpy(), dtype=np.float64)

    @property
    def copied(self) -> NDArray[np.bool_]:
        """(N,): whether a row is a changed copy of others."""
        return np.array([source.startswith(COPY) for source in self.sources], dtype=bool)

    @property
    def sources(self) -> list[str]:
        """Where each row came from (N,)."""
        found: list[str] = self.table["source"].to_pylist()
        return found

    @property
    def fingerprint(self) -> str:
        """Changes when any text, label or their order does."""
        digest = hashlib.blake2b(digest_size=16)
        digest.update(self.keys.tobytes())
        digest.update(self.targets.tobytes())
        if self.mixture:
            digest.update(json.dumps(self.mixture.as_dict()).encode())
        return digest.hexdigest()

    def epoch(self, number: int) -> NDArray[np.int64]:
        """The rows that an epoch of a training draws, as many in each; the first one's are what linear models see."""
        return self.mixture.epoch(number) if self.mixture else np.arange(len(self))

    @property
    def drawn(self) -> int:
        """How many rows an epoch draws."""
        return sum(self.mixture.drawn) if self.mixture else len(self)

    @property
    def keys(self) -> NDArray[np.void]:
        """(N,) of 16 bytes: the content hash of each text."""
        chunks = [np.frombuffer(_bytes_of(chunk), dtype="V16") for chunk in self.table["key"].chunks]
        return np.concatenate(chunks) if chunks else np.empty(0, dtype="V16")


@dataclass(frozen=True)
class Corpus:
    """All splits of a run; further data sets to train on are part of `train`, behind the user's own rows.

    `fingerprint` changes when any text, label, order or split does; `others` do not count. `health` is JSON: see
    `data.health`.
    """

    folder: Path
    task: Task
    splits: Mapping[str, Split]
    fingerprint: str
    health: Mapping[str, Any]
    others: Mapping[str, Split] = field(default_factory=dict)
    """Other domains or languages by name: measured on, and nothing else."""

    @classmethod
    def load(cls, folder: Path) -> Corpus:
        """Map the Arrow files of a folder that `data.prepare` wrote."""
        description = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        loaded = {name: Split.load(name, folder / f"{name}.arrow") for name in description["splits"]}
        splits = {name: split for name, split in loaded.items() if name in SPLITS}
        if further := [split for name, split in loaded.items() if name.startswith(MORE)]:
            table = join("train", [loaded["train"], *further]).table
            splits["train"] = Split("train", table, Mixture.from_dict(description["mixture"]))
        return cls(
            folder,
            tasks.from_dict(description["task"]),
            splits,
            str(description["fingerprint"]),
            description["health"],
            {title: Split(title, loaded[name].table) for name, title in description.get("others", {}).items()},
        )

    def __getitem__(self, split: str) -> Split:
        return self.splits[split]

    @property
    def read(self) -> list[Split]:
        """What students may read: the training texts, and those without labels."""
        return [self.splits[name] for name in ("train", "unlabelled") if name in self.splits]


def content_key(text: str) -> bytes:
    """16 bytes of BLAKE2b: equal texts, equal keys."""
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def join(name: str, splits: Sequence[Split]) -> Split:
    """The rows of several splits, one after the other."""
    return Split(name, pa.concat_tables([split.table for split in splits]) if splits else SCHEMA.empty_table())


def evenly(splits: Sequence[Split], count: int) -> list[Split]:
    """So many rows at most, evenly spread over some splits; one of which none is taken is left out."""
    ends = np.cumsum([len(split) for split in splits])
    rows: NDArray[np.int64] = np.unique(np.linspace(0, ends[-1] - 1, min(count, int(ends[-1]))).astype(np.int64))
    parts = [
        split.take(rows[(rows >= end - len(split)) & (rows < end)] - (end - len(split)))
        for split, end in zip(splits, ends, strict=True)
    ]
    return [part for part in parts if len(part)]


def _bytes_of(chunk: pa.Array) -> memoryview:
    width = 16
    return memoryview(chunk.buffers()[1])[chunk.offset * width : (chunk.offset + len(chunk)) * width]
