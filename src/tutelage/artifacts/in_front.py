"""Whether a model reads learned vectors in front of a text, as its configuration says.

`prefix.py` and `prompt.py` put them there. Such a model teaches, but is not taken for a student as it is.
"""

from __future__ import annotations

from typing import Any

_MARK = "vectors_in_front"
"""In a model's config.json; `transformers` keeps what it does not know."""


def in_front(config: Any) -> int:
    """How many vectors a model reads in front of every text."""
    return int(getattr(config, _MARK, 0))


def mark(config: Any, count: int) -> None:
    """Say how many there are; with none, nothing is left in the configuration."""
    if count:
        setattr(config, _MARK, count)
    elif hasattr(config, _MARK):
        delattr(config, _MARK)
