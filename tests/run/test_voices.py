"""Students hear more than their teacher says, and what the teacher is stays as it is."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tiny_models
from listener import Listener
from tiny_recipe import recipe
from tutelage import pipeline
from tutelage.artifacts.network import Network
from tutelage.errors import RecipeError
from tutelage.folder import LOG, RunFolder
from tutelage.progress import Logged
from tutelage.recipe import load
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
    first = int(np.argmin(teacher["figures"]["own"]))
    assert teacher["taken"] == several[first]
    weights = (shop.folder.teacher / "model.safetensors").read_bytes()
    assert weights == (shop.folder.candidates(2)[first] / "model.safetensors").read_bytes()

    other = shop.folder.candidates(2)[1 - first]
    networks = [shop.teacher, Network.load(other, shop.teacher.task, shop.teacher.reading)]
    texts, figures = shop.corpus["train"].texts(), together["figures"]
    said = sum(w * n.outputs(n.tokenize(texts)) for w, n in zip(figures["weights"], networks, strict=True))
    np.testing.assert_allclose(heard(shop), said / figures["temperature"], atol=1e-4)
    assert figures["alone"][0] == pytest.approx(min(teacher["figures"]["own"]))

    again = Listener()
    assert workshop(given(), again).teacher_name == shop.teacher_name
    assert not again.done
    # A linear part speaks beside all of them, and one that went missing is made anew.
    shutil.rmtree(other)
    np.testing.assert_allclose(heard(workshop(given())), heard(shop))
    both = workshop(given(wide=True))
    assert len(both.voices) == 2
    assert told_of(both, "linear part beside the teacher")[0]["figures"]["loss_without"] == pytest.approx(
        figures["loss"]
    )
    assert told_of(workshop(given("best")), "teachers together") == []


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
