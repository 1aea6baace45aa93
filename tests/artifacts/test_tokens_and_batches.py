from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import tiny_models
from tutelage.artifacts.batch import by_length, collate, plan
from tutelage.artifacts.tokens import Tokens, join, tokenize
from tutelage.encoding import Reading


def ragged(rows: list[list[list[int]]]) -> Tokens:
    sequences = [sequence for row in rows for sequence in row]
    return Tokens(
        np.array([token for sequence in sequences for token in sequence], dtype=np.int32),
        np.concatenate([[0], np.cumsum([len(sequence) for sequence in sequences])]).astype(np.int64),
        np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64),
        pad=99,
    )


ROWS = st.lists(st.lists(st.lists(st.integers(1, 50), min_size=1, max_size=9), min_size=1, max_size=3), min_size=1)


@given(ROWS, st.randoms())
def test_a_batch_holds_its_rows_and_padding_is_masked(rows: list[list[list[int]]], random: np.random.Generator) -> None:
    chosen = np.array([random.randrange(len(rows)) for _ in range(5)])
    batch = collate(ragged(rows), chosen)
    found = [
        [int(i) for i, m in zip(ids, mask, strict=True) if m]
        for ids, mask in zip(batch.input_ids, batch.attention_mask, strict=True)
    ]
    assert found == [sequence for row in chosen for sequence in rows[row]]
    assert set(batch.input_ids[batch.attention_mask == 0].tolist()) <= {99}
    assert batch.input_ids.shape[1] == max(map(len, found))


@given(ROWS)
def test_pooling_averages_the_windows_of_each_row(rows: list[list[list[int]]]) -> None:
    batch = collate(ragged(rows), np.arange(len(rows)))
    values = torch.arange(len(batch.input_ids), dtype=torch.float32).unsqueeze(1)
    pooled = batch.pool(values).squeeze(1).tolist()
    expected, begin = [], 0
    for row in rows:
        expected.append(sum(range(begin, begin + len(row))) / len(row))
        begin += len(row)
    assert pooled == pytest.approx(expected)


@given(st.lists(st.integers(1, 60), min_size=1, max_size=300), st.integers(1, 40), st.integers(0, 5))
def test_an_epoch_has_every_row_once_and_is_a_function_of_its_number(lengths: list[int], size: int, epoch: int) -> None:
    given_lengths = np.array(lengths)
    batches = plan(given_lengths, batch_size=size, seed=3, epoch=epoch)
    assert Counter(np.concatenate(batches).tolist()) == Counter(range(len(lengths)))
    again = plan(given_lengths, batch_size=size, seed=3, epoch=epoch)
    assert all(np.array_equal(one, other) for one, other in zip(batches, again, strict=True))
    assert len(batches) == len(plan(given_lengths, batch_size=size, seed=3, epoch=epoch + 1))


def test_epochs_differ_and_padding_nearly_vanishes() -> None:
    lengths = np.random.default_rng(0).integers(5, 60, 4000)
    one, other = (plan(lengths, batch_size=32, seed=0, epoch=epoch) for epoch in (0, 1))
    assert not np.array_equal(np.concatenate(one), np.concatenate(other))
    padded = sum(len(rows) * lengths[rows].max() for rows in one)
    assert padded < 1.06 * lengths.sum()


@given(st.lists(st.integers(1, 60), min_size=1, max_size=200), st.integers(1, 500))
def test_inference_batches_stay_within_their_budget(lengths: list[int], budget: int) -> None:
    given_lengths = np.array(lengths)
    batches = by_length(given_lengths, tokens=budget)
    assert Counter(np.concatenate(batches).tolist()) == Counter(range(len(lengths)))
    assert all(len(rows) == 1 or len(rows) * given_lengths[rows].max() <= budget for rows in batches)


def test_joined_rows_come_one_after_the_other() -> None:
    one, other = ragged([[[1], [2, 3]], [[4]]]), ragged([[[5, 6]], [[7], [8]]])
    both = join(one, other)
    found = [[s.tolist() for s in both.sequences(row)] for row in range(len(both))]
    assert found == [[[1], [2, 3]], [[4]], [[5, 6]], [[7], [8]]]
    assert both.lengths.tolist() == [3, 1, 2, 2]


def test_tokenising_in_blocks_is_tokenising_at_once() -> None:
    tokenizer = tiny_models.word_piece()
    texts = [row["text"] for row in tiny_models.reviews()] * 10
    tokens = tokenize(texts, tokenizer.backend_tokenizer, Reading(max_tokens=32))
    expected = tokenizer(texts, truncation=True, max_length=32)["input_ids"]
    assert [tokens.sequences(row)[0].tolist() for row in range(len(tokens))] == expected
