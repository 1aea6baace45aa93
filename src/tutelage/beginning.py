"""What students begin as: the teacher's layers or embeddings, over a vocabulary of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np

from tutelage.artifacts.coded import Codes
from tutelage.artifacts.corpus import Corpus, Split
from tutelage.artifacts.network import Network
from tutelage.artifacts.no_layers import NoLayers
from tutelage.compress import codes, vocabulary
from tutelage.progress import Progress
from tutelage.recipe import Recipe
from tutelage.student import build, initialise
from tutelage.student.build import NOTHING, Shape


class Beginning:
    """Students before they have learned anything; the control begins as the very same."""

    def __init__(
        self, recipe: Recipe, teacher: Network, corpus: Corpus, splits: Sequence[Split], progress: Progress
    ) -> None:
        """`splits` are what students read, the training texts first."""
        self._settings, self._seed = recipe.student, recipe.seed
        self._teacher, self._corpus, self._splits, self._progress = teacher, corpus, splits, progress
        self._full = build.shape_of(teacher.model.config)
        self._coded: dict[tuple[int, int], Codes | None] = {}

    @cached_property
    def _words(self) -> vocabulary.Vocabulary:
        """The vocabulary of every student."""
        return vocabulary.of_corpus(self._teacher, self._corpus, self._settings, more=self._splits[1:])

    def student(self, shape: Shape, seed: int | None = None) -> Network:
        """Of some shape, with embeddings that learn or stay. What is random comes from `seed`; None: the recipe's."""
        words, seed = self._words, self._seed if seed is None else seed
        if shape == NOTHING:
            model = NoLayers(len(words.kept), self._teacher.task.width)
            return replace(self._teacher, model=model, tokenizer=words.tokenizer, wide=None, codes=None)
        student = initialise.create(self._teacher, shape, tokenizer=words.tokenizer, kept=words.kept, seed=seed)
        frozen = build.frozen_embeddings(self._settings, shape, self._full)
        student.model.get_input_embeddings().weight.requires_grad_(not frozen)
        return initialise.code_embeddings(student, self._codes(student, seed)) if self.coded(shape) else student

    def coded(self, shape: Shape) -> bool:
        """Whether a student's embeddings are put together from pieces: asked for, or too large for the limit.

        Never those that learn, as the narrow ones of a search do: pieces stay as they are.
        """
        settings = self._settings
        if shape == NOTHING or not build.frozen_embeddings(settings, shape, self._full):
            return False
        if settings.embeddings != "auto" or settings.max_mb is None:
            return settings.embeddings == "coded"
        return shape.inner + shape.width * len(self._words.kept) > 1e6 * settings.max_mb

    def least_bytes(self, shape: Shape) -> int:
        """About what a student's weights alone take in eight bits."""
        count = len(self._words.kept)
        return shape.inner + (codes.least_bytes(count, shape.width) if self.coded(shape) else count * shape.width)

    def _codes(self, student: Network, seed: int) -> Codes | None:
        """Students of one width have the same table before they learn, and it stays."""
        width = int(student.model.config.hidden_size)
        # The teacher's own rows are the same from every seed, projected ones are scaled like a random start.
        known = (width, self._seed if width == self._full.width else seed)
        if known not in self._coded:
            table = student.model.get_input_embeddings().weight
            counts = np.zeros(len(table), dtype=np.int64)
            for split in self._splits:
                counts += np.bincount(student.tokenize(split.texts()).flat, minlength=len(table))
            self._coded[known] = codes.of(table, counts, seed=self._seed, progress=self._progress)
        return self._coded[known]
