"""A task before the task: its own artifact, its head gone where it does not fit, and never a text of the test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import tiny_recipe
import tutelage
from listener import Listener
from tutelage import recipe as recipes
from tutelage import storage
from tutelage.artifacts.network import Network
from tutelage.check import check
from tutelage.data.prepare import prepare
from tutelage.encoding import reading
from tutelage.errors import DataError, RecipeError
from tutelage.folder import RunFolder
from tutelage.progress import Logged, Silent
from tutelage.recipe_teacher import AROUND
from tutelage.tasks import TextClassification, TextRegression
from tutelage.teacher import load
from tutelage.teachers import School

MATERIAL = Path(__file__).parents[1] / "material"
STARS = {"train": str(MATERIAL / "products.csv"), "text": "body", "label": "stars", "learning_rate": 3e-3}
READING = reading(48, "truncate")


def taught(bert: Path, folder: Path, first: dict[str, Any], **teacher: Any) -> tuple[Listener, Network, School]:
    """The teacher of a recipe, and what was done for it."""
    data = {"train": str(MATERIAL / "editorials.csv"), "max_tokens": 48}
    settings = {"first": first, "epochs": 1, **teacher}
    given = tiny_recipe.recipe(Path(), bert, folder / "run", data=data, teacher=settings)
    recipe = recipes.load(given)
    run, listener = RunFolder.claim(recipe, resume=True), Listener()
    corpus = prepare(recipe, folder / "corpus", Silent())
    school = School(recipe, run, corpus, READING, Logged(listener, folder / "log"), lambda _: None)
    _, network = school.teacher()
    return listener, network, school


def trainings(listener: Listener) -> list[str]:
    return [title for title in listener.done if "each" in title or "tuning" in title]


FIRST, OWN = "Teaching the first task", "Fine-tuning the teacher"


def test_a_changed_task_leaves_the_first_as_it_is(bert: Path, tmp_path: Path) -> None:
    done, network, school = taught(bert, tmp_path, STARS)
    assert trainings(done) == [FIRST, OWN]
    assert network.task == TextClassification(("negative", "positive"))
    (choice,) = (choice for choice in school.folder.choices() if choice["what"] == "first task")
    assert "1 epochs" in choice["why"]
    assert trainings(taught(bert, tmp_path, STARS)[0]) == []
    assert trainings(taught(bert, tmp_path, STARS, learning_rate=1e-3)[0]) == [OWN]
    assert trainings(taught(bert, tmp_path, {**STARS, "learning_rate": 1e-3}, learning_rate=1e-3)[0]) == [FIRST, OWN]


def test_a_teacher_without_a_first_task_has_the_name_it_always_had(bert: Path, tmp_path: Path) -> None:
    recipe = recipes.load(tiny_recipe.recipe(MATERIAL / "editorials.csv", bert, tmp_path / "run"))
    corpus = prepare(recipe, tmp_path / "corpus", Silent())
    log = Logged(Silent(), tmp_path / "log")
    school = School(recipe, RunFolder(tmp_path / "run"), corpus, READING, log, lambda _: None)
    left_out = ("first", "reads", "augment", "zero_shot", *AROUND)
    settings = {key: value for key, value in recipe.teacher.model_dump().items() if key not in left_out}
    parts = (corpus.fingerprint, settings, load.identity(str(bert)), vars(READING), recipe.seed)
    assert school._fingerprint(recipe.teacher) == storage.fingerprint_of(*parts)


@pytest.fixture(scope="module")
def knowing(bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with a head for two other classes."""
    folder = tmp_path_factory.mktemp("models") / "other"
    network, _ = load.load(str(bert), TextClassification(("no", "yes")), READING, seed=5)
    network.save(folder)
    return folder


def test_a_head_of_other_labels_is_thrown_away_though_it_would_fit(knowing: Path) -> None:
    def loaded(new_head: bool, task: Any) -> tuple[dict[str, torch.Tensor], bool]:
        network, fitted = load.load(str(knowing), task, READING, seed=1, new_head=new_head)
        return network.model.state_dict(), fitted

    task = TextClassification(("negative", "positive"))
    old, _ = loaded(False, task)
    new, fitted = loaded(True, task)
    again, _ = loaded(True, task)
    assert not fitted
    different = {name for name in old if not torch.equal(old[name], new[name])}
    assert different == {"classifier.weight"}
    assert all(torch.equal(new[name], again[name]) for name in new)
    assert loaded(False, TextClassification(("no", "yes")))[1]
    assert loaded(True, TextRegression(0.0, 1.0))[0]["classifier.weight"].shape == (1, 32)


def test_equal_labels_keep_the_head_and_are_learned_further(bert: Path, tmp_path: Path) -> None:
    reviews = {"train": str(MATERIAL / "reviews.csv"), "learning_rate": 3e-3}
    done, network, school = taught(bert, tmp_path, reviews, learning_rate=1e-9)
    assert trainings(done) == [FIRST, OWN]
    first = Network.load(school.folder.first / "teacher", network.task, READING)
    one, other = (model.model.state_dict()["classifier.weight"] for model in (first, network))
    # Nothing was learned at that rate, and calibration scales the head as a whole.
    assert torch.nn.functional.cosine_similarity(one.flatten(), other.flatten(), dim=0) > 0.999


def test_no_text_that_judges_the_task_is_seen_before_it(bert: Path, tmp_path: Path) -> None:
    rows = {"train": str(MATERIAL / "editorials.csv")}
    _, _, school = taught(bert, tmp_path, rows)
    assert school._first is not None
    before, own = school._first.corpus, school.corpus
    seen = {text for split in before.splits.values() for text in split.texts()}
    assert not seen & {*own["validation"].texts(), *own["test"].texts()}
    assert seen == set(own["train"].texts())
    assert "test" not in before.splits


@pytest.mark.parametrize(
    ("first", "words"),
    [
        ({"train": "nowhere.csv"}, r"teacher.first: .*nowhere.csv does not exist"),
        ({"train": str(MATERIAL / "products.csv")}, r"(?s)teacher.first: .*no column 'text'.*`teacher.first.text:?"),
    ],
)
def test_what_is_wrong_with_it_is_said_before_any_training(
    reviews: Path, bert: Path, tmp_path: Path, first: dict[str, Any], words: str
) -> None:
    given = tiny_recipe.recipe(reviews, bert, tmp_path / "run", teacher={"first": first})
    for action in (tutelage.run, check):
        with pytest.raises(DataError, match=words):
            action(given)
    assert not (tmp_path / "run" / "teacher").exists()


def test_a_teacher_that_must_not_learn_has_no_first_task(reviews: Path, bert: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="which `fine_tune: false` forbids"):
        recipes.load(tiny_recipe.recipe(reviews, bert, tmp_path, teacher={"first": STARS, "fine_tune": False}))


def test_check_counts_it(bert: Path, tmp_path: Path) -> None:
    data = {"train": str(MATERIAL / "editorials.csv")}
    lines = check(tiny_recipe.recipe(Path(), bert, tmp_path / "run", data=data, teacher={"first": STARS}))
    assert "the first task:" in lines
    assert any("first task 0 s" in line or "first task 1 s" in line for line in lines)
