"""Properties of splits: shares, classes, groups, and independence from order."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tutelage.data.split import grouped, ids_of, stratified, unique

SHARES = {"test": 0.2, "validation": 0.1}
strata_lists = st.lists(st.integers(0, 4), min_size=30, max_size=200)


def units(count):
    return [f"text {index}".encode() for index in range(count)]


@settings(deadline=None, max_examples=60)
@given(strata_lists, st.integers(0, 3))
def test_every_class_of_three_rows_is_in_every_split(strata, seed):
    strata = np.array(strata)
    split = stratified(units(len(strata)), strata, shares=SHARES, seed=seed)
    for kind in np.unique(strata):
        rows = strata == kind
        expected = {"train", "test", "validation"} if rows.sum() >= 3 else {"train"}
        assert set(split[rows]) == expected


@settings(deadline=None, max_examples=60)
@given(strata_lists, st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(strata, random):
    strata = np.array(strata)
    order = list(range(len(strata)))
    random.shuffle(order)
    names = units(len(strata))
    split = stratified(names, strata, shares=SHARES, seed=1)
    shuffled = stratified([names[index] for index in order], strata[order], shares=SHARES, seed=1)
    assert (shuffled == split[order]).all()


def test_shares_hold_in_every_class_and_the_seed_matters():
    strata = np.repeat([0, 1, 2], [1000, 300, 50])
    split = stratified(units(1350), strata, shares=SHARES, seed=0)
    for kind, count in ((0, 1000), (1, 300), (2, 50)):
        assert abs((split[strata == kind] == "test").sum() - 0.2 * count) <= 1
        assert abs((split[strata == kind] == "validation").sum() - 0.1 * count) <= 1
    assert (split != stratified(units(1350), strata, shares=SHARES, seed=1)).any()


def test_a_few_rows_more_move_hardly_any_other():
    strata = np.zeros(1010, dtype=np.int64)
    before = stratified(units(1000), strata[:1000], shares=SHARES, seed=0)
    after = stratified(units(1010), strata, shares=SHARES, seed=0)[:1000]
    assert (before != after).sum() <= 10


def test_equal_texts_stay_together():
    names = [f"text {index % 40}".encode() for index in range(200)]
    split = stratified(names, np.arange(200) % 2, shares=SHARES, seed=0)
    for name in set(names):
        assert len({split[index] for index in range(200) if names[index] == name}) == 1


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 2)), min_size=120, max_size=300), st.integers(0, 3))
def test_groups_never_straddle(rows, seed):
    groups = [str(group).encode() for group, _ in rows]
    split = grouped(groups, np.array([kind for _, kind in rows]), shares=SHARES, seed=seed)
    for group in set(groups):
        assert len({split[index] for index in range(len(rows)) if groups[index] == group}) == 1


def test_groups_keep_the_shares_where_they_can():
    random = np.random.default_rng(0)
    groups = [str(value).encode() for value in random.integers(0, 300, 6000)]
    strata = random.integers(0, 3, 6000)
    split = grouped(groups, strata, shares=SHARES, seed=0)
    for kind in range(3):
        assert (split[strata == kind] == "test").mean() == pytest.approx(0.2, abs=0.02)
        assert (split[strata == kind] == "validation").mean() == pytest.approx(0.1, abs=0.02)


def test_a_large_group_goes_where_there_is_room_for_it():
    groups = [b"prolific"] * 400 + [str(value // 4).encode() for value in range(600)]
    split = grouped(groups, np.arange(1000) % 2, shares=SHARES, seed=0)
    assert set(split[:400]) == {"train"}
    assert (split == "test").sum() == pytest.approx(200, abs=4)
    assert (split == "validation").sum() == pytest.approx(100, abs=4)


@pytest.mark.parametrize("count", [3, 4, 5, 8])
def test_few_groups_leave_no_split_empty(count):
    groups = [str(group).encode() for group in range(count) for _ in range(25)]
    split = grouped(groups, np.arange(len(groups)) % 2, shares=SHARES, seed=0)
    assert set(split) == {"train", "test", "validation"}


def test_the_majority_of_conflicting_labels_is_kept():
    found = unique(np.array([5, 5, 5, 7, 8, 8]), np.array([0.0, 1.0, 1.0, 2.0, 3.0, 4.0]))
    assert found.keep.tolist() == [False, True, False, True, True, False]
    assert (found.duplicates, found.conflicts) == (3, 2)


@settings(deadline=None)
@given(st.lists(st.lists(st.binary(min_size=16, max_size=16), max_size=20), min_size=1, max_size=4))
def test_ids_are_equal_exactly_where_keys_are(lists):
    arrays = [np.frombuffer(b"".join(keys), dtype="V16") for keys in lists]
    flat = [key for keys in lists for key in keys]
    ids = np.concatenate(ids_of(arrays)).tolist()
    assert len(set(zip(flat, ids, strict=True))) == len(set(flat)) == len(set(ids))
