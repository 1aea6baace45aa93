"""How many tokens a model can read at once."""

from __future__ import annotations

from typing import Any

FROM_PADDING = {
    *("camembert", "data2vec-text", "ibert", "longformer", "luke", "mpnet", "roberta", "roberta-prelayernorm"),
    *("xlm-roberta", "xlm-roberta-xl", "xmod"),
}
"""Kinds of models whose first position is the one after that of the padding (RoBERTa and its like)."""


def most_tokens(config: Any) -> int | None:
    """How many tokens of a text a model can read at once; None where it does not say."""
    limit = getattr(config, "max_position_embeddings", None)
    # XLNet says -1: its positions are relative.
    if not limit or limit < 0:
        return None
    # Their first position is the one after that of the padding.
    return int(limit) - ((config.pad_token_id or 0) + 1 if config.model_type in FROM_PADDING else 0)
