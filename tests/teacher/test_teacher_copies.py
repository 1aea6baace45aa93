"""A teacher that learns from changed copies too: only where asked, only to train on, and the same after a kill."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tiny_models
import tiny_recipe
from listener import Listener
from tutelage import recipe as recipes
from tutelage.artifacts.corpus import Corpus
from tutelage.artifacts.network import Network
from tutelage.check import check
from tutelage.data.prepare import prepare
from tutelage.encoding import reading
from tutelage.errors import ModelError, RecipeError
from tutelage.folder import RunFolder
from tutelage.progress import Logged, Silent
from tutelage.teachers import School
from tutelage.training import loop

AUGMENT = {"ways": ["swap", "recombine"], "rate": 0.3}
READING = reading(48, "truncate")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = tmp_path_factory.mktemp("data")
    given = tiny_recipe.recipe(tiny_models.REVIEWS, folder, folder / "run")
    return prepare(recipes.load(given), folder / "corpus", Silent())


def school(bert: Path, corpus: Corpus, folder: Path, **teacher: Any) -> tuple[School, Listener]:
    settings = {"epochs": 1, "augment": AUGMENT, **teacher}
    recipe = recipes.load(tiny_recipe.recipe(tiny_models.REVIEWS, bert, folder / "run", teacher=settings))
    run, listener = RunFolder.claim(recipe, resume=True), Listener()
    return School(recipe, run, corpus, READING, Logged(listener, folder / "log"), lambda _: None), listener


def weights(network: Network) -> dict[str, torch.Tensor]:
    return dict(network.model.state_dict())


class Killed(BaseException):
    """Stands for a kill."""


def test_a_killed_teacher_learns_on_from_the_same_copies(
    bert: Path, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, listener = school(bert, corpus, tmp_path / "whole", checkpoint_minutes=1e-9)
    name, network = whole.teacher()
    assert listener.done.count("Changing texts") == 1
    (choice,) = (one for one in whole.folder.choices() if one["what"] == "changed copies for the teacher")
    assert sum(choice["figures"]["made"].values()) > 1.8 * len(corpus["train"])

    cut, _ = school(bert, corpus, tmp_path / "cut", checkpoint_minutes=1e-9)
    save, calls = loop.checkpoint.save, iter(range(1000))

    def dying(*args: Any, **kwargs: Any) -> Any:
        save(*args, **kwargs)
        if next(calls) == 3:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(loop.checkpoint, "save", dying)
        with pytest.raises(Killed):
            cut.teacher()
    again, listener = school(bert, corpus, tmp_path / "cut", checkpoint_minutes=1e-9)
    resumed, second = again.teacher()
    assert "Changing texts" not in listener.done
    assert resumed == name
    assert all(torch.equal(value, weights(second)[key]) for key, value in weights(network).items())


def test_another_way_is_another_teacher_and_none_the_one_there_was(bert: Path, corpus: Corpus, tmp_path: Path) -> None:
    def name(folder: str, **teacher: Any) -> str:
        made = school(bert, corpus, tmp_path / folder, **teacher)[0]
        return made._fingerprint(made.recipe.teacher)

    assert name("a") == name("b") != name("c", augment={**AUGMENT, "rate": 0.2})
    assert name("d", augment=None) not in (name("a"), name("c", augment={"ways": ["delete"]}))
    assert "augment" not in recipes.TeacherRecipe().identity()


def test_only_the_training_rows_grow(
    bert: Path, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Corpus] = []
    monkeypatch.setattr("tutelage.teachers.fine_tune.fine_tune", lambda _, given, *__, **___: seen.append(given) or [])
    made = school(bert, corpus, tmp_path, augment={"ways": ["swap"], "copies": 2})[0]
    made.teacher()
    (given,) = seen
    train = corpus["train"]
    assert 2.5 * len(train) < len(given["train"]) <= 3 * len(train)
    assert {name: split.fingerprint for name, split in given.splits.items() if name != "train"} == {
        name: split.fingerprint for name, split in corpus.splits.items() if name != "train"
    }
    judged = np.concatenate([given[name].keys for name in ("validation", "test")])
    assert not np.isin(given["train"].keys, judged).any()
    # What is not trained has nothing to learn from copies.
    seen.clear()
    fitted = school(made.folder.teacher, corpus, tmp_path / "fitted")[0]
    fitted.teacher()
    assert len(seen[0]["train"]) == len(train)


REFUSED = [
    ({"augment": {"ways": "mask"}}, RecipeError, "belong together"),
    ({"augment": {"ways": "swap", "keep": "all"}}, RecipeError, "teacher.augment.keep: unknown key"),
    ({"augment": {"ways": "swap"}, "fine_tune": False}, RecipeError, "which `fine_tune: false` forbids"),
    ({"augment": {"ways": "mask", "masked_model": "./no"}}, ModelError, "`teacher.augment.masked_model`"),
]


@pytest.mark.parametrize(("teacher", "kind", "words"), REFUSED, ids=[words for *_, words in REFUSED])
def test_what_cannot_be_is_said_before_anything_is_trained(
    bert: Path, tmp_path: Path, teacher: dict[str, Any], kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words):
        check(tiny_recipe.recipe(tiny_models.REVIEWS, bert, tmp_path / "run", teacher=teacher))
