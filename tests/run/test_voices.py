"""Students hear more than their teacher says, and what the teacher is stays as it is."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tiny_models
from listener import Listener
from tiny_recipe import recipe
from tutelage import check, pipeline
from tutelage.artifacts.network import Network, weights_fingerprint
from tutelage.errors import ModelError, RecipeError
from tutelage.folder import LOG, RunFolder
from tutelage.progress import Logged
from tutelage.recipe import load
from tutelage.student.build import Shape
from tutelage.student.matching import Plan
from tutelage.workshop import Workshop


def workshop(given: dict[str, Any], listener: Listener | None = None) -> Workshop:
    """A run up to what its students are made from."""
    asked = load(given)
    folder = RunFolder.claim(asked, resume=True)
    with folder.locked():
        story = pipeline._Story(asked, folder, Logged(listener or Listener(), folder.path / LOG))
        return story._workshop(story._data())


def heard(shop: Workshop) -> np.ndarray:
    """What students are told of the training texts."""
    keys, told = shop.corpus["train"].keys, shop.signals(shop.recording([Plan()]))
    return told.outputs(told.find(keys), keys)


def told_of(shop: Workshop, what: str) -> list[dict[str, Any]]:
    return [choice for choice in shop.folder.choices() if choice["what"] == what]


def test_a_linear_part_beside_the_teacher(reviews: Path, bert: Path, tmp_path: Path) -> None:
    def given(**teacher: Any) -> dict[str, Any]:
        return recipe(reviews, bert, tmp_path / "run", teacher={"epochs": 1, **teacher})

    plain = workshop(given())
    alone = heard(plain)
    weights = (plain.folder.teacher / "model.safetensors").read_bytes()
    listener = Listener()
    both = workshop(given(wide=True), listener)
    assert "Answering the training texts, each unseen" in listener.done
    assert not [title for title in listener.done if "tuning" in title]
    (choice,) = told_of(both, "linear part beside the teacher")
    assert "share, learned from the labels" in choice["taken"]
    assert (both.folder.teacher / "model.safetensors").read_bytes() == weights
    assert both.teacher_name != plain.teacher_name
    assert np.abs(heard(both) - alone).max() > 0.01

    again = Listener()
    assert workshop(given(wide=True), again).teacher_name == both.teacher_name
    assert not again.done

    # Without it everything has the name that it had, and nothing is told of it.
    last = workshop(given())
    assert last.teacher_name == plain.teacher_name
    assert told_of(last, "linear part beside the teacher") == []
    np.testing.assert_array_equal(heard(last), alone)


def test_all_teachers_at_once(reviews: Path, bert: Path, tmp_path: Path) -> None:
    several = [str(bert), str(tiny_models.write_bert(tmp_path / "small", layers=2))]

    def given(combine: str = "all", **teacher: Any) -> dict[str, Any]:
        found = recipe(reviews, bert, tmp_path / "run", teacher={"epochs": 1, "combine": combine, **teacher})
        del found["teacher"]["model"]
        return {**found, "teacher": {**found["teacher"], "models": several}}

    shop = workshop(given())
    (teacher,), (together,) = told_of(shop, "teacher"), told_of(shop, "teachers together")
    first = int(np.argmin(teacher["figures"]["loss"]))
    assert teacher["taken"] == several[first]
    weights = (shop.folder.teacher / "model.safetensors").read_bytes()
    assert weights == (shop.folder.candidates(2)[first] / "model.safetensors").read_bytes()

    other = shop.folder.candidates(2)[1 - first]
    networks = [shop.teacher, Network.load(other, shop.teacher.task, shop.teacher.reading)]
    texts, figures = shop.corpus["train"].texts(), together["figures"]
    said = sum(w * n.outputs(n.tokenize(texts)) for w, n in zip(figures["weights"], networks, strict=True))
    np.testing.assert_allclose(heard(shop), said / figures["temperature"], atol=1e-4)
    assert figures["alone"][0] == pytest.approx(min(teacher["figures"]["loss"]))

    again = Listener()
    assert workshop(given(), again).teacher_name == shop.teacher_name
    assert not again.done
    # Where another run left another model in that place, it is made anew.
    shutil.copytree(shop.folder.candidates(2)[first], other, dirs_exist_ok=True)
    shop.folder.finish(f"teacher {2 - first}", "another", started=time.monotonic())
    np.testing.assert_allclose(heard(workshop(given())), heard(shop))
    # A linear part speaks beside all of them.
    both = workshop(given(wide=True))
    assert len(both.speaker.voices) == 2
    assert told_of(both, "linear part beside the teacher")[0]["figures"]["loss_without"] == pytest.approx(
        figures["loss"]
    )
    assert told_of(workshop(given("best")), "teachers together") == []


def test_every_epoch_is_a_candidate(reviews: Path, bert: Path, tmp_path: Path) -> None:
    """Of a model that something was added to, too: what is compared are plain ones."""

    def given(name: str, **teacher: Any) -> dict[str, Any]:
        settings = {"epochs": 2, "strategy": "lora", **teacher}
        return recipe(reviews, bert, tmp_path / name, teacher=settings)

    shop = workshop(given("run", candidates="epochs"))
    (choice,) = told_of(shop, "teacher")
    history = shop.folder.kept("teacher")["history"]
    assert len(history) == len(choice["figures"]["taught"]) == 2
    places = shop.folder.candidates(2, epochs=True)
    found = [(place / "model.safetensors").read_bytes() for place in places]
    assert found[0] != found[1]
    taken = int(np.argmin(choice["figures"]["taught"]))
    assert choice["taken"] == f"{bert} after epoch {taken + 1}"
    assert (shop.folder.teacher / "model.safetensors").read_bytes() == found[taken]
    # What an ordinary run keeps is the best of them by its own score.
    plain = workshop(given("plain"))
    best = int(np.argmax([epoch["score"] for epoch in history]))
    assert (plain.folder.teacher / "model.safetensors").read_bytes() == found[best]

    again = Listener()
    assert workshop(given("run", candidates="epochs"), again).teacher_name == shop.teacher_name
    assert not again.done
    together = workshop(given("run", candidates="epochs", combine="all"), again)
    assert not [title for title in again.done if "tuning" in title]
    (choice,) = told_of(together, "teachers together")
    assert len(choice["figures"]["weights"]) == 2


def test_an_assistant_learns_first_and_then_teaches(reviews: Path, bert: Path, tmp_path: Path) -> None:
    def given(**student: Any) -> dict[str, Any]:
        student = {"epochs": 1, "layers": 1, "width": 32, "feed_forward": 16, **student}
        student["hidden"] = 0.0
        return recipe(reviews, bert, tmp_path / "run", teacher={"epochs": 1}, student=student)

    plain = workshop(given())
    alone = heard(plain)
    listener = Listener()
    shop = workshop(given(assistant={"layers": 3, "epochs": 2}), listener)
    texts, own = shop.corpus["train"].texts(), shop.speaker.network
    assert own.model.config.num_hidden_layers == 3
    assert own.wide is None
    np.testing.assert_allclose(heard(shop), own.outputs(own.tokenize(texts)), atol=1e-4)
    assert np.abs(heard(shop) - alone).max() > 1e-3
    # What students begin as and are measured by is the teacher's.
    assert weights_fingerprint(shop.teacher.model) == weights_fingerprint(plain.teacher.model)
    follows = shop.recipe.student.model_copy(update={"hidden": 1.0, "hidden_last": True})
    assert shop.plan(follows, Shape(1, 32, 4, 16)).theirs == (3,)
    (choice,) = told_of(shop, "teacher assistant")
    assert "on validation it keeps" in choice["why"]
    assert len(shop.folder.kept("assistant")["history"]) == 2

    again = Listener()
    assert workshop(given(assistant={"layers": 3, "epochs": 2}), again).teacher_name == shop.teacher_name
    assert not again.done
    last = workshop(given())
    assert last.teacher_name == plain.teacher_name
    assert told_of(last, "teacher assistant") == []
    np.testing.assert_array_equal(heard(last), alone)


def test_what_an_assistant_will_take_is_reckoned(reviews: Path, bert: Path, tmp_path: Path) -> None:
    given = recipe(reviews, bert, tmp_path / "run", student={"size": "small", "assistant": {"layers": 3}})
    (time,) = [line for line in check.check(given) if line.startswith("time:")]
    assert "assistant" in time


def test_neighbours_that_cannot_follow_an_assistant_are_refused_before_anything_is_trained(
    reviews: Path, bert: Path, tmp_path: Path
) -> None:
    student = {"size": "small", "layer_map": "last", "assistant": {"layers": 3}}
    given = recipe(reviews, bert, tmp_path / "run", student=student, evaluate={"neighbours": True})
    listener = Listener()
    with pytest.raises(ModelError, match="one size larger"):
        pipeline.run(given, progress=listener)
    assert not [title for title in listener.done if "Fine-tuning" in title]
    with pytest.raises(ModelError, match="one size larger"):
        check.check({**given, "output": str(tmp_path / "other")})


def test_what_was_chosen_for_another_recipe_is_not_told_of_this_one(reviews: Path, bert: Path, tmp_path: Path) -> None:
    given = recipe(reviews, bert, tmp_path / "run", teacher={"epochs": 1})
    folder = RunFolder.claim(load(given), resume=False)
    for stage in ("labels", "texts", "balance"):
        folder.finish(stage, "another recipe", started=time.monotonic(), choices=[{"what": stage}])
    shop = workshop(given)
    assert len(shop.splits) == 1
    assert shop.folder.choices() == []


@pytest.mark.parametrize("assistant", [{"layers": 4, "feed_forward": 64}, {"layers": 1}])
def test_an_assistant_stands_in_between(reviews: Path, bert: Path, tmp_path: Path, assistant: dict[str, int]) -> None:
    given = recipe(reviews, bert, tmp_path / "run", student={"size": "small", "assistant": assistant})
    for start in (pipeline.run, check.check):
        with pytest.raises(ModelError, match="more than the student"):
            start(given)
    assert not (tmp_path / "run" / "teacher").exists()


@pytest.mark.parametrize(
    ("student", "said"),
    [
        ({"keep": 0.9, "assistant": {}}, "a goal tries students of several sizes"),
        ({"layer_map": [1, 2], "assistant": {}}, "name layers of one teacher"),
        ({"stages": [{"epochs": 1}], "assistant": {"epochs": 2}}, "leave out `assistant.epochs`"),
        ({"assistant": {"size": "small", "layers": 3}}, "either a `size` or a shape"),
        ({"assistant": {"width": 64}}, "give at least `layers`"),
    ],
)
def test_an_assistant_that_makes_no_sense_is_refused(student: dict[str, Any], said: str) -> None:
    given = {"task": "text-classification", "data": {"train": "x.csv"}, "output": "out", "student": student}
    with pytest.raises(RecipeError, match=said):
        load(given)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"data": {"group": "author"}}, "which rows `data.group` holds together"),
        ({"student": {"augment": {"ways": "swap"}}}, "would only repeat them to the copies"),
    ],
)
def test_what_would_repeat_labels_is_refused(more: dict[str, Any], said: str) -> None:
    given: dict[str, Any] = {"task": "text-classification", "data": {"train": "x.csv"}, "output": "out"}
    given["teacher"] = {"wide": "auto"}
    for key, value in more.items():
        given[key] = {**given.get(key, {}), **value}
    with pytest.raises(RecipeError, match=said):
        load(given)
