"""Run an ONNX file over tokens that are already there, to check and to measure it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tutelage import session
from tutelage.artifacts.batch import by_length
from tutelage.artifacts.network import Network
from tutelage.artifacts.tokens import Tokens


def outputs(file: Path, network: Network, tokens: Tokens, *, threads: int = 0) -> NDArray[np.float32]:
    """Outputs (N, K) of an ONNX file for all rows; `network` lends tokenizer and task."""
    running = session.start(str(file), threads=threads)
    result = np.empty((len(tokens), network.task.width), dtype=np.float32)
    for rows in by_length(tokens.lengths, tokens=2048):
        batch = network.collate(tokens, rows)
        feed = {
            "input_ids": batch.input_ids.cpu().numpy(),
            "attention_mask": batch.attention_mask.cpu().numpy(),
        }
        sequences = running.run(None, feed)[0]
        owner = np.arange(len(rows)) if batch.owner is None else batch.owner.cpu().numpy()
        result[rows] = network.task.pool(sequences, owner, len(rows))
    return result
