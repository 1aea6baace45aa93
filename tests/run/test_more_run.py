"""A run with further data: everyone learns from it, and other data is measured on without being learned from."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from listener import Listener
from tiny_recipe import recipe
from tutelage import pipeline, proof
from tutelage.check import check
from tutelage.recipe import load

MATERIAL = Path(__file__).parents[1] / "material"
STARS = {1: "negative", 2: "negative", 3: None, 4: "positive", 5: "positive"}
MORE = {"source": str(MATERIAL / "products.csv"), "text": "body", "label": "stars", "labels": STARS, "weight": 0.5}
ELSEWHERE = {"source": str(MATERIAL / "editorials.csv"), "name": "Editorials"}


def test_a_run_with_further_data(reviews: Path, bert: Path, tmp_path: Path) -> None:
    def given(**data: Any) -> dict[str, Any]:
        return recipe(
            reviews,
            bert,
            tmp_path / "run",
            data={"more": [MORE], **data},
            teacher={"epochs": 1},
            student={"epochs": 1, "control": False, "wide": False},
            compress={"quantize": "none", "cascade": False},
        )

    first = pipeline.run(given())
    assert first.measurements.others == []
    models = {name: (first.path / name / "model.safetensors").read_bytes() for name in ("teacher", "student")}
    listener = Listener()
    run = pipeline.run(load(given(also_test=[ELSEWHERE])), resume=True, progress=listener)

    # Everything that was learned stays as it was.
    assert "Answering the rows of other data" in listener.done
    assert not [title for title in listener.done if "tuning" in title or "Distilling" in title or "Recording" in title]
    for name, weights in models.items():
        assert (run.path / name / "model.safetensors").read_bytes() == weights

    (other,) = json.loads((run.path / "measurements.json").read_text())["others"]
    assert (other["name"], other["rows"]) == ("Editorials", 60)
    assert set(other["scores"]) == {"teacher", "student", "baseline"}
    student, teacher = (other["scores"][role]["accuracy"]["value"] for role in ("student", "teacher"))
    assert abs(other["retention"]["value"] - student / teacher) < 1e-9
    texts = [line.rpartition(",")[0].strip('"') for line in (MATERIAL / "editorials.csv").read_text().splitlines()[1:]]
    labels = [line.rpartition(",")[2] for line in (MATERIAL / "editorials.csv").read_text().splitlines()[1:]]
    said = [record["label"] for record in run.teacher.predict([text.replace('""', '"') for text in texts])]
    assert abs(np.mean(np.array(said) == labels) - teacher) < 0.02
    assert "Editorials" in (run.path / "report.html").read_text()
    assert "Editorials" in (run.path / "bundle" / "README.md").read_text()


@pytest.mark.parametrize(("pieces", "warned"), [(3, True), (2, False)])
def test_a_vocabulary_that_does_not_suit_other_data_is_told(pieces: int, warned: bool) -> None:
    def reads(many: int) -> Any:
        """So many tokens for two characters; 64 at most are read of a text."""

        def tokenize(texts: list[str]) -> Any:
            return SimpleNamespace(lengths=np.array([min(64, many * len(text) // 2) for text in texts]))

        return SimpleNamespace(tokenize=tokenize, reading=SimpleNamespace(max_tokens=64))

    cast = SimpleNamespace(
        workshop=SimpleNamespace(teacher=reads(2)),
        made=SimpleNamespace(network=reads(pieces)),
        corpus=SimpleNamespace(others={"French": Rows()}),
    )
    heard: list[str] = []
    proof._warn_of_words(cast, SimpleNamespace(warn=heard.append))  # type: ignore[arg-type]
    assert bool(heard) == warned
    assert not warned or heard[0].startswith("French: the student's vocabulary cuts its texts into 1.5 times")


class Rows:
    """Ten texts."""

    def __len__(self) -> int:
        return 10

    def texts(self, rows: np.ndarray) -> list[str]:
        return ["x" * 400] * len(rows)


def test_check_counts_what_is_drawn(reviews: Path, bert: Path, tmp_path: Path) -> None:
    lines = check(recipe(reviews, bert, tmp_path / "run", data={"more": [MORE], "also_test": [ELSEWHERE]}))
    assert any(line.startswith("more.0: 128 rows, 64 of them drawn an epoch") for line in lines)
    assert any(line.startswith("also_test.0: 60 rows") for line in lines)
    assert any("32 whose label is mapped to null" in line for line in lines)
