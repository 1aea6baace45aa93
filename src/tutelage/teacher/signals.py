"""Run the teacher once over every text and keep what it says."""

from __future__ import annotations

import itertools
import json
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tutelage import storage
from tutelage.artifacts.batch import by_length
from tutelage.artifacts.corpus import Split
from tutelage.artifacts.network import TOKENS_AT_ONCE, Network, weights_fingerprint
from tutelage.artifacts.signals import SHARD_ROWS, Recording, Signals, write_shard
from tutelage.artifacts.token_states import hear
from tutelage.artifacts.tokens import Tokens
from tutelage.artifacts.voice import Voice
from tutelage.errors import TrainingError
from tutelage.progress import Bar, Progress
from tutelage.training.lean import needed_positions
from tutelage.training.precision import precision

# States of tokens in one shard: what is held in memory and, killed, computed again. 24 texts of 256 tokens and six
# channels of 768 fill 57 MB.
TOKEN_BYTES = 64_000_000
_UNFINISHED = "unfinished.json"
"""The seconds of a recording so far, beside its shards until it is complete."""


def record(
    network: Network,
    splits: list[Split],
    recording: Recording,
    *,
    folder: Path,
    progress: Progress,
    voices: Sequence[Voice] = (),
) -> Signals:
    """Record what is not recorded yet, and return all of it; `voices`, one after the other, change the answers.

    Killed half-way, the next call goes on after the last whole shard, and tells what was spent before. Memory stays
    that of one shard. Signals of other teachers in `folder` are removed once these are complete.
    """
    place = folder / _name(network, recording, voices)
    signals, broken = Signals.open(place, recording)
    for sentence in broken:
        progress.warn(sentence)
    total = sum(len(split) for split in splits)
    earlier = _seconds(place)
    with progress.bar("Recording the teacher's signals", total) as bar:
        written = _record_missing(network, splits, signals, voices, bar, time.monotonic() - earlier)
    if written:
        signals, _ = Signals.open(place, recording)
    (place / _UNFINISHED).unlink(missing_ok=True)
    for other in folder.iterdir():
        if other.is_dir() and other != place:
            shutil.rmtree(other)
    return replace(signals, earlier=earlier, written=written)


def _seconds(place: Path) -> float:
    """What a recording that was killed had taken; none where there is no such thing."""
    try:
        return float(json.loads((place / _UNFINISHED).read_text(encoding="utf-8"))["seconds"])
    except (OSError, ValueError, TypeError, KeyError):
        return 0.0


def _record_missing(  # noqa: PLR0917 - called once
    network: Network, splits: list[Split], signals: Signals, voices: Sequence[Voice], bar: Bar, began: float
) -> int:
    number = _next_number(signals.folder)
    written = 0
    for split in splits:
        for rows, keys in _blocks(split):
            missing = signals.find(keys) < 0
            if missing.any():
                texts, mine = split.texts(rows[missing]), keys[missing]
                tokens = network.tokenize(texts)
                for part in _parts(tokens, signals.recording):
                    begin, end = part.start, part.stop
                    some = tokens if end - begin == len(tokens) else tokens.take(np.arange(begin, end))
                    said = _records(network, texts[part], some, mine[part], signals.recording, voices)
                    write_shard(signals.folder, number, *said)
                    number, written = number + 1, written + end - begin
                    storage.write_json(signals.folder / _UNFINISHED, {"seconds": round(time.monotonic() - began, 2)})
            bar.advance(len(rows))
    return written


def _blocks(split: Split) -> Iterator[tuple[NDArray[np.int64], NDArray[np.void]]]:
    keys = split.keys
    for begin in range(0, len(split), SHARD_ROWS):
        rows = np.arange(begin, min(begin + SHARD_ROWS, len(split)))
        yield rows, keys[rows]


def _parts(tokens: Tokens, recording: Recording) -> list[slice]:
    """Rows whose tokens' states make a shard: all of a block where none are kept."""
    if not recording.channels:
        return [slice(0, len(tokens))]
    size = np.dtype("<f2").itemsize * len(recording.channels) * recording.token_width
    number = np.cumsum(tokens.lengths * size) // TOKEN_BYTES
    edges = [0, *(np.flatnonzero(np.diff(number)) + 1).tolist(), len(tokens)]
    return [slice(begin, end) for begin, end in itertools.pairwise(edges)]


def _records(  # noqa: PLR0917 - called once
    network: Network,
    texts: list[str],
    tokens: Tokens,
    keys: NDArray[np.void],
    recording: Recording,
    voices: Sequence[Voice],
) -> tuple[NDArray[np.void], NDArray[np.float16] | None]:
    records = np.empty(len(texts), dtype=recording.dtype)
    records["key"] = keys
    states = None
    if recording.channels:
        records["count"], records["split"] = tokens.lengths, network.splits(tokens)
        records["start"] = np.cumsum(tokens.lengths) - tokens.lengths
        states = np.empty((len(tokens.flat), len(recording.channels), recording.token_width), dtype=np.float16)
    finite = np.ones(len(texts), dtype=bool)
    for rows, outputs, hidden, values in _said(network, tokens, recording):
        records["outputs"][rows] = outputs
        records["hidden"][rows] = hidden.reshape(len(rows), len(recording.layers), recording.width)
        finite[rows] = np.isfinite(records["outputs"][rows]).all(axis=1)
        finite[rows] &= np.isfinite(records["hidden"][rows]).all(axis=(1, 2))
        for row, mine in zip(rows.tolist(), values, strict=True):
            if states is not None:
                start = int(records["start"][row])
                states[start : start + len(mine)] = mine
                finite[row] &= bool(np.isfinite(states[start : start + len(mine)]).all())
    for voice in voices:
        records["outputs"] = voice.said(texts, keys, tokens, records["outputs"])
    finite &= np.isfinite(records["outputs"]).all(axis=1)
    if not finite.all():
        raise TrainingError(
            f"the teacher gives numbers that are not finite for {int((~finite).sum())} texts, "
            f"the first: {texts[int(np.flatnonzero(~finite)[0])][:80]!r}",
            expected="finite outputs and hidden states for every text, in half precision",
            cure="fine-tune the teacher at a lower `learning_rate`, or choose another",
        )
    return records, states


def _said(
    network: Network, tokens: Tokens, recording: Recording
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32], list[NDArray[np.float32]]]]:
    """Batches of rows, outputs, pooled states, and each row's tokens' states (T, channels, width)."""
    if not recording.channels:
        with _lean(network, tokens, recording), precision(recording.precision, network.model):
            for rows, outputs, hidden in network.infer(tokens, layers=recording.layers):
                yield rows, outputs, hidden, [np.empty(0, dtype=np.float32)] * len(rows)
        return
    network.model.eval()
    for rows in by_length(tokens.lengths, tokens=TOKENS_AT_ONCE):
        with torch.inference_mode(), precision(recording.precision, network.model):
            said, pooled, states = hear(
                network.model, network.collate(tokens, rows), layers=recording.layers, channels=recording.channels
            )
        ends = np.cumsum(tokens.lengths[rows])[:-1]
        yield rows, said.cpu().numpy(), pooled.cpu().numpy(), np.split(states.values.float().cpu().numpy(), ends)


def _lean(network: Network, tokens: Tokens, recording: Recording) -> AbstractContextManager[Any]:
    """Hidden states are averages over every position of the last layer; outputs alone need what the head reads.

    Whether the head allows it is tried on a few rows, so in full precision.
    """
    return nullcontext() if recording.layers else needed_positions(network, tokens, dropout=0.0)


def _name(network: Network, recording: Recording, voices: Sequence[Voice]) -> str:
    tokenizer = json.loads(network.tokenizer.backend_tokenizer.to_str())
    # Set by whoever used the tokenizer last; what matters is the reading.
    tokenizer["truncation"] = tokenizer["padding"] = None
    spoken = [voice.name for voice in voices]
    return storage.fingerprint_of(
        weights_fingerprint(network.model), tokenizer, asdict(network.reading), recording.identity, *spoken
    )


def _next_number(folder: Path) -> int:
    return 1 + max((int(path.name.split("-")[0]) for path in folder.glob("*.npy")), default=-1)
