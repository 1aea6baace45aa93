"""Which architectures the last layer is cut short of; that it answers the same is tested where it is used."""

from __future__ import annotations

from typing import Any

import pytest
import transformers

from tutelage.artifacts.first_token import only_first_token

SMALL: dict[str, Any] = {
    "vocab_size": 50,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
}


@pytest.mark.parametrize(
    ("kind", "more", "applies"),
    [
        ("Bert", {}, True),
        ("Electra", {"embedding_size": 32}, True),
        # Layers that look like BERT's and compute something else.
        ("MobileBert", {}, False),
        ("Longformer", {"attention_window": 8}, False),
    ],
)
def test_only_layers_that_compute_as_berts_do(kind: str, more: dict[str, Any], applies: bool) -> None:
    config = getattr(transformers, f"{kind}Config")(**SMALL, **more)
    model = getattr(transformers, f"{kind}ForSequenceClassification")(config)
    with only_first_token(model) as applied:
        assert applied is applies
