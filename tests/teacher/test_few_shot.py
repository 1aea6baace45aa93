"""Pairs are balanced and repeatable, the head reads what was compared, and the result is a plain model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tiny_models
from splits import split
from tutelage.artifacts.corpus import Corpus, Split
from tutelage.artifacts.mixture import Mixture
from tutelage.artifacts.network import Network, run
from tutelage.encoding import Reading
from tutelage.errors import DataError, ModelError, RecipeError
from tutelage.progress import Silent
from tutelage.recipe_teacher import TeacherRecipe
from tutelage.tasks import Task, TextClassification, TextRegression
from tutelage.teacher import fine_tune, load, strategies
from tutelage.teacher.strategies import few_shot, mean_layer
from tutelage.training import checkpoint

TWO = TextClassification(("negative", "positive"))
THREE = TextClassification(("low", "middle", "high"))
ROWS = tiny_models.reviews()[:48]
TEXTS = [row["text"] for row in ROWS]
SIDES = np.array([float(row["label"] == "positive") for row in ROWS])
THIRDS = np.arange(len(ROWS)) % 3.0


def corpus(task: Task, targets: Any) -> Corpus:
    train, validation = split(TEXTS[:32], targets[:32]), split(TEXTS[32:], targets[32:], "validation")
    return Corpus(Path("nowhere"), task, {"train": train, "validation": validation}, "a corpus in memory", {})


def settings(**changes: Any) -> TeacherRecipe:
    return TeacherRecipe(**{"strategy": "few-shot", "batch_size": 8, "learning_rate": 2e-3, **changes})


def network(folder: Path, task: Task = TWO, tokens: int = 32) -> Network:
    return load.load(str(folder), task, Reading(tokens))[0]


def fit(given: Network, data: Corpus, folder: Path, **changes: Any) -> list[dict[str, float]]:
    fitted = bool(changes.pop("fitted", False))
    more = {"fine_tune": True} if fitted else {}
    return fine_tune.fine_tune(
        given, data, settings(**changes, **more), fitted=fitted, seed=0, folder=folder, progress=Silent()
    )


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(few_shot, "PAIRS", 40)


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.write_bert(tmp_path_factory.mktemp("few") / "bert", layers=2)


# --- pairs ----------------------------------------------------------------------------------------------------------


def test_pairs_are_half_of_one_class_and_every_class_and_text_has_its_turn() -> None:
    labels = np.array([0] * 20 + [1] * 5 + [2] * 2)
    found = few_shot.pairs(labels, count=120, seed=3, epoch=1)
    assert (found[:, 0] != found[:, 1]).all()
    same = labels[found[:, 0]] == labels[found[:, 1]]
    assert same.sum() == 60
    assert (np.bincount(labels[found[:, 0]]) == 40).all()
    for label in (0, 1, 2):
        turns = np.bincount(found[:, 0], minlength=len(labels))[labels == label]
        assert turns.max() - turns.min() <= 1
    others = labels[found[~same, 1]]
    assert set(others.tolist()) == {0, 1, 2}


def test_over_the_epochs_every_class_of_many_is_compared_with_itself() -> None:
    labels = np.repeat(np.arange(50), 2)
    alone = set()
    for epoch in range(3):
        found = few_shot.pairs(labels, count=40, seed=0, epoch=epoch)
        alone |= set(labels[found[::2, 0]].tolist())
    assert alone == set(range(50))


def test_pairs_depend_on_seed_and_epoch_and_on_nothing_else() -> None:
    labels = np.array([0, 1] * 8)
    first = few_shot.pairs(labels, count=40, seed=0, epoch=0)
    assert (few_shot.pairs(labels, count=40, seed=0, epoch=0) == first).all()
    assert (few_shot.pairs(labels, count=40, seed=0, epoch=1) != first).any()
    assert (few_shot.pairs(labels, count=40, seed=1, epoch=0) != first).any()


# --- the mean layer -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_the_head_reads_the_mean_of_all_tokens_and_the_folder_stays_plain(kind: str, tmp_path: Path) -> None:
    given = network(getattr(tiny_models, f"write_{kind}")(tmp_path / "model"))
    batch = given.collate(given.tokenize(TEXTS), np.arange(12))
    with torch.inference_mode():
        states, mask = run(given.model, batch, states=True).hidden_states[-1], batch.attention_mask[..., None]
        mean = (states * mask).sum(1) / mask.sum(1)
        mean_layer.add(given.model)
        read = few_shot.read_by_head(given.model, batch, 2)
    expected = torch.tanh(0.3 * torch.nn.functional.layer_norm(mean, mean.shape[1:]))
    # The first token's own state is left in it, as one part in thirty.
    assert float((read - expected).abs().max()) < 0.05
    assert float(torch.nn.functional.cosine_similarity(read, expected).min()) > 0.995
    given.save(tmp_path / "teacher")
    plain = Network.load(tmp_path / "teacher", TWO, given.reading)
    tokens = given.tokenize(TEXTS)
    np.testing.assert_allclose(plain.outputs(tokens), given.outputs(tokens), atol=1e-6)


def test_a_head_that_was_trained_before_keeps_reading_what_it_read(bert: Path, tmp_path: Path) -> None:
    given = network(bert)
    fit(given, corpus(TWO, SIDES), tmp_path / "training", fitted=True, epochs=1)
    assert given.model.config.num_hidden_layers == 2


# --- learning -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("task", "targets"), [(TWO, SIDES), (THREE, THIRDS)])
def test_pairs_teach_and_the_head_is_the_logistic_regression_of_what_it_reads(
    task: TextClassification, targets: Any, bert: Path, tmp_path: Path
) -> None:
    from sklearn.linear_model import LogisticRegression

    given, data = network(bert, task), corpus(task, targets)
    history = fit(given, data, tmp_path / "training", epochs=6)
    assert history[-1]["loss"] < 0.7 * history[0]["loss"]
    assert 0 <= history[-1]["score"] <= 1
    tokens = given.tokenize(TEXTS)
    with torch.inference_mode():
        read = few_shot.read_by_head(given.model, given.collate(tokens, np.arange(len(TEXTS))), task.width)
    vectors = read.double().numpy()
    expected = LogisticRegression(max_iter=1000).fit(vectors[:32], targets[:32]).predict_log_proba(vectors)
    # Calibration divides all scores by one temperature; differences of scores are those of log-probabilities.
    ours, theirs = (values - values.mean(1, keepdims=True) for values in (given.outputs(tokens), expected))
    temperature = float((theirs**2).sum() / (ours * theirs).sum())
    np.testing.assert_allclose(ours * temperature, theirs, atol=2e-3)
    assert float((ours[:32].argmax(1) == targets[:32]).mean()) > 0.9
    given.save(tmp_path / "teacher")
    plain = Network.load(tmp_path / "teacher", task, given.reading)
    np.testing.assert_allclose(plain.outputs(tokens), given.outputs(tokens), atol=1e-6)
    assert all(parameter.requires_grad for parameter in given.model.parameters())


def test_a_batch_in_parts_has_the_same_gradient(bert: Path) -> None:
    given = network(bert)
    tokens, labels = given.tokenize(TEXTS), SIDES.astype(np.int64)
    table = few_shot.pairs(labels, count=12, seed=0, epoch=0)
    loss = few_shot._loss(given, tokens, table, labels)

    def gradient(*parts: range) -> torch.Tensor:
        given.model.zero_grad()
        for part in parts:
            loss(given.model, np.array(part), 0.0).backward()  # type: ignore[no-untyped-call]
        return torch.cat([p.grad.flatten() for p in given.model.parameters() if p.grad is not None])

    whole = gradient(range(12))
    assert float(whole.abs().max()) > 0
    torch.testing.assert_close(gradient(range(5), range(5, 12)), whole, atol=1e-5, rtol=1e-4)


class Killed(BaseException):
    """Stands for a kill: nothing catches it."""


def test_killed_and_resumed_the_weights_are_the_same(
    bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, again, data = network(bert), network(bert), corpus(TWO, SIDES)
    expected = fit(whole, data, tmp_path / "whole", dropout=0.1, checkpoint_minutes=1e-9)
    original, calls = checkpoint.save, iter(range(1000))

    def save(*args: Any, **kwargs: Any) -> None:
        original(*args, **kwargs)
        if next(calls) == 6:
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, "save", save)
        with pytest.raises(Killed):
            fit(network(bert), data, tmp_path / "cut", dropout=0.1, checkpoint_minutes=1e-9)
    assert fit(again, data, tmp_path / "cut", dropout=0.1, checkpoint_minutes=1e-9) == expected
    ours, theirs = again.model.state_dict(), whole.model.state_dict()
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())


# --- what cannot be -------------------------------------------------------------------------------------------------


def test_of_several_data_sets_it_learns_from_what_an_epoch_draws(
    bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, pairs = [], few_shot.pairs

    def counted(labels: Any, **more: Any) -> Any:
        seen.append(len(labels))
        return pairs(labels, **more)

    monkeypatch.setattr(few_shot, "pairs", counted)
    data = corpus(TWO, np.arange(len(ROWS)) % 2.0)
    data.splits["train"] = Split("train", data["train"].table, Mixture((20, 12), (20, 4), 0))
    fit(network(bert), data, tmp_path / "training", epochs=1)
    assert seen == [24]


def test_a_class_with_one_text_has_no_pair(bert: Path, tmp_path: Path) -> None:
    alone = np.where(np.arange(len(TEXTS)) == 3, 1.0, 0.0)
    with pytest.raises(DataError, match=r"fewer than two training texts are of: positive\n.*at least two texts"):
        fit(network(bert), corpus(TWO, alone), tmp_path / "training")
    assert not (tmp_path / "training").exists()


def test_a_decoder_has_no_vector_of_a_text(tmp_path: Path) -> None:
    given = network(tiny_models.write_gpt2(tmp_path / "model"))
    with pytest.raises(ModelError, match="its classifier reads every token") as caught:
        fit(given, corpus(TWO, SIDES), tmp_path / "training")
    assert "few-shot" not in caught.value.expected


@pytest.mark.parametrize("kind", ["t5", "distilbert"])
def test_other_heads_are_compared_as_they_are(kind: str, tmp_path: Path) -> None:
    given = network(getattr(tiny_models, f"write_{kind}")(tmp_path / "model"))
    history = fit(given, corpus(TWO, SIDES), tmp_path / "training", epochs=3)
    assert history[-1]["loss"] < history[0]["loss"]


def test_numbers_are_not_alike_or_different() -> None:
    with pytest.raises(RecipeError, match=r"few-shot compares texts of the same class .*these fit: full, last-n"):
        strategies.refuse_unfit(settings(), TextRegression)
    strategies.refuse_unfit(settings(), TextClassification)


def test_what_only_labels_have_is_refused_in_the_recipe() -> None:
    with pytest.raises(ValueError, match="`focal` and `until` would do nothing with `strategy: few-shot`"):
        settings(focal=2.0, until={"accuracy": 0.9})
    assert settings(class_weights="balanced").class_weights == "balanced"
    assert TeacherRecipe(strategy="few-shot").learning_rate == 5e-5
