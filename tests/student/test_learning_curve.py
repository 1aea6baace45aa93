"""Which texts a learning curve is drawn from; what it looks like is tested where it is shown."""

from __future__ import annotations

import numpy as np
import pytest

from tutelage.student import learning_curve


@pytest.mark.parametrize(
    ("sizes", "outputs", "drawn"),
    [
        ([500], 2, [500]),
        ([500, 800], 2, [500, 800]),
        # As many others as there may be do not take the room of the training texts.
        ([5000, 95_000], 2, [5000, 20_000]),
        ([30_000, 1000], 2, [20_000, 1000]),
        ([10_000, 4000, 4000], 77, [2597, 1299, 1298]),
    ],
)
def test_training_texts_and_others_each_have_room(sizes: list[int], outputs: int, drawn: list[int]) -> None:
    found = learning_curve._drawn(sizes, outputs)
    assert [len(rows) for rows in found] == pytest.approx(drawn, abs=1)
    ends = np.cumsum([0, *sizes])
    for rows, begin, end in zip(found, ends[:-1], ends[1:], strict=True):
        assert len(np.unique(rows)) == len(rows)
        assert begin <= rows.min() <= rows.max() < end


def test_a_sample_is_told() -> None:
    doubled = {"value": 0.1, "low": 0.05, "high": 0.15}
    whole = learning_curve._sentence(doubled, None, before=1.0, there=[500, 0], read=[500, 0])
    assert "evenly drawn" not in whole
    some = learning_curve._sentence(doubled, doubled, before=1.0, there=[5000, 95_000], read=[5000, 20_000])
    assert "(25,000 of 100,000 texts, evenly drawn: with all of them it would be less.)" in some
    assert "The 20,000 texts beside the training texts" in some
