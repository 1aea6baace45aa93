"""Run the teacher once over every text and keep what it says."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tutelage import storage
from tutelage.artifacts.corpus import Split
from tutelage.artifacts.network import Network, weights_fingerprint
from tutelage.artifacts.signals import SHARD_ROWS, Recording, Signals, write_shard
from tutelage.artifacts.tokens import Tokens
from tutelage.errors import TrainingError
from tutelage.progress import Bar, Progress
from tutelage.training.lean import needed_positions
from tutelage.training.precision import precision


def record(network: Network, splits: list[Split], recording: Recording, *, folder: Path, progress: Progress) -> Signals:
    """Record what is not recorded yet, and return all of it.

    Killed half-way, the next call goes on after the last whole shard. Memory stays that of one shard. Signals of
    other teachers in `folder` are removed once these are complete.
    """
    place = folder / _name(network, recording)
    signals, broken = Signals.open(place, recording)
    for sentence in broken:
        progress.warn(sentence)
    total = sum(len(split) for split in splits)
    with progress.bar("Recording the teacher's signals", total) as bar:
        written = _record_missing(network, splits, signals, bar)
    if written:
        signals, _ = Signals.open(place, recording)
    for other in folder.iterdir():
        if other.is_dir() and other != place:
            shutil.rmtree(other)
    return signals


def _record_missing(network: Network, splits: list[Split], signals: Signals, bar: Bar) -> int:
    number = _next_number(signals.folder)
    written = 0
    for split in splits:
        for rows, keys in _blocks(split):
            missing = signals.find(keys) < 0
            if missing.any():
                records = _records(network, split.texts(rows[missing]), keys[missing], signals.recording)
                write_shard(signals.folder, number, records)
                number, written = number + 1, written + len(records)
            bar.advance(len(rows))
    return written


def _blocks(split: Split) -> Iterator[tuple[NDArray[np.int64], NDArray[np.void]]]:
    keys = split.keys
    for begin in range(0, len(split), SHARD_ROWS):
        rows = np.arange(begin, min(begin + SHARD_ROWS, len(split)))
        yield rows, keys[rows]


def _records(network: Network, texts: list[str], keys: NDArray[np.void], recording: Recording) -> NDArray[np.void]:
    records = np.empty(len(texts), dtype=recording.dtype)
    records["key"] = keys
    tokens = network.tokenize(texts)
    with _lean(network, tokens, recording), precision(recording.precision):
        for rows, outputs, hidden in network.infer(tokens, layers=recording.layers):
            records["outputs"][rows] = outputs
            records["hidden"][rows] = hidden.reshape(len(rows), len(recording.layers), recording.width)
    bad = ~np.isfinite(records["outputs"]).all(axis=1) | ~np.isfinite(records["hidden"]).all(axis=(1, 2))
    if bad.any():
        raise TrainingError(
            f"the teacher gives numbers that are not finite for {int(bad.sum())} texts, "
            f"the first: {texts[int(np.flatnonzero(bad)[0])][:80]!r}",
            expected="finite outputs and hidden states for every text",
            cure="fine-tune the teacher at a lower `learning_rate`, or choose another",
        )
    return records


def _lean(network: Network, tokens: Tokens, recording: Recording) -> AbstractContextManager[Any]:
    """Hidden states are averages over every position of the last layer; outputs alone need what the head reads.

    Whether the head allows it is tried on a few rows, so in full precision.
    """
    return nullcontext() if recording.layers else needed_positions(network, tokens, dropout=0.0)


def _name(network: Network, recording: Recording) -> str:
    tokenizer = json.loads(network.tokenizer.backend_tokenizer.to_str())
    # Set by whoever used the tokenizer last; what matters is the reading.
    tokenizer["truncation"] = tokenizer["padding"] = None
    return storage.fingerprint_of(
        weights_fingerprint(network.model), tokenizer, asdict(network.reading), asdict(recording)
    )


def _next_number(folder: Path) -> int:
    return 1 + max((int(path.name.split("-")[0]) for path in folder.glob("*.npy")), default=-1)
