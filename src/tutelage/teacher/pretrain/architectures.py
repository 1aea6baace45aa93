"""Untrained models of the type that has the positions asked for; the architectures are those of `transformers`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from tutelage.artifacts.network import quiet
from tutelage.pretrain_recipe import PretrainRecipe


@dataclass(frozen=True)
class Wanted:
    """What all types need to know."""

    layers: int
    width: int
    heads: int
    feed_forward: int
    length: int
    """Positions: no more than are trained."""
    tokenizer: Any

    @property
    def ids(self) -> dict[str, int | None]:
        """Special tokens as most configurations name them."""
        tokenizer = self.tokenizer
        return {
            "vocab_size": len(tokenizer),
            "pad_token_id": tokenizer.pad_token_id,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
        }


def build(recipe: PretrainRecipe, tokenizer: Any, auto_model: str) -> Any:
    """A model with weights of chance, a function of the recipe's seed."""
    import transformers

    quiet()
    shape = recipe.model
    wanted = Wanted(
        shape.layers,
        shape.width,
        shape.heads,
        shape.feed_forward or 4 * shape.width,
        recipe.training.length,
        tokenizer,
    )
    torch.manual_seed(recipe.seed)
    config = _CONFIGS[recipe.objective, recipe.positions](transformers, wanted)
    model = getattr(transformers, auto_model).from_config(config, dtype=torch.float32)
    keep_sinusoids(model)
    return model


def keep_sinusoids(model: Any) -> None:
    """Freeze a table of sines and cosines: `transformers` 5 fills it in, and leaves it to be trained."""
    if getattr(model.config, "sinusoidal_pos_embds", False):
        model.base_model.embeddings.position_embeddings.requires_grad_(False)


def _bert(transformers: Any, wanted: Wanted) -> Any:
    return transformers.BertConfig(
        vocab_size=len(wanted.tokenizer),
        hidden_size=wanted.width,
        num_hidden_layers=wanted.layers,
        num_attention_heads=wanted.heads,
        intermediate_size=wanted.feed_forward,
        max_position_embeddings=wanted.length,
        pad_token_id=wanted.tokenizer.pad_token_id,
    )


def _distilbert(transformers: Any, wanted: Wanted) -> Any:
    return transformers.DistilBertConfig(
        vocab_size=len(wanted.tokenizer),
        dim=wanted.width,
        n_layers=wanted.layers,
        n_heads=wanted.heads,
        hidden_dim=wanted.feed_forward,
        max_position_embeddings=wanted.length,
        sinusoidal_pos_embds=True,
        pad_token_id=wanted.tokenizer.pad_token_id,
    )


def _modernbert(transformers: Any, wanted: Wanted) -> Any:
    tokenizer = wanted.tokenizer
    return transformers.ModernBertConfig(
        vocab_size=len(tokenizer),
        hidden_size=wanted.width,
        num_hidden_layers=wanted.layers,
        num_attention_heads=wanted.heads,
        intermediate_size=wanted.feed_forward,
        max_position_embeddings=wanted.length,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.cls_token_id,
        eos_token_id=tokenizer.sep_token_id,
        cls_token_id=tokenizer.cls_token_id,
        sep_token_id=tokenizer.sep_token_id,
    )


def _gpt2(transformers: Any, wanted: Wanted) -> Any:
    return transformers.GPT2Config(
        n_embd=wanted.width,
        n_layer=wanted.layers,
        n_head=wanted.heads,
        n_inner=wanted.feed_forward,
        n_positions=wanted.length,
        **wanted.ids,
    )


def _llama(transformers: Any, wanted: Wanted) -> Any:
    return transformers.LlamaConfig(
        hidden_size=wanted.width,
        num_hidden_layers=wanted.layers,
        num_attention_heads=wanted.heads,
        intermediate_size=wanted.feed_forward,
        max_position_embeddings=wanted.length,
        tie_word_embeddings=True,
        **wanted.ids,
    )


def _t5(transformers: Any, wanted: Wanted) -> Any:
    return transformers.T5Config(
        d_model=wanted.width,
        d_kv=wanted.width // wanted.heads,
        d_ff=wanted.feed_forward,
        num_layers=wanted.layers,
        num_heads=wanted.heads,
        # Decoding begins with the padding token, as T5 does.
        decoder_start_token_id=wanted.tokenizer.pad_token_id,
        **wanted.ids,
    )


def _bart(transformers: Any, wanted: Wanted) -> Any:
    return transformers.BartConfig(
        d_model=wanted.width,
        encoder_layers=wanted.layers,
        decoder_layers=wanted.layers,
        encoder_attention_heads=wanted.heads,
        decoder_attention_heads=wanted.heads,
        encoder_ffn_dim=wanted.feed_forward,
        decoder_ffn_dim=wanted.feed_forward,
        max_position_embeddings=wanted.length,
        forced_eos_token_id=None,
        decoder_start_token_id=wanted.tokenizer.pad_token_id,
        **wanted.ids,
    )


_CONFIGS: dict[tuple[str, str], Callable[[Any, Wanted], Any]] = {
    ("masked", "learned"): _bert,
    ("masked", "sinusoidal"): _distilbert,
    ("masked", "rotary"): _modernbert,
    ("causal", "learned"): _gpt2,
    ("causal", "rotary"): _llama,
    ("span", "relative"): _t5,
    ("span", "learned"): _bart,
}
