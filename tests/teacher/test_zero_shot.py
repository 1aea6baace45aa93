"""Labels from the names of the classes alone: what follows from a text, and what happens where nothing does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tiny_inference
import tiny_models
import tiny_recipe
from listener import Listener
from tiny_inference import HYPOTHESIS, WORDS
from tutelage import pipeline
from tutelage import recipe as recipes
from tutelage.artifacts.answers import Answers
from tutelage.artifacts.corpus import Corpus
from tutelage.check import check
from tutelage.data.identity import fingerprint_sources
from tutelage.errors import DataError, ModelError, RecipeError
from tutelage.folder import LABELS, RunFolder
from tutelage.progress import Logged, Silent
from tutelage.teacher.zero_shot import Entailment

TEXTS = tiny_inference.texts(180, 2)
SAID = [HYPOTHESIS.format(words) for words in WORDS.values()]


@pytest.fixture(scope="module")
def nli(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_inference.write_model(tmp_path_factory.mktemp("nli"))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("rows")
    parts = {"train": TEXTS[:100], "validation": TEXTS[100:130], "test": TEXTS[130:]}
    return {
        name: str(tiny_inference.write(folder / f"{name}.csv", rows, labelled=name != "train"))
        for name, rows in parts.items()
    }


def asked(nli: Path, files: dict[str, str], bert: Path, folder: Path, **zero_shot: Any) -> dict[str, Any]:
    labels = {"model": str(nli), "labels": WORDS, "hypothesis": HYPOTHESIS, **zero_shot}
    teacher = {"zero_shot": labels, "epochs": 4}
    return tiny_recipe.recipe(Path(), bert, folder, data={**files, "max_tokens": 48}, teacher=teacher)


def labelled(given: dict[str, Any]) -> tuple[Corpus, Listener, RunFolder]:
    recipe, listener = recipes.load(given), Listener()
    folder = RunFolder.claim(recipe, resume=True)
    story = pipeline._Story(recipe, folder, Logged(listener, folder.inside / "log"))
    return story._data(), listener, folder


def test_what_follows_from_a_text_is_its_class_whatever_the_company(nli: Path, tmp_path: Path) -> None:
    judge = Entailment.load(str(nli), local=True, key="k")
    texts = [text for text, _ in TEXTS]

    def of(some: list[str], name: str, max_tokens: int = 48) -> np.ndarray:
        answers = Answers.open(tmp_path / name)
        return judge.probabilities(some, SAID, answers, max_tokens=max_tokens, progress=Silent())

    found = of(texts, "all")
    assert np.allclose(found.sum(axis=1), 1)
    right = np.array([label == list(WORDS)[best] for (_, label), best in zip(TEXTS, found.argmax(1), strict=True)])
    assert right.mean() > 0.9
    assert np.allclose(of([*texts[:3], "film " * 40], "few")[:3], found[:3], atol=1e-5)
    # The second time nothing is asked.
    judge.model.forward = None
    assert (of(texts, "all") == found).all()


def test_a_run_without_labels_learns_from_those_it_was_given(
    nli: Path, files: dict[str, str], bert: Path, tmp_path: Path
) -> None:
    given = asked(nli, files, bert, tmp_path / "run", confidence=0.8)
    corpus, listener, folder = labelled(given)
    true = dict(TEXTS)
    train, rest = corpus["train"], corpus.splits.get("unlabelled")
    assert len(train) + (len(rest) if rest else 0) == 100
    names = np.array(corpus.task.to_dict()["labels"])[train.targets.astype(int)]
    assert np.mean([true[text] == name for text, name in zip(train.texts(), names, strict=True)]) > 0.9
    assert not np.isnan(train.targets).any()
    # What people labelled is as it was.
    assert [corpus.task.encode(true[text]) for text in corpus["test"].texts()] == corpus["test"].targets.tolist()
    (choice,) = folder.kept(LABELS)["choices"]
    assert choice["figures"]["right"] > 0.9
    assert any("no training text has a label of its own" in warning for warning in listener.warned)
    assert sum(corpus.health["splits"]["train"]["distribution"]["data"]["counts"]) == len(train)
    again, listener, _ = labelled(given)
    assert again.fingerprint == corpus.fingerprint
    assert "Labelling texts by entailment" not in listener.done
    other, listener, _ = labelled(asked(nli, files, bert, tmp_path / "run"))
    assert (len(other["train"]), other.fingerprint == corpus.fingerprint) == (100, False)
    assert "unlabelled" not in other.splits
    # Layers that know the words already: what is looked at is what the labels teach.
    given["teacher"] |= {"model": str(nli), "epochs": 6}
    story = pipeline._Story(recipes.load(given), folder, Logged(Silent(), tmp_path / "log"))
    teacher = story._workshop(corpus).teacher
    said = teacher.predictions(corpus["test"].texts()).argmax(1)
    assert (said == corpus["test"].targets).mean() > 0.8


def test_unsure_texts_are_the_students_and_every_class_needs_a_text(
    nli: Path, files: dict[str, str], bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def judged(_: Entailment, texts: list[str], *__: Any, **___: Any) -> np.ndarray:
        """Surely positive, surely negative, or hardly anything, in turn."""
        return np.array([[0.9, 0.1], [0.2, 0.8], [0.55, 0.45]])[np.arange(len(texts)) % 3]

    monkeypatch.setattr(Entailment, "probabilities", judged)
    files = {**files, "unlabelled": files["train"].replace("train", "other")}
    tiny_inference.write(Path(files["unlabelled"]), tiny_inference.texts(200, 3)[180:], labelled=False)
    corpus, _, _ = labelled(asked(nli, files, bert, tmp_path / "run", confidence=0.7))
    own = corpus["unlabelled"].texts()[33:]
    assert len(corpus["train"]) == 67
    assert len(corpus["unlabelled"]) == corpus.health["splits"]["unlabelled"]["rows"] == 33 + len(own) > 40
    assert np.isnan(corpus["unlabelled"].targets).all()
    assert not set(corpus["train"].texts()) & set(corpus["unlabelled"].texts())
    with pytest.raises(DataError, match="none as negative") as refused:
        labelled(asked(nli, files, bert, tmp_path / "none", confidence=0.85))
    assert "lower `teacher.zero_shot.confidence`" in str(refused.value)
    assert not (tmp_path / "none" / ".tutelage" / "labelled").exists()


def test_check_reckons_with_it_and_writes_nothing(nli: Path, files: dict[str, str], bert: Path, tmp_path: Path) -> None:
    lines = check(asked(nli, files, bert, tmp_path / "run"))
    assert any("time: about" in line and "labels " in line for line in lines)
    assert not (tmp_path / "run").exists()


def test_names_of_classes_change_the_data_and_nothing_else_does(
    nli: Path, files: dict[str, str], bert: Path, tmp_path: Path
) -> None:
    def name(**zero_shot: Any) -> str:
        return fingerprint_sources(recipes.load(asked(nli, files, bert, tmp_path, **zero_shot)))

    assert name() == name(confidence=0.3) != name(labels=["negative", "positive", "neither"])


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"data": {"validation": None}}, "give `data.validation`"),
    ({"data": {"test": None}}, "give `data.test`"),
    ({"student": {"keep": 0.97}}, "is judged on rows of train"),
    ({"data": {"more": [{"source": "x.csv"}]}}, "`data.more` has labels"),
    ({"task": "text-regression"}, "text-regression has values"),
    ({"teacher": {"hypothesis": "no place"}}, "must have {} in one place"),
    ({"teacher": {"labels": {"a": "good", "b": "good"}}}, "two classes have the same words"),
]


@pytest.mark.parametrize(("change", "words"), REFUSED, ids=[words for _, words in REFUSED])
def test_what_cannot_be_is_refused(
    files: dict[str, str], bert: Path, tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    given = asked(bert, files, bert, tmp_path / "run", **change.get("teacher", {}))
    given["data"] |= change.get("data", {})
    given["student"] = change.get("student", given["student"])
    given["task"] = change.get("task", given["task"])
    with pytest.raises(RecipeError) as refused:
        pipeline.run(given)
    assert words in str(refused.value)


def test_a_model_that_knows_nothing_of_entailment_is_refused(bert: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot say what follows from a text: it was saved as BertModel"):
        Entailment.load(str(bert), local=True, key="teacher.zero_shot.model")
    from transformers import AutoModelForSequenceClassification

    AutoModelForSequenceClassification.from_pretrained(bert).save_pretrained(tmp_path / "other")
    tiny_models.word_piece().save_pretrained(tmp_path / "other")
    with pytest.raises(ModelError, match="its classes are LABEL_0, LABEL_1"):
        Entailment.load(str(tmp_path / "other"), local=True, key="teacher.zero_shot.model")
    with pytest.raises(ModelError, match="cannot be loaded"):
        Entailment.load(str(tmp_path), local=True, key="teacher.zero_shot.model")
