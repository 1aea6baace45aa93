"""Other seeds and other sizes beside the student: made once, resumed, and without any say in what is deployed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from listener import Listener
from tiny_recipe import recipe
from tutelage import pipeline
from tutelage.errors import Interrupted, RecipeError
from tutelage.recipe import EvaluateRecipe, load


class Stopping(Listener):
    """Ctrl-C when some stage begins."""

    def __init__(self, title: str) -> None:
        super().__init__()
        self.title = title

    def bar(self, title: str, total: float) -> Any:
        if title == self.title:
            raise KeyboardInterrupt
        return super().bar(title, total)


def test_another_seed_and_two_sizes(reviews: Path, bert: Path, tmp_path: Path, finished: pipeline.Run) -> None:
    asked = {"evaluate": {"seeds": 2, "neighbours": True}, "student": {"wide": False}, "compress": {"quantize": "none"}}
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
    student = (out / "student" / "model.safetensors").read_bytes()
    assert (other / "student" / "model.safetensors").read_bytes() != student
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
    assert (out / "student" / "model.safetensors").read_bytes() == student
    # The student is the one of a run that asked for nothing else.
    assert student == (finished.path / "student" / "model.safetensors").read_bytes()


def test_of_a_search_the_rung_that_was_taken_is_repeated_beside_its_neighbours(
    reviews: Path, bert: Path, tmp_path: Path
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
