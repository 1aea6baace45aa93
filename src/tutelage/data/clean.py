"""One row at a time: mend its text, name it by its content, or say why it cannot be used."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from tutelage import text as shared
from tutelage.data.sources.table import Problem

_REPLACEMENT = "\ufffd"
# A text in which more than this share of the characters is U+FFFD was destroyed before it came here.
_DAMAGED = 0.05
_ESCAPED = (0xDC80, 0xDCFF)  # where `surrogateescape` puts bytes that could not be decoded


def clean_text(value: Any, *, normalise: bool, max_characters: int) -> str | Problem:
    """The text ready for use, or the reason why it is not usable.

    With `normalise`: broken Unicode mended by ftfy, then `tutelage.text.normalise`, as a bundle does. Meaning is
    kept: letters keep their case, quotes and full-width forms their shape.
    """
    if not isinstance(value, str):
        return Problem("empty text") if value is None else Problem("not text", type(value).__name__)
    if len(value) > max_characters:
        return Problem("too long", f"{len(value):,} characters, at most {max_characters:,}")
    problem = _unicode_problem(value)
    if problem:
        return problem
    if normalise:
        value = shared.normalise(_mend(value))
    return value if value.strip() else Problem("empty text")


def clean_label(value: Any) -> Problem | None:
    """Why a raw label cannot be used in any task, or None."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return Problem("missing label")
    if isinstance(value, float) and not math.isfinite(value):
        return Problem("unusable label", "not a finite number")
    if isinstance(value, bytes | Mapping | Sequence) and not isinstance(value, str):
        return Problem("unusable label", f"a {type(value).__name__}")
    if isinstance(value, str) and _unicode_problem(value):
        return Problem("unusable label", "not valid Unicode")
    return None


def _mend(text: str) -> str:
    # Plain ASCII has nothing to mend but control characters: a fast way for most texts.
    if text.isascii() and text.isprintable():
        return text
    import ftfy

    return str(ftfy.fix_text(text, _settings()))


@cache
def _settings() -> Any:
    import ftfy

    # Off: what goes beyond mending, for quotes, width and ligatures may carry meaning; and entities, which a bundle
    # has to mend too.
    return ftfy.TextFixerConfig(
        explain=False, unescape_html=False, uncurl_quotes=False, fix_latin_ligatures=False, fix_character_width=False
    )


def _unicode_problem(text: str) -> Problem | None:
    if text.isascii():
        return None
    try:
        text.encode()
    except UnicodeEncodeError as error:
        code = ord(text[error.start])
        low, high = _ESCAPED
        what = f"byte 0x{code - 0xDC00:02x}" if low <= code <= high else "a lone surrogate"
        return Problem("not valid Unicode", f"{what} at character {error.start + 1:,}")
    lost = text.count(_REPLACEMENT)
    if lost > _DAMAGED * len(text):
        return Problem("not valid Unicode", f"{lost:,} of {len(text):,} characters are U+FFFD")
    return None
