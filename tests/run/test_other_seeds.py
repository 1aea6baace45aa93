"""Other seeds and other sizes beside the student: made once, resumed, and without any say in what is deployed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import BertConfig

from listener import Listener
from tiny_recipe import recipe
from tutelage import pipeline
from tutelage.artifacts.corpus import Corpus
from tutelage.artifacts.network import Network
from tutelage.compress import graph
from tutelage.compress.graph import Graph
from tutelage.encoding import Reading
from tutelage.errors import Interrupted, RecipeError
from tutelage.recipe import EvaluateRecipe, StudentRecipe, load
from tutelage.student import ladder
from tutelage.student.build import Shape
from tutelage.tasks import TextClassification
from tutelage.training import guard


class Stopping(Listener):
    """Ctrl-C when some stage begins."""

    def __init__(self, title: str) -> None:
        super().__init__()
        self.title = title

    def bar(self, title: str, total: float) -> Any:
        if title == self.title:
            raise KeyboardInterrupt
        return super().bar(title, total)


@pytest.fixture
def exports(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many students may still be exported; the next ones get the graph of the last, for a graph takes seconds."""
    left, made, make = [1], [], graph.make

    def cheap(*given: Any, folder: Path, **more: Any) -> Graph:
        if left[0] > 0:
            left[0] -= 1
            made[:] = [make(*given, folder=folder, **more), folder]
        else:
            shutil.copytree(made[1], folder, dirs_exist_ok=True)
        found: Graph = made[0]
        return found

    monkeypatch.setattr(graph, "make", cheap)
    return left


def test_another_seed_and_two_sizes(reviews: Path, bert: Path, tmp_path: Path, exports: list[int]) -> None:
    exports[0] = 2
    student = {"wide": False, "convolution": "none"}
    asked = {"evaluate": {"seeds": 2, "neighbours": True}, "student": student, "compress": {"quantize": "none"}}
    given, out = recipe(reviews, bert, tmp_path / "run", **asked), tmp_path / "run"
    with pytest.raises(Interrupted):
        pipeline.run(given, progress=Stopping("Answering the test rows, seed 1"))
    listener = Listener()
    found = pipeline.run(given, progress=listener).measurements
    # The student, its seed and both controls were there; the two neighbours were not.
    assert listener.done.count("Distilling the student") == 2
    assert "Training the control (no distillation)" not in listener.done
    assert "Fine-tuning the teacher" not in listener.done
    seeds = found.seeds
    assert seeds is not None
    assert [run.seed for run in seeds.runs] == [0, 1]
    assert seeds.runs[0].retention == found.retention
    assert seeds.runs[0].against_control == found.against_control
    assert seeds.retention is not None
    kept = [run.retention.value for run in seeds.runs]
    assert seeds.retention.value == pytest.approx(np.mean(np.array(kept, dtype=float)))
    other = out / ".tutelage" / "seeds" / "1"
    weights = (out / "student" / "model.safetensors").read_bytes()
    assert (other / "student" / "model.safetensors").read_bytes() != weights
    # What would be deployed is what answered.
    rows = Corpus.load(out / ".tutelage" / "corpus")["test"]
    network = Network.load(other / "student", TextClassification(("negative", "positive")), Reading(48))
    assert np.load(other / "answers.npy")[0] == pytest.approx(network.predictions(rows.texts()), abs=1e-3)
    control = (out / ".tutelage" / "control" / "model.safetensors").read_bytes()
    assert (other / "control" / "model.safetensors").read_bytes() != control

    assert [(size.where, size.describes.split(" x ")[0]) for size in found.sizes] == [
        ("smaller", "BERT, 1 layer"),
        ("larger", "BERT, 4 layers"),
    ]
    for size in found.sizes:
        assert size.speedup is not None
        assert size.speedup > 0
        assert size.against_student is not None
        assert set(size.scores) == set(found.models["student"].scores)
    page = (out / "report.html").read_text()
    assert "One size up, one size down" in page
    assert "Trained from 2 seeds" in page

    # What is not asked for any more is gone from the figures, and nothing is trained for that.
    listener = Listener()
    asked["evaluate"] = {}
    alone = pipeline.run(recipe(reviews, bert, out, **asked), resume=True, progress=listener).measurements
    assert alone.seeds is None
    assert alone.sizes == []
    assert not [title for title in listener.done if "Distilling" in title or "Training" in title]
    assert (out / "student" / "model.safetensors").read_bytes() == weights


def test_what_is_only_compared_with_may_diverge(
    reviews: Path, bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A control and a seed are no reason to lose a student that is there."""

    def diverges(*_: Any, **__: Any) -> None:
        raise guard.not_finite("the loss is nan", title="Training", epoch=0, step=3, learning_rate=1.0)

    asked = {"evaluate": {"seeds": 2}, "student": {"wide": False, "epochs": 1}, "compress": {"quantize": "none"}}
    given, listener = recipe(reviews, bert, tmp_path / "run", **asked), Listener()
    with monkeypatch.context() as patched:
        patched.setattr("tutelage.pipeline.controls.make", diverges)
        patched.setattr("tutelage.seeds._repeat", diverges)
        found = pipeline.run(given, progress=listener).measurements
    assert found.retention is not None
    assert (found.against_control, found.seeds) == (None, None)
    assert [line.split(":")[0] for line in listener.warned if "the loss is nan" in line] == [
        "there is no control to compare with",
        "seed 1 is left out",
    ]
    assert (tmp_path / "run" / "bundle" / "model.onnx").is_file()
    assert "No control was trained" in (tmp_path / "run" / "report.html").read_text()


def test_of_a_search_the_rung_that_was_taken_is_repeated_beside_its_neighbours(
    reviews: Path, bert: Path, tmp_path: Path, exports: list[int]
) -> None:
    asked = {"student": {"keep": 0.3, "control": False, "wide": False, "epochs": 1}, "compress": {"quantize": "none"}}
    given = recipe(reviews, bert, tmp_path / "run", evaluate={"seeds": 2, "neighbours": True}, **asked)
    found = pipeline.run(given).measurements
    assert found.search is not None
    assert found.seeds is not None
    assert found.seeds.against_control is None
    assert found.seeds.runs[1].describes == found.seeds.runs[0].describes
    # The first rung was good enough, so that there is none below; the next one up was made for this.
    tried = [tried.name for tried in found.search.tried]
    assert len(tried) == 1
    assert [size.where for size in found.sizes] == ["larger"]
    assert found.sizes[0].describes != found.seeds.runs[0].describes
    listener = Listener()
    (tmp_path / "run" / "measurements.json").unlink()
    again = pipeline.run(given, resume=True, progress=listener).measurements
    assert again.seeds == found.seeds
    assert not [title for title in listener.done if "Distilling" in title or "Exporting the student" in title]


def test_what_is_not_asked_for_does_not_count() -> None:
    """Figures of older runs stay valid."""
    plain = EvaluateRecipe().identity()
    assert not {"seeds", "neighbours"} & set(plain)
    assert EvaluateRecipe(seeds=2).identity() == {**plain, "seeds": 2}


def test_neighbours_of_a_student_with_a_map_of_its_own_are_refused(reviews: Path, bert: Path, tmp_path: Path) -> None:
    asked = {"student": {"layer_map": [2, 4]}, "evaluate": {"neighbours": True}}
    with pytest.raises(RecipeError, match=r"evaluate.neighbours"):
        load(recipe(reviews, bert, tmp_path / "run", **asked))
    with pytest.raises(RecipeError, match=r"evaluate.seeds: 0"):
        load(recipe(reviews, bert, tmp_path / "run", evaluate={"seeds": 0}))


@pytest.mark.parametrize(
    ("own", "smaller", "larger"),
    [
        ((2, 64), (1, 64), (4, 64)),
        ((4, 64), (2, 64), (6, 64)),
        ((1, 64), (1, 32), (2, 64)),
        ((6, 64), (3, 64), (6, 128)),
        ((6, 256), (3, 256), None),
        ((1, 1), None, (2, 1)),
    ],
)
def test_half_and_twice_up_to_the_teacher(
    own: tuple[int, int], smaller: tuple[int, int] | None, larger: tuple[int, int] | None
) -> None:
    def shape(layers: int, inner: int) -> Shape:
        return Shape(layers, 64, 4, inner)

    teacher = BertConfig(num_hidden_layers=6, hidden_size=64, num_attention_heads=4, intermediate_size=256)
    found = {rung.name: rung.shape for rung in ladder.beside(shape(*own), StudentRecipe(convolution="none"), teacher)}
    assert found.get("smaller") == (shape(*smaller) if smaller else None)
    assert found.get("larger") == (shape(*larger) if larger else None)
