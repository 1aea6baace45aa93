"""A Transformer that does the task: model, tokenizer and task together. What a teacher and a student have in common."""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tutelage import storage
from tutelage.artifacts import convolution, prefix, prompt
from tutelage.artifacts.batch import Batch, by_length, collate
from tutelage.artifacts.coded import Codes
from tutelage.artifacts.in_front import in_front
from tutelage.artifacts.no_layers import NoLayers
from tutelage.artifacts.own_weights import OwnWeights
from tutelage.artifacts.tokens import Tokens, tokenize
from tutelage.artifacts.wide import Wide
from tutelage.encoding import Reading
from tutelage.tasks import Array, Task
from tutelage.text import normalise, readable

# Padded tokens in one forward pass without gradients. On CPU a batch that stays in the cache is fastest.
TOKENS_AT_ONCE = 2048
_UNKNOWN: tuple[OwnWeights, ...] = (convolution.WEIGHTS, prefix.WEIGHTS, prompt.WEIGHTS)
"""Parts that `transformers` does not know; a model has one of them at most."""


@dataclass(frozen=True)
class Network:
    """`model` is a plain `transformers` model with the task's head, `tokenizer` a fast tokenizer of `transformers`.

    A student may also have no layers at all (`NoLayers`), or a convolution over its embeddings inside the model; a
    teacher may read learned vectors in front of its texts. A `wide` part adds its scores to the model's; `codes` say
    how a graph can hold its embeddings in fewer bytes.
    """

    model: Any
    tokenizer: Any
    task: Task
    reading: Reading
    wide: Wide | None = None
    codes: Codes | None = None
    normalised: bool = True
    """Whether `predict` is to normalise texts: `data.normalise` of the recipe."""
    max_characters: int | None = None
    """Of a longer text `predict` reads the beginning."""

    def __post_init__(self) -> None:
        # The head of an encoder-decoder reads the end of a text, of which there must be one in each.
        if getattr(self.model.config, "is_encoder_decoder", False) and not self.reading.plain:
            object.__setattr__(self, "reading", replace(self.reading, plain=True))

    @classmethod
    def load(cls, folder: Path, task: Task, reading: Reading) -> Network:
        """Load a plain Hugging Face folder, or what `save` made of another model."""
        import transformers

        quiet()
        auto = getattr(transformers, task.auto_model)
        known = unknown_part(folder)
        model: Any = known.load(folder, auto) if known else NoLayers.load(folder, task.width)
        if model is None:
            model = auto.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
        return cls(model.eval(), tokenizer, task, reading, Wide.load(folder), Codes.load(folder))

    def save(self, folder: Path) -> None:
        """Write a plain Hugging Face folder that `from_pretrained` loads without this package.

        A wide part and codes stand beside the model in files of their own, which only `load` adds. Of a model with a
        part that `transformers` does not know `from_pretrained` finds no weights: see `own_weights`.
        """
        with storage.whole_folder(folder) as partial:
            if not any(part.save(self.model, partial) for part in _UNKNOWN):
                self.model.save_pretrained(partial)
            self.tokenizer.save_pretrained(partial)
            if self.wide is not None:
                self.wide.save(partial)
            if self.codes is not None:
                self.codes.save(partial)

    @property
    def pad(self) -> int:
        """Id of the padding token; any id does where there is none, since padding is masked."""
        return int(self.tokenizer.pad_token_id or 0)

    @property
    def tokenizer_bytes(self) -> int:
        """What its tokenizer takes in a bundle."""
        return len(self.tokenizer.backend_tokenizer.to_str().encode())

    @property
    def layers(self) -> int:
        """How many there are; 0 where the wide part answers alone."""
        return int(self.model.config.num_hidden_layers)

    @property
    def parameters(self) -> int:
        """Number of weights."""
        if not self.layers:
            return self.wide.numbers if self.wide else 0
        deep = sum(parameter.numel() for parameter in self.model.parameters())
        return int(deep) + (self.wide.numbers if self.wide else 0)

    def describe(self, precision: str) -> str:
        """One line: architecture, shape, vocabulary, precision."""
        config = self.model.config
        if not self.layers:
            return f"linear, {config.vocab_size:,} tokens and their pairs"
        layers = "1 layer" if config.num_hidden_layers == 1 else f"{config.num_hidden_layers} layers"
        heard = convolution.of(self.model)
        below = f"{'static, ' if heard.heads else ''}convolution of {heard.kernel}, " if heard else ""
        below += f"{count} vectors in front, " if (count := in_front(config)) else ""
        shape = f"{below}{layers} x {config.hidden_size}"
        shape += " + wide" if self.wide else ""
        coded = ", coded" if self.codes else ""
        return f"{config.model_type.upper()}, {shape}, {config.vocab_size:,} tokens{coded}, {precision}"

    def tokenize(self, texts: Sequence[str]) -> Tokens:
        """Texts as ragged ids."""
        return tokenize(texts, self.tokenizer.backend_tokenizer, self.reading, pad=self.pad)

    def splits(self, tokens: Tokens) -> NDArray[np.uint64]:
        """(N,): a hash of the spelling of each row's tokens, equal where two tokenizers split a text alike."""
        names = self.tokenizer.convert_ids_to_tokens(list(range(len(self.tokenizer))))
        spelled = np.array([_number(str(name).encode()) for name in names], dtype=np.uint64)
        ends = tokens.start[tokens.first]
        rows = [spelled[tokens.flat[begin:end]].tobytes() for begin, end in itertools.pairwise(ends.tolist())]
        return np.array([_number(row) for row in rows], dtype=np.uint64)

    def collate(self, tokens: Tokens, rows: NDArray[np.int64]) -> Batch:
        """Some rows, padded, on the model's device."""
        return collate(tokens, rows, device=self.model.device)

    def outputs(self, tokens: Tokens) -> NDArray[np.float32]:
        """Outputs of the head (N, K) for all rows, in order."""
        result = np.empty((len(tokens), self.task.width), dtype=np.float32)
        for rows, outputs, _ in self.infer(tokens):
            result[rows] = outputs
        return result

    def predictions(self, texts: Sequence[str]) -> Array:
        """Probabilities (N, K) or values (N,), as `Task.predict` gives them; texts are read as they are."""
        return self.task.predict(self.outputs(self.tokenize(texts)))

    def predict(self, texts: Sequence[str]) -> list[dict[str, Any]]:
        """One record a text, normalised first where its recipe says so: what a bundle of this network answers."""
        clean = normalise if self.normalised else readable
        return self.task.decode(self.predictions([clean(text)[: self.max_characters] for text in texts]))

    def forward(self, batch: Batch, *, layers: Sequence[int] = ()) -> tuple[torch.Tensor, torch.Tensor]:
        """Outputs (B, K) of model and wide part together, and pooled hidden states (B, layers, width)."""
        outputs, hidden = forward(self.model, batch, layers=layers)
        if self.wide is not None:
            outputs = self.wide.deep * outputs + batch.pool(self.wide(batch.input_ids, batch.attention_mask))
        return outputs, hidden

    def infer(
        self, tokens: Tokens, *, layers: Sequence[int] = ()
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]]:
        """Batches of (rows (B,), outputs (B, K), pooled hidden states (B, layers, width)), longest rows first."""
        self.model.eval()
        for rows in by_length(tokens.lengths, tokens=TOKENS_AT_ONCE):
            with torch.inference_mode():
                outputs, hidden = self.forward(self.collate(tokens, rows), layers=layers)
            yield rows, outputs.float().cpu().numpy(), hidden.float().cpu().numpy()


def unknown_part(folder: Path) -> OwnWeights | None:
    """Which part that `transformers` does not know the model in a folder has."""
    return next((part for part in _UNKNOWN if part.there(folder)), None)


def forward(model: nn.Module, batch: Batch, *, layers: Sequence[int] = ()) -> tuple[torch.Tensor, torch.Tensor]:
    """Outputs (B, K), and the hidden states of some layers averaged over real tokens (B, layers, width).

    Layer 0 is the embedding, layer L the last. Windows of one row are averaged.
    """
    return pooled(run(model, batch, states=bool(layers)), batch, layers=layers)


def run(model: nn.Module, batch: Batch, *, states: bool) -> Any:
    """What `transformers` answers to a batch, with or without all hidden states."""
    return model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, output_hidden_states=states)


def hidden_states(result: Any) -> Sequence[torch.Tensor]:
    """(S, T, width) of each layer, 0 the embedding; `result` comes from `run`."""
    # An encoder-decoder keeps two lists; what it understood of the text is in the encoder's.
    found: Sequence[torch.Tensor] = result.get("hidden_states") or result["encoder_hidden_states"]
    return found


def pooled(result: Any, batch: Batch, *, layers: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Outputs and averaged hidden states of what `run` gave: see `forward`."""
    outputs = batch.pool(full(result.logits))
    if not layers:
        return outputs, outputs.new_zeros((batch.rows, 0, 0))
    mask = batch.attention_mask.unsqueeze(-1).to(outputs.dtype)
    found = hidden_states(result)
    states = [(full(found[layer]) * mask).sum(1) / mask.sum(1) for layer in layers]
    return outputs, batch.pool(torch.stack(states, dim=1))


def full(values: torch.Tensor) -> torch.Tensor:
    """What is averaged and compared is in single precision, whatever the model was computed in."""
    return values.float() if values.dtype == torch.bfloat16 else values


def _number(content: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little")


def weights_fingerprint(model: nn.Module) -> str:
    """A hash of every weight and its name: equal models, equal fingerprints."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(json.dumps([name, list(value.shape), str(value.dtype)]).encode())
        digest.update(value.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:32]


def quiet() -> None:
    """Keep `transformers` from printing bars and load reports between our own progress."""
    import transformers

    log: Any = transformers.utils.logging
    log.set_verbosity_error()
    log.disable_progress_bar()
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
