"""Which tokens of a tokenizer are whole words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tutelage.augment import words


def whole_words(tokenizer: Any) -> dict[int, str]:
    """Every token of a fast tokenizer that is a word of its own, and its spelling."""
    spelled = [word.strip() for word in tokenizer.batch_decode([[token] for token in range(len(tokenizer))])]
    fit = [
        token
        for token, word in enumerate(spelled)
        if words.is_letters(word) and (len(word) > 1 or words.is_unspaced(word))
    ]
    # What is no more than the end of longer words is not what a whole word is read as.
    read = tokens(tokenizer, [spelled[token] for token in fit])
    return {token: spelled[token] for token, found in zip(fit, read, strict=True) if found == token}


def tokens(tokenizer: Any, asked: Sequence[str]) -> list[int]:
    """The token of each word as it stands inside a text, -1 where it is none or several.

    That is behind a space; in a script without spaces behind another word, where no mark for a space is a part of it.
    """
    if not asked:
        return []
    inside = tokenizer([f" {word}" for word in asked], add_special_tokens=False)["input_ids"]
    found = []
    for word, ids in zip(asked, inside, strict=True):
        bare = tokenizer.convert_tokens_to_ids(word) if words.is_unspaced(word) else None
        # Else it is spelled in bytes, perhaps.
        own = ids if bare in {None, tokenizer.unk_token_id} else [bare]
        found.append(own[0] if len(own) == 1 and own[0] != tokenizer.unk_token_id else -1)
    return found
