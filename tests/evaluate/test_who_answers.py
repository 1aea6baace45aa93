"""How often each level of a cascade answers, and what a text takes: of all texts, however they are sorted."""

from __future__ import annotations

import numpy as np

from tutelage.evaluate import levels


class Cascade:
    """The first level answers the texts that begin with `a`; says which texts it was timed on."""

    def __init__(self) -> None:
        self.timed: list[str] = []

    def levels(self, texts: list[str]) -> np.ndarray:
        """0 or 1 for each text."""
        return np.array([int(not text.startswith("a")) for text in texts])

    def predict(self, texts: list[str]) -> list[str]:
        """Nothing of interest."""
        self.timed += texts
        return texts


def test_the_mean_is_that_of_both_ends_of_a_sorted_file() -> None:
    cascade, texts = Cascade(), [f"a{row}" for row in range(400)] + [f"b{row}" for row in range(400)]
    found = levels.measure(cascade, texts, levels=2)
    assert found is not None
    assert found.shares == (0.5, 0.5)
    assert found.worst is not None
    # The first one warms up; after a hundred come those that go through every level.
    mean = cascade.timed[1:101]
    assert 45 <= sum(text.startswith("a") for text in mean) <= 55
    assert all(text.startswith("b") for text in cascade.timed[101:])
    few = levels.measure(Cascade(), ["a1", "b1", "a2"], levels=2)
    assert few is not None
    assert few.shares == (2 / 3, 1 / 3)
