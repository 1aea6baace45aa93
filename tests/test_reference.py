"""The reference that is committed is the one that the code writes today."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from tutelage import pretrain_recipe, reference
from tutelage.recipe import Recipe, StudentRecipe, load
from tutelage.recipe_augment import AugmentRecipe, TeacherAugmentRecipe, TranslatorRecipe, TranslatorsRecipe
from tutelage.recipe_data import AlsoTestRecipe, DataRecipe, MoreRecipe
from tutelage.recipe_matching import Growth, Stage
from tutelage.recipe_teacher import FirstRecipe, TeacherRecipe, ZeroShotRecipe
from tutelage.recipe_transfer import AssistantRecipe, SelectRecipe

COMMITTED = Path(__file__).parents[1] / "docs" / "reference"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reference")
    # A narrow terminal and colours must not change what is written.
    before = dict(os.environ)
    os.environ.update({"COLUMNS": "40", "FORCE_COLOR": "1"})
    try:
        reference.write(folder)
    finally:
        os.environ.clear()
        os.environ.update(before)
    return folder


@pytest.mark.parametrize("name", ["recipe.md", "pretrain.md", "cli.md", "measurements.schema.json"])
def test_the_committed_reference_is_fresh(written: Path, name: str) -> None:
    fresh, committed = (written / name).read_text("utf-8"), (COMMITTED / name).read_text("utf-8")
    assert committed == fresh, f"docs/reference/{name} is stale: run `make reference`"


def test_every_key_of_the_recipe_has_its_row(written: Path) -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.+) \| (.+) \| (.+) \|$", (written / "recipe.md").read_text("utf-8"), re.M)
    parts = [field.annotation for field in Recipe.model_fields.values() if hasattr(field.annotation, "model_fields")]
    keys = [name for name in Recipe.model_fields if name not in ("data", "teacher", "student", "compress", "evaluate")]
    translate = (TranslatorsRecipe, TranslatorRecipe)
    inner = {
        DataRecipe: (MoreRecipe, AlsoTestRecipe),
        TeacherRecipe: (TeacherAugmentRecipe, *translate, ZeroShotRecipe, FirstRecipe),
    }
    inner[StudentRecipe] = (Stage, Growth, AssistantRecipe, AugmentRecipe, *translate, SelectRecipe)
    for part in parts:
        keys += part.model_fields
        keys += [key for below in inner.get(part, ()) for key in below.model_fields]
    assert len(parts) == 5
    assert [row[0] for row in rows] == keys
    assert all(meaning.strip() for *_, meaning in rows)


def test_every_key_of_a_pretraining_has_its_row(written: Path) -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.+) \| (.+) \| (.+) \|$", (written / "pretrain.md").read_text("utf-8"), re.M)
    parts = [pretrain_recipe.TextRecipe, pretrain_recipe.TextSource, pretrain_recipe.ModelRecipe]
    parts += [pretrain_recipe.TokenizerRecipe, pretrain_recipe.PretrainTraining]
    keys = ["objective", "output", "seed", "threads", *(name for part in parts for name in part.model_fields)]
    assert [row[0] for row in rows] == keys
    assert all(meaning.strip() for *_, meaning in rows)


def test_values_are_told_in_words(written: Path) -> None:
    text = (written / "recipe.md").read_text("utf-8")
    for row in (
        "| `task` | `text-classification`, `text-regression` | *required* |",
        "| `train` | text or list of texts | *required* |",
        "| `seed` | whole number ≥ 0 and ≤ 4,000,000,000 | `0` |",
        "| `threads` | whole number ≥ 1 or `null` | `null` |",
        "| `test_share` | number ≥ 0 and < 1 | `0.2` |",
        "| `temperature` | number > 0 | `1.0` |",
        "| `control` | `true` or `false` | `true` |",
    ):
        assert row in text, row


def test_the_defaults_shown_are_those_of_the_code(written: Path) -> None:
    made = load({"task": "text-classification", "data": {"train": "a"}, "output": "o"}).model_dump(mode="json")
    sections = re.split(r"^## `(\w+)`$", (written / "recipe.md").read_text("utf-8"), flags=re.M)
    for part, body in zip(sections[1::2], sections[2::2], strict=True):
        own = body.partition("\n### ")[0]  # below it are the keys of what a list holds
        for name, shown in re.findall(r"^\| `(\w+)` \| .+ \| `([^`]+)` \| .+ \|$", own, re.M):
            value = made[part][name]
            assert shown == (value if isinstance(value, str) else json.dumps(value)), f"{part}.{name}"


def test_every_command_is_there_in_full(written: Path) -> None:
    text = (written / "cli.md").read_text("utf-8")
    for command in ("init", "check", "run", "pretrain", "demo", "predict", "serve", "report"):
        assert f"\n## `tutelage {command}`\n" in text
    assert "..." not in re.sub(r"\[ARGS\]\.\.\.", "", text)
    assert "\x1b" not in text
    assert "--resume" in text
