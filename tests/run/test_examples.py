"""The recipes in examples/ are run, with a tiny teacher in place of the packaged one."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tutelage import pipeline, recipe
from tutelage.recipe_matching import Stage

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted(file for file in (ROOT / "examples").glob("*.yaml") if "task:" in file.read_text("utf-8"))
"""All but those of a pre-training, which tests/run/test_pretraining.py runs."""


def test_there_are_examples() -> None:
    assert EXAMPLES


def shortened(stages: list[Stage] | None) -> list[Stage] | None:
    return stages and [stage.model_copy(update={"epochs": 1}) for stage in stages]


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_an_example_runs(file: Path, bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    given = recipe.load(yaml.safe_load(file.read_text()))
    tiny = given.model_copy(
        update={
            "output": str(tmp_path / "run"),
            "teacher": given.teacher.model_copy(update={"model": str(bert), "epochs": 1}),
            "student": given.student.model_copy(update={"epochs": 1, "stages": shortened(given.student.stages)}),
            "data": given.data.model_copy(update={"max_tokens": 64}),
            "evaluate": given.evaluate.model_copy(update={"resamples": 100, "speed_rows": 16}),
        }
    )
    run = pipeline.run(tiny)
    assert run.measurements.retention is not None
    assert run.bundle.predict(["a fine film"])
