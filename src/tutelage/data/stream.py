"""Texts for a pre-training, one after the other: read, cleaned, and told apart by their content into those that are
trained on and those that are held out. Nothing is kept in memory, so a source may be larger than it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from tutelage.artifacts.corpus import content_key
from tutelage.data.clean import clean_text
from tutelage.data.read import Columns, Row, read
from tutelage.data.sources.table import Problem
from tutelage.errors import DataError
from tutelage.pretrain_recipe import TextRecipe, TextSource
from tutelage.progress import Progress
from tutelage.separated import LONGEST_CELL

_STEP = 1000  # texts between two signs of life


class Text(NamedTuple):
    """One text."""

    text: str
    place: float
    """In 0..1, by the content alone: equal texts have equal places, all others are spread evenly."""
    heldout: bool
    """Never trained on."""


@dataclass(frozen=True)
class Stream:
    """One source, to be gone through as often as needed."""

    source: TextSource
    recipe: TextRecipe
    number: int
    """Its place in the recipe."""

    def __iter__(self) -> Iterator[Text]:
        """Every usable text. Raises `DataError`, at the end, when too many were not."""
        recipe, rows, bad = self.recipe, 0, 0
        first: tuple[Row, Problem] | None = None
        for row in self.rows():
            rows += 1
            found = row.problem or clean_text(row.text, normalise=recipe.normalise, max_characters=LONGEST_CELL)
            if isinstance(found, str):
                place = int.from_bytes(content_key(found)[:8]) / 2**64
                yield Text(found, place, place < recipe.heldout_share)
            elif found.kind != "empty text":
                bad, first = bad + 1, first or (row, found)
        if first is not None and bad > recipe.max_bad_rows * rows:
            row, problem = first
            raise DataError(
                f"{row.source}: {bad:,} of {rows:,} texts cannot be used; the first is row {row.number:,}: {problem}",
                expected=f"at most a share of {recipe.max_bad_rows:g} (`data.max_bad_rows`)",
                cure="correct the source, or allow more",
            )

    def rows(self) -> Iterator[Row]:
        """As they are read. The first one shows whether the source can be read at all."""
        return read(
            [self.source.source],
            Columns(self.source.column),
            role="text",
            encoding=self.recipe.encoding,
            tolerance=self.recipe.max_bad_rows,
            keys=Columns(f"data.text.{self.number}.column"),
        )


@dataclass(frozen=True)
class Survey:
    """What there is, known before anything is trained."""

    texts: int
    heldout: int
    characters: Counter[str] = field(default_factory=Counter)
    """How often each occurs in texts that are trained on."""


def streams(recipe: TextRecipe, progress: Progress) -> list[Stream]:
    """Every source of a recipe, its encoding checked. Raises `DataError` for one that cannot be read."""
    found = [Stream(source, recipe, number) for number, source in enumerate(recipe.text)]
    with progress.bar("Opening the texts", len(found)) as bar:
        for stream in found:
            next(stream.rows(), None)
            bar.advance()
    return found


def survey(given: Sequence[Stream], progress: Progress) -> Survey:
    """Go through every source once. Raises `DataError` when there is nothing to train on or nothing held out."""
    texts, heldout = 0, 0
    characters: Counter[str] = Counter()
    with progress.bar("Looking through the texts", 0) as bar:
        for stream in given:
            for text in stream:
                texts, heldout = texts + 1, heldout + text.heldout
                if not text.heldout:
                    characters.update(text.text)
                if texts % _STEP == 0:
                    bar.advance(_STEP, f"{texts:,} texts")
    if not texts - heldout or not heldout:
        share = given[0].recipe.heldout_share
        raise DataError(
            f"of {texts:,} texts, {heldout:,} are held out and {texts - heldout:,} are left to train on",
            expected="some of both",
            cure=f"give more texts, or change `data.heldout_share` (it is {share:g})",
        )
    return Survey(texts, heldout, characters)
