"""A convolution over embeddings: what a token's neighbours add to it before the first layer reads it.

One layer alone weighs tokens one by one: that "not" stands beside "good" it hardly sees. A small convolution makes
phrases of tokens first, as in text classifiers that are nothing else (Kim 2014, arXiv 1408.5882; distilled from a
Transformer: Chia et al. 2019, arXiv 1909.03508). With embeddings x, one matrix D_j for each place j of the kernel, and
the mean and the spread of each embedding taken out first:

    x_t  ->  x_t + U gelu(sum_j D_j norm(x_{t+j}) + b) + c

Texts have nothing before their first token and nothing behind their last. U is zero at first: a student begins as it
would without. What depends on one token alone, D_j norm(x), a graph computes for the whole vocabulary when it is
loaded, so that of every token only look-ups and one product with U are left.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

FILE = "convolution.safetensors"
_NAME = "convolution"
# Of normalised embeddings, whose numbers are about 1: the sum that gelu sees is then of that size, too.
_START = 1.0
_SAME = 1e-4
# Tokens.
_ENDLESS = 100_000


class Convolution(nn.Module):
    """Over texts of embeddings as wide as `width`, through `inner` channels; `kernel` tokens are seen at once (odd)."""

    def __init__(self, width: int, inner: int, kernel: int) -> None:
        super().__init__()
        self.kernel, self.inner = kernel, inner
        self.looks_up = False
        self.down = nn.Parameter(torch.empty(width, kernel * inner))
        self.bias = nn.Parameter(torch.zeros(inner))
        self.up = nn.Linear(inner, width)
        nn.init.normal_(self.down, std=_START / (kernel * width) ** 0.5)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    @property
    def reach(self) -> int:
        """How many tokens are seen on each side."""
        return self.kernel // 2

    def forward(self, embedded: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Embeddings (S, T, D) and mask (S, T), padded on the right -> what is added to them (S, T, D)."""
        parts = (self._down(embedded) * mask.unsqueeze(-1).to(embedded.dtype)).chunk(self.kernel, dim=-1)
        return self._up([_moved(part, place) for part, place in zip(parts, self._places, strict=True)])

    def looked_up(self, ids: torch.Tensor, mask: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
        """The same from ids (S, T) and the table (V, D) of all embeddings."""
        nobody = len(table)
        known = torch.where(mask > 0, ids, nobody)
        tables = F.pad(self._down(table), (0, 0, 0, 1)).chunk(self.kernel, dim=-1)
        moved = [_moved(known.unsqueeze(-1), place, empty=nobody).squeeze(-1) for place in self._places]
        return self._up([F.embedding(ids, part) for ids, part in zip(moved, tables, strict=True)])

    @property
    def _places(self) -> range:
        return range(-self.reach, self.reach + 1)

    def _down(self, embedded: torch.Tensor) -> torch.Tensor:
        return F.layer_norm(embedded, embedded.shape[-1:]) @ self.down

    def _up(self, parts: list[torch.Tensor]) -> torch.Tensor:
        result: torch.Tensor = self.up(F.gelu(sum(parts, start=self.bias)))
        return result

    def save(self, folder: Path) -> None:
        """Write `convolution.safetensors` into a folder."""
        from safetensors.torch import save_file

        save_file(dict(self.state_dict()), folder / FILE, metadata={"kernel": str(self.kernel)})

    @classmethod
    def load(cls, folder: Path) -> Convolution | None:
        """What `save` wrote, or None where a folder has no convolution."""
        from safetensors import safe_open

        if not (folder / FILE).is_file():
            return None
        with safe_open(folder / FILE, framework="pt") as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
            kernel = int(file.metadata()["kernel"])
        found = cls(len(weights["down"]), len(weights["bias"]), kernel)
        found.load_state_dict(weights)
        return found


def attach(model: Any, convolution: Convolution | None) -> None:
    """Let a model of `transformers` hear it from now on, in training, too; None changes nothing."""
    if convolution is not None:
        model.add_module(_NAME, convolution)
        model.register_forward_pre_hook(_hear, with_kwargs=True)


def of(model: Any) -> Convolution | None:
    """What was attached."""
    found = getattr(model, _NAME, None)
    return found if isinstance(found, Convolution) else None


def without(model: Any) -> dict[str, torch.Tensor]:
    """The weights of a model but for its convolution."""
    return {name: value for name, value in model.state_dict().items() if not name.startswith(f"{_NAME}.")}


def fits(model: Any) -> bool:
    """Whether a model answers embeddings as it answers ids: decoders look for the padding among the ids."""
    table, pad = model.get_input_embeddings(), model.config.pad_token_id
    ids = torch.tensor([token for token in range(len(table.weight)) if token != pad][:6]).view(2, 3)
    ids[1, 2] = pad or 0
    mask = torch.tensor([[1, 1, 1], [1, 1, 0]])
    model.eval()
    try:
        with torch.inference_mode():
            expected = model(input_ids=ids, attention_mask=mask).logits
            found = model(inputs_embeds=table(ids), attention_mask=mask).logits
    except (TypeError, ValueError):
        return False
    return torch.allclose(found, expected, rtol=0, atol=_SAME)


@contextmanager
def looked_up(model: Any) -> Iterator[None]:
    """Within the context a convolution is looked up token by token, as a graph is to do it; the answers are the same.

    Not in endless vocabularies: the table would take more memory than it saves time.
    """
    convolution = of(model)
    if convolution is None:
        yield
        return
    convolution.looks_up = int(model.config.vocab_size) <= _ENDLESS
    try:
        yield
    finally:
        convolution.looks_up = False


def _hear(model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Put embeddings that have heard their neighbours in place of ids."""
    ids, convolution = kwargs.pop("input_ids"), of(model)
    assert convolution is not None
    table = model.get_input_embeddings()
    embedded, mask = table(ids), kwargs["attention_mask"]
    if convolution.looks_up:
        whole = table.table() if hasattr(table, "table") else table.weight
        heard = convolution.looked_up(ids, mask, whole)
    else:
        heard = convolution(embedded, mask)
    return args, {**kwargs, "inputs_embeds": embedded + heard}


def _moved(values: torch.Tensor, places: int, *, empty: float = 0.0) -> torch.Tensor:
    """(S, T, D): at each place what stands `places` after it (before, if negative), `empty` where nothing does."""
    if places < 0:
        return F.pad(values[:, :places], (0, 0, -places, 0), value=empty)
    return F.pad(values[:, places:], (0, 0, 0, places), value=empty) if places else values
