"""What every participant of peers.py is given, and how it hands its answers back.

Needs torch, transformers and numpy only: it runs in environments that do not have this package.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

_AT_ONCE = 64  # rows in one forward pass without gradients; the fastest of 32, 64, 128 and 256 for the student


@dataclass(frozen=True)
class Job:
    """One distillation. `settings` are those of job.json, the same for everyone."""

    folder: Path
    result: Path
    options: tuple[str, ...]
    settings: dict[str, Any]
    begun: list[float] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        try:
            return self.settings[name]
        except KeyError:
            raise AttributeError(name) from None

    @cached_property
    def texts(self) -> dict[str, Any]:
        """Texts and targets of each split."""
        value: dict[str, Any] = json.loads((self.folder / "texts.json").read_text(encoding="utf-8"))
        return value

    @cached_property
    def batches(self) -> list[list[list[int]]]:
        """Row numbers, for each epoch and step: rows of similar length together."""
        value: list[list[list[int]]] = json.loads((self.folder / "batches.json").read_text(encoding="utf-8"))
        return value

    @property
    def steps(self) -> int:
        """Optimizer steps in all."""
        return sum(map(len, self.batches))

    def model(self, name: str) -> Any:
        """The teacher or the student, in single precision."""
        return transformers.AutoModelForSequenceClassification.from_pretrained(self.folder / name, dtype=torch.float32)

    def tokenizer(self) -> Any:
        """The teacher's, which is the student's too."""
        return transformers.AutoTokenizer.from_pretrained(self.folder / "teacher")

    def start(self) -> None:
        """Everything is loaded: the clock begins."""
        self.begun.append(time.perf_counter())

    def stop(self) -> None:
        """The student is finished: the clock ends."""
        self.begun.append(time.perf_counter())

    def answer(self, outputs: np.ndarray[Any, Any]) -> None:
        """Hand back the seconds between start and stop, and the outputs (N, K) on the test texts."""
        self.result.mkdir(parents=True, exist_ok=True)
        np.save(self.result / "outputs.npy", outputs, allow_pickle=False)
        seconds = self.begun[1] - self.begun[0]
        (self.result / "result.json").write_text(json.dumps({"seconds": seconds}), encoding="utf-8")


def read() -> Job:
    """The job that the command line names: its folder, the folder for the result, options."""
    folder, result, *options = sys.argv[1:]
    settings = json.loads((Path(folder) / "job.json").read_text(encoding="utf-8"))
    torch.set_num_threads(settings["threads"])
    torch.manual_seed(settings["seed"])
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    return Job(Path(folder), Path(result), tuple(options), settings)


def tokenize(tokenizer: Any, texts: list[str], job: Job) -> list[list[int]]:
    """Ids of each text, not padded."""
    ids: list[list[int]] = tokenizer(texts, truncation=True, max_length=job.max_tokens)["input_ids"]
    return ids


def pad(rows: list[list[int]], token: int) -> dict[str, torch.Tensor]:
    """Some rows as a batch, padded to the longest among them."""
    longest = max(map(len, rows))
    return {
        "input_ids": torch.tensor([row + [token] * (longest - len(row)) for row in rows]),
        "attention_mask": torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows]),
    }


class Loader:
    """The batches of one epoch after the other, each time it is gone through."""

    def __init__(self, job: Job, ids: list[list[int]], token: int) -> None:
        self._batches, self._ids, self._token, self._epoch = job.batches, ids, token, 0

    def __len__(self) -> int:
        return len(self._batches[0])

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        rows_of_each = self._batches[self._epoch % len(self._batches)]
        self._epoch += 1
        for rows in rows_of_each:
            yield pad([self._ids[row] for row in rows], self._token)


def optimizer(model: Any, job: Job) -> torch.optim.AdamW:
    """AdamW with the fused kernel, decay on matrices only: what everyone trains with."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": job.weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=job.learning_rate, fused=True)


def outputs(model: Any, ids: list[list[int]], token: int) -> np.ndarray[Any, Any]:
    """Outputs (N, K), rows of similar length together."""
    model.eval()
    order = np.argsort([len(row) for row in ids], kind="stable")
    result = np.empty((len(ids), model.config.num_labels), dtype=np.float32)
    with torch.inference_mode():
        for begin in range(0, len(order), _AT_ONCE):
            rows = order[begin : begin + _AT_ONCE]
            result[rows] = model(**pad([ids[row] for row in rows], token)).logits.numpy()
    return result


def accuracy(given: np.ndarray[Any, Any], targets: list[int]) -> float:
    """Share of the rows whose largest output is the label's."""
    return float((given.argmax(axis=1) == np.asarray(targets)).mean())
