"""How many tokens a model says it can read."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tutelage.artifacts.positions import most_tokens


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"model_type": "bert", "max_position_embeddings": 512, "pad_token_id": 0}, 512),
        ({"model_type": "roberta", "max_position_embeddings": 514, "pad_token_id": 1}, 512),
        ({"model_type": "xlnet", "max_position_embeddings": -1}, None),
        ({"model_type": "t5"}, None),
    ],
)
def test_a_model_reads_as_much_as_it_has_positions_for(config: dict[str, object], expected: int | None) -> None:
    assert most_tokens(SimpleNamespace(**config)) == expected
