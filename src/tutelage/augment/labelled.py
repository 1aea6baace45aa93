"""Copies that keep the label of their text: what a teacher learns from.

Words that change places or go (EDA, Wei and Zou 2019, arXiv 1901.11196), give way to neighbours, or come back from a
translation (Sennrich et al. 2016, arXiv 1511.06709) mostly leave the label as it is. Halves of two texts have it where
both do ("instance crossover", Luque 2019, arXiv 1909.11241), so only those of one class go together.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from tutelage.artifacts.corpus import SCHEMA, Split, join
from tutelage.artifacts.mixture import Mixture


def behind(train: Split, copies: Split) -> Split:
    """The training rows (N) and copies (M) of them, each with the label of its text.

    Where rows are drawn unevenly, copies stand behind the data set of their text and are drawn as often as it.
    """
    rows = copies.table["row"].to_numpy() - 1
    place = SCHEMA.get_field_index("target")
    table = copies.table.set_column(place, SCHEMA.field("target"), pa.array(train.targets[rows]))
    both = join("train", [train, Split("copies", table)])
    if train.mixture is None:
        return both
    old = train.mixture
    owner = np.repeat(np.arange(len(old.rows)), old.rows)
    order = np.argsort(np.concatenate([owner, owner[rows]]), kind="stable")
    more = np.bincount(owner[rows], minlength=len(old.rows))
    counts = [count + int(extra) for count, extra in zip(old.rows, more, strict=True)]
    drawn = [max(1, round(mine * now / before)) for mine, now, before in zip(old.drawn, counts, old.rows, strict=True)]
    return Split("train", both.take(order).table, Mixture(tuple(counts), tuple(drawn), old.seed))
