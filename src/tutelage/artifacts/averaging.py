"""Whether the last layer of a model is one that was put there to average its tokens, as its configuration says.

`teacher/strategies/mean_layer.py` makes such a layer. Whoever counts, chooses or matches layers counts the others.
"""

from __future__ import annotations

from typing import Any

_MARK = "last_layer_averages"
"""In a model's config.json; `transformers` keeps what it does not know."""


def averages(config: Any) -> bool:
    """Whether the last of the layers that a configuration counts gives the first token the mean of all."""
    return bool(getattr(config, _MARK, False))


def mark(config: Any, there: bool) -> None:
    """Say so, or no longer; nothing is written into a configuration that never said it."""
    if there or averages(config):
        setattr(config, _MARK, there)
