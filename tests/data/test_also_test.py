"""Other domains and languages: measured on, and never learned from."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tutelage.artifacts.corpus import Corpus
from tutelage.data.health import describe
from tutelage.data.prepare import fingerprint_sources, prepare
from tutelage.errors import DataError, RecipeError
from tutelage.progress import Silent
from tutelage.recipe import Recipe, load


def texts(count: int, start: int = 0, labels: Sequence[Any] = "ab") -> list[tuple[str, Any]]:
    return [(f"text number {index}", labels[index % len(labels)]) for index in range(start, start + count)]


def write(path: Path, rows: list[tuple[str, Any]]) -> str:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label"), *rows])
    return str(path)


def recipe(folder: Path, *others: dict[str, Any], **data: Any) -> Recipe:
    train = write(folder / "own.csv", texts(100))
    given = {"train": train, **({"also_test": list(others)} if others else {}), **data}
    return load({"task": "text-classification", "data": given, "output": "runs/x"})


def make(folder: Path, *others: dict[str, Any], **data: Any) -> Corpus:
    return prepare(recipe(folder, *others, **data), folder / "corpus", Silent())


def test_nothing_else_changes(tmp_path: Path) -> None:
    french = {"source": write(tmp_path / "fr.csv", texts(30, 500))}
    more = [{"source": write(tmp_path / "more.csv", texts(20, 700)), "weight": 0.5}]
    alone, corpus = make(tmp_path, more=more), make(tmp_path, french, more=more)
    assert corpus.fingerprint == alone.fingerprint
    assert corpus.task == alone.task
    assert {name: len(split) for name, split in corpus.splits.items()} == {
        name: len(split) for name, split in alone.splits.items()
    }
    assert list(corpus.others) == ["fr"]
    assert corpus.others["fr"].texts() == [text for text, _ in texts(30, 500)]
    assert not alone.others
    assert fingerprint_sources(recipe(tmp_path)) != fingerprint_sources(recipe(tmp_path, french))


def test_labels_are_mapped_and_counted(tmp_path: Path) -> None:
    stars = {"source": write(tmp_path / "fr.csv", texts(30, 500, [1, 3, 5])), "name": "French"}
    corpus = make(tmp_path, {**stars, "labels": {1: "b", 3: None, 5: "a"}})
    assert corpus.others["French"].targets.tolist() == [0.0, 1.0] * 10
    assert any(line.startswith("also_test.0: 20 rows") for line in describe(corpus.health))
    with pytest.raises(DataError, match=r"labels of also_test.0 that never occur in train: '5' .*'1' .*'3'"):
        make(tmp_path, stars)


def test_what_a_run_has_read_is_not_measured_on(tmp_path: Path) -> None:
    other = {"source": write(tmp_path / "o.csv", [*texts(3), *texts(4, 300), *texts(20, 500)])}
    free = write(tmp_path / "free.csv", texts(40, 300))
    corpus = make(tmp_path, other, unlabelled=free)
    assert len(corpus.others["o"]) == 20
    assert corpus.health["roles"]["also_test.0"]["overlap"] == 7
    assert len(corpus["unlabelled"]) == 40


@pytest.mark.parametrize("role", ["train", "unlabelled"])
def test_a_set_that_was_mostly_read_is_refused(tmp_path: Path, role: str) -> None:
    start = 0 if role == "train" else 300
    other = {"source": write(tmp_path / "o.csv", [*texts(30, start), *texts(20, 500)])}
    with pytest.raises(DataError, match=rf"30 of the 50 rows of also_test.0 are in {role} too"):
        make(tmp_path, other, unlabelled=write(tmp_path / "free.csv", texts(40, 300)))


def test_two_sets_may_share_texts(tmp_path: Path) -> None:
    others = [{"source": write(tmp_path / f"{name}.csv", texts(20, 500))} for name in ("one", "two")]
    assert [len(split) for split in make(tmp_path, *others).others.values()] == [20, 20]


def test_too_few_rows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"also_test.0 has only 9 usable rows") as error:
        make(tmp_path, {"source": write(tmp_path / "o.csv", texts(9, 500))})
    assert error.value.cure.startswith("give another file as `data.also_test.0`")


def test_each_set_has_its_own_name(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="a set of `also_test` would be called test, as our own is"):
        recipe(tmp_path, {"source": "tweets/test.csv"})
    with pytest.raises(RecipeError, match="two sets of `also_test` are called fr"):
        recipe(tmp_path, {"source": "a/fr.csv"}, {"source": "b/fr.jsonl"})
    named = recipe(tmp_path, {"source": "a/fr.csv"}, {"source": "b/fr.jsonl", "name": "Canada"}).data.also_test
    assert [other.title for other in named or []] == ["fr", "Canada"]
