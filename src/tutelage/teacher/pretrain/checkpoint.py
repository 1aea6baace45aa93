"""A model to go on from: found as a teacher is, with the head of the objective in place of its own."""

from __future__ import annotations

from typing import Any

import torch

from tutelage.artifacts.network import quiet
from tutelage.artifacts.positions import most_tokens
from tutelage.errors import ModelError
from tutelage.pretrain_recipe import TRAINS
from tutelage.teacher.load import UNREADABLE, locate, not_loaded, refuse_partial
from tutelage.teacher.pretrain.architectures import keep_sinusoids

_KEY = "model.checkpoint"
_HEADS = {"masked": "AutoModelForMaskedLM", "causal": "AutoModelForCausalLM", "span": "AutoModelForSeq2SeqLM"}


def load(name: str, objective: str, *, length: int, seed: int) -> tuple[Any, Any]:
    """(model, tokenizer) of a checkpoint: 'minilm', a local folder or a hub id. A head that is new starts from `seed`.

    Raises `ModelError` when it cannot be had, or is of another kind than the objective trains.
    """
    import transformers

    quiet()
    place, local = locate(name, key=_KEY)
    torch.manual_seed(seed)
    try:
        config = transformers.AutoConfig.from_pretrained(place, local_files_only=local)
        _refuse(name, config, objective, length)
        tokenizer = transformers.AutoTokenizer.from_pretrained(place, local_files_only=local)
        auto = getattr(transformers, _HEADS[objective])
        model, found = auto.from_pretrained(
            place, local_files_only=local, dtype=torch.float32, output_loading_info=True
        )
    except UNREADABLE as error:
        raise not_loaded(name, local, error, key=_KEY) from error
    refuse_partial(name, model, found, head="lm_head")  # of T5, whose stacks stand beside it
    if not hasattr(tokenizer, "backend_tokenizer"):
        raise ModelError(
            f"{name} has no fast tokenizer",
            expected="a tokenizer.json that the `tokenizers` library reads",
            cure="convert it with `transformers`, or choose another model",
        )
    keep_sinusoids(model)
    return model, tokenizer


def architecture_of(config: Any) -> str:
    """'encoder', 'decoder', 'encoder-decoder', or '' for anything else."""
    import transformers

    kind = type(config)
    if config.is_encoder_decoder:
        return "encoder-decoder" if kind in transformers.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING else ""
    # An encoder can also be run as a decoder, and has a head for that.
    if kind in transformers.MODEL_FOR_MASKED_LM_MAPPING:
        return "encoder"
    return "decoder" if kind in transformers.MODEL_FOR_CAUSAL_LM_MAPPING else ""


def _refuse(name: str, config: Any, objective: str, length: int) -> None:
    found = architecture_of(config)
    if found != TRAINS[objective]:
        fitting = next((goal for goal, kind in TRAINS.items() if kind == found), "")
        raise ModelError(
            f"{name} is of the kind {found or 'unknown'} ({config.model_type}), and `objective: {objective}` trains "
            f"the kind {TRAINS[objective]}",
            expected=f"a model of the kind {TRAINS[objective]}",
            cure=f"set `objective: {fitting}`" if fitting else "choose another `model.checkpoint`",
        )
    limit = most_tokens(config) or length
    if length > limit:
        raise ModelError(
            f"`training.length` is {length}, but {name} reads at most {limit}",
            expected=f"at most {limit}",
            cure="lower `training.length`",
        )
