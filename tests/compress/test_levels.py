"""Three levels in one graph: each row has the answer of the first that is sure, whatever batch it comes in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tiny_models
from tutelage import recipe as recipes
from tutelage import session
from tutelage.artifacts.network import Network
from tutelage.artifacts.wide import Wide
from tutelage.compress import cascade
from tutelage.compress.cascade import Gate, Middle
from tutelage.compress.compare import Judge
from tutelage.compress.export import export
from tutelage.compress.run import outputs
from tutelage.encoding import Reading
from tutelage.errors import RecipeError
from tutelage.recipe import CompressRecipe
from tutelage.tasks import TextClassification
from tutelage.teacher import load

TASK = TextClassification(("negative", "positive"))
TEXTS = [row["text"] for row in tiny_models.reviews()[:120]]


def network(bert: Path, layers: int) -> Network:
    """The first layers of one encoder, each with a head and a wide part of its own: they disagree often."""
    torch.manual_seed(layers)
    found = load.load(str(bert), TASK, Reading(48))[0]
    found.model.bert.encoder.layer = found.model.bert.encoder.layer[:layers]
    found.model.config.num_hidden_layers = layers
    with torch.no_grad():
        found.model.classifier.weight.normal_().mul_(3)
    table = torch.randn(found.model.config.vocab_size + 256, 2) * 2
    return replace(found, wide=Wide(table, torch.zeros(2), deep=0.7, buckets=256))


class Three:
    """A cheap student, a dear one, and what all levels say of some texts."""

    def __init__(self, bert: Path, folder: Path) -> None:
        self.dear, self.folder = network(bert, 3), folder
        self.middle, self.whole = folder / "middle.onnx", folder / "whole.onnx"
        export(network(bert, 1), self.middle, texts=TEXTS[:8])
        export(self.dear, self.whole, texts=TEXTS[:8])
        self.tokens = self.dear.tokenize(TEXTS)
        self.judge = Judge(self.dear, self.tokens, np.zeros(len(TEXTS)), 1)
        scores = cascade._scores(self.dear, self.tokens)
        assert scores is not None
        self.scores = scores
        self.answers = [scores / 1.5, self.judge.outputs(self.middle), self.judge.outputs(self.whole)]
        self.sure = [TASK.confidence(torch.from_numpy(said)).numpy() for said in self.answers[:2]]

    def write(self, first: float, second: float) -> Path:
        """The cascade with two thresholds."""
        gate = Gate(first, 1.5, 0.3, 0.0, Middle(self.middle, second, 0.3))
        cascade.write(self.dear, self.whole, gate, self.folder / "cascade.onnx")
        return self.folder / "cascade.onnx"

    def run(self, file: Path, rows: Any) -> tuple[np.ndarray, np.ndarray]:
        """Answers and levels of some rows in one batch."""
        batch = self.dear.collate(self.tokens, np.asarray(rows))
        feed = {"input_ids": batch.input_ids.numpy(), "attention_mask": batch.attention_mask.numpy()}
        logits, level = session.start(str(file), threads=1).run(["logits", "level"], feed)
        return logits, level


@pytest.fixture(scope="module")
def three(bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Three:
    return Three(bert, tmp_path_factory.mktemp("levels"))


def test_each_row_is_answered_by_the_first_that_is_sure_in_any_company(three: Three) -> None:
    places = [float(np.quantile(sure, 0.6)) + 1e-4 for sure in three.sure]
    file = three.write(*places)
    level = np.where(three.sure[0] >= places[0], 0, np.where(three.sure[1] >= places[1], 1, 2))
    assert min(np.bincount(level, minlength=3)) > 10
    expected = np.choose(level[:, None], three.answers)
    for rows in (np.arange(len(TEXTS)), [0], [1], *(np.flatnonzero(level == which)[:5] for which in range(3))):
        logits, by = three.run(file, rows)
        np.testing.assert_allclose(logits, expected[rows], atol=1e-4)
        assert by.tolist() == level[rows].tolist()
    np.testing.assert_allclose(outputs(file, three.dear, three.tokens), expected, atol=1e-4)


@pytest.mark.parametrize(("first", "second", "who"), [(0.0, 0.0, 0), (2.0, 0.0, 1), (2.0, 2.0, 2)])
def test_open_and_closed_gates_are_each_level_alone(three: Three, first: float, second: float, who: int) -> None:
    logits, by = three.run(three.write(first, second), np.arange(len(TEXTS)))
    assert set(by.tolist()) == {who}
    np.testing.assert_allclose(logits, three.answers[who], atol=1e-4)


def test_what_both_students_have_is_in_the_file_once(three: Three) -> None:
    table = three.dear.model.get_input_embeddings().weight.detach().numpy().tobytes()
    content = three.write(0.9, 0.9).read_bytes()
    assert three.middle.read_bytes().count(table) == three.whole.read_bytes().count(table) == 1
    assert content.count(table) == 1
    assert not [entry for entry in three.folder.iterdir() if entry.name == "first.onnx"]


def test_the_thresholds_cost_no_more_than_allowed_and_save_work(three: Three, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Judge, "speed_ratio", lambda *_: 4.0)
    # The dear student is always right, and the cheap one nearly so.
    judge = replace(three.judge, targets=three.answers[2].argmax(1).astype(float))
    second = three.answers[2].copy()
    second[::10] *= -1
    judge._said[three.middle] = second
    for allowed in (0.02, 0.2):
        found = cascade.gate(judge, three.whole, allowed=allowed, middle=three.middle)
        assert found is not None
        assert found.middle is not None
        assert found.cost <= allowed + 1e-9
        alone = three.scores / found.temperature
        first = TASK.confidence(torch.from_numpy(alone)).numpy() >= found.threshold
        sure = TASK.confidence(torch.from_numpy(second)).numpy() >= found.middle.threshold
        assert found.share == pytest.approx(first.mean())
        assert found.middle.share == pytest.approx((~first & sure).mean())
        who = np.where(first, 0, np.where(sure, 1, 2))[:, None]
        said = np.choose(who, [alone, second, judge.outputs(three.whole)])
        assert (said.argmax(1) != judge.targets).mean() <= allowed + 1e-9


def test_a_search_may_choose_it_where_it_is_faster(three: Three, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Judge, "speed_ratio", lambda *_: 2.0)
    settings = CompressRecipe(cascade_loss=0.5)
    file, (choice,) = cascade.choose(
        three.whole, three.folder / "chosen.onnx", three.judge, settings, middle=three.middle
    )
    assert file.name == "chosen.onnx"
    assert "a cheaper student for" in choice.taken
    assert choice.figures["share_answered_second"] > 0


@pytest.mark.parametrize(
    ("student", "cascade"),
    [({}, "auto"), ({"max_mb": 5.0}, "auto"), ({"keep": 0.9, "wide": False}, "auto"), ({"keep": 0.9}, True)],
)
def test_a_third_level_that_nobody_could_stand_on_is_refused(student: dict[str, Any], cascade: object) -> None:
    value = {"task": "text-classification", "data": {"train": "x.csv"}, "output": "out"}
    with pytest.raises(RecipeError, match=r"`compress\.cascade_levels: 3` would do nothing"):
        recipes.load({**value, "student": student, "compress": {"cascade": cascade, "cascade_levels": 3}})
    recipes.load({**value, "student": {"keep": 0.9}, "compress": {"cascade_levels": 3}})
