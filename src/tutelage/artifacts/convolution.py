"""A convolution over embeddings: what a token's neighbours add to it before the first layer reads it.

One layer alone weighs tokens one by one: that "not" stands beside "good" it hardly sees. A small convolution makes
phrases of tokens first, as in text classifiers that are nothing else (Kim 2014, arXiv 1408.5882; distilled from a
Transformer: Chia et al. 2019, arXiv 1909.03508). With embeddings x, one matrix D_j for each place j of the kernel, and
the mean and the spread of each embedding taken out first:

    x_t  ->  x_t + U gelu(sum_j D_j norm(x_{t+j}) + b) + c

Texts have nothing before their first token and nothing behind their last. U and c are zero at first: a student begins
as it would without. What depends on one token alone, D_j norm(x), a graph computes for the whole vocabulary when it is
loaded, so that of every token only look-ups and one product with U are left.

Where layers read a text as one vector, means over its tokens are taken first: a plain one of the embeddings, and of
what is heard as many weighted ones as there are heads, with a learned vector a_h each (after structured self-attention,
Lin et al. 2017, arXiv 1703.03130):

    x  ->  mean_t x_t + U [sum_t softmax_t(a_h . g_t) g_t for every head h] + c,    g_t = gelu(sum_j ... + b)

U then is one product of a text, and layers, with one position to attend to, are feed-forward blocks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from tutelage.artifacts.own_weights import OwnWeights

_NAME = "convolution"
# Of normalised embeddings, whose numbers are about 1: the sum that gelu sees is then of that size, too.
_START = 1.0
_ASKED = 0.02
# In any precision.
_NEVER = -1e4
_SAME = 1e-4
# Tokens.
_ENDLESS = 100_000


class Convolution(nn.Module):
    """Over texts of embeddings as wide as `width`, through `inner` channels; `kernel` tokens are seen at once (odd).

    With `heads` layers read one vector of a text, with none all of its tokens.
    """

    def __init__(self, width: int, inner: int, kernel: int, *, heads: int = 0) -> None:
        super().__init__()
        self.kernel, self.heads = kernel, heads
        self.looks_up = False
        self.down = nn.Parameter(torch.empty(width, kernel * inner))
        self.bias = nn.Parameter(torch.zeros(inner))
        # Not an `nn.Linear`, among which a model's head is looked for.
        self.up = nn.Parameter(torch.zeros(max(heads, 1) * inner, width))
        self.shift = nn.Parameter(torch.zeros(width))
        nn.init.normal_(self.down, std=_START / (kernel * width) ** 0.5)
        if heads:
            # Not nothing: heads that begin alike would stay alike.
            self.asked = nn.Parameter(torch.empty(heads, inner))
            nn.init.normal_(self.asked, std=_ASKED)

    def forward(self, embedded: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Embeddings (S, T, D) and mask (S, T), padded on the right -> what is heard (S, T, inner)."""
        made = F.layer_norm(embedded, embedded.shape[-1:]) @ self.down
        parts = (made * mask.unsqueeze(-1).to(embedded.dtype)).chunk(self.kernel, dim=-1)
        return self._sum([_moved(part, place) for part, place in zip(parts, self._places, strict=True)])

    def added(self, heard: torch.Tensor) -> torch.Tensor:
        """What is heard (..., inner), by all heads side by side, -> what is added to embeddings (..., D)."""
        return heard @ self.up + self.shift

    def of_text(self, heard: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """What is heard (S, T, inner) -> its means (S, 1, heads * inner)."""
        # In this order, as in `looked_up`.
        scores = self.asked @ heard.transpose(1, 2)
        shares = scores.masked_fill(mask.unsqueeze(1) == 0, _NEVER).softmax(-1)
        return (shares @ heard).flatten(1).unsqueeze(1)

    def looked_up(self, ids: torch.Tensor, mask: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
        """What `forward` gives, from ids (S, T) and the table (V, D) of all embeddings."""
        nobody = len(table)
        known = torch.where(mask > 0, ids, nobody)
        # In this order, because a product with a weight on its right would be quantised, and these numbers with it.
        made = (self.down.T @ F.layer_norm(table, table.shape[-1:]).T).T
        tables = F.pad(made, (0, 0, 0, 1)).chunk(self.kernel, dim=-1)
        moved = [_moved(known.unsqueeze(-1), place, empty=nobody).squeeze(-1) for place in self._places]
        return self._sum([F.embedding(ids, part) for ids, part in zip(moved, tables, strict=True)])

    @property
    def _places(self) -> range:
        return range(-(self.kernel // 2), self.kernel // 2 + 1)

    def _sum(self, parts: list[torch.Tensor]) -> torch.Tensor:
        return F.gelu(sum(parts, start=self.bias))


def attach(model: Any, convolution: Convolution) -> None:
    """Let a model of `transformers` hear it from now on, in training, too."""
    model.add_module(_NAME, convolution)
    model.register_forward_pre_hook(_hear, with_kwargs=True)


def of(model: Any) -> Convolution | None:
    """What was attached."""
    found = getattr(model, _NAME, None)
    return found if isinstance(found, Convolution) else None


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
    if convolution.heads:
        embedded, heard, mask = _mean(embedded, mask), convolution.of_text(heard, mask), mask[:, :1]
    return args, {**kwargs, "inputs_embeds": embedded + convolution.added(heard), "attention_mask": mask}


def _mean(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """(S, T, D) -> (S, 1, D): over what is no padding."""
    shares = mask.to(values.dtype) / mask.sum(1, keepdim=True)
    return shares.unsqueeze(1) @ values


def _moved(values: torch.Tensor, places: int, *, empty: float = 0.0) -> torch.Tensor:
    """(S, T, D): at each place what stands `places` after it (before, if negative), `empty` where nothing does."""
    if places < 0:
        return F.pad(values, (0, 0, -places, 0), value=empty)[:, :places]
    return F.pad(values, (0, 0, 0, places), value=empty)[:, places:]


def _told(model: Any) -> dict[str, str] | None:
    found = of(model)
    return None if found is None else {"kernel": str(found.kernel), "heads": str(found.heads)}


def _rebuild(model: Any, weights: Mapping[str, torch.Tensor], said: Mapping[str, str]) -> None:
    width, inner = weights[f"{_NAME}.down"].shape[0], weights[f"{_NAME}.bias"].shape[0]
    attach(model, Convolution(width, inner, int(said["kernel"]), heads=int(said.get("heads", 0))))


WEIGHTS = OwnWeights("convolution.safetensors", "a student with a convolution", _told, _rebuild)
