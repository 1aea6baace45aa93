"""The demo: sentences from movie reviews, rated by people, with the packaged encoder as teacher."""

from __future__ import annotations

from pathlib import Path

from tutelage import recipe as recipes
from tutelage.data import vader
from tutelage.errors import TutelageError
from tutelage.folder import RECIPE
from tutelage.progress import Progress
from tutelage.recipe import Recipe

EXAMPLE = "a gripping film, beautifully told"


def recipe(output: Path, progress: Progress) -> Recipe:
    """The demo's recipe; fetches its data on first use. Apart from one epoch for the teacher all is default."""
    files = vader.write_demo(_cache(), progress)
    return recipes.load(
        {
            "task": "text-classification",
            "data": {"train": str(files["train"]), "test": str(files["test"]), "max_tokens": 128},
            "teacher": {"model": "minilm", "epochs": 1},
            "output": str(output),
        }
    )


def lies_in(folder: Path, recipe: Recipe) -> bool:
    """Whether a folder holds a demo, of this version or another: what a change touches is then done again there."""
    try:
        return recipes.load(folder / RECIPE).data.train == recipe.data.train
    except TutelageError:
        return False


def _cache() -> Path:
    from platformdirs import user_cache_dir

    return Path(user_cache_dir("tutelage")) / "demo"
