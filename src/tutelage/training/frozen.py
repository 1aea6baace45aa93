"""Frozen work is done once: what comes before the first trained layer is computed once a text and kept on disk.

Within `frozen_prefix` the model takes its hidden states from there instead of from its embeddings, and its frozen
layers pass them on. Everything else (batches, windows, masks, the loop, checkpoints) stays as it is, with less to do:
a checkpoint then holds only what is trained.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tutelage import storage
from tutelage.artifacts.batch import by_length
from tutelage.artifacts.first_token import only_first_token
from tutelage.artifacts.network import Network, forward, weights_fingerprint
from tutelage.artifacts.tokens import Tokens, join
from tutelage.progress import Progress

States = NDArray[np.float32]

_STATES = "states.f32"
# Padded tokens in one forward pass; as in `Network.infer`.
_TOKENS_AT_ONCE = 2048
# Largest share of the free disk that states may take: checkpoints, signals and the bundle need room too.
_SHARE_OF_DISK = 0.5
_TRIED = 4
_SAME = 1e-4  # of the largest output; single precision differs by about a hundredth of that


@contextmanager
def frozen_prefix(
    network: Network, texts: Sequence[Tokens], *, folder: Path, progress: Progress
) -> Iterator[list[Tokens] | None]:
    """Within the context the model starts where its training starts; yields the texts renumbered to their states.

    Yields None, and changes nothing, where no whole layer is frozen, where the architecture does not allow it (it is
    tried on a few rows), or where the disk has too little room. States go to `folder`, whole or not at all, under a
    name made of the frozen weights and the texts: a training that goes on finds them, any other makes its own.
    """
    network.model.eval()
    prefix = _prefix(network, texts)
    states = _recorded(prefix, texts, folder, progress) if prefix else None
    if prefix is None or states is None:
        yield None
        return
    with prefix.replaced(states):
        yield [prefix.renumbered(part, offset) for part, offset in zip(texts, _offsets(texts, prefix), strict=True)]


@dataclass(frozen=True)
class _Stack:
    """The parts of an encoder of the BERT family: embeddings, then layers, then whatever reads the last one."""

    base: Any
    embeddings: nn.Module
    encoder: Any

    @property
    def layers(self) -> nn.ModuleList:
        layers: nn.ModuleList = self.encoder.layer
        return layers


class _Kept(nn.Module):
    """Stands for the embeddings: looks hidden states up by number."""

    def __init__(self, states: States) -> None:
        super().__init__()
        self.states = states

    def forward(self, input_ids: torch.Tensor | None = None, *_: Any, **__: Any) -> torch.Tensor:
        """(S, T) numbers -> (S, T, D)."""
        assert input_ids is not None
        found = np.take(self.states, input_ids.cpu().numpy(), axis=0)
        return torch.from_numpy(found).to(input_ids.device)


class _Passed(nn.Module):
    """Stands for a layer whose work is already done."""

    def __init__(self, *, tupled: bool) -> None:
        super().__init__()
        self.tupled = tupled

    def forward(self, hidden_states: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor | tuple[torch.Tensor]:
        """(S, T, D) -> the same."""
        return (hidden_states,) if self.tupled else hidden_states


@dataclass(frozen=True)
class _Prefix:
    """The embeddings and the first `depth` layers of a network."""

    network: Network
    stack: _Stack
    depth: int
    first: bool
    """Only the state of each sequence's first token is kept: all that a head of the BERT family reads."""
    tupled: bool
    """The layers of some architectures put their result into a tuple."""

    @property
    def width(self) -> int:
        return int(self.network.model.config.hidden_size)

    def rows(self, tokens: Tokens) -> int:
        """Number of states of some texts."""
        return len(tokens.start) - 1 if self.first else len(tokens.flat)

    def renumbered(self, tokens: Tokens, offset: int) -> Tokens:
        """The texts with the number of a state in place of each token; padding is masked, so any number does."""
        start = np.arange(len(tokens.start)) if self.first else tokens.start
        flat = np.arange(offset, offset + self.rows(tokens), dtype=np.int32)
        return Tokens(flat, start.astype(np.int64), tokens.first, 0)

    def compute(self, tokens: Tokens) -> Iterator[tuple[int, States]]:
        """The states of one sequence after the other, longest first: the number of its first, and all of them."""
        last = only_first_token(self.network.model) if self.first else nullcontext()
        lengths = tokens.lengths
        with self.passing(range(self.depth, len(self.stack.layers))), last:
            for rows in by_length(lengths, tokens=_TOKENS_AT_ONCE):
                with torch.inference_mode():
                    batch = self.network.collate(tokens, rows)
                    result = self.stack.base(input_ids=batch.input_ids, attention_mask=batch.attention_mask)
                hidden = result.last_hidden_state.float().cpu().numpy()
                for row, values in zip(rows.tolist(), hidden, strict=True):
                    yield (row, values[:1]) if self.first else (int(tokens.start[row]), values[: lengths[row]])

    @contextmanager
    def replaced(self, states: States) -> Iterator[None]:
        """Within the context the network reads states in place of tokens."""
        with self.passing(range(self.depth)):
            self.stack.base.embeddings = _Kept(states)
            try:
                yield
            finally:
                self.stack.base.embeddings = self.stack.embeddings.to(self._device())

    @contextmanager
    def passing(self, numbers: range) -> Iterator[None]:
        """Within the context some layers pass on what they are given. All keep their numbers, and so their names."""
        layers = self.stack.layers
        before = {number: layers[number] for number in numbers}
        for number in numbers:
            layers[number] = _Passed(tupled=self.tupled)
        try:
            yield
        finally:
            # Training may have moved the model; what was left out of it has to follow.
            for number, layer in before.items():
                layers[number] = layer.to(self._device())

    def _device(self) -> torch.device:
        """Where the parts are that train: the head always does."""
        found: torch.device = list(self.network.model.parameters())[-1].device
        return found

    def answers_the_same(self, tokens: Tokens) -> bool:
        """Whether the network says the same from kept states, tried on the first rows."""
        some = tokens.take(np.arange(min(len(tokens), _TRIED)))
        states = np.empty((self.rows(some), self.width), dtype=np.float32)
        try:
            expected = self._outputs(some)
            for begin, values in self.compute(some):
                states[begin : begin + len(values)] = values
            with self.replaced(states):
                found = self._outputs(self.renumbered(some, 0))
        except Exception:  # whatever happens inside an architecture that is built otherwise
            return False
        # A new head says little above nothing, so what counts as the same goes by what it says.
        tolerance = _SAME * float(expected.abs().max())
        return found.shape == expected.shape and torch.allclose(found, expected, rtol=0, atol=tolerance)

    def _outputs(self, tokens: Tokens) -> torch.Tensor:
        with torch.inference_mode():
            return forward(self.network.model, self.network.collate(tokens, np.arange(len(tokens))))[0]

    def name(self, tokens: Tokens) -> str:
        """Changes when a frozen weight or a text does."""
        parts = [self.stack.embeddings, *list(self.stack.layers)[: self.depth]]
        texts = hashlib.sha256(tokens.flat.tobytes() + tokens.start.tobytes()).hexdigest()
        return storage.fingerprint_of([weights_fingerprint(part) for part in parts], texts, self.depth, self.first)


def _prefix(network: Network, texts: Sequence[Tokens]) -> _Prefix | None:
    """What can be kept of a network: as little as its head allows. None where nothing can."""
    stack = _stack(network.model)
    depth = _depth(stack) if stack else 0
    if stack is None or not depth or not any(map(len, texts)):
        return None
    some = _one_sequence_a_row(next(tokens for tokens in texts if len(tokens)))
    for first in [True, False] if depth == len(stack.layers) else [False]:
        for tupled in (False, True):
            prefix = _Prefix(network, stack, depth, first, tupled)
            if prefix.answers_the_same(some):
                return prefix
    return None


def _recorded(prefix: _Prefix, texts: Sequence[Tokens], folder: Path, progress: Progress) -> States | None:
    """The states of all texts, memory-mapped; computed now unless they are there, whole."""
    tokens = _one_sequence_a_row(join(*texts))
    goal = folder / prefix.name(tokens)
    folder.mkdir(parents=True, exist_ok=True)
    storage.mend(folder)
    for other in folder.iterdir():
        if other != goal or storage.broken_files(goal):
            shutil.rmtree(other)
    shape = (prefix.rows(tokens), prefix.width)
    if not goal.exists():
        needed, free = 4 * shape[0] * shape[1], shutil.disk_usage(folder).free
        if needed > _SHARE_OF_DISK * free:
            progress.say(
                f"The frozen layers are computed anew in every epoch: keeping their outputs would take "
                f"{needed / 1e9:.2g} of {free / 1e9:.2g} GB free."
            )
            return None
        bar = progress.bar("Computing the frozen layers once", len(tokens))
        with bar as shown, storage.whole_folder(goal) as partial, (partial / _STATES).open("wb") as file:
            for begin, values in prefix.compute(tokens):
                # Not through a memory map: a disk that is full would end the process without a word.
                file.seek(4 * prefix.width * begin)
                file.write(np.ascontiguousarray(values, dtype="<f4").tobytes())
                shown.advance()
    return np.asarray(np.memmap(goal / _STATES, dtype="<f4", mode="r", shape=shape))


def _stack(model: Any) -> _Stack | None:
    base = getattr(model, "base_model", None)
    embeddings = getattr(base, "embeddings", None)
    encoder = getattr(base, "encoder", None) or getattr(base, "transformer", None)
    layers = getattr(encoder, "layer", None)
    if not isinstance(embeddings, nn.Module) or not isinstance(layers, nn.ModuleList):
        return None
    return _Stack(base, embeddings, encoder)


def _depth(stack: _Stack) -> int:
    """How many layers come before the first that is trained; 0 when anything before or beside them is trained."""
    frozen = [not any(parameter.requires_grad for parameter in layer.parameters()) for layer in stack.layers]
    depth = frozen.index(False) if False in frozen else len(frozen)
    # A pooler reads the last layer. Anything else outside the layers may be read by the first.
    later = [*list(stack.layers)[depth:], getattr(stack.base, "pooler", None)]
    allowed = {id(parameter) for part in later if part is not None for parameter in part.parameters()}
    trained = {id(parameter) for parameter in stack.base.parameters() if parameter.requires_grad}
    return depth if trained <= allowed else 0


def _one_sequence_a_row(tokens: Tokens) -> Tokens:
    return Tokens(tokens.flat, tokens.start, np.arange(len(tokens.start)), tokens.pad)


def _offsets(texts: Sequence[Tokens], prefix: _Prefix) -> list[int]:
    """Where the states of each split begin."""
    counts = [prefix.rows(tokens) for tokens in texts]
    return [sum(counts[:number]) for number in range(len(counts))]
