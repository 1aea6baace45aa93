"""Answering with a bundle: numpy, onnxruntime and tokenizers, nothing else."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tutelage import session as sessions
from tutelage.bundle.limits import INPUTS, LEVEL, OUTPUT, Limits
from tutelage.bundle.read import Contents, open_bundle
from tutelage.encoding import Reading, encode
from tutelage.errors import BundleError, UserError
from tutelage.tasks import Array, Task
from tutelage.text import normalise, readable

if TYPE_CHECKING:
    import onnxruntime
    import tokenizers

# Texts encoded at once: bounds what the tokenizer holds, and is plenty to sort by length.
_BLOCK = 4096
# Padded tokens of one call of the graph; more saves no time on a CPU and costs memory.
BATCH_TOKENS = 4096


def load(path: str | Path, *, threads: int | None = None, expect_task: str | None = None) -> Bundle:
    """Verify a bundle and make it ready; `threads` CPU threads, all that the process may use by default.

    Raises `BundleError` when it is incomplete, altered, or not of `expect_task`; `UserError` for bad threads.
    """
    if threads is not None and threads < 1:
        raise UserError(f"threads {threads}", expected="1 or more", cure="leave it out to use every core")
    contents = open_bundle(path, expect_task=expect_task)
    return Bundle(
        contents.path,
        task=contents.task,
        limits=contents.limits,
        tokenizer=_tokenizer(contents),
        session=_session(contents, threads or _cores()),
    )


class Bundle:
    """A model that answers. Safe to call from several threads."""

    def __init__(
        self,
        path: Path,
        *,
        task: Task,
        limits: Limits,
        tokenizer: tokenizers.Tokenizer,
        session: onnxruntime.InferenceSession,
    ) -> None:
        self.path, self.task, self.limits = path, task, limits
        self._tokenizer, self._session = tokenizer, session

    def predict(self, texts: Sequence[str], *, batch_tokens: int = BATCH_TOKENS) -> list[dict[str, Any]]:
        """One record a text, in order: {"label", "score", "scores"} or {"value"}, as the task decodes.

        Raises `UserError` naming the position of anything that is not a string.
        """
        return self.task.decode(self.predictions(texts, batch_tokens=batch_tokens))

    def predictions(self, texts: Sequence[str], *, batch_tokens: int = BATCH_TOKENS) -> Array:
        """Probabilities (N, K) or values (N,), as `Task.predict` gives them."""
        return self.task.predict(self.outputs(texts, batch_tokens=batch_tokens))

    def outputs(self, texts: Sequence[str], *, batch_tokens: int = BATCH_TOKENS) -> NDArray[np.float32]:
        """The graph's outputs (N, K), windows of one text averaged.

        `batch_tokens` bounds rows times longest row of one call of the graph.
        """
        _must_be_texts(texts)
        blocks = [self._block(texts[start : start + _BLOCK], batch_tokens) for start in range(0, len(texts), _BLOCK)]
        return np.concatenate(blocks) if blocks else np.empty((0, self.task.width), dtype=np.float32)

    def levels(self, texts: Sequence[str]) -> NDArray[np.int64] | None:
        """Which level of a cascade answers each text (N,), from 0; None where the graph has one level only.

        Of a text in windows it is the last that any of them needed.
        """
        _must_be_texts(texts)
        if LEVEL not in {value.name for value in self._session.get_outputs()}:
            return None
        found = np.zeros(len(texts), dtype=np.int64)
        for start in range(0, len(texts), _BLOCK):
            sequences, owner = self._encoded(texts[start : start + _BLOCK])
            for rows, feed in self._fed(sequences, BATCH_TOKENS):
                np.maximum.at(found, start + owner[rows], self._session.run([LEVEL], feed)[0])
        return found

    def clean(self, text: str) -> str:
        """A text as the tokenizer will see it, before it is shortened."""
        return normalise(text) if self.limits.normalise else readable(text)

    def _block(self, texts: Sequence[str], batch_tokens: int) -> NDArray[np.float32]:
        sequences, owner = self._encoded(texts)
        outputs = np.empty((len(sequences), self.task.width), dtype=np.float32)
        for rows, feed in self._fed(sequences, batch_tokens):
            outputs[rows] = self._session.run([OUTPUT], feed)[0]
        return self.task.pool(outputs, owner, len(texts))

    def _encoded(self, texts: Sequence[str]) -> tuple[list[list[int]], NDArray[np.int64]]:
        """Token ids of every sequence, and which text each belongs to."""
        limits = self.limits
        read = (limits.max_tokens, limits.long_text, limits.stride, limits.characters_per_token, limits.plain)
        reading = Reading(*read)
        return encode(self._tokenizer, [self.clean(text)[: limits.max_characters] for text in texts], reading)

    def _fed(self, sequences: list[list[int]], budget: int) -> Iterator[tuple[list[int], dict[str, NDArray[np.int64]]]]:
        """Which sequences go together, and what the graph is given of them."""
        for rows in batches([len(sequence) for sequence in sequences], budget):
            ids, mask = pad([sequences[row] for row in rows], self.limits.pad_id)
            yield rows, dict(zip(INPUTS, (ids, mask), strict=True))


def batches(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Positions of sequences, shortest first, in groups whose padded size stays within a budget of tokens."""
    group: list[int] = []
    for row in sorted(range(len(lengths)), key=lengths.__getitem__):
        if group and (len(group) + 1) * lengths[row] > budget:
            yield group
            group = []
        group.append(row)
    if group:
        yield group


def pad(sequences: Sequence[Sequence[int]], pad_id: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Token ids (B, T) and mask (B, T) of B sequences, filled up on the right."""
    width = max(len(sequence) for sequence in sequences)
    ids = np.full((len(sequences), width), pad_id, dtype=np.int64)
    mask = np.zeros_like(ids)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = sequence
        mask[row, : len(sequence)] = 1
    return ids, mask


def _must_be_texts(texts: Sequence[str]) -> None:
    cure = 'give a list of strings: bundle.predict(["a fine film"])'
    if isinstance(texts, str | bytes):
        raise UserError("a single string was given", expected="a list of strings", cure=cure)
    for position, text in enumerate(texts):
        if not isinstance(text, str):
            raise UserError(
                f"text {position} (counted from 0) is of type {type(text).__name__}",
                expected="a string",
                cure=cure,
            )


def _tokenizer(contents: Contents) -> tokenizers.Tokenizer:
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_str(contents.tokenizer)
    except Exception as error:  # the library raises plain `Exception`
        raise BundleError(
            f"the tokenizer of {contents.path} cannot be loaded: {error}",
            expected="a tokenizer.json of the tokenizers library",
            cure="`pip install --upgrade tokenizers`, or make the bundle anew",
        ) from error


def _session(contents: Contents, threads: int) -> onnxruntime.InferenceSession:
    try:
        session = sessions.start(contents.model, threads=threads)
    except Exception as error:  # onnxruntime's own exceptions share no public base
        raise BundleError(
            f"the model of {contents.path} cannot be loaded: {str(error).splitlines()[0]}",
            expected="a graph this onnxruntime can run",
            cure="`pip install --upgrade onnxruntime`, or make the bundle anew",
        ) from error
    inputs = tuple(value.name for value in session.get_inputs())
    outputs = {value.name: value.shape[-1:] for value in session.get_outputs()}
    if sorted(inputs) != sorted(INPUTS) or outputs.get(OUTPUT) != [contents.task.width]:
        raise BundleError(
            f"the model of {contents.path} takes {', '.join(inputs)} and gives {outputs}",
            expected=f"{', '.join(INPUTS)}, and {OUTPUT} of width {contents.task.width}",
            cure="make the bundle anew with `tutelage run`",
        )
    return session


def _cores() -> int:
    """Cores this process may use; a container may allow fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
