"""Further labelled data sets: their labels are ours, their rows train and never judge, and nothing leaks."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tutelage import refuse
from tutelage.artifacts.batch import plan
from tutelage.artifacts.corpus import Corpus, Split
from tutelage.artifacts.tokens import Tokens
from tutelage.data.health import describe
from tutelage.data.prepare import fingerprint_sources, prepare
from tutelage.errors import DataError, RecipeError
from tutelage.progress import Silent
from tutelage.recipe import Recipe, load
from tutelage.recipe_training import TrainingRecipe
from tutelage.tasks import TASKS
from tutelage.training import supervised

STARS = {1: "b", 2: "b", 3: None, 4: "a", 5: "a"}


def texts(count: int, start: int = 0, labels: Sequence[Any] = "ab") -> list[tuple[str, Any]]:
    return [(f"text number {index}", labels[index % len(labels)]) for index in range(start, start + count)]


def write(path: Path, rows: list[tuple[str, Any]], header: tuple[str, str] = ("text", "label")) -> str:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return str(path)


def recipe(folder: Path, *more: dict[str, Any], task: str = "text-classification", **data: Any) -> Recipe:
    own = folder / "own.csv"
    if not own.exists():
        write(own, texts(100))
    given = {"train": str(own), **({"more": list(more)} if more else {}), **data}
    return load({"task": task, "data": given, "output": "runs/x"})


def make(folder: Path, *more: dict[str, Any], **data: Any) -> Corpus:
    return prepare(recipe(folder, *more, **data), folder / "corpus", Silent())


def stars(folder: Path, count: int = 50, start: int = 1000, name: str = "stars.csv") -> dict[str, Any]:
    rows = texts(count, start, [1, 2, 3, 4, 5])
    return {"source": write(folder / name, rows, ("body", "rating")), "text": "body", "label": "rating"}


def test_rows_stand_behind_our_own_under_our_labels(tmp_path: Path) -> None:
    alone = make(tmp_path)
    corpus = make(tmp_path, {**stars(tmp_path), "labels": STARS})
    rows = list(zip(corpus["train"].texts(), corpus["train"].targets.tolist(), strict=True))
    assert rows[:70] == list(zip(alone["train"].texts(), alone["train"].targets.tolist(), strict=True))
    ours = {1: 1.0, 2: 1.0, 4: 0.0, 5: 0.0}
    assert rows[70:] == [(text, ours[label]) for text, label in texts(50, 1000, [1, 2, 3, 4, 5]) if label != 3]
    for name in ("validation", "test"):
        assert corpus[name].texts() == alone[name].texts()
    assert corpus.task == alone.task
    assert set(corpus.splits) == {"train", "validation", "test"}
    assert corpus.health["roles"]["more.0"]["left_out"] == 10
    lines = describe(corpus.health)
    assert any(line.startswith("more.0: 40 rows; characters") for line in lines)
    assert "left out of 50 rows of more.0: 10 whose label is mapped to null" in lines
    assert "warning: only 110 training rows: more labelled rows will help more than any setting" in lines


def test_every_label_without_a_place_is_told_at_once(tmp_path: Path) -> None:
    holes = {**stars(tmp_path), "labels": {1: "b", 2: "b", 4: "a"}}
    unknown = {"source": write(tmp_path / "c.csv", texts(30, 2000, "abc"))}
    wrong = {**stars(tmp_path, start=3000, name="other.csv"), "labels": {**STARS, 5: "excellent"}}
    with pytest.raises(DataError) as error:
        make(tmp_path, holes, unknown, wrong)
    assert error.value.given == (
        "labels of more.0 without an entry in its `labels`: '3' (10 rows), '5' (10 rows); "
        "labels of more.1 that never occur in train: 'c' (10 rows); "
        "labels of more.2 that never occur in train: 'excellent' (10 rows)"
    )
    assert "one of ours (a, b), or null" in str(error.value)
    assert "`data.more.0.labels` and `data.more.1.labels` and `data.more.2.labels`" in error.value.cure
    assert error.value.exit_code == 2


def test_a_text_of_our_own_is_never_learned_from_elsewhere(tmp_path: Path) -> None:
    for deduplicate in (True, False):
        more = {"source": write(tmp_path / "more.csv", [*texts(100), *texts(20, 500), *texts(5, 500)])}
        second = {"source": write(tmp_path / "second.csv", [*texts(10, 510), *texts(10, 600)])}
        corpus = make(tmp_path, more, second, deduplicate=deduplicate)
        seen = [set(corpus[name].texts()) for name in ("train", "validation", "test")]
        assert sum(map(len, seen)) == len(set.union(*seen)) == 130
        assert len(corpus["train"]) == 100 + (0 if deduplicate else 5)
        assert corpus.health["roles"]["more.0"]["overlap"] == 100
        assert corpus.health["roles"]["more.1"]["overlap"] == 10


def test_unlabelled_texts_give_way_too(tmp_path: Path) -> None:
    more = {"source": write(tmp_path / "more.csv", texts(20, 500))}
    free = write(tmp_path / "free.csv", texts(30, 510))
    assert len(make(tmp_path, more, unlabelled=free)["unlabelled"]) == 20


@pytest.mark.parametrize(("labels", "words"), [({"a": None, "b": None}, "20 rows"), (None, "20 overlap")])
def test_a_set_of_which_nothing_is_left_is_refused(tmp_path: Path, labels: Any, words: str) -> None:
    start = 0 if labels is None else 500
    with pytest.raises(DataError, match=r"more.0 has no usable rows") as error:
        make(tmp_path, {"source": write(tmp_path / "more.csv", texts(20, start)), "labels": labels})
    assert labels is not None or words in error.value.given


def test_bad_rows_are_counted_for_each_set(tmp_path: Path) -> None:
    more = {"source": write(tmp_path / "more.csv", [*texts(50, 500), ("", "a")])}
    with pytest.raises(DataError, match=r"1 of 51 rows of more.0 cannot be used"):
        make(tmp_path, more)
    corpus = make(tmp_path, more, max_bad_rows=0.05)
    entry = json.loads((corpus.folder / "quarantine.jsonl").read_text())
    assert (entry["split"], entry["row"]) == ("more.0", 51)


def test_a_missing_column_names_its_own_key(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"did you mean `data.more.0.text: body`"):
        make(tmp_path, {**stars(tmp_path), "text": "bodi"})


def test_our_own_file_cannot_be_more(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is both `data.train` and `data.more.0`") as error:
        make(tmp_path, {"source": str(tmp_path / "own.csv")})
    assert error.value.cure == "give another file as `data.more.0`"


def test_fingerprints_follow_rows_weights_and_labels(tmp_path: Path) -> None:
    more = {**stars(tmp_path), "labels": STARS}
    alone, first = make(tmp_path).fingerprint, make(tmp_path, more).fingerprint
    assert make(tmp_path, {**more, "weight": 1.0}).fingerprint == first
    half = make(tmp_path, {**more, "weight": 0.5})
    flat = make(tmp_path, more, sampling_temperature=4.0)
    other = make(tmp_path, {**more, "labels": {**STARS, 3: "a"}}).fingerprint
    assert len({alone, first, half.fingerprint, flat.fingerprint, other}) == 5
    assert len({half["train"].fingerprint, flat["train"].fingerprint}) == 2


def test_sources_without_more_are_known_as_before_there_was_any(tmp_path: Path) -> None:
    own = recipe(tmp_path)
    assert fingerprint_sources(own) == fingerprint_sources(recipe(tmp_path, sampling_temperature=1.0))
    more = stars(tmp_path)
    prints = {fingerprint_sources(own), fingerprint_sources(recipe(tmp_path, more))}
    prints.add(fingerprint_sources(recipe(tmp_path, {**more, "weight": 2.0})))
    stars(tmp_path, 60)
    prints.add(fingerprint_sources(recipe(tmp_path, more)))
    assert len(prints) == 4


def test_a_mixture_is_drawn_anew_in_every_epoch(tmp_path: Path) -> None:
    corpus = make(tmp_path, {**stars(tmp_path), "labels": STARS, "weight": 0.5})
    train = corpus["train"]
    assert (len(train), train.drawn) == (110, 90)
    assert corpus.health["splits"]["more.0"]["drawn"] == 20
    assert any("more.0: 40 rows, 20 of them drawn an epoch" in line for line in describe(corpus.health))
    drawn = batches(train)
    assert [len(np.concatenate(drawn(epoch))) for epoch in range(3)] == [90] * 3
    assert len({len(drawn(epoch)) for epoch in range(3)}) == 1
    once = np.bincount(np.concatenate([*drawn(0), *drawn(1)]), minlength=110)
    assert (once[:70] == 2).all()
    assert (once[70:] == 1).all()


def test_without_weights_more_rows_are_like_any_others(tmp_path: Path) -> None:
    train = make(tmp_path, {**stars(tmp_path), "labels": STARS})["train"]
    assert train.mixture is None
    expected = plan(lengths(train), batch_size=16, seed=3, epoch=1)
    for one, other in zip(batches(train)(1), expected, strict=True):
        np.testing.assert_array_equal(one, other)


def lengths(train: Split) -> np.ndarray:
    return np.arange(len(train)) % 7 + 1


def batches(train: Split) -> Any:
    start = np.concatenate([[0], np.cumsum(lengths(train))])
    tokens = Tokens(np.zeros(start[-1], dtype=np.int32), start, np.arange(len(train) + 1), 0)
    return supervised.batches(tokens, TrainingRecipe(batch_size=16), 3, train.mixture)


def test_labels_of_a_map_must_be_labels_of_the_task(tmp_path: Path) -> None:
    given = recipe(tmp_path, {**stars(tmp_path), "labels": {1: "bad", 5: 2}}, task="text-regression")
    with pytest.raises(RecipeError) as error:
        refuse.unfit(given, TASKS[given.task])
    assert error.value.problems == ("data.more.0.labels.1: 'bad' is not a number",)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"more": [{"source": "x.csv", "labels": {1: "a", "1.0": "b"}}]}, r"more.0.labels: the label '1' has two"),
        ({"more": [{"source": "x.csv", "labels": {}}]}, r"more.0.labels: .*must not be empty"),
        ({"more": [{"source": "x.csv", "weight": 0}]}, r"more.0.weight: 0"),
        ({"more": []}, r"data.more: .*must not be empty"),
        ({"sampling_temperature": 2}, r"`sampling_temperature` would do nothing without `more`"),
        ({"more": [{"sauce": "x.csv"}]}, r"data.more.0.sauce: unknown key; did you mean source"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        recipe(tmp_path, **changes)


def test_a_curriculum_cannot_draw_what_a_weight_draws(tmp_path: Path) -> None:
    given = {"task": "text-classification", "output": "x", "student": {"curriculum": "length"}}
    more = {"source": "m.csv"}
    assert load({**given, "data": {"train": "t.csv", "more": [more]}}).data.more
    with pytest.raises(RecipeError, match="choose one"):
        load({**given, "data": {"train": "t.csv", "more": [{**more, "weight": 2}]}})
