"""Weights that the library `peft` adds beside frozen matrices, and folds into them at the end."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from tutelage.teacher.strategies import anatomy

# What `peft` itself does not name: the query and value, or key, value and second feed-forward matrix.
_LORA_MORE = {
    "camembert": ["query", "value"],
    "distilbert": ["q_lin", "v_lin"],
    "modernbert": ["attn.Wqkv"],
    "mpnet": ["attn.q", "attn.v"],
}
_LIKE_BERT = ("camembert", "electra", "xlm-roberta")
_IA3_MORE = {
    **{name: ["key", "value", "output.dense"] for name in _LIKE_BERT},
    "distilbert": ["k_lin", "v_lin", "ffn.lin2"],
}
_IA3_FEED_FORWARD_MORE = {**{name: ["output.dense"] for name in _LIKE_BERT}, "distilbert": ["ffn.lin2"]}


def lora_targets(model: Any) -> list[str]:
    """Full names of the matrices that LoRA and its kin stand beside: those `peft` chooses, inside layers only."""
    from peft.utils import constants

    return _inside(model, {**_LORA_MORE, **constants.TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING})


def ia3_targets(model: Any) -> tuple[list[str], list[str]]:
    """Full names of the matrices that (IA)^3 scales, and which of them are feed-forward."""
    from peft.utils import constants

    return (
        _inside(model, {**_IA3_MORE, **constants.TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING}),
        _inside(model, {**_IA3_FEED_FORWARD_MORE, **constants.TRANSFORMERS_MODELS_TO_IA3_FEEDFORWARD_MODULES_MAPPING}),
    )


def lora_obstacle(model: Any) -> str:
    """The obstacle of LoRA and its kin."""
    return anatomy.missing_layers(model) or ("" if lora_targets(model) else "its attention matrices are not known")


def ia3_obstacle(model: Any) -> str:
    """The obstacle of (IA)^3."""
    return anatomy.missing_layers(model) or ("" if ia3_targets(model)[0] else "its attention matrices are not known")


def add(model: Any, config: Any, *, seed: int) -> Any:
    """Add a tuner's weights to a model, in place; they and the head learn. Returns the tuner of `peft`.

    What is added depends on the seed alone, so that a training that goes on starts from the same.
    """
    from peft.mapping import PEFT_TYPE_TO_TUNER_MAPPING

    head = anatomy.found(model).above
    torch.manual_seed(seed)
    with warnings.catch_warnings():
        # That a matrix of GPT-2 is transposed is found and set right, and need not be told.
        warnings.filterwarnings("ignore", message="fan_in_fan_out is set to")
        tuner = PEFT_TYPE_TO_TUNER_MAPPING[config.peft_type](model, config, "default")
    for name, parameter in model.named_parameters():
        if name in head:
            parameter.requires_grad_(True)
    return tuner


def _inside(model: Any, table: Mapping[str, Sequence[str] | str]) -> list[str]:
    endings = table.get(model.config.model_type, ())
    found = anatomy.study(model)
    if found is None or isinstance(endings, str):
        return []
    return [
        name
        for name, module in model.named_modules()
        if _is_matrix(module) and found.inside(name) and any(name.endswith(f".{ending}") for ending in endings)
    ]


def _is_matrix(module: nn.Module) -> bool:
    from transformers.pytorch_utils import Conv1D

    return isinstance(module, nn.Linear | Conv1D)
