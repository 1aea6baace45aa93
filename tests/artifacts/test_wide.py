"""The wide part: the module says what its sparse features say, whatever the batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from tutelage.artifacts.batch import collate
from tutelage.artifacts.tokens import Tokens
from tutelage.artifacts.wide import FILE, Wide, features

VOCABULARY, BUCKETS, OUTPUTS = 50, 64, 3


def tokens_of(rows: list[list[list[int]]]) -> Tokens:
    """Rows of sequences of ids."""
    flat = [ids for sequences in rows for ids in sequences]
    return Tokens(
        np.array([i for ids in flat for i in ids], dtype=np.int32),
        np.cumsum([0, *map(len, flat)]),
        np.cumsum([0, *map(len, rows)]),
    )


def random_rows(seed: int, windows: int = 1) -> Tokens:
    random = np.random.default_rng(seed)
    lengths = random.integers(1, 12, (9, windows))
    return tokens_of([[random.integers(0, VOCABULARY, n).tolist() for n in row] for row in lengths])


def a_wide(scale: float = 1.0) -> Wide:
    torch.manual_seed(0)
    table = torch.randn(VOCABULARY + BUCKETS, OUTPUTS)
    return Wide(table, torch.randn(OUTPUTS), scale=scale, deep=0.6, buckets=BUCKETS)


def scores(wide: Wide, tokens: Tokens, rows: list[int]) -> np.ndarray:
    batch = collate(tokens, np.array(rows))
    return batch.pool(wide(batch.input_ids, batch.attention_mask)).numpy()


def test_the_table_is_a_linear_model_of_the_features() -> None:
    wide = a_wide(scale=3.0)
    for windows in (1, 3):
        tokens = random_rows(1, windows)
        rows = features(tokens, vocabulary=VOCABULARY, buckets=BUCKETS)
        expected = 3 * (rows @ wide.table.double().numpy()) + wide.bias.numpy()
        np.testing.assert_allclose(scores(wide, tokens, [*range(9)]), expected, atol=1e-5)


def test_company_and_padding_change_nothing() -> None:
    wide, tokens = a_wide(), random_rows(2)
    together = scores(wide, tokens, [*range(9)])
    for row in range(9):
        np.testing.assert_allclose(scores(wide, tokens, [row]), together[[row]], atol=1e-6)


def test_order_matters_to_pairs_and_pairs_end_with_their_sequence() -> None:
    def columns(*sequences: list[int]) -> set[int]:
        return set(features(tokens_of([[*sequences]]), vocabulary=VOCABULARY, buckets=2**17).indices)

    assert columns([4, 5, 6]) != columns([6, 5, 4])
    assert columns([4, 5], [6, 7]) < columns([4, 5, 6, 7])


def test_it_is_saved_beside_a_model_and_loaded_again(tmp_path: Path) -> None:
    assert Wide.load(tmp_path) is None
    wide = a_wide(scale=1e7)
    wide.save(tmp_path)
    again = Wide.load(tmp_path)
    assert again is not None
    assert (again.buckets, again.vocabulary) == (BUCKETS, VOCABULARY)
    assert {name: value.tolist() for name, value in again.state_dict().items()} == {
        name: value.tolist() for name, value in wide.state_dict().items()
    }
    assert (tmp_path / FILE).stat().st_size < 4 * (VOCABULARY + BUCKETS) * OUTPUTS


def test_some_rows_of_ragged_tokens_are_those_rows() -> None:
    tokens = random_rows(3, windows=2)
    some = tokens.take(np.array([7, 0, 7]))
    assert len(some) == 3
    for place, row in enumerate((7, 0, 7)):
        assert [ids.tolist() for ids in some.sequences(place)] == [ids.tolist() for ids in tokens.sequences(row)]
    assert len(tokens.take(np.array([], dtype=np.int64))) == 0
