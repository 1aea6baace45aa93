"""A teacher's copies have the label of their text, and nothing is drawn more often for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tiny_models
from splits import split
from tutelage.artifacts.corpus import Corpus, Split
from tutelage.artifacts.mixture import Mixture
from tutelage.artifacts.network import Network
from tutelage.augment import copies, labelled
from tutelage.augment.copies import Copies
from tutelage.encoding import Reading
from tutelage.errors import RecipeError
from tutelage.progress import Silent
from tutelage.recipe_augment import AugmentRecipe, TeacherAugmentRecipe
from tutelage.tasks import TextClassification, TextRegression
from tutelage.teacher import load

REVIEWS = tiny_models.reviews()[:120]
CLASSES = TextClassification(("negative", "positive"))
TRAIN = split([row["text"] for row in REVIEWS], [float(row["label"] == "positive") for row in REVIEWS])


@pytest.fixture(scope="module")
def teacher(bert: Path) -> Network:
    return load.load(str(bert), CLASSES, Reading(48))[0]


def made(teacher: Network, train: Split = TRAIN, **settings: Any) -> Copies:
    recipe = TeacherAugmentRecipe(**{"ways": ["swap", "recombine"], "copies": 2, **settings})
    corpus = Corpus(Path(), CLASSES, {"train": train, "validation": split(["a text apart"])}, "f", {})
    return copies.make(corpus, teacher, recipe, seed=0, normalised=True, by_class=True, progress=Silent())


def test_every_copy_has_the_label_of_its_text_and_the_balance_stays(teacher: Network) -> None:
    found = made(teacher)
    both = labelled.behind(TRAIN, found.split)
    assert len(both) == len(TRAIN) + len(found.split) > 4 * len(TRAIN)
    assert both.texts()[: len(TRAIN)] == TRAIN.texts()
    rows = found.split.table["row"].to_numpy() - 1
    assert (both.targets[len(TRAIN) :] == TRAIN.targets[rows]).all()
    assert both.targets.mean() == pytest.approx(TRAIN.targets.mean(), abs=0.02)
    assert len(set(both.texts())) == len(both)


def test_halves_come_from_texts_of_one_class(teacher: Network) -> None:
    names = ("bad", "good")
    train = split([f"{names[n % 2]} begin {n}, {names[n % 2]} end {n}" for n in range(60)], [n % 2 for n in range(60)])
    both = labelled.behind(train, made(teacher, train, ways=["recombine"]).split)
    assert len(both) > 120
    for text, target in zip(both.texts(), both.targets, strict=True):
        assert text.split()[0] == text.split()[3] == names[int(target)]


def test_sets_that_are_drawn_unevenly_stay_as_uneven(teacher: Network) -> None:
    uneven = Split("train", TRAIN.table, Mixture((80, 40), (80, 10), 0))
    found = made(teacher, uneven, ways=["swap"])
    both = labelled.behind(uneven, found.split)
    assert both.mixture is not None
    own, other = both.mixture.rows
    assert both.mixture.drawn == (own, round(other / 4))
    assert own + other == len(both)
    # Copies stand behind the set of their text.
    assert both.texts()[:80] == TRAIN.texts()[:80]
    assert both.texts()[own : own + 40] == TRAIN.texts()[80:]
    drawn = both.epoch(0)
    assert np.isin(np.arange(own), drawn).all()
    assert sorted(set(both.texts())) == sorted(set(labelled.behind(TRAIN, found.split).texts()))


def test_values_are_not_inherited() -> None:
    asked = TeacherAugmentRecipe(ways=["swap"])
    with pytest.raises(RecipeError, match=r"teacher\.augment: a copy would inherit the value"):
        copies.refuse_unfit(None, asked, TextRegression)
    copies.refuse_unfit(AugmentRecipe(ways=["swap"], tolerance=0.1), None, TextRegression)
    copies.refuse_unfit(None, asked, CLASSES)
