"""With `reads: mean` every strategy learns through the mean of all tokens, and the layer that takes it stays as set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tiny_models
from listener import Listener
from splits import split
from tutelage import recipe as recipes
from tutelage.artifacts.averaging import averages
from tutelage.artifacts.corpus import Corpus
from tutelage.artifacts.network import Network, run
from tutelage.encoding import Reading
from tutelage.errors import ModelError
from tutelage.folder import RunFolder
from tutelage.progress import Logged, Silent
from tutelage.recipe_teacher import TeacherRecipe
from tutelage.tasks import TextClassification, TextRegression
from tutelage.teacher import fine_tune, load, strategies
from tutelage.teacher.strategies import STRATEGIES, few_shot, mean_layer
from tutelage.teachers import School

TASK = TextClassification(("negative", "positive"))
ROWS = tiny_models.reviews()[:72]
TEXTS = [row["text"] for row in ROWS]
TARGETS = [float(row["label"] == "positive") for row in ROWS]
SPLITS = {"train": split(TEXTS[:56], TARGETS[:56]), "validation": split(TEXTS[56:], TARGETS[56:], "validation")}
CORPUS = Corpus(Path("nowhere"), TASK, SPLITS, "a corpus in memory", {})
READING = Reading(24)
LAYER = "bert.encoder.layer.2."


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(few_shot, "PAIRS", 24)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.write_bert(tmp_path_factory.mktemp("mean") / "bert", layers=2)


def network(folder: Path) -> Network:
    return load.load(str(folder), TASK, READING)[0]


def settings(name: str = "full", **changes: Any) -> TeacherRecipe:
    # AdaLoRA needs ten steps.
    more = {"last-n": {"layers": 1}, "adalora": {"batch_size": 5}, "gradual": {"epochs": 2}}.get(name, {})
    given = {"strategy": name, "reads": "mean", "epochs": 1, "batch_size": 16, "learning_rate": 5e-3, **more}
    return TeacherRecipe(**{**given, **changes})


def fit(given: Network, folder: Path, recipe: TeacherRecipe, *, fitted: bool = False, said: Any = None) -> Any:
    return fine_tune.fine_tune(given, CORPUS, recipe, fitted=fitted, seed=0, folder=folder, progress=said or Silent())


@pytest.mark.parametrize("name", [name for name in STRATEGIES if name != "prompt"])
def test_every_strategy_learns_through_it_and_leaves_it_as_it_is(name: str, small: Path, tmp_path: Path) -> None:
    given, listener, as_set = network(small), Listener(), network(small)
    mean_layer.add(as_set.model)
    history = fit(given, tmp_path / "training", settings(name), said=listener)
    assert np.isfinite([epoch["loss"] for epoch in history]).all()
    assert "gives the head the mean of all tokens" in listener.said[0]
    ours, theirs = given.model.state_dict(), as_set.model.state_dict()
    assert averages(given.model.config)
    for parameter in (n for n in theirs if n.startswith(LAYER)):
        # Adapters make every layer wider; what they added here has no weight.
        there = ours[parameter][tuple(slice(0, size) for size in theirs[parameter].shape)]
        assert torch.equal(there, theirs[parameter]), parameter
        if "output.dense.weight" in parameter and "attention" not in parameter:
            assert not ours[parameter].any()
    assert not torch.equal(ours["classifier.weight"], network(small).model.classifier.weight)
    assert all(parameter.requires_grad for parameter in given.model.parameters())
    batch = given.collate(given.tokenize(TEXTS), np.arange(8))
    with torch.inference_mode():
        states, mask = run(given.model, batch, states=True).hidden_states, batch.attention_mask[..., None]
        mean = (states[-2] * mask).sum(1) / mask.sum(1)
    expected = torch.nn.functional.layer_norm(mean, mean.shape[1:])
    assert float(torch.nn.functional.cosine_similarity(states[-1][:, 0], expected).min()) > 0.99
    given.save(tmp_path / "teacher")
    plain, tokens = Network.load(tmp_path / "teacher", TASK, READING), given.tokenize(TEXTS)
    np.testing.assert_allclose(plain.outputs(tokens), given.outputs(tokens), atol=1e-6)


def test_the_last_layers_are_those_that_learn(small: Path, tmp_path: Path) -> None:
    given, before = network(small), network(small).model.state_dict()
    fit(given, tmp_path / "training", settings("last-n"))
    moved = {n for n, value in given.model.state_dict().items() if n in before and not torch.equal(value, before[n])}
    assert any(n.startswith("bert.encoder.layer.1.") for n in moved)
    assert not any(n.startswith(("bert.encoder.layer.0.", "bert.embeddings")) for n in moved)
    with pytest.raises(ModelError, match=r"is 3, but .* has 2 layers"):
        fit(network(small), tmp_path / "deep", settings("last-n", layers=3))


def test_a_model_that_has_one_gets_no_other_and_keeps_its_head(small: Path, tmp_path: Path) -> None:
    given = network(small)
    fit(given, tmp_path / "a", settings())
    given.save(tmp_path / "teacher")
    again, fitted = load.load(str(tmp_path / "teacher"), TASK, READING)
    assert fitted
    mean_layer.add(again.model, fitted=True)
    for name, value in again.model.state_dict().items():
        assert torch.equal(value, given.model.state_dict()[name])
    mean_layer.add(again.model)
    assert again.model.config.num_hidden_layers == 3
    pooler = again.model.bert.pooler.dense.weight
    assert torch.equal(pooler, 0.3 * torch.eye(len(pooler)))


def test_few_shot_can_do_without_and_auto_is_what_it_was(small: Path) -> None:
    layers = {}
    for reads in ("own", "auto", "mean"):
        for name in ("few-shot", "full"):
            given = network(small)
            with strategies.applied(given, settings(name, reads=reads), targets=CORPUS["train"].targets, seed=0):
                layers[name, reads] = given.model.config.num_hidden_layers
    assert layers == {
        **{("few-shot", "own"): 2, ("few-shot", "auto"): 3, ("few-shot", "mean"): 3},
        **{("full", "own"): 2, ("full", "auto"): 2, ("full", "mean"): 3},
    }


def test_values_have_a_mean_too(small: Path, tmp_path: Path) -> None:
    rating = [float(row["rating"]) for row in ROWS]
    splits = {"train": split(TEXTS[:56], rating[:56]), "validation": split(TEXTS[56:], rating[56:], "validation")}
    task = TextRegression(mean=float(np.mean(rating)), std=float(np.std(rating)))
    given = load.load(str(small), task, READING)[0]
    corpus = Corpus(Path("nowhere"), task, splits, "values", {})
    history = fine_tune.fine_tune(
        given, corpus, settings(epochs=3), fitted=False, seed=0, folder=tmp_path / "training", progress=Silent()
    )
    assert history[-1]["loss"] < history[0]["loss"]
    assert averages(given.model.config)


# --- what cannot be, and what stays ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["distilbert", "gpt2", "t5"])
def test_where_it_cannot_be_nothing_is_trained_before_that_is_said(kind: str, tmp_path: Path) -> None:
    model = getattr(tiny_models, f"write_{kind}")(tmp_path / "model")
    recipe = recipes.load(
        {
            "task": "text-classification",
            "data": {"train": "in memory"},
            "teacher": {"models": [str(tiny_models.write_bert(tmp_path / "bert")), str(model)], "reads": "mean"},
            "output": str(tmp_path / "run"),
        }
    )
    folder, listener = RunFolder.claim(recipe, resume=True), Listener()
    school = School(recipe, folder, CORPUS, READING, Logged(listener, tmp_path / "log"), lambda _: None)
    with pytest.raises(ModelError, match=rf"`teacher.reads: mean` is not possible for .* \({kind}\)\n.*bert, roberta"):
        school.teacher()
    assert not any("tuning" in title for title in listener.done)


def test_it_has_nothing_to_do_without_learning() -> None:
    with pytest.raises(ValueError, match="`reads: mean` changes what the head learns from"):
        TeacherRecipe(reads="mean", fine_tune=False)


def test_a_teacher_without_it_keeps_the_name_it_had() -> None:
    assert "reads" not in TeacherRecipe().identity()
    assert TeacherRecipe(reads="own").identity()["reads"] == "own"
    assert TeacherRecipe().identity() != TeacherRecipe(reads="mean").identity()
