"""The ways to change texts, by the names that recipes use."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from tutelage.augment import back_translate, delete, mask, recombine, swap, synonym
from tutelage.augment.given import Given, Luck
from tutelage.recipe_augment import WayName

Way = Callable[[Sequence[str], Sequence[Luck], Given], list[str]]
"""Texts (N) and their luck (N) -> one changed copy of each (N); a text that it cannot change comes back as it was."""

WAYS: Mapping[WayName, Way] = {
    "swap": swap.copies,
    "delete": delete.copies,
    "synonym": synonym.copies,
    "recombine": recombine.copies,
    "mask": mask.copies,
    "back-translate": back_translate.copies,
}
