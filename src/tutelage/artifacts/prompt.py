"""Learned vectors that stand in every text behind its first token: prompt tuning.

    [CLS] w_1 w_2 ... [SEP]  ->  [CLS] p_1 ... p_k w_1 w_2 ... [SEP]

They are put among the embeddings (Lester et al. 2021, arXiv 2104.08691, in front of a text; here behind the token that
the head of the BERT family reads). Positions have been added by then, so that tokens keep theirs and the vectors take
none; what layers make of them is taken out again, and a text has as many states as before.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from tutelage.artifacts.in_front import in_front, mark
from tutelage.artifacts.own_weights import OwnWeights

KNOWN = ("bert", "distilbert", "electra", "roberta", "xlm-roberta", "camembert")
"""Architectures whose embeddings are one part, followed by layers that know no positions."""
_NAME = "prompt"


class Prompt(nn.Module):
    """The vectors."""

    def __init__(self, vectors: torch.Tensor) -> None:
        """(k, width of an embedding)."""
        super().__init__()
        self.vectors = nn.Parameter(vectors.clone())

    def put(self, embedded: torch.Tensor) -> torch.Tensor:
        """Embeddings (S, T, D) -> (S, k + T, D)."""
        ours = self.vectors.to(embedded.dtype).unsqueeze(0).expand(embedded.shape[0], -1, -1)
        return torch.cat([embedded[:, :1], ours, embedded[:, 1:]], dim=1)

    def seen(self, mask: torch.Tensor) -> torch.Tensor:
        """Mask (S, T) -> (S, k + T)."""
        ours = mask.new_ones((mask.shape[0], len(self.vectors)))
        return torch.cat([mask[:, :1], ours, mask[:, 1:]], dim=1)

    def taken_out(self, states: torch.Tensor) -> torch.Tensor:
        """States (S, k + T, D) -> (S, T, D); of a layer that computes the first position alone, that one is left."""
        return torch.cat([states[:, :1], states[:, 1 + len(self.vectors) :]], dim=1)


def fits(model: Any) -> bool:
    """Whether a model can have a prompt."""
    return model.config.model_type in KNOWN


def attach(model: Any, prompt: Prompt) -> None:
    """Let a model read a prompt from now on."""
    base = model.base_model
    base.embeddings.add_module(_NAME, prompt)
    base.embeddings.register_forward_hook(_put)
    base.register_forward_pre_hook(_mask, with_kwargs=True)
    base.register_forward_hook(_take_out)
    mark(model.config, len(prompt.vectors))


def of(model: Any) -> Prompt | None:
    """What was attached."""
    # A student without layers has no base.
    base = getattr(model, "base_model", None)
    found = getattr(getattr(base, "embeddings", None), _NAME, None)
    return found if isinstance(found, Prompt) else None


def without(model: Any, states: torch.Tensor) -> torch.Tensor:
    """What a part inside a model made of every position, tokens alone (S, T, D)."""
    prompt = of(model) if in_front(model.config) else None
    return states if prompt is None else prompt.taken_out(states)


# A hook finds the prompt of the model that it hangs on, which may be a copy.
def _put(embeddings: Any, _: Any, embedded: torch.Tensor) -> torch.Tensor:
    found: torch.Tensor = embeddings.prompt.put(embedded)
    return found


def _mask(base: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    mask = kwargs.get("attention_mask")
    return args, kwargs if mask is None else {**kwargs, "attention_mask": base.embeddings.prompt.seen(mask)}


def _take_out(base: Any, _: Any, result: Any) -> Any:
    prompt = base.embeddings.prompt
    result.last_hidden_state = prompt.taken_out(result.last_hidden_state)
    if result.get("hidden_states") is not None:
        result.hidden_states = tuple(prompt.taken_out(states) for states in result.hidden_states)
    return result


def _rebuild(model: Any, weights: Mapping[str, torch.Tensor], said: Mapping[str, str]) -> None:
    attach(model, Prompt(weights[said["name"]]))


def _told(model: Any) -> dict[str, str] | None:
    return None if of(model) is None else {"name": f"{model.base_model_prefix}.embeddings.{_NAME}.vectors"}


WEIGHTS = OwnWeights("prompt.safetensors", "a teacher with a prompt", _told, _rebuild)
