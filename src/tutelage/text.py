"""The normalisation every text goes through, in training and in a bundle alike. Standard library only."""

from __future__ import annotations

import re
import unicodedata

_SPACE = re.compile(r"\s+")
# Control and format characters carry no meaning for a reader; the joiners shape words in many scripts and emoji.
_KEPT_FORMAT = {"\u200c", "\u200d"}


def normalise(text: str) -> str:
    """Canonical composition (NFC), any run of white space as one space, no control characters. Idempotent.

    NFC and not NFKC: a superscript or a full-width form may be what the label depends on.
    """
    if text.isascii() and text.isprintable():
        return _SPACE.sub(" ", text).strip()
    spaced = _SPACE.sub(" ", text)
    kept = "".join(c for c in spaced if c in _KEPT_FORMAT or unicodedata.category(c) not in ("Cc", "Cf"))
    return _SPACE.sub(" ", unicodedata.normalize("NFC", kept)).strip()
